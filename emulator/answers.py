"""MWS answers on the wire: XML as recorded, and the x-mws headers.

The declaration names no encoding, the content type is exactly text/xml, the default namespace stands on the root, and
the order of elements differs by the age of the manners: all as in recorded traffic of 2014 and 2018.
"""

from __future__ import annotations

from datetime import UTC
from email.utils import format_datetime
from typing import TYPE_CHECKING, Literal
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from datetime import datetime

    from emulator.parameters import Refusal

#: A name and a text, or a name and what is in it.
Element = tuple[str, "str | list[Element]"]

#: The forms that x-mws-quota-resetsOn has had: in the documentation, in 2014, since 2017.
ResetsOn = Literal["doc", "2014", "2018"]

_NAMESPACE = "http://mws.amazonaws.com/doc/2009-01-01/"


def result_body(operation: str, result: list[Element], request_id: str, *, old_manners: bool) -> bytes:
    """A success: ActionResponse, ActionResult, ResponseMetadata."""
    arranged = _arrange(operation, result, old_manners=old_manners)
    return _document(
        f"{operation}Response",
        [(f"{operation}Result", arranged), ("ResponseMetadata", [("RequestId", request_id)])],
        pretty=not old_manners,
    )


def error_body(refusal: Refusal, request_id: str) -> bytes:
    """An error: type, code and message are never empty, and its RequestID has a capital D."""
    kind = "Sender" if refusal.status < 500 else "Receiver"
    error: list[Element] = [("Type", kind), ("Code", refusal.code), ("Message", refusal.message), ("Detail", "")]
    return _document("ErrorResponse", [("Error", error), ("RequestID", request_id)], pretty=True)


def proxy_page() -> bytes:
    """What a proxy before Amazon answers when Amazon does not."""
    title = "502 Bad Gateway"
    return f"<html>\r\n<head><title>{title}</title></head>\r\n<body><h1>{title}</h1></body>\r\n</html>\r\n".encode()


def format_resets_on(moment: datetime, form: ResetsOn) -> str:
    """When the hourly quota begins anew, in one of the recorded forms."""
    if form == "doc":
        return format_datetime(moment.astimezone(UTC), usegmt=True)
    if form == "2014":
        return moment.strftime("%a,%d %b %Y %H:%M:%S UTC")
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _arrange(operation: str, result: list[Element], *, old_manners: bool) -> list[Element]:
    token = [element for element in result if element[0] == "NextToken"]
    has_next = [element for element in result if element[0] == "HasNext"]
    others = [element for element in result if element[0] not in {"NextToken", "HasNext"}]
    if old_manners:
        return [*(token or ([("NextToken", "")] if has_next else [])), *has_next, *others]
    if operation.startswith("GetReportRequestList"):
        return [*has_next, *others, *token]
    return [*has_next, *token, *others]


def _document(root: str, content: list[Element], *, pretty: bool) -> bytes:
    end = "\n" if pretty else ""
    inner = "".join(_render(element, "  " if pretty else "", end) for element in content)
    return f'<?xml version="1.0"?>\n<{root} xmlns="{_NAMESPACE}">{end}{inner}</{root}>{end}'.encode()


def _render(element: Element, indent: str, end: str) -> str:
    name, content = element
    if isinstance(content, str):
        return f"{indent}<{name}>{escape(content)}</{name}>{end}"
    inner = "".join(_render(child, indent + "  " if indent else "", end) for child in content)
    return f"{indent}<{name}>{end}{inner}{indent}</{name}>{end}"
