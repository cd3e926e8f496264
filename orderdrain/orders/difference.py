"""What a report that is told again changes: the rows as they were (withdrawn.py) beside the rows as they are.

Of several reports the whole difference is told as well, with what was taken away at the end: all of the account's rows
as they were before the first of them (`keep`) beside all as they are after the last. Where one report withdraws a line
that the next one tells, that is one change.

Nothing of a buyer's is told: of personal columns only how many rows have others in a group.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orderdrain.families import EXTRA
from orderdrain.orders.incoming import lines_table
from orderdrain.orders.withdrawn import BEFORE_BUYERS, NOBODYS, before_lines

if TYPE_CHECKING:
    from orderdrain.db import Cursor
    from orderdrain.families import Family


@dataclass
class Difference:
    """Counts of lines, whole; `changes` are the first of them, as {"what", "line", "column", "old", "new"}; `more`:
    there are others.

    `columns`: in how many lines each column has another value, or, after `gone:`, is told no more. `buyers`: in how
    many rows each group has. `open`: how many lines or groups an older report may tell, since this one does no more.
    """

    new: int = 0
    changed: int = 0
    gone: int = 0
    columns: dict[str, int] = field(default_factory=dict)
    buyers: dict[str, int] = field(default_factory=dict)
    open: int = 0
    more: bool = False
    changes: list[dict[str, Any]] = field(default_factory=list)

    def __str__(self) -> str:
        told = [(self.new, "new"), (self.changed, "changed"), (self.gone, "gone")]
        told += [(n, f"with another {group.replace('_', ' ')}") for group, n in self.buyers.items()]
        return ", ".join(f"{n:,} {word}" for n, word in told if n) or "no difference"


def keep(cursor: Cursor, account: str, family: Family) -> None:
    """Copies the account's rows of the family, for `whole_difference` in this session."""
    lines, buyers = _kept(family)
    for table, rows in (
        (lines, f"SELECT * FROM {family.table} WHERE account = %(account)s"),
        (buyers, "SELECT * FROM buyers WHERE account = %(account)s AND family = %(family)s"),
    ):
        cursor.execute(f"DROP TABLE IF EXISTS pg_temp.{table}")
        cursor.execute(f"CREATE TEMPORARY TABLE {table} AS {rows}", {"account": account, "family": family.name})
        cursor.execute(f"ANALYZE {table}")


def whole_difference(cursor: Cursor, account: str, family: Family, *, limit: int) -> Difference | None:
    """What is otherwise than kept, and forgets what was; None where this session has kept nothing: it is a new one,
    since the connection broke."""
    lines, buyers = _kept(family)
    cursor.execute("SELECT to_regclass(%s) IS NOT NULL AS known", (f"pg_temp.{buyers}",))
    if not cursor.fetchone().known:
        return None
    found = _compared(
        cursor,
        account,
        family,
        limit,
        f"(SELECT * FROM {family.table} WHERE account = %(account)s) a"
        f" FULL JOIN {lines} b USING ({', '.join(family.key)}) WHERE true",
        "(SELECT * FROM buyers WHERE account = %(account)s AND family = %(family)s) a"
        f" FULL JOIN {buyers} b USING (order_id, line_key)",
    )
    cursor.execute(f"DROP TABLE {lines}, {buyers}")
    return found


def _kept(family: Family) -> tuple[str, str]:
    """The temporary tables of the lines and the buyers that are kept."""
    return f"kept_{family.name}", f"kept_{family.name}_buyers"


def difference(cursor: Cursor, account: str, family: Family, *, limit: int) -> Difference:
    """What is otherwise than remembered, in the same transaction; up to `limit` changes one by one."""
    key, line_key, before, lines = ", ".join(family.key), family.key[-1], before_lines(family), lines_table(family)
    return _compared(
        cursor,
        account,
        family,
        limit,
        f"(SELECT {key} FROM {before} UNION SELECT {key} FROM {lines}) AS keys JOIN {family.table} a USING ({key})"
        f" LEFT JOIN {before} b USING ({key}) WHERE a.account = %(account)s",
        f"(SELECT order_id, line_key FROM {BEFORE_BUYERS} UNION SELECT order_id, {line_key} FROM {lines}) AS keys"
        f" JOIN buyers a USING (order_id, line_key) LEFT JOIN {BEFORE_BUYERS} b USING (order_id, line_key)"
        " WHERE a.account = %(account)s AND a.family = %(family)s",
    )


