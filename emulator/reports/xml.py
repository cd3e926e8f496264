"""Order reports in XML: how an element is written, and how a document begins and ends."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from emulator.orders import Line
    from emulator.sellers import Seller

#: What documents call their charset; windows-1252 has another name there, as everywhere.
_DECLARED = {"windows-1252": "ISO-8859-1", "windows-31j": "Windows-31J"}
_SCHEMA = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:noNamespaceSchemaLocation="amzn-envelope.xsd"'


def element(name: str, text: str) -> str:
    """`<Name>text</Name>`; nothing at all where there is no text."""
    return f"<{name}>{escape(text)}</{name}>\n" if text else ""


def around(name: str, *inner: str) -> str:
    """An element of elements; nothing where all are missing."""
    content = "".join(inner)
    return f"<{name}>\n{content}</{name}>\n" if content else ""


def amounts(currency: str, **amount: str) -> str:
    """Components, each with its type and its amount, of those that are there."""
    return "".join(
        around("Component", element("Type", kind), f'<Amount currency="{currency}">{escape(text)}</Amount>\n')
        for kind, text in amount.items()
        if text
    )


def document(
    seller: Seller, header: str, message_type: str, messages: Iterable[str], *, declared: bool, numbered: bool = False
) -> str:
    """An envelope with a message for each order. Without the declaration only the download says which charset it is."""
    charset = _DECLARED.get(seller.home.charset, seller.home.charset)
    told = "".join(
        around("Message", f"<MessageID>{number}</MessageID>\n" if numbered else "", message)
        for number, message in enumerate(messages, start=1)
    )
    return (
        (f'<?xml version="1.0" encoding="{charset}"?>\n' if declared else "")
        + f"<AmazonEnvelope {_SCHEMA}>\n{around('Header', header)}{element('MessageType', message_type)}{told}"
        + "</AmazonEnvelope>\n"
    )


def by_order(lines: Iterable[Line], column: str, write: Callable[[list[Line]], str]) -> Iterable[str]:
    """What is written of each order, whose lines stand together."""
    return (write(list(group)) for _, group in groupby(lines, key=lambda line: line[column]))
