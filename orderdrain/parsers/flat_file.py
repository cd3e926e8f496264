"""Flat files: a header line, then one row a line, cells parted by tabs.

There is no quoting in tab files: a quote is an inch mark. Where the header is parted by commas, cells may be quoted,
but each row still stands on one line: a quote that is never closed costs one row, not the rest of the file. Lines end
at LF or CRLF only; the other characters that Unicode calls line ends stand inside titles.

A file is read twice. The first time counts its rows and finds the continuations (rows with the ids of a line and little
else, where a line has several promotions or gifts), wherever they stand; the second gives the lines, each joined with
its own.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from orderdrain.errors import NotAReport
from orderdrain.families import EXTRA, Column, Family
from orderdrain.parsers.cells import Unreadable, read_cell
from orderdrain.parsers.decoding import Decoded, text
from orderdrain.parsers.rows import Line, ParsedReport, Rejected

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from orderdrain.marketplaces import Style

#: Characters in a line: what is longer is no file of lines.
MAX_LINE = 4_000_000
#: Continuations wait in memory for their line. A file with more of them has lost a column, and its rows are no lines.
MAX_CONTINUATIONS = 10_000
#: Where `extra` keeps what a continuation says otherwise than its line. Nothing is added up, nothing lost.
CONTINUED = "continued"

# Amazon's own form of the ids. In a row whose cells are shifted, anything else may be a name.
_ORDER_ID = re.compile(r"[A-Z0-9]{3}-[0-9]{7}-[0-9]{7}")
_ORDER_ITEM_ID = re.compile(r"[0-9]{13,15}")


def read_flat_file(file: BinaryIO, family: Family, decoded: Decoded, style: Style) -> ParsedReport:
    """Understands the header and counts the rows. Raises NotAReport: HTML, a column missing, a file cut in a line."""
    header = next(_lines(text(file, decoded.encoding)), None)
    if header is None:
        return ParsedReport(family, decoded.encoding, decoded.reason, (), (), (), 0, lambda: iter(()))
    flat = _FlatFile(file, decoded.encoding, _layout(header.text, family), style)
    return ParsedReport(
        family,
        decoded.encoding,
        decoded.reason,
        flat.fields,
        flat.buyer_fields,
        flat.extra_names,
        flat.rows,
        flat.read,
    )


# -------------------------------------------------------------------------------------------------------- the header

Placed = tuple[tuple[int, Column], ...]


@dataclass(frozen=True)
class _Layout:
    """Which column stands where in this file. Each cell is read by exactly one of `line`, `buyer` and the extras."""

    width: int
    comma: bool
    key: tuple[int, ...]
    required: Placed
    line: Placed
    buyer: Placed
    extra: Placed
    buyer_extra: Placed

    def key_of(self, cells: Sequence[str]) -> tuple[str, ...]:
        return tuple(cells[at].strip(" ") for at in self.key)

    def continues(self, cells: Sequence[str]) -> bool:
        """Whether the row has ids, and nothing else of what a line must have."""
        blank = bool(self.required) and not any(cells[at].strip() for at, _ in self.required)
        return blank and all(self.key_of(cells))


def _layout(header: str, family: Family) -> _Layout:
    """Finds the family's columns by name. Raises NotAReport."""
    _refuse_markup(header)
    comma = "\t" not in header and "," in header
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

    place = {name or f"column {at + 1}": at for at, name in enumerate(names)}
    known = [(place.pop(name), column) for name, column in family.by_name.items() if name in place]
    columns = [*known, *((at, Column(name, personal=EXTRA)) for name, at in place.items())]
    at_field = {column.field: at for at, column in known}
    return _Layout(
        width=len(names),
        comma=comma,
        key=tuple(at_field[name] for name in family.key),
        required=tuple((at, column) for at, column in known if column.required and column.field not in family.key),
        line=tuple((at, column) for at, column in columns if column.field and not column.personal),
        buyer=tuple((at, column) for at, column in columns if column.field and column.personal),
        extra=tuple((at, column) for at, column in columns if not column.field and not column.personal),
        buyer_extra=tuple((at, column) for at, column in columns if not column.field and column.personal),
    )


def _refuse_markup(header: str) -> None:
    start = header.lstrip()[:20].lower()
    if start.startswith(("<!doctype html", "<html")):
        raise NotAReport("the body is an HTML page, no report")
    if start.startswith("<"):
        raise NotAReport("the body is XML, no flat file: a report of another type, or a message of an error")
    if start.startswith(("{", "[")):
        raise NotAReport("the body is JSON, no flat file")


# ---------------------------------------------------------------------------------------------------------- the rows


@dataclass
class _Values:
    """What the cells of a row say, by header name, in the layout's order."""

    line: dict[str, str | None]
    buyer: dict[str, str | None]
    extra: dict[str, Any]
    buyer_extra: dict[str, Any]

    def join(self, more: _Values) -> None:
        """Takes from a continuation what is blank here; what it says otherwise is kept beside it."""
        for mine, theirs, extra in (
            (self.line, more.line, self.extra),
            (self.extra, more.extra, self.extra),
            (self.buyer, more.buyer, self.buyer_extra),
            (self.buyer_extra, more.buyer_extra, self.buyer_extra),
        ):
            said = {name: value for name, value in theirs.items() if value is not None}
            otherwise = {name: value for name, value in said.items() if mine.get(name) not in (None, value)}
            mine.update({name: value for name, value in said.items() if mine.get(name) is None})
            if otherwise:
                extra.setdefault(CONTINUED, []).append(otherwise)