def _compared(cursor: Cursor, account: str, family: Family, limit: int, lines: str, buyers: str) -> Difference:
    """Of rows as they are, `a`, beside those as they were, `b`: of either may be none."""
    found, line = Difference(), f"concat_ws('/', {', '.join(family.key)})"
    cursor.execute(
        f"""
        WITH compared AS (
            SELECT {line} AS line, b.account IS NOT NULL AND b.as_of > {NOBODYS["as_of"]} AS was_told,
                a.account IS NOT NULL AND a.as_of > {NOBODYS["as_of"]} AS is_told, a.account IS NULL AS is_away,
                {_values("b", family)} AS before, {_values("a", family)} AS now,
                {_claims("b")} AS claimed, {_claims("a")} AS claims, {_is_other("in_line", family)} AS other_town,
                {_version("a", family)} < {_version("b", family)} AS is_lower
            FROM {lines} AND (a.account IS NULL OR b.account IS NULL OR b IS DISTINCT FROM a)
        ),
        changes AS (
            SELECT line, CASE WHEN is_told THEN 'new' ELSE 'gone' END AS what,
                NULL AS "column", NULL AS old, NULL AS new
            FROM compared WHERE was_told <> is_told OR is_away
            UNION ALL
            SELECT line, CASE WHEN differs THEN 'changed' ELSE 'gone' END, c, before->>c, now->>c
            FROM compared, jsonb_object_keys(before || now) AS names (c),
            LATERAL (SELECT before->c IS DISTINCT FROM now->c AS differs) AS judged
            WHERE was_told AND is_told AND (differs OR c = ANY(claimed) AND c <> ALL(claims))
        )
        SELECT (SELECT coalesce(jsonb_object_agg(what, n), '{{}}') FROM (
                SELECT what, count(DISTINCT line) AS n FROM changes WHERE "column" IS NULL OR what = 'changed'
                GROUP BY what) AS counted) AS lines,
            (SELECT coalesce(jsonb_object_agg(name, n), '{{}}') FROM (
                SELECT CASE what WHEN 'gone' THEN 'gone:' ELSE '' END || "column" AS name, count(*) AS n FROM changes
                WHERE "column" IS NOT NULL GROUP BY 1) AS counted) AS columns,
            (SELECT coalesce(jsonb_agg(c), '[]') FROM (
                SELECT what, line, "column", old, new FROM changes
                ORDER BY line, "column" LIMIT %(limit)s) AS c) AS firsts,
            (SELECT count(*) FROM compared
                WHERE was_told AND (NOT is_told OR is_lower OR NOT claimed <@ claims)) AS open,
            (SELECT count(*) FROM compared WHERE was_told AND is_told AND other_town) AS towns
        """,
        {"account": account, "limit": limit + 1},
    )
    row = cursor.fetchone()
    found.new, found.changed, found.gone = (row.lines.get(what, 0) for what in ("new", "changed", "gone"))
    found.columns, found.changes, found.open = row.columns, row.firsts[:limit], row.open
    found.more = len(row.firsts) > limit
    found.buyers = {"town": row.towns} if row.towns else {}
    _add_buyers(cursor, account, family, buyers, found)
    return found


def _add_buyers(cursor: Cursor, account: str, family: Family, buyers: str, found: Difference) -> None:
    groups = list(family.buyer_groups)
    others = ", ".join(
        f"count(*) FILTER (WHERE b.account IS NULL AND a.versions ? '{g}' OR {_is_other(g, family)}) AS {g}"
        for g in groups
    )
    opened = " OR ".join(
        f"coalesce(b.versions ? '{g}' AND (NOT a.versions ? '{g}'"
        f" OR a.versions->>'{g}' < b.versions->>'{g}' COLLATE \"C\"), false)"
        for g in groups
    )
    cursor.execute(
        f"SELECT {others}, count(*) FILTER (WHERE {opened}) AS open FROM {buyers}",
        {"account": account, "family": family.name},
    )
    row = cursor.fetchone()
    found.buyers |= {g: getattr(row, g) for g in groups if getattr(row, g)}
    found.open += row.open


def _values(row: str, family: Family) -> str:
    """What the row's columns hold, by name, and what its `extra` does: nothing personal, and no blank. With it what may
    make a line newer than another: its own time of update, and whether its set is whole."""
    hidden = {*family.key, *family.in_line, EXTRA, "as_of", "report_id", "line"}
    shown = ", ".join(f"'{name}'" for name in (*family.line_fields, *family.version) if name not in hidden)
    return (
        "jsonb_strip_nulls((SELECT coalesce(jsonb_object_agg(k, v), '{}')"
        f" FROM jsonb_each(to_jsonb({row})) AS e (k, v) WHERE k IN ({shown}))"
        f" || (SELECT coalesce(jsonb_object_agg('{EXTRA}.' || k, v), '{{}}')"
        f" FROM jsonb_each({row}.{EXTRA}) AS e (k, v)))"
    )


def _claims(row: str) -> str:
    """The names of the columns that some report told, as the row knows it."""
    return (
        f"(SELECT l.columns FROM layouts l WHERE l.layout = {row}.layout)"
        f" || ARRAY(SELECT jsonb_object_keys({row}.older_columns))"
    )


def _version(row: str, family: Family) -> str:
    columns = (f"{row}.{c}::numeric" if c == "report_id" else f"{row}.{c}" for c in family.version)
    return f"({', '.join(columns)})"


def _is_other(group: str, family: Family) -> str:
    """Whether a group of personal columns has another content than before."""
    fields = family.in_line if group == "in_line" else family.buyer_groups[group]
    # A row that is away is as good as a blank one.
    now = (f"coalesce(a.{f}, '{{}}')" if f == EXTRA else f"a.{f}" for f in fields)
    return (
        " OR ".join(f"b.account IS NOT NULL AND {n} IS DISTINCT FROM b.{f}" for f, n in zip(fields, now, strict=True))
        or "false"
    )
