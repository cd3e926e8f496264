"""All SQL about order tables: the newest-wins merge, the buyers, the rejected rows.

A report's lines are copied to a temporary table in batches, then merged by whole sets, never row by row. A line's
version is (as_of, report_id, line); the newest wins, and any order, overlap or repetition of reports ends in
the same rows:

- A newer report replaces the columns that its layout has, also when their content is the same: the version must move
  on, or a report between the two that arrives late would win.
- A column that a layout lacks is not told: it keeps its value, and `older_columns` keeps the version that told it, so
  that a report which arrives late and lies between may still win for just that column.
- Personal columns come in groups, each with a version of its own: a group with any value replaces the whole group.
"""

from __future__ import annotations

import io
from itertools import chain
from typing import TYPE_CHECKING, Any

from orderdrain.errors import GiveUp
from orderdrain.families import EXTRA
from orderdrain.reports import RowCounts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orderdrain.db import Cursor, Database
    from orderdrain.families import Family
    from orderdrain.parsers import ParsedReport
    from orderdrain.reports import Report

#: From so many lines on the planner must know what is in the temporary table.
ANALYZE_FROM = 500


class Orders:
    """The order tables."""

    def merge(self, cursor: Cursor, report: Report, parsed: ParsedReport) -> RowCounts:
        """Brings a report's lines into their table, newest wins, and sets its bad rows aside, in the caller's
        transaction. Raises NotAReport where reading on shows that it is none, GiveUp where its family has no table."""
        if parsed.family.table is None:
            raise GiveUp(f"{report.report_type} has no table in this version")
        # One report of an account at a time: two that tell the same lines in another order would lock each other out.
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (report.key.account,))
        self._copy(cursor, report, parsed)
        told = _Told(cursor, report, parsed)
        new = changed = same = older = 0
        for number in range(1, told.passes + 1):
            cursor.execute(told.merge_lines(), told.parameters(number))
            counted = cursor.fetchone()
            cursor.execute(told.merge_buyers(), told.parameters(number))
            new += counted.new
            changed += counted.changed
            same += counted.same
            older += counted.older
        return RowCounts(new, changed, same, older, parsed.counts.joined, parsed.counts.rejected)

    def rejected(self, database: Database, *, account: str | None, report_id: str | None, limit: int) -> list[Any]:
        """Rejected rows, newest first; one more than `limit`, so that the caller sees whether there are more."""
        return database.query(
            'SELECT account, api, report_id, line, "column", reason, order_id, order_item_id, rejected_at'
            " FROM rejected_rows WHERE account = coalesce(%s, account) AND report_id = coalesce(%s, report_id)"
            " ORDER BY rejected_at DESC, account, report_id, line LIMIT %s",
            (account, report_id, limit + 1),
        )

    def _copy(self, cursor: Cursor, report: Report, parsed: ParsedReport) -> None:
        """Copies the lines to the temporary table and the rejected rows to their own, a block in memory at a time."""
        key = (report.key.account, report.key.api, report.key.report_id)
        cursor.execute("DELETE FROM rejected_rows WHERE account = %s AND api = %s AND report_id = %s", key)
        cursor.execute(_incoming_table(parsed.family))
        incoming = ("line", *parsed.fields, *map(_buyer_field, parsed.buyer_fields))
        rejected = ("account", "api", "report_id", "line", '"column"', "reason", "order_id", "order_item_id")
        for block in parsed.blocks():
            lines = ((str(line.number), *line.values, *line.buyer) for line in block.lines)
            _copy_rows(cursor, _incoming(parsed.family), incoming, lines)
            _copy_rows(cursor, "rejected_rows", rejected, ((*key, str(r.line), *r[1:]) for r in block.rejected))