class _FlatFile:
    """A file whose header is understood."""

    def __init__(self, file: BinaryIO, encoding: str, layout: _Layout, style: Style) -> None:
        self._file = file
        self._encoding = encoding
        self._layout = layout
        self._style = style
        self._continuations: dict[tuple[str, ...], list[tuple[int, list[str]]]] = {}
        self.rows = self._scan()
        joins = bool(self._continuations)
        self.fields = _fields(layout.line, extra=joins or bool(layout.extra))
        self.buyer_fields = _fields(layout.buyer, extra=joins or bool(layout.buyer_extra))
        self.extra_names = (*(column.name.lower() for _, column in layout.extra), CONTINUED)

    def _scan(self) -> int:
        """Counts the rows and keeps the continuations. Raises NotAReport when the file is cut."""
        rows, kept = 0, 0
        for line in self._lines():
            rows += 1
            try:
                cells = self._cells(line)
            except Unreadable:
                continue
            if self._layout.continues(cells):
                self._continuations.setdefault(self._layout.key_of(cells), []).append((line.number, cells))
                kept += 1
                if kept > MAX_CONTINUATIONS:
                    raise NotAReport(f"more than {MAX_CONTINUATIONS:,} rows have ids and nothing else of a line")
        return rows

    def read(self) -> Iterator[Line | Rejected]:
        """Each row once: as a line, rejected, or joined to its line."""
        layout = self._layout
        waiting = dict(self._continuations)
        for line in self._lines():
            cells: Sequence[str] = ()
            try:
                cells = self._cells(line)
                if layout.continues(cells):
                    continue
                values = self._values(cells)
            except Unreadable as bad:
                yield self._rejected(line.number, bad, cells or line.text.split("\t"))
                continue
            joined = 0
            for number, more in waiting.pop(layout.key_of(cells), ()):
                try:
                    values.join(self._values(more, continues=True))
                    joined += 1
                except Unreadable as bad:
                    yield self._rejected(number, bad, more)
            yield Line(
                line.number,
                layout.key_of(cells),
                _told(values.line, values.extra, self.fields),
                _told(values.buyer, values.buyer_extra, self.buyer_fields),
                joined,
            )
        for rows in waiting.values():
            for number, more in rows:
                lacks = layout.required[0][1].name
                alone = Unreadable("is blank, and no line of the file has these ids", column=lacks)
                yield self._rejected(number, alone, more)

    def _lines(self) -> Iterator[_Text]:
        """The rows: the lines after the header."""
        lines = _lines(text(self._file, self._encoding))
        next(lines)
        return lines

    def _cells(self, line: _Text) -> list[str]:
        """The cells of a row. Raises Unreadable, and NotAReport where the file ends in the middle of the row."""
        cells = _split(line.text, comma=self._layout.comma)
        if len(cells) == self._layout.width:
            return cells
        if not line.ended and len(cells) < self._layout.width:
            raise NotAReport(f"the file is cut: it ends in line {line.number}, after {len(cells):,} cells")
        raise Unreadable(f"has {len(cells):,} cells, the header {self._layout.width:,}")

    def _values(self, cells: Sequence[str], *, continues: bool = False) -> _Values:
        line, buyer, extra, buyer_extra = (
            {column.name.lower(): self._value(cells[at], column, continues) for at, column in placed}
            for placed in (self._layout.line, self._layout.buyer, self._layout.extra, self._layout.buyer_extra)
        )
        return _Values(line, buyer, extra, buyer_extra)

    def _value(self, cell: str, column: Column, continues: bool) -> str | None:
        try:
            value = read_cell(cell, column.type, self._style)
            if value is None and column.required and not continues:
                raise Unreadable("is blank")
        except Unreadable as bad:
            bad.column = column.name
            raise
        return value

    def _rejected(self, number: int, bad: Unreadable, cells: Sequence[str]) -> Rejected:
        order_id, order_item_id = (
            cells[at].strip() if len(cells) > at else "" for at in (self._layout.key[0], self._layout.key[-1])
        )
        whole = len(cells) == self._layout.width
        return Rejected(
            number,
            bad.column,
            bad.reason,
            order_id if _ORDER_ID.fullmatch(order_id) else None,
            order_item_id if whole and _ORDER_ITEM_ID.fullmatch(order_item_id) else None,
        )


def _fields(placed: Placed, *, extra: bool) -> tuple[str, ...]:
    return (*(column.field for _, column in placed if column.field), *((EXTRA,) if extra else ()))


def _told(own: dict[str, str | None], extra: dict[str, Any], fields: tuple[str, ...]) -> tuple[str | None, ...]:
    """The values in the order of `fields`, of which `extra`, as JSON, is the last where the layout has it."""
    if len(fields) == len(own):
        return tuple(own.values())
    known = {name: value for name, value in extra.items() if value is not None}
    return (*own.values(), json.dumps(known, ensure_ascii=False) if known else None)


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
