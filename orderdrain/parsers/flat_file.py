"""Flat files: a header line, then one row a line, cells parted by tabs.

There is no quoting in tab files: a quote is an inch mark. Where the header is parted by commas, cells may be quoted,
but each row still stands on one line: a quote that is never closed costs one row, not the rest of the file. Lines end
at LF or CRLF only; the other characters that Unicode calls line ends stand inside titles.
"""

from __future__ import annotations

import csv
from collections import Counter
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from orderdrain.errors import NotAReport
from orderdrain.families import EXTRA, Column, Family
from orderdrain.parsers.cells import Unreadable
from orderdrain.parsers.decoding import Decoded, kind_of_body, text
from orderdrain.parsers.rows import ParsedReport
from orderdrain.parsers.table import Row, read_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from orderdrain.marketplaces import Style

#: Characters in a line: what is longer is no file of lines.
MAX_LINE = 4_000_000


def read_flat_file(file: BinaryIO, family: Family, decoded: Decoded, style: Style) -> ParsedReport:
    """Understands the header and counts the rows. Raises NotAReport: HTML, a column missing, a file cut in a line."""
    header = next(_lines(text(file, decoded.encoding)), None)
    if header is None:
        return ParsedReport(family, decoded.encoding, decoded.reason, (), (), (), 0, lambda: iter(()))
    comma = "\t" not in header.text and "," in header.text
    columns = _columns(header.text, family, comma=comma)
    return read_table(family, columns, lambda: _rows(file, decoded.encoding, len(columns), comma=comma), decoded, style)


def _columns(header: str, family: Family, *, comma: bool) -> tuple[Column, ...]:
    """Finds the family's columns by name, in the order of the cells. Raises NotAReport."""
    kind = kind_of_body(header)
    if kind:
        raise NotAReport(f"the body is {kind}, no flat file")
    try:
        names = [name.strip("\ufeff \r\n\v\f").lower() for name in _split(header, comma=comma)]
    except Unreadable as bad:
        raise NotAReport(f"the header {bad.reason}") from bad
    # Before its names are told: where a file has no header, the first line is a buyer's.
    lacking = [column.name for column in family.columns if column.required and column.name.lower() not in names]
    if lacking:
        raise NotAReport(f"the header ({len(names):,} names) lacks {', '.join(lacking)}")
    twice = sorted(name for name, times in Counter(names).items() if name and times > 1)
    if twice:
        raise NotAReport(f"the header has {', '.join(twice)} twice: which of them holds is not sure")
    return tuple(
        family.by_name.get(name, Column(name or f"column {at}", personal=EXTRA)) for at, name in enumerate(names, 1)
    )


def _rows(file: BinaryIO, encoding: str, width: int, *, comma: bool) -> Iterator[Row]:
    """The lines after the header, in cells. Raises NotAReport where the file ends in the middle of a row."""
    lines = _lines(text(file, encoding))
    next(lines)
    for line in lines:
        try:
            cells = _split(line.text, comma=comma)
        except Unreadable as bad:
            yield Row(line.number, (), bad)
            continue
        if len(cells) == width:
            yield Row(line.number, cells)
        elif not line.ended and len(cells) < width:
            raise NotAReport(f"the file is cut: it ends in line {line.number}, after {len(cells):,} cells")
        else:
            yield Row(line.number, cells, Unreadable(f"has {len(cells):,} cells, the header {width:,}"))


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
            raise NotAReport(f"line {number + 1} is longer than {MAX_LINE:,} characters: this is no file of lines")
    if rest and not rest.isspace():
        yield _Text(number + 1, rest.removesuffix("\r"), ended=False)


def _split(line: str, *, comma: bool) -> list[str]:
    """The cells of a line. Raises Unreadable where the quoting of a comma file is broken."""
    if not comma:
        return line.split("\t")
    try:
        return next(csv.reader((line,), strict=True))
    except csv.Error as error:
        raise Unreadable("has a quote out of place, or one that is never closed on its line") from error
