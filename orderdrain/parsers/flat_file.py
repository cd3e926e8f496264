"""Flat files: a header line, then one row a line, cells parted by tabs.

There is no quoting in tab files: a quote is an inch mark. Where the header is parted by commas, cells may be quoted,
but each row still stands on one line: a quote that is never closed costs one row, not the rest of the file. Lines end
at LF or CRLF only; the other characters that Unicode calls line ends stand inside titles.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from functools import cache, lru_cache
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from orderdrain.errors import NotAReport
from orderdrain.families import EXTRA, Column, Family
from orderdrain.parsers.cells import Unreadable
from orderdrain.parsers.decoding import Decoded, blocks, kind_of_body, text
from orderdrain.parsers.rows import NOTHING, ParsedReport
from orderdrain.parsers.table import ORDER_ID, Row, Table, read_table
from orderdrain.parsers.usual import UsualLines, may_be_usual, usual_layout

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from orderdrain.marketplaces import Style
    from orderdrain.parsers.usual import RawLine

#: Characters in a line: what is longer is no file of lines.
MAX_LINE = 4_000_000
#: Names in a header: Amazon's widest layout has 73.
MAX_COLUMNS = 2000
# A cell of a comma file may be as long as a line; csv's own limit is 131,072.
csv.field_size_limit(MAX_LINE)
# What ends lines elsewhere, and NUL: never in the name of a column.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def read_flat_file(file: BinaryIO, family: Family, decoded: Decoded, style: Style) -> ParsedReport:
    """Understands the header. Raises NotAReport, here or while the rows are read: HTML, a column missing, a file cut in
    a line. A header alone says that there is nothing: so it must be a header, and whole."""
    header = next(_lines(text(file, decoded.encoding)), None)
    if header is None:
        if family.snapshot:
            raise NotAReport("the body is empty, without so much as a header: that proves nothing")
        return ParsedReport(family, decoded.encoding, decoded.reason, lambda: NOTHING)
    comma = "\t" not in header.text and "," in header.text
    columns = _columns(header.text, family, comma=comma)
    if not header.ended:
        raise NotAReport("the file is cut in its header, which has no line end")
    report = read_table(family, columns, lambda: _rows(file, decoded.encoding, columns, comma=comma), decoded, style)
    if not comma and may_be_usual(family, columns):
        report.usual = _usual_lines(file, report, columns, decoded, style)
    return report


@lru_cache(maxsize=64)
def _columns(header: str, family: Family, *, comma: bool) -> tuple[Column, ...]:
    """Finds the family's columns by name, in the order of the cells. Raises NotAReport."""
    kind = kind_of_body(header)
    if kind:
        raise NotAReport(f"the body is {kind}, no flat file")
    try:
        names = [name.strip("\ufeff \r\n\v\f").lower() for name in _split(header, comma=comma)]
    except Unreadable as bad:
        raise NotAReport(f"the header {bad.reason}") from bad
    if len(names) > MAX_COLUMNS:
        raise NotAReport(f"the header has {len(names):,} names, more than {MAX_COLUMNS:,}: this is no order report")
    if at := _place(_CONTROL, names):
        raise NotAReport(f"the header has a control character, or another line end than LF, in column {at:,}")
    # Before its names are told: where a file has no header, the first line is a buyer's.
    lacking = [column.name for column in family.columns if column.required and column.name.lower() not in names]
    if lacking:
        raise NotAReport(f"the header ({len(names):,} names) lacks {', '.join(lacking)}")
    if at := _place(ORDER_ID, [name.upper() for name in names]):
        raise NotAReport(f"the header has an order id in column {at:,}: a row is glued to it")
    # A name that nobody has declared is told by its place: where a row is glued to the header, it is a buyer's.
    twice = [
        name if name in family.by_name else f"the name of column {names.index(name) + 1:,}"
        for name, times in Counter(names).items()
        if name and times > 1
    ]
    if twice:
        raise NotAReport(f"the header has {', '.join(twice)} twice: which of them holds is not sure")
    return tuple(
        family.by_name.get(name, Column(name or f"column {at}", personal=EXTRA)) for at, name in enumerate(names, 1)
    )


def _place(pattern: re.Pattern[str], names: Sequence[str]) -> int | None:
    """The column, from 1, of the first name in which this stands."""
    return next((at for at, name in enumerate(names, 1) if pattern.search(name)), None)


