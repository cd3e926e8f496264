"""Bytes to text: gzip by content, then which charset, and why that one.

The rule, in order: a byte order mark wins; a body in ASCII is that, unless it has escapes and a label that has a
meaning for them (ISO-2022-JP); a body that has bytes beyond ASCII and is valid UTF-8 to its end is UTF-8,
whatever its label says; else the charset of the label, if the bytes fit it; else that of the XML declaration, which is
a label too; else the one that the account's marketplaces agree on, if the bytes fit that; else the report is set aside.
Nothing is ever replaced or left out: a replaced character would be a wrong name on a parcel.

Bodies are read in blocks, once to decide and again to decode, so memory stays flat whatever their size.
"""

from __future__ import annotations

import codecs
import re
import zlib
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, BinaryIO

from orderdrain.errors import NotAReport
from orderdrain.marketplaces import style_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

#: Bytes read, and bytes inflated, at a time.
BLOCK = 1 << 18
#: A gzip body may inflate to this many times its size: order reports reach some twenty, deflate's worst is a thousand.
MAX_RATIO = 200
#: ... but up to this many bytes in any case.
SMALL = 64 << 20

_GZIP = b"\x1f\x8b\x08"
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))

# What a label says and what it means. Bodies labelled ISO-8859-1 hold the euro sign and curly quotes of windows-1252;
# bodies labelled Shift_JIS hold Microsoft's additions to it (circled digits, the wave dash).
_MEANT = {
    "iso8859-1": "cp1252",
    "cp1252": "cp1252",
    "shift_jis": "cp932",
    "cp932": "cp932",
    "gb2312": "gb18030",
    "gbk": "gb18030",
}
_SPELT = {"x-sjis": "cp932", "windows-31j": "cp932"}
# Charsets of which each byte is a character.
_ONE_BYTE = re.compile(r"iso8859-\d+|cp12\d\d|koi8-[ru]")
_ALL_BYTES = bytes(range(256))
# Charsets that extend ASCII. Python's other codecs (utf-7, idna, rot13...) are never meant.
_TEXT_CODEC = re.compile(r"utf-8|iso2022_\w+|iso8859-\d+|cp12\d\d|koi8-[ru]|gb18030|big5|big5hkscs|cp949|cp950|euc_\w+")


@dataclass(frozen=True)
class Decoded:
    """Which charset a body is in, as Python names it ("ascii": both UTF-8 and the label fit), and why that one."""

    encoding: str
    reason: str


def decide(file: BinaryIO, *, content_type: str | None, marketplaces: Sequence[str]) -> Decoded:
    """Finds the charset of the whole body. Raises NotAReport when none fits, or when its gzip is damaged."""
    head = next(blocks(file), b"")
    labels = _labels(content_type, head)
    for bom, encoding in _BOMS:
        if head.startswith(bom):
            if not _fits(file, encoding):
                raise NotAReport(f"the body begins with the byte order mark of {encoding}, but is not valid in it")
            return Decoded(encoding, "byte order mark" + _noted(labels, encoding))

    ascii_only, utf8 = _ascii_or_utf8(file)
    meant = [_meant(label) for _, label in labels]
    if ascii_only:
        return _escaped(file, labels, meant) or Decoded("ascii", "no byte beyond ASCII")
    if utf8:
        return Decoded("utf-8", "valid UTF-8 with bytes beyond ASCII" + _noted(labels, "utf-8"))

    for (what, label), charset in zip(labels, meant, strict=True):
        if charset and charset != "utf-8" and _fits(file, charset):
            return Decoded(charset, f"{what} {label}")
    usual = style_of(marketplaces).charset
    unlabelled = " nor ".join(f"{what} {label}" for what, label in labels)
    unlabelled = f"{unlabelled} does not fit" if labels else "no label"
    if usual == "cp1252" and "utf-8" in meant and _holds_utf8(file):
        raise NotAReport("the charset is unknown: most of it is the UTF-8 that its label says, but not every byte")
    if usual and usual != "utf-8" and usual not in meant and _fits(file, usual):
        return Decoded(usual, f"charset of its marketplaces; {unlabelled}")
    raise NotAReport(
        f"the charset is unknown: not UTF-8, {unlabelled}, "
        + (f"nor does its marketplaces' {usual}" if usual else "and its marketplaces have none in common")
    )


def text(file: BinaryIO, encoding: str) -> Iterator[str]:
    """The body as text, block by block, without its byte order mark; `encoding` as `decide` found it."""
    return _decode(blocks(file), encoding)


def blocks(file: BinaryIO) -> Iterator[bytes]:
    """The body from its begin, inflated where it is gzip, whatever its headers said. Raises NotAReport.

    Twice, since what came with `Content-Encoding: gzip` is archived as sent, and may hold a report that is gzip itself.
    """
    limit = max(SMALL, MAX_RATIO * file.seek(0, 2))
    file.seek(0)
    raw = iter(lambda: file.read(BLOCK), b"")
    return _inflated(_inflated(raw, limit), limit)


