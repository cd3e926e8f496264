"""What one report tells: its layout, its version, and its rows as the merge sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orderdrain.families import EXTRA, LINE_KEY
from orderdrain.orders.incoming import gaps_table, lines_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orderdrain.db import Cursor
    from orderdrain.families import Family
    from orderdrain.parsers import ParsedReport
    from orderdrain.reports import Report

#: From so many lines on the planner must know what is in the temporary table.
ANALYZE_FROM = 500


class ToldColumns:
    """Which columns of its table a report tells, by those that its layout has."""

    def __init__(self, family: Family, fields: Sequence[str], extra_names: Sequence[str]) -> None:
        own = [f for f in fields if f not in {*family.key, EXTRA}]
        #: Personal columns of the row that the report tells: all of them, or none.
        self.in_line = family.in_line if set(family.in_line) & set(own) else ()
        #: The columns of the table that it tells.
        self.fields = [*own, *(f for f in self.in_line if f not in own)]
        #: These, and what it keeps in `extra`.
        self.names = sorted([*self.fields, *(f"{EXTRA}.{name}" for name in extra_names)])
        #: What a row says that has nothing in its personal columns: nothing about them.
        self.less = [name for name in self.names if name not in self.in_line]


class Told:
    """A report whose rows are in the temporary table, and the parts of SQL that depend on it.

    In them `i` is a row of the report and `t` the row that is stored; they go with `parameters`.
    """

    def __init__(self, cursor: Cursor, report: Report, parsed: ParsedReport) -> None:
        self.family = family = parsed.family
        self._report = report
        self._extra = list(parsed.extra_names)
        columns = ToldColumns(family, parsed.fields, parsed.extra_names)
        self.fields, self.in_line = columns.fields, columns.in_line
        self._layouts = {"told": columns.names, "layout": layout(cursor, family, columns.names)}
        if self.in_line:
            self._layouts |= {"told_less": columns.less, "layout_less": layout(cursor, family, columns.less)}
        key = ", ".join(family.key)
        in_set = f"bool_or(strpos({LINE_KEY}, '#') > 0)" if family.line_key else "false"
        cursor.execute(
            "SELECT coalesce(max(twins), 0) AS passes, coalesce(sum(twins), 0) AS lines, bool_or(in_set) AS has_sets"
            f" FROM (SELECT count(*) AS twins, {in_set} AS in_set FROM {lines_table(family)} GROUP BY {key}) AS keys"
        )
        row = cursor.fetchone()
        #: A line that stands twice in the file is merged twice: a pass for each.
        self.passes: int = row.passes
        if self.passes > 1:
            again = f"SELECT {key} FROM {lines_table(family)} GROUP BY {key} HAVING count(*) > 1"
            cursor.execute(
                f"UPDATE {lines_table(family)} i SET pass = told.number FROM ("
                f"  SELECT line, row_number() OVER (PARTITION BY {key} ORDER BY line) AS number"
                f"  FROM {lines_table(family)} WHERE ({key}) IN ({again})) AS told"
                f" WHERE i.line = told.line AND told.number > 1"
            )
        #: Whether any line has no id: only such lines are sets.
        self.has_sets: bool = row.has_sets
        if row.lines >= ANALYZE_FROM:
            cursor.execute(f"ANALYZE {lines_table(family)} ({key})")

    def parameters(self, number: int) -> dict[str, Any]:
        """Of the pass with this number, from 1."""
        return {
            "account": self._report.key.account,
            "family": self.family.name,
            "as_of": self._report.available_at,
            "report_id": self._report.key.report_id,
            "extra": self._extra,
            "pass": number,
            **self._layouts,
        }

    # ------------------------------------------------------------------------------------------------- the version

    @property
    def version(self) -> list[str]:
        """The version of a row of this report, in the order of the family's version columns."""
        of_report = {"as_of": "%(as_of)s", "report_id": "%(report_id)s"}
        if self.family.line_key:
            of_report["line"] = "i.set_line"
        return [of_report.get(column, f"i.{column}") for column in self.family.version]

    @property
    def stored_version(self) -> list[str]:
        return [f"t.{column}" for column in self.family.version]

    def compared(self, sign: str) -> str:
        """The row's version beside the stored one. Ids are compared as numbers: 9 < 10."""
        mine, theirs = (
            ", ".join(
                f"{value}::numeric" if column == "report_id" else value
                for column, value in zip(self.family.version, values, strict=True)
            )
            for values in (self.version, self.stored_version)
        )
        return f"({mine}) {sign} ({theirs})"

    # ---------------------------------------------------------------------------------------------------- the rows

    @property
    def rows(self) -> str:
        """The report's rows, each with its version and the pass in which it is merged."""
        family, made = self.family, []
        if family.changed_by:
            made.append(f"coalesce(i.{family.changed_by}, %(as_of)s) AS changed_at")
        if family.line_key and not self.has_sets:
            made.append("line AS set_line, true AS is_whole")
        elif family.line_key:
            one_set = f"scope, order_id, set_of(line_key), {family.changed_by}"
            made.append(
                f"CASE WHEN set_of(line_key) IS NULL THEN line ELSE min(line) OVER (PARTITION BY {one_set}) END"
                " AS set_line"
            )
            # As two lists that Postgres hashes: with many rejected rows, a search for each line takes hours.
            gaps = f"SELECT scope, order_id, set FROM {gaps_table(family)}"
            made.append(
                f"set_of(line_key) IS NULL OR (scope, order_id, set_of(line_key)) NOT IN ({gaps})"
                f" AND (scope, order_id, '') NOT IN ({gaps}) AS is_whole"
            )
        return f"SELECT {', '.join(['i.*', *made])} FROM {lines_table(family)} i"

    # ---------------------------------------------------------------------------------------------- what it tells

    @property
    def tells_in_line(self) -> str:
        """Whether a row tells its personal columns: one has a value, and the stored row was not purged."""
        return f"(num_nonnulls({', '.join(f'i.{f}' for f in self.in_line)}) > 0 AND t.purged_at IS NULL)"

    @property
    def names(self) -> str:
        """The names of the columns that a row tells."""
        if self.in_line:
            return "CASE WHEN tells_in_line THEN %(told)s::text[] ELSE %(told_less)s::text[] END"
        return "%(told)s::text[]"

    @property
    def layout(self) -> str:
        """The layout of a row: of just the columns that it tells."""
        if self.in_line:
            return "CASE WHEN tells_in_line THEN %(layout)s::integer ELSE %(layout_less)s END"
        return "%(layout)s::integer"


#: Goes on with the digest of the columns' names.
LOOK_FOR_LAYOUT = "SELECT layout FROM layouts WHERE family = %(family)s AND layout_digest(columns) ="


def layout(cursor: Cursor, family: Family, names: list[str]) -> int:
    """The number of a set of columns. A set that is known is only read: whoever writes its row would make all others
    with the same columns wait until the report is merged."""
    look = "SELECT layout FROM layouts WHERE family = %s AND layout_digest(columns) = layout_digest(%s)"
    cursor.execute(look, (family.name, names))
    if cursor.rowcount == 0:
        cursor.execute(
            "INSERT INTO layouts (family, columns) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            (family.name, names),
        )
        cursor.execute(look, (family.name, names))
    return int(cursor.fetchone().layout)
