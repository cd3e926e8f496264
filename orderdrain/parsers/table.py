"""Rows of cells under known columns, whatever file they stood in: to lines and rejected rows.

The rows are read twice. The first time counts them and finds the continuations (rows with the ids of a line and little
else, where a line has several promotions or gifts), wherever they stand; the second gives the lines, each joined with
its own.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from orderdrain.errors import NotAReport
from orderdrain.families import EXTRA, LINE_KEY, Column, Family
from orderdrain.parsers.cells import Unreadable, read_cell, unpadded
from orderdrain.parsers.rows import CONTINUED, Line, ParsedReport, Rejected, Scanned
from orderdrain.parsers.twins import Twin, Twins

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from orderdrain.marketplaces import Style
    from orderdrain.parsers.decoding import Decoded

#: Continuations wait in memory for their line. A file with more of them has lost a column, and its rows are no lines.
MAX_CONTINUATIONS = 10_000

# Amazon's own form of the ids. In a row whose cells are shifted, anything else may be a name.
ORDER_ID = re.compile(r"[A-Z0-9]{3}-[0-9]{7}-[0-9]{7}")
_ORDER_ITEM_ID = re.compile(r"[0-9]{13,15}")


class Row(NamedTuple):
    """One row of a file. `number` is its place, from 1 and ever higher.

    `bad` says why it cannot be read; its cells are then as many as there are. Lines without an id are told apart by
    their number within one `scope` (see Family.line_key): the file, or the XML element of one order.
    """

    number: int
    cells: Sequence[str]
    bad: Unreadable | None = None
    scope: int = 0


def read_table(
    family: Family, columns: Sequence[Column], rows: Callable[[], Iterator[Row]], decoded: Decoded, style: Style
) -> ParsedReport:
    """A report of rows. `columns` are those of the cells, in their order; `rows()` reads the file from its begin, once
    somebody wants to know of its rows. Raises NotAReport then, as `rows` does."""
    return ParsedReport(family, decoded.encoding, decoded.reason, lambda: Table(family, columns, rows, style).scan())


# -------------------------------------------------------------------------------------------------------- the layout

Placed = tuple[tuple[int, Column], ...]


@dataclass(frozen=True)
class _Layout:
    """Which column stands where in this file. Each cell is read by exactly one of `line`, `buyer` and the extras."""

    width: int
    at: dict[str, int]
    key: tuple[str, ...]
    line_key: tuple[str, ...]
    required: Placed
    line: Placed
    buyer: Placed
    extra: Placed
    buyer_extra: Placed

    def key_of(self, cells: Sequence[str]) -> tuple[str, ...]:
        """The key; where lines have no id, all of it but the number (`SK-1#`); empty where there is none."""
        order = tuple(unpadded(cells[self.at[field]]) for field in self.key)
        if not self.line_key:
            return order
        told = ((field, unpadded(cells[self.at[field]])) for field in self.line_key if field in self.at)
        field, own = next(((field, own) for field, own in told if own), ("", ""))
        return (*order, own if not own or field == self.line_key[0] else f"{own}#")

    def continues(self, cells: Sequence[str]) -> bool:
        """Whether the row has ids, and nothing else of what a line must have."""
        blank = bool(self.required) and not any(unpadded(cells[at]) for at, _ in self.required)
        return blank and all(self.key_of(cells))


def _layout(family: Family, columns: Sequence[Column]) -> _Layout:
    order = {column.name: number for number, column in enumerate(family.columns)}
    placed = sorted(enumerate(columns), key=lambda at: order.get(at[1].name, len(order)))
    key = tuple(field for field in family.key if field != LINE_KEY)
    return _Layout(
        width=len(columns),
        at={column.field: at for at, column in placed if column.field},
        key=key,
        line_key=family.line_key,
        required=tuple((at, column) for at, column in placed if column.required and column.field not in key),
        line=tuple((at, column) for at, column in placed if column.field and not column.of_buyer),
        buyer=tuple((at, column) for at, column in placed if column.field and column.of_buyer),
        extra=tuple((at, column) for at, column in placed if not column.field and not column.of_buyer),
        buyer_extra=tuple((at, column) for at, column in placed if not column.field and column.of_buyer),
    )


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


class Table:
    """Rows whose columns are understood."""

    def __init__(
        self, family: Family, columns: Sequence[Column], rows: Callable[[], Iterator[Row]], style: Style
    ) -> None:
        self._family = family
        self._layout = layout = _layout(family, columns)
        self._read = rows
        self._style = style
        self._changed_by = next((p for p in layout.line if p[1].field == family.changed_by), None)
        self._twins = Twins() if family.line_key else None
        self._continuations: dict[tuple[str, ...], list[Row]] = {}

    def scan(self) -> Scanned:
        """Counts the rows, keeps the continuations, looks for twins."""
        rows, kept, layout = 0, 0, self._layout
        for row in self._read():
            rows += 1
            if row.bad:
                continue
            if layout.continues(row.cells):
                self._continuations.setdefault(layout.key_of(row.cells), []).append(row)
                kept += 1
                if kept > MAX_CONTINUATIONS:
                    raise NotAReport(f"more than {MAX_CONTINUATIONS:,} rows have ids and nothing else of a line")
            elif self._twins and (twin := self._twin(row)):
                self._twins.stands(twin)
        joins = bool(self._continuations)
        made = (LINE_KEY,) if self._family.line_key else ()
        return Scanned(
            (*made, *_fields(layout.line, extra=joins or bool(layout.extra))),
            _fields(layout.buyer, extra=joins or bool(layout.buyer_extra)),
            (*(column.name.lower() for _, column in layout.extra), CONTINUED),
            rows,
            self._lines,
        )

    def continues(self, row: Row) -> bool:
        """Whether the row has ids, and nothing else of what a line must have."""
        return row.bad is None and self._layout.continues(row.cells)

    def _lines(self) -> Iterator[Line | Rejected]:
        """Each row once: as a line, rejected, or joined to its line."""
        layout = self._layout
        waiting = dict(self._continuations)
        numbers = Counter[Twin]()
        for row in self._read():
            try:
                if row.bad:
                    raise row.bad
                if layout.continues(row.cells):
                    continue
                values, key = self._values(row.cells), self._key(row, numbers)
            except Unreadable as bad:
                yield self._rejected(row, bad)
                continue
            joined = 0
            for more in waiting.pop(layout.key_of(row.cells), ()):
                try:
                    values.join(self._values(more.cells, continues=True))
                    joined += 1
                except Unreadable as bad:
                    yield self._rejected(more, bad)
            told = _told(values.line, values.extra, layout.extra or self._continuations)
            yield Line(
                row.number,
                key,
                (*key[len(layout.key) :], *told),
                _told(values.buyer, values.buyer_extra, layout.buyer_extra or self._continuations),
                joined,
                values.line[self._changed_by[1].name.lower()] if self._changed_by else None,
                row.scope,
            )
        for rows in waiting.values():
            for row in rows:
                lacks = layout.required[0][1].name
                yield self._rejected(row, Unreadable("is blank, and no line of the file has these ids", column=lacks))

    def _key(self, row: Row, numbers: Counter[Twin]) -> tuple[str, ...]:
        """The key of a line; raises Unreadable where nothing tells it from the others of its order."""
        key = self._layout.key_of(row.cells)
        if self._layout.line_key and not key[-1]:
            raise Unreadable("has neither an order-item-id nor a SKU nor an ASIN")
        if self._twins and (twin := self._twin(row)):
            if self._twins.may_stand_twice(twin):
                numbers[twin] += 1
            return (*key[:-1], f"{key[-1]}{numbers[twin] or 1}")
        return key

    def _twin(self, row: Row) -> Twin | None:
        """What twins have in common; None for a line with an id, and for one that cannot be read."""
        key = self._layout.key_of(row.cells)
        if not key[-1].endswith("#"):
            return None
        changed = None
        if self._changed_by:
            at, column = self._changed_by
            try:
                changed = self._value(row.cells[at], column, continues=False)
            except Unreadable:
                return None
        return (row.scope, *key, changed)

    def _values(self, cells: Sequence[str], *, continues: bool = False) -> _Values:
        line, buyer, extra, buyer_extra = (
            {column.name.lower(): self._value(cells[at], column, continues=continues) for at, column in placed}
            for placed in (self._layout.line, self._layout.buyer, self._layout.extra, self._layout.buyer_extra)
        )
        return _Values(line, buyer, extra, buyer_extra)

    def _value(self, cell: str, column: Column, *, continues: bool) -> str | None:
        try:
            value = read_cell(cell, column.type, self._style)
            if value is None and column.required and not continues:
                raise Unreadable("is blank")
        except Unreadable as bad:
            bad.column = column.name
            raise
        return value

    def _rejected(self, row: Row, bad: Unreadable) -> Rejected:
        order_id, order_item_id = (
            row.cells[at].strip() if at is not None and len(row.cells) > at else ""
            for at in (self._layout.at.get("order_id"), self._layout.at.get("order_item_id"))
        )
        whole = len(row.cells) == self._layout.width
        is_order_id = ORDER_ID.fullmatch(order_id) is not None
        return Rejected(
            row.number,
            bad.column,
            bad.reason,
            order_id if is_order_id else None,
            order_item_id if whole and _ORDER_ITEM_ID.fullmatch(order_item_id) else None,
            self._lacking_in(row, order_id) if self._layout.line_key and (whole or is_order_id) else None,
        )

    def _lacking_in(self, row: Row, order_id: str) -> tuple[int, str, str] | None:
        """The set of lines without ids that lacks this row; None for a row of a line that has an id."""
        own = self._layout.key_of(row.cells)[-1] if len(row.cells) == self._layout.width else ""
        return (row.scope, order_id, own) if not own or own.endswith("#") else None


def _fields(placed: Placed, *, extra: bool) -> tuple[str, ...]:
    return (*(column.field for _, column in placed if column.field), *((EXTRA,) if extra else ()))


def _told(own: dict[str, str | None], extra: dict[str, Any], has_extra: object) -> tuple[str | None, ...]:
    """The values in the order of the fields, of which `extra`, as JSON, is the last where the layout has it."""
    if not has_extra:
        return tuple(own.values())
    known = {name: value for name, value in extra.items() if value is not None}
    return (*own.values(), json.dumps(known, ensure_ascii=False) if known else None)