def kind_of_body(start: str) -> str | None:
    """What a text is, by its begin, where it is surely no flat file: the page of a proxy, a message of an error."""
    start = start.lstrip("\ufeff \t\r\n")[:20].lower()
    if start.startswith(("<!doctype html", "<html")):
        return "an HTML page"
    if start.startswith("<"):
        return "XML"
    return "JSON" if start.startswith(("{", "[")) else None


def _inflated(source: Iterator[bytes], limit: int) -> Iterator[bytes]:
    head = b""
    while len(head) < len(_GZIP) and (block := next(source, b"")):
        head += block
    whole = chain((head,) if head else (), source)
    return _gunzipped(whole, limit) if head.startswith(_GZIP) else whole


def _gunzipped(source: Iterator[bytes], limit: int) -> Iterator[bytes]:
    total, data = 0, next(source)
    while data:
        inflater = zlib.decompressobj(wbits=31)
        while not inflater.eof:
            try:
                out = inflater.decompress(data, BLOCK)
            except zlib.error as error:
                raise NotAReport("the gzip is damaged: its bytes or its checksum are wrong") from error
            total += len(out)
            if total > limit:
                raise NotAReport(f"the gzip inflates beyond {limit:,} bytes, more than any report does")
            if out:
                yield out
            data = inflater.unconsumed_tail
            if not (data or out or inflater.eof or (data := next(source, b""))):
                raise NotAReport(f"the gzip is cut: it ends after {total:,} inflated bytes, in the middle")
        data = inflater.unused_data.lstrip(b"\0") or _next_used(source)


def _next_used(source: Iterator[bytes]) -> bytes:
    """The next block that is not padding: gzip files may be padded with zeros, and several may follow each other."""
    return next((used for block in source if (used := block.lstrip(b"\0"))), b"")


def _ascii_or_utf8(file: BinaryIO) -> tuple[bool, bool]:
    """Whether the body is pure ASCII, and whether it is valid UTF-8."""
    ascii_only, decoder = True, codecs.getincrementaldecoder("utf-8")("strict")
    try:
        for block in blocks(file):
            ascii_only = ascii_only and block.isascii()
            decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False, False
    return ascii_only, True


def _escaped(file: BinaryIO, labels: Sequence[tuple[str, str]], meant: Sequence[str | None]) -> Decoded | None:
    """The charset of a body whose letters stand between escapes, each of them in ASCII; None where there are none."""
    for (what, label), charset in zip(labels, meant, strict=True):
        if charset and charset.startswith("iso2022") and any(b"\x1b" in block for block in blocks(file)):
            if not _fits(file, charset):
                raise NotAReport(f"the charset is unknown: the body has escapes, but {what} {label} does not fit")
            return Decoded(charset, f"{what} {label}")
    return None


def _holds_utf8(file: BinaryIO) -> bool:
    """Whether a body that is not valid UTF-8 has characters of it all the same. Every byte fits windows-1252, or nearly
    so: one damaged byte would turn each of them into two wrong letters."""
    decoder = codecs.getincrementaldecoder("utf-8")("ignore")
    return not all(decoder.decode(block).isascii() for block in blocks(file))


def _fits(file: BinaryIO, encoding: str) -> bool:
    # Where each byte is a character, it is enough to know which of them there are.
    source = _bytes_used(file) if _ONE_BYTE.fullmatch(encoding) else blocks(file)
    try:
        for _ in _decode(source, encoding):
            pass
    except UnicodeDecodeError:
        return False
    return True


def _bytes_used(file: BinaryIO) -> Iterator[bytes]:
    """Each byte that the body has, once."""
    absent = _ALL_BYTES
    for block in blocks(file):
        absent = absent.translate(None, delete=block)
    yield _ALL_BYTES.translate(None, delete=absent)


def _decode(source: Iterable[bytes], encoding: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    for block in source:
        yield decoder.decode(block)
    yield decoder.decode(b"", final=True)


def _labels(content_type: str | None, head: bytes) -> list[tuple[str, str]]:
    """What names a charset, and which, as it is spelt there: the Content-Type, and the declaration of an XML body."""
    named = re.search(r"""charset\s*=\s*["']?([\w.:+-]+)""", content_type or "", re.IGNORECASE)
    declared = re.match(rb"""\s*<\?xml[^>]{0,200}?\sencoding\s*=\s*["']([\w.:+-]{1,40})["']""", head)
    return [
        *([("label", named[1])] if named else []),
        *([("declaration", declared[1].decode("ascii", "replace"))] if declared else []),
    ]


def _meant(label: str) -> str | None:
    """The codec that a label means; None for one that names no charset of order reports."""
    try:
        name = codecs.lookup(_SPELT.get(label.lower(), label)).name
    except LookupError:
        return None
    meant = _MEANT.get(name, name)
    return meant if meant == "cp932" or _TEXT_CODEC.fullmatch(meant) else None


def _noted(labels: Sequence[tuple[str, str]], encoding: str) -> str:
    """A label that says otherwise is told: it is the first thing to look at when a name looks wrong."""
    encoding = encoding.removesuffix("-sig")
    told = (
        f"; its {what} says {label}"
        for what, label in labels
        if _meant(label) != encoding and not label.lower().startswith(encoding)
    )
    return "".join(told)
