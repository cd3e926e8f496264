"""The seam between bytes and tables: what a report says, whatever its type, format and charset.

    with open_report(file, report_type=..., content_type=..., marketplaces=...) as report:
        report.fields, report.buyer_fields    # the SQL columns that this report's layout has
        for block in report.blocks():         # lines and rejected rows, as they stand in the file
            ...
        report.counts                         # accounts for every row

A format is one function that gives a ParsedReport; a report type is a line in orderdrain/families/__init__.py.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

from orderdrain.errors import GiveUp
from orderdrain.families import EXTRA, LINE_KEY, REPORT_TYPES, CellType
from orderdrain.marketplaces import style_of
from orderdrain.parsers.decoding import decide
from orderdrain.parsers.flat_file import read_flat_file
from orderdrain.parsers.order_xml import read_order_xml
from orderdrain.parsers.rows import Block, Counts, Line, ParsedReport, Rejected
from orderdrain.parsers.usual import UsualLine, UsualLines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = [
    "Block",
    "Counts",
    "Line",
    "ParsedReport",
    "Rejected",
    "UsualLine",
    "UsualLines",
    "open_report",
    "parse_file",
]


@contextmanager
def open_report(
    file: BinaryIO, *, report_type: str, content_type: str | None, marketplaces: Sequence[str]
) -> Iterator[ParsedReport]:
    """Finds the charset, understands the columns, counts the rows; `report.blocks()` then reads them.

    `file` holds the archived bytes, may be read again from its begin, and stays the caller's. `content_type` is what
    came with the bytes, `marketplaces` are the account's ids. Raises GiveUp for a type that this version does not read,
    and NotAReport, also while the rows are read.
    """
    known = REPORT_TYPES.get(report_type)
    if known is None:
        raise GiveUp(f"{report_type} is no report type that this version reads")
    decoded = decide(file, content_type=content_type, marketplaces=marketplaces)
    if known.format == "xml" and known.family.xml:
        yield read_order_xml(file, known.family, known.family.xml, decoded, style_of(marketplaces))
    else:
        yield read_flat_file(file, known.family, decoded, style_of(marketplaces))


def parse_file(
    path: Path,
    *,
    report_type: str,
    marketplace: str | None = None,
    content_type: str | None = None,
    with_buyers: bool = False,
) -> dict[str, Any]:
    """What a report says, for `orderdrain parse`: everything in one object, without a database.

    {"outcome": "rows" | "empty" | "quarantined", "encoding": ..., "rows": [...], "rejected": [{"line", "column",
    "reason"}], "reason": why it is quarantined}. A row has every column of the family, null where it is blank or
    absent; money is a string, times are in UTC, a quantity is a number. Personal columns, under "buyer", only
    `with_buyers`.
    """
    told: dict[str, Any] = {"outcome": "quarantined", "encoding": None, "rows": [], "rejected": [], "reason": None}
    marketplaces = (marketplace,) if marketplace else ()
    try:
        with (
            path.open("rb") as file,
            open_report(file, report_type=report_type, content_type=content_type, marketplaces=marketplaces) as report,
        ):
            told["encoding"] = report.encoding
            for block in report.blocks():
                told["rows"] += [_row(line, report, with_buyers=with_buyers) for line in block.lines]
                told["rejected"] += [
                    {"line": row.line, "column": row.column, "reason": row.reason} for row in block.rejected
                ]
            told["outcome"] = "empty" if report.empty else "rows"
    except GiveUp as error:
        told |= {"rows": [], "reason": str(error)}
    told["rejected"].sort(key=lambda row: row["line"])
    return told


def _row(line: Line, report: ParsedReport, *, with_buyers: bool) -> dict[str, Any]:
    said = dict(zip(report.fields, line.values, strict=True))
    buyer = dict(zip(report.buyer_fields, line.buyer, strict=True))
    columns = [(column, column.field) for column in report.family.columns if column.field]
    row: dict[str, Any] = {c.shown_as: _shown(said.get(field), c.type) for c, field in columns if not c.personal}
    if LINE_KEY in said:
        row[LINE_KEY] = said[LINE_KEY]
    row[EXTRA] = _extra(said)
    if with_buyers:
        row["buyer"] = {c.shown_as: said.get(field, buyer.get(field)) for c, field in columns if c.personal}
        row["buyer"][EXTRA] = _extra(buyer)
    return row


def _extra(said: dict[str, str | None]) -> Any:
    extra = said.get(EXTRA)
    return json.loads(extra) if extra else None


def _shown(value: str | None, kind: CellType) -> str | int | bool | None:
    if value is None:
        return None
    match kind:
        case "integer":
            return int(value)
        case "boolean":
            return value == "true"
        case "timestamp":
            return value.replace("+00:00", "Z")
        case _:
            return value