def _rows(file: BinaryIO, encoding: str, columns: Sequence[Column], *, comma: bool) -> Iterator[Row]:
    """The lines after the header, in cells. Raises NotAReport where the file ends in the middle of a row."""
    width, ends_in_text = len(columns), columns[-1].type == "text"
    lines = _lines(text(file, encoding))
    next(lines)
    before: Row | None = None
    for line in lines:
        row = _row(line.number, line.text, width, comma=comma)
        if row.bad and not line.ended:
            # A cell whose quote is still open is one that another quote would close.
            closed = () if row.cells else _row(line.number, line.text + '"', width, comma=comma).cells
            if closed or 0 < len(row.cells) < width:
                raise _cut(line.number, len(closed or row.cells))
        if before:
            if len(row.cells) == 1 and ends_in_text and not before.bad:
                reason = f"is torn by a line feed: line {row.number} may be the rest of it"
                before = before._replace(bad=Unreadable(reason, column=columns[-1].name))
            yield before
        before = row
    if before:
        yield before


def _row(number: int, line: str, width: int, *, comma: bool) -> Row:
    try:
        cells = _split(line, comma=comma)
    except Unreadable as bad:
        return Row(number, (), bad)
    if len(cells) == width:
        return Row(number, cells)
    return Row(number, cells, Unreadable(f"has {len(cells):,} cells, the header {width:,}"))


def _cut(number: int, cells: int) -> NotAReport:
    return NotAReport(f"the file is cut: it ends in line {number}, after {cells:,} cells")


# ----------------------------------------------------------------------------------------------------- usual lines


def _usual_lines(
    file: BinaryIO, report: ParsedReport, columns: tuple[Column, ...], decoded: Decoded, style: Style
) -> UsualLines:
    family, width = report.family, len(columns)

    def row(number: int, line: bytes) -> Row:
        return _row(number, line.decode(), width, comma=False)

    def rest(lines: Sequence[RawLine], besides: int) -> ParsedReport:
        others = read_table(family, columns, lambda: (row(number, line) for number, line in lines), decoded, style)
        others.besides = besides
        return others

    # A table without rows knows what continues a line, should there be anything to ask for.
    table = cache(lambda: Table(family, columns, lambda: iter(()), style))
    return UsualLines(
        usual_layout(family, columns),
        style,
        lambda: report.seen(_raw_lines(file, decoded.encoding, width)),
        rest,
        # A line of one cell may be the rest of the text that ends the line before.
        lambda line: (b"\t" not in line and columns[-1].type == "text") or table().continues(row(0, line)),
    )


def _raw_lines(file: BinaryIO, encoding: str, width: int) -> Iterator[list[RawLine]]:
    """What `_lines` gives, without the header, as bytes in UTF-8, and many at a time."""
    utf8 = blocks(file) if encoding in _UTF8 else (block.encode() for block in text(file, encoding))
    number, rest, header = 0, b"", True
    for block in utf8:
        lines = (rest + block).split(b"\n")
        rest = lines.pop()
        found = [(n, line.removesuffix(b"\r")) for n, line in enumerate(lines, number + 1)]
        # Most lines begin with an id: where none could be blank, nobody looks at each of them.
        if lines and not (min(lines) >= b"!" and max(lines) < b"\x7f"):
            found = [(n, line) for n, line in found if line and not _is_blank(line)]
        number += len(lines)
        if len(rest) > MAX_LINE and len(rest.decode(errors="ignore")) > MAX_LINE:
            raise _too_long(number + 1)
        if header and found:
            header = False
            del found[0]
        if found:
            yield found
    rest = rest.removesuffix(b"\r")
    if rest and not header and not _is_blank(rest):
        cells = rest.count(b"\t") + 1
        if cells < width:
            raise _cut(number + 1, cells)
        yield [(number + 1, rest)]


#: Charsets whose bytes are UTF-8 as they stand, without a mark before the header.
_UTF8 = frozenset(("ascii", "utf-8"))


def _is_blank(line: bytes) -> bool:
    return line.decode().isspace()


# --------------------------------------------------------------------------------------------------- lines and cells


class _Text(NamedTuple):
    """A line of the file: its number from 1, its text without the line end, whether it had one."""

    number: int
    text: str
    ended: bool


def _lines(blocks: Iterable[str]) -> Iterator[_Text]:
    """The lines that are not blank. Raises NotAReport at one that is longer than any."""
    number, rest = 0, ""
    for block in blocks:
        lines = (rest + block).split("\n")
        rest = lines.pop()
        for line in lines:
            number += 1
            if line and not line.isspace():
                yield _Text(number, line.removesuffix("\r"), ended=True)
        if len(rest) > MAX_LINE:
            raise _too_long(number + 1)
    if rest and not rest.isspace():
        yield _Text(number + 1, rest.removesuffix("\r"), ended=False)


def _too_long(number: int) -> NotAReport:
    return NotAReport(f"line {number} is longer than {MAX_LINE:,} characters: this is no file of lines")


def _split(line: str, *, comma: bool) -> list[str]:
    """The cells of a line. Raises Unreadable where the quoting of a comma file is broken."""
    if not comma:
        return line.split("\t")
    try:
        return next(csv.reader((line,), strict=True))
    except csv.Error as error:
        raise Unreadable("has a quote out of place, or one that is never closed on its line") from error