class _Told:
    """What one report tells, and the two statements that merge it."""

    def __init__(self, cursor: Cursor, report: Report, parsed: ParsedReport) -> None:
        self.family = parsed.family
        self.fields = [f for f in parsed.fields if f not in {*self.family.key, EXTRA}]
        self._extra = list(parsed.extra_names)
        self._names = sorted([*self.fields, *(f"{EXTRA}.{name}" for name in self._extra)])
        self._report = report
        cursor.execute(
            "INSERT INTO layouts (family, columns) VALUES (%s, %s)"
            " ON CONFLICT (family, columns) DO UPDATE SET family = EXCLUDED.family RETURNING layout",
            (self.family.name, self._names),
        )
        self._layout = cursor.fetchone().layout
        key = ", ".join(self.family.key)
        cursor.execute(
            "SELECT coalesce(max(twins), 0) AS passes, coalesce(sum(twins), 0) AS lines"
            f" FROM (SELECT count(*) AS twins FROM {_incoming(self.family)} GROUP BY {key}) AS keys"
        )
        row = cursor.fetchone()
        #: A line that stands twice in the file is merged twice, in the order it stands: a pass for each.
        self.passes: int = row.passes
        if row.lines >= ANALYZE_FROM:
            cursor.execute(f"ANALYZE {_incoming(self.family)} ({key})")

    def parameters(self, number: int) -> dict[str, Any]:
        return {
            "account": self._report.key.account,
            "family": self.family.name,
            "as_of": self._report.available_at,
            "report_id": self._report.key.report_id,
            "layout": self._layout,
            "extra": self._extra,
            "told": self._names,
            "pass": number,
        }

    def merge_lines(self) -> str:
        """Inserts new lines, updates those that this report is newer for, and fills in for older reports the columns
        that no newer one has told. Returns the statement; its row counts new, changed, same, older."""
        table, key = self.family.table, self.family.key
        matches = " AND ".join(f"t.{k} = i.{k}" for k in key)
        names = ", ".join(key)
        fields = ", ".join(self.fields)
        differs = " OR ".join(
            [f"t.{f} IS DISTINCT FROM i.{f}" for f in self.fields] + ["newer_extra IS DISTINCT FROM t.extra"]
        )
        fills = " OR ".join(
            [f"('{f}' = ANY(filled) AND t.{f} IS DISTINCT FROM i.{f})" for f in self.fields]
            + ["(filled IS NOT NULL AND filled_extra IS DISTINCT FROM t.extra)"]
        )
        return f"""
            WITH pass AS (
                SELECT *, row_number() OVER (PARTITION BY {names} ORDER BY line) AS pass FROM {_incoming(self.family)}
            ),
            judged AS (
                SELECT i.*, t.{key[0]} IS NULL AS is_new,
                    (%(as_of)s, %(report_id)s::numeric, i.line) > (t.as_of, t.report_id::numeric, t.line) AS is_newer,
                    (%(as_of)s, %(report_id)s::numeric, i.line) < (t.as_of, t.report_id::numeric, t.line) AS is_older,
                    said, filled, newer_extra, filled_extra, ({differs}) AS differs, ({fills}) AS fills
                FROM pass i LEFT JOIN {table} t ON t.account = %(account)s AND {matches}
                LEFT JOIN layouts l ON l.layout = t.layout
                CROSS JOIN LATERAL (SELECT coalesce(i.extra, '{{}}') AS said) AS none
                -- OFFSET 0 keeps these apart: folded into the rest they are planned, and run, once for each column.
                CROSS JOIN LATERAL (
                    SELECT (t.extra - %(extra)s::text[]) || said AS newer_extra,
                        -- Columns that this report tells and that no newer one has told.
                        (SELECT array_agg(c) FROM unnest(%(told)s::text[]) c WHERE c <> ALL(l.columns) AND coalesce(
                            t.older_columns->>c < version_key(%(as_of)s, %(report_id)s, i.line) COLLATE "C", true)
                        ) AS filled
                    OFFSET 0
                ) AS one
                CROSS JOIN LATERAL (
                    SELECT coalesce(jsonb_object_agg(k, v) FILTER (WHERE v IS NOT NULL), '{{}}') AS filled_extra FROM (
                        SELECT k, CASE WHEN '{EXTRA}.' || k = ANY(filled) THEN said->k ELSE t.extra->k END AS v
                        FROM (SELECT jsonb_object_keys(t.extra || said)) AS keys (k)) AS kept
                    OFFSET 0
                ) AS two
                WHERE i.pass = %(pass)s
            ),
            inserted AS (
                INSERT INTO {table} (account, {names}, as_of, report_id, line, layout, {fields}, extra)
                SELECT %(account)s, {names}, %(as_of)s, %(report_id)s, line, %(layout)s, {fields}, said
                FROM judged WHERE is_new ORDER BY {names}
            ),
            updated AS (
                UPDATE {table} t SET {"".join(f"{f} = i.{f}, " for f in self.fields)}
                    extra = i.newer_extra, as_of = %(as_of)s, report_id = %(report_id)s, line = i.line,
                    layout = %(layout)s,
                    older_columns = CASE WHEN t.layout = %(layout)s THEN t.older_columns
                        ELSE (t.older_columns - %(told)s::text[]) || coalesce((
                            SELECT jsonb_object_agg(c, version_key(t.as_of, t.report_id, t.line)) FROM layouts l,
                            unnest(l.columns) c WHERE l.layout = t.layout AND c <> ALL(%(told)s)), '{{}}') END
                FROM judged i WHERE t.account = %(account)s AND {matches} AND i.is_newer
            ),
            filled AS (
                UPDATE {table} t SET
                    {"".join(f"{f} = CASE WHEN '{f}' = ANY(i.filled) THEN i.{f} ELSE t.{f} END, " for f in self.fields)}
                    extra = i.filled_extra,
                    older_columns = t.older_columns || (SELECT
                        jsonb_object_agg(c, version_key(%(as_of)s, %(report_id)s, i.line)) FROM unnest(i.filled) c)
                FROM judged i
                WHERE t.account = %(account)s AND {matches} AND i.is_older AND i.filled IS NOT NULL
            )
            SELECT count(*) FILTER (WHERE is_new) AS new,
                count(*) FILTER (WHERE is_newer AND differs OR is_older AND fills) AS changed,
                count(*) FILTER (WHERE NOT is_new AND NOT is_older AND NOT (is_newer AND differs)) AS same,
                count(*) FILTER (WHERE is_older AND NOT coalesce(fills, false)) AS older
            FROM judged
        """

    def merge_buyers(self) -> str:
        """Takes each group of personal columns that holds any value and is newer than what the buyer's row has."""
        groups, key = self.family.buyer_groups, ", ".join(self.family.key)
        told, takes = {g: _is_told(g, fields) for g, fields in groups.items()}, {g: _is_newer(g) for g in groups}
        columns = [(group, f) for group, fields in groups.items() for f in fields]
        versions = (f"CASE WHEN {told[g]} THEN jsonb_build_object('{g}', v) ELSE '{{}}' END" for g in groups)
        sets = (f"{f} = CASE WHEN {takes[g]} THEN EXCLUDED.{f} ELSE b.{f} END" for g, f in columns)
        taken = (
            f"CASE WHEN {takes[g]} THEN jsonb_build_object('{g}', EXCLUDED.versions->'{g}') ELSE '{{}}' END"
            for g in groups
        )
        return f"""
            INSERT INTO buyers AS b (account, family, order_id, line_key, versions, {", ".join(f for _, f in columns)})
            SELECT %(account)s, %(family)s, {key}, {" || ".join(versions)},
                {", ".join(_value(f) for _, f in columns)}
            FROM (
                SELECT *, row_number() OVER (PARTITION BY {key} ORDER BY line) AS pass FROM {_incoming(self.family)}) i,
                LATERAL (SELECT version_key(%(as_of)s, %(report_id)s, i.line) AS v) AS version
            WHERE i.pass = %(pass)s AND ({" OR ".join(told.values())})
            ORDER BY {key}
            ON CONFLICT (account, family, order_id, line_key) DO UPDATE SET {", ".join(sets)},
                versions = b.versions || {" || ".join(taken)}
            WHERE b.purged_at IS NULL AND ({" OR ".join(takes.values())})
        """


