"""XML order reports as their messages: one `Message` in memory at a time, whatever the size of the file.

The text is cut at its messages, and each is read by itself, so that one that cannot be read costs no other. The cut is
safe: in XML a `<` that opens no tag stands in comments, CDATA and processing instructions only, and those are passed as
wholes. What stands around the messages must be an envelope that is whole, or the file is cut. A document type is
refused where it begins, so that there are no entities, and nothing can be expanded or fetched.

A declaration is a label for decoding.py, and nothing here; several documents may follow each other.
"""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from lxml import etree

from orderdrain.errors import NotAReport
from orderdrain.parsers.decoding import kind_of_body

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Characters of a message, and of what stands around them all: what is longer is no order report.
MAX_MESSAGE = 4_000_000

_ENVELOPE = "AmazonEnvelope"
# What the text is cut at. The last three are begins of what is not whole, or never may be.
_MARK = re.compile(
    r"<!--.*?-->|<!\[CDATA\[.*?\]\]>|<\?.*?\?>"
    rf"|<Message\s*/>|<Message(?=[\s>])|</Message\s*>|</{_ENVELOPE}\s*>"
    r"|<!--|<!\[CDATA\[|<\?|<!",
    re.DOTALL,
)
_WHOLE = re.compile(r"<!--.*-->|<!\[CDATA\[.*\]\]>|<\?.*\?>|</?Message.*|</A.*", re.DOTALL)
_OPENS = re.compile(rf"<{_ENVELOPE}(?:\s[^<>]*)?(?<!/)>")
_EMPTY = re.compile(rf"<{_ENVELOPE}(?:\s[^<>]*)?/>")
_ROOT = re.compile(r"<([A-Za-z_][\w.-]{0,40})")
# Amazon's own form. In a message that cannot be read, anything else may be a name.
_ORDER_ID = re.compile(r"<AmazonOrderID>\s*([A-Z0-9]{3}-[0-9]{7}-[0-9]{7})\s*</AmazonOrderID>")


class Message(NamedTuple):
    """One message. `line` is where it begins in the file; `element` is None where it is not well-formed, and then
    `order_id` is the order's, if it can be told."""

    line: int
    element: etree._Element | None
    order_id: str | None = None


def messages(blocks: Iterable[str], message_type: str) -> Iterator[Message]:
    """The messages of a file. Raises NotAReport where it is none of this type, or cut."""
    reading = _Reading(message_type)
    for before, mark in _pieces(blocks):
        yield from reading.take(before, mark)
    reading.end()


