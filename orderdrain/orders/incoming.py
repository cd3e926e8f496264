"""A report's rows on their way in: copied to temporary tables, a block in memory at a time."""

from __future__ import annotations

import io
from itertools import chain
from typing import TYPE_CHECKING

from orderdrain.families import EXTRA

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orderdrain.db import Cursor
    from orderdrain.families import Family
    from orderdrain.parsers import ParsedReport
    from orderdrain.reports import Report


def bring(cursor: Cursor, report: Report, parsed: ParsedReport) -> None:
    """Copies the lines to the temporary table, the rejected rows to their own. Raises NotAReport, as reading does."""
    family = parsed.family
    key = (report.key.account, report.key.api, report.key.report_id)
    make_tables(cursor, family)
    sets = bool(family.line_key)
    lines = (*(("scope",) if sets else ()), "line", *parsed.fields, *map(buyer_field, parsed.buyer_fields))
    rejected = ("account", "api", "report_id", "line", '"column"', "reason", "order_id", "order_item_id")
    for block in parsed.blocks():
        rows = ((str(line.number), *line.values, *line.buyer) for line in block.lines)
        if sets:
            rows = ((str(line.scope), *row) for line, row in zip(block.lines, rows, strict=True))
            gaps = ((str(r.lacking_in[0]), *r.lacking_in[1:]) for r in block.rejected if r.lacking_in)
            _copy(cursor, gaps_table(family), ("scope", "order_id", "set"), gaps)
        _copy(cursor, lines_table(family), lines, rows)
        _copy(cursor, "rejected_rows", rejected, ((*key, str(r.line), *r[1:5]) for r in block.rejected))


def lines_table(family: Family) -> str:
    """The temporary table of a report's lines: what the family's table and `buyers` take, and `line`."""
    return f"incoming_{family.name}"


def gaps_table(family: Family) -> str:
    """The temporary table of the sets that lack a row: (scope, order_id, set), where `set` may be blank for any."""
    return f"incoming_{family.name}_gaps"


def buyer_field(field: str) -> str:
    """What a column of `buyers` is called in the temporary table."""
    return f"of_buyer_{field}"


def make_tables(cursor: Cursor, family: Family) -> tuple[str, ...]:
    """Made once a session and emptied by each commit: made anew for each report, the catalog would grow with it. `pass`
    is the one in which a line is merged (see Told). Returns their names."""
    sets = {"scope": "integer"} if family.line_key else {}
    digest = {"digest": "uuid"} if family.keeps_digests else {}
    own = {**sets, "pass": "integer DEFAULT 1", "line": "integer", **digest}
    made = {lines_table(family): {**own, **family.line_fields, **_buyer_fields(family)}}
    if family.line_key:
        made[gaps_table(family)] = {**sets, "order_id": "text", "set": "text"}
    tables = ";".join(
        f"CREATE TEMPORARY TABLE IF NOT EXISTS {table} ({', '.join(map(' '.join, fields.items()))})"
        " ON COMMIT DELETE ROWS"
        for table, fields in made.items()
    )
    cursor.execute(tables)
    return tuple(made)


def _buyer_fields(family: Family) -> dict[str, str]:
    fields = chain.from_iterable(family.buyer_groups.values())
    return {buyer_field(f): "jsonb" if f == EXTRA else "text" for f in fields}


def copy(cursor: Cursor, table: str, columns: Iterable[str], file: object, *, null: str = "") -> None:
    """Copies a file of rows in UTF-8, as COPY's text format has them; `null` is what a cell of NULL holds."""
    cursor.copy_expert(f"COPY {table} ({', '.join(columns)}) FROM STDIN (NULL '{null}', ENCODING 'UTF8')", file)


def _copy(cursor: Cursor, table: str, columns: Iterable[str], rows: Iterable[Sequence[str | None]]) -> None:
    text = "".join(["\t".join(map(_cell, row)) + "\n" for row in rows])
    if text:
        copy(cursor, table, columns, io.BytesIO(text.encode()), null="\\N")


#: COPY's text format: these five characters mean something of their own.
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def escaped(text: str) -> str:
    """A text as COPY takes it."""
    return text.translate(_ESCAPES)


def _cell(value: str | None) -> str:
    return "\\N" if value is None else escaped(value)