def _is_told(group: str, fields: Sequence[str]) -> str:
    if group == EXTRA:
        return f"i.{_buyer_field(EXTRA)} <> '{{}}'"
    return f"num_nonnulls({', '.join(f'i.{_buyer_field(f)}' for f in fields)}) > 0"


def _is_newer(group: str) -> str:
    newer = f"EXCLUDED.versions->>'{group}' > b.versions->>'{group}' COLLATE \"C\""
    return f"(EXCLUDED.versions ? '{group}' AND coalesce({newer}, true))"


def _value(field: str) -> str:
    return f"coalesce(i.{_buyer_field(field)}, '{{}}')" if field == EXTRA else f"i.{_buyer_field(field)}"


def _incoming(family: Family) -> str:
    return f"incoming_{family.name}"


def _incoming_table(family: Family) -> str:
    """Made once a session and emptied by each commit: made anew for each report, the catalog would grow with it."""
    fields = {"line": "integer", **family.line_fields, **_buyer_fields(family)}
    columns = ", ".join(f"{name} {kind}" for name, kind in fields.items())
    return f"CREATE TEMPORARY TABLE IF NOT EXISTS {_incoming(family)} ({columns}) ON COMMIT DELETE ROWS"


def _buyer_fields(family: Family) -> dict[str, str]:
    fields = chain.from_iterable(family.buyer_groups.values())
    return {_buyer_field(f): "jsonb" if f == EXTRA else "text" for f in fields}


def _buyer_field(field: str) -> str:
    return f"of_buyer_{field}"


def _copy_rows(cursor: Cursor, table: str, columns: Iterable[str], rows: Iterable[Sequence[str | None]]) -> None:
    buffer = io.StringIO()
    for row in rows:
        buffer.write("\t".join(map(_escaped, row)) + "\n")
    if buffer.tell():
        buffer.seek(0)
        cursor.copy_expert(f"COPY {table} ({', '.join(columns)}) FROM STDIN", buffer)


#: COPY's text format: these five characters mean something of their own.
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def _escaped(value: str | None) -> str:
    return "\\N" if value is None else value.translate(_ESCAPES)