class _Reading:
    """How far a file is read: the text around the messages, and that of the message at hand, if any."""

    def __init__(self, message_type: str) -> None:
        self._type = message_type
        self._opening: str | None = None
        self._around: list[str] = []
        self._inside: list[str] | None = None
        #: Whether the envelope at hand has a message.
        self._holds = False
        #: Whether there was a declaration or a comment.
        self._is_xml = False
        self._size = 0
        self._line = self._began = 1

    def take(self, before: str, mark: str) -> Iterator[Message]:
        """The text before a mark, and the mark: gives the messages that end with it."""
        self._keep(before)
        if mark.startswith("<![CDATA["):
            self._keep(mark)
        elif mark.startswith("<Message"):
            yield from self._broken()
            self._begin()
            self._keep(mark)
            if mark.endswith("/>"):
                yield self._message()
        elif mark.startswith("</Message"):
            if self._inside is None:
                raise NotAReport(f"the XML is not well-formed: in line {self._line} a message ends that never began")
            self._keep(mark)
            yield self._message()
        elif mark.startswith("</"):
            yield from self._broken()
            self._keep(mark)
            self._close()
        else:
            self._is_xml |= bool(mark)
            self._line += mark.count("\n")

    def end(self) -> None:
        """The end of the file. Raises NotAReport unless it is the end of an envelope, or nothing was there at all."""
        around = self._text_around()
        if self._inside is not None or _OPENS.match(around):
            raise NotAReport(f"the file is cut: it ends in line {self._line}, before the end of its {_ENVELOPE}")
        if around:
            raise NotAReport(_what_else(around, after=self._opening is not None))
        if self._is_xml and self._opening is None:
            raise NotAReport(f"the XML is no order report: it has no element, and so no {_ENVELOPE}")

    def _keep(self, text: str) -> None:
        if text:
            (self._around if self._inside is None else self._inside).append(text)
        self._line += text.count("\n")
        self._size += len(text)
        if self._size > MAX_MESSAGE:
            raise NotAReport(f"line {self._line} is in more than {MAX_MESSAGE:,} characters of, or without, a message")

    def _text_around(self) -> str:
        return "".join(self._around).strip("\ufeff \t\r\n")

    def _begin(self) -> None:
        around = self._text_around()
        opening = _OPENS.match(around)
        if not opening:
            raise NotAReport(_what_else(around, after=self._opening is not None))
        # On one line, so that the lines of a message are counted from its own begin.
        self._opening = " ".join(opening[0].split())
        self._around, self._inside, self._size, self._began = [around], [], 0, self._line
        self._holds = True

    def _message(self) -> Message:
        said, self._inside, self._size = "".join(self._inside or ()), None, 0
        try:
            (element,) = _parse(f"{self._opening}{said}</{_ENVELOPE}>")
        except etree.XMLSyntaxError:
            return self._unread(said)
        return Message(self._began, element)

    def _broken(self) -> Iterator[Message]:
        """The message at hand, if any: another one begins, or the envelope ends, before it has ended."""
        if self._inside is not None:
            said, self._inside, self._size = "".join(self._inside), None, 0
            yield self._unread(said)

    def _unread(self, said: str) -> Message:
        found = _ORDER_ID.findall(said)
        return Message(self._began, None, found[0] if len(found) == 1 else None)

    def _close(self) -> None:
        """The end of an envelope: it must be whole, and hold messages of this type."""
        around, self._around, self._size = self._text_around(), [], 0
        if not _OPENS.match(around):
            raise NotAReport(_what_else(around, after=self._opening is not None))
        self._opening = self._opening or ""
        try:
            envelope = _parse(around)
        except etree.XMLSyntaxError as error:
            raise NotAReport(f"the XML is not well-formed outside of its messages, before line {self._line}") from error
        if not len(envelope) and not self._holds:
            raise NotAReport(_what_else(f"<{_ENVELOPE}/>", after=False))
        self._holds = False
        told = (envelope.findtext("{*}MessageType") or "").strip()
        if self._type and told not in {"", self._type}:
            raise NotAReport(f"the XML holds messages of another type than {self._type}")


def _what_else(around: str, *, after: bool) -> str:
    kind = kind_of_body(around)
    if _EMPTY.match(around):
        return f"the XML is no order report: its {_ENVELOPE} holds nothing, not even a header"
    if after:
        return f"something else than another {_ENVELOPE} follows the first one"
    if kind != "XML":
        return f"the body is {kind or 'text'}, no XML"
    root = _ROOT.search(around)
    if root and root[1] == _ENVELOPE:
        return f"the file is cut, or its XML not well-formed: the tag of its {_ENVELOPE} does not end"
    return f"the XML is no order report: its root is {root[1] if root else 'no element'}, not {_ENVELOPE}"


def _parse(document: str) -> etree._Element:
    parser = etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        remove_comments=True,
        remove_pis=True,
    )
    return etree.fromstring(document.encode(), parser)


def _pieces(blocks: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The text before each mark, and the mark; at the end what is left, and no mark."""
    text = ""
    for block in chain(blocks, (None,)):
        text += block or ""
        at = 0
        # A mark may go on in the next block: the last `<` that opens one waits for it.
        last = len(text) if block is None else max(text.rfind("<"), 0)
        while (mark := _MARK.search(text, at)) and mark.start() < last:
            if mark[0] == "<!" and not _may_become_whole(text[mark.start() :], ended=block is None):
                if kind_of_body(text) == "an HTML page":
                    raise NotAReport("the body is an HTML page, no XML")
                raise NotAReport("the XML has a document type or entities, which no report has")
            if not _WHOLE.fullmatch(mark[0]):
                if block is None:
                    raise NotAReport("the file is cut: it ends in the middle of a comment or of a text")
                break
            yield text[at : mark.start()], mark[0]
            at = mark.end()
            last = max(last, at)
        text = text[at:]
        if len(text) > MAX_MESSAGE:
            raise NotAReport(f"a message is longer than {MAX_MESSAGE:,} characters: this is no order report")
    yield text, ""


def _may_become_whole(begin: str, *, ended: bool) -> bool:
    """Whether `<!` is the begin of a comment or of CDATA that the end of a block has cut."""
    return not ended and any(len(begin) < len(opens) and opens.startswith(begin) for opens in ("<!--", "<![CDATA["))
