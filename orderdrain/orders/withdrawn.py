"""A report that is told again (docs/adr/0020): what it told before is withdrawn, and its lines then go by newest wins.

What is withdrawn is the claim, never the value: the version, the layout, the group's version. A line that the report
was the newest to tell gets the lowest version of all, so that anything that is told wins over it, also an older
report; a column or a group that nobody claims is like one that nobody told. The values stay until they are known to be
nobody's: `settle`, once every report of the family was told again.

The rows that this may touch are kept as they were (`remember`), for difference.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orderdrain.families import EXTRA, LINE_KEY
from orderdrain.orders.incoming import lines_table
from orderdrain.orders.told import layout

if TYPE_CHECKING:
    from orderdrain.db import Cursor
    from orderdrain.families import Family
    from orderdrain.reports import Report

#: The temporary table of buyers as they were.
BEFORE_BUYERS = "before_buyers"
#: A version below that of every report, by column.
NOBODYS = {
    "is_whole": "false",
    "changed_at": "'-infinity'::timestamptz",
    "as_of": "'-infinity'::timestamptz",
    "report_id": "'0'",
    "line": "0",
}


def look_ahead(cursor: Cursor, account: str, family: Family) -> None:
    """Writes down for this session, in one pass over the account's rows, which report told which: then `remember` need
    not look for it again for each of thousands of reports. It may know too much, of what is withdrawn meanwhile, and
    never too little: a report that is told again claims only the lines that it tells."""
    key, own = ", ".join(family.key), _mark("version_key(as_of, report_id, line)")
    lines = (
        f"SELECT {own} AS mark, {key} FROM {family.table} WHERE account = %(account)s"
        f" UNION SELECT {_mark('v')}, {key} FROM {family.table}, jsonb_each_text(older_columns) AS e (k, v)"
        " WHERE account = %(account)s AND older_columns <> '{}'"
    )
    of_buyers = (
        f"SELECT DISTINCT {_mark('v')} AS mark, order_id, line_key FROM buyers, jsonb_each_text(versions) AS e (k, v)"
        " WHERE account = %(account)s AND family = %(family)s"
    )
    for table, claims in ((_claims(family), lines), (f"{_claims(family)}_buyers", of_buyers)):
        cursor.execute(f"DROP TABLE IF EXISTS pg_temp.{table}")
        cursor.execute(f"CREATE TEMPORARY TABLE {table} AS {claims}", {"account": account, "family": family.name})
        cursor.execute(f"CREATE INDEX ON {table} (mark)")
        cursor.execute(f"ANALYZE {table}")


def remember(cursor: Cursor, report: Report, family: Family, *, looked_ahead: bool) -> None:
    """Keeps the rows that the report told, and those that it tells now: its lines are in the temporary table."""
    make_room(cursor, family)
    parameters, key, line_key = told_by(cursor, report, family), ", ".join(family.key), family.key[-1]
    # Whose connection broke since has a new session, and looks for itself.
    cursor.execute("SELECT to_regclass(%s) IS NOT NULL AS known", (f"pg_temp.{_claims(family)}_buyers",))
    if looked_ahead and cursor.fetchone().known:
        told = f"({key}) IN (SELECT {key} FROM {_claims(family)} WHERE mark = %(mark)s)"
        claims = f"{_claims(family)}_buyers"
        told_buyer = f"(order_id, line_key) IN (SELECT order_id, line_key FROM {claims} WHERE mark = %(mark)s)"
    else:
        told = (
            "(as_of = %(as_of)s AND report_id = %(report_id)s"
            " OR older_columns <> '{}' AND strpos(older_columns::text, %(mark)s) > 0)"
        )
        told_buyer = "strpos(versions::text, %(mark)s) > 0"
    tells = f"({key}) IN (SELECT {key} FROM {lines_table(family)})"
    tells_buyer = f"(order_id, line_key) IN (SELECT order_id, {line_key} FROM {lines_table(family)})"
    of_lines, of_buyers = "account = %(account)s", "account = %(account)s AND family = %(family)s"
    for before, table, where, one, other in (
        (before_lines(family), family.table, of_lines, told, tells),
        (BEFORE_BUYERS, "buyers", of_buyers, told_buyer, tells_buyer),
    ):
        # One after the other: by an OR of both Postgres would read the whole account, whatever it knows.
        rows = f"SELECT * FROM {table} WHERE {where}"
        cursor.execute(f"INSERT INTO {before} {rows} AND {one} UNION ALL {rows} AND {other} AND NOT {one}", parameters)
        cursor.execute(f"ANALYZE {before}")


def withdraw(cursor: Cursor, report: Report, family: Family) -> None:
    """Takes back every claim of a report on the rows that are remembered."""
    parameters = {**told_by(cursor, report, family), "layout": layout(cursor, family, [])}
    matches = " AND ".join(f"t.{k} = b.{k}" for k in family.key)
    cursor.execute(
        f"UPDATE {family.table} t SET older_columns = {_without_mine('t.older_columns')} FROM {before_lines(family)} b"
        f" WHERE t.account = %(account)s AND {matches} AND strpos(b.older_columns::text, %(mark)s) > 0",
        parameters,
    )
    # What nobody claims is not known either: a line with its digest would move its version, and claim no column.
    unknown = ", digest = NULL" if family.keeps_digests else ""
    versions = ", ".join(f"{c} = {NOBODYS[c]}" for c in family.version)
    cursor.execute(
        f"UPDATE {family.table} t SET layout = %(layout)s, {versions}{unknown}"
        f" FROM {before_lines(family)} b WHERE t.account = %(account)s AND {matches}"
        " AND b.as_of = %(as_of)s AND b.report_id = %(report_id)s",
        parameters,
    )
    cursor.execute(
        f"UPDATE buyers t SET versions = {_without_mine('t.versions')} FROM {BEFORE_BUYERS} b"
        " WHERE t.account = %(account)s AND t.family = %(family)s AND t.order_id = b.order_id"
        " AND t.line_key = b.line_key AND t.purged_at IS NULL AND strpos(b.versions::text, %(mark)s) > 0",
        parameters,
    )


def make_room(cursor: Cursor, family: Family) -> None:
    """The temporary tables of what was before: made once a session, and emptied by each commit."""
    lines = (before_lines(family), family.table, ", ".join(family.key))
    for made, table, key in (lines, (BEFORE_BUYERS, "buyers", "order_id, line_key")):
        cursor.execute(f"CREATE TEMPORARY TABLE IF NOT EXISTS {made} (LIKE {table}) ON COMMIT DELETE ROWS")
        # Joined by it: a planner that expects one row would else read all of it for each of a hundred thousand.
        cursor.execute(f"CREATE UNIQUE INDEX IF NOT EXISTS {made}_key ON {made} ({key})")


def empty(cursor: Cursor, *tables: str) -> None:
    """Empties temporary tables within a transaction that tells several reports. Not in a savepoint: what was emptied
    before in the same transaction is emptied in place, and takes no new file each time."""
    cursor.execute(f"TRUNCATE {', '.join(tables)}")


def before_lines(family: Family) -> str:
    """The temporary table of the lines as they were."""
    return f"before_{family.name}"


def told_by(cursor: Cursor, report: Report, family: Family) -> dict[str, Any]:
    """Parameters that say which rows a report told: `mark` stands in each version_key of it."""
    ids = {
        "account": report.key.account,
        "family": family.name,
        "as_of": report.available_at,
        "report_id": report.key.report_id,
    }
    cursor.execute(f"SELECT {_mark('version_key(%(as_of)s, %(report_id)s, 0)')} AS mark", ids)
    return {**ids, "mark": cursor.fetchone().mark}


def untold(cursor: Cursor, account: str, family: Family) -> int:
    """How many lines no report tells, as far as reports were told again."""
    cursor.execute(
        f"SELECT count(*) AS n FROM {family.table} WHERE account = %s AND as_of = {NOBODYS['as_of']}", (account,)
    )
    return int(cursor.fetchone().n)


def settle(cursor: Cursor, account: str, family: Family) -> int:
    """Takes away the lines that no report tells, and what else nobody claims, once every report of the family was told
    again. Returns how many rows of the family's table had any. What was purged stays: it must know that it was."""
    purged = " AND t.purged_at IS NULL" if family.in_line else ""
    cursor.execute(
        f"DELETE FROM {family.table} t WHERE t.account = %(account)s AND t.as_of = {NOBODYS['as_of']}{purged}",
        {"account": account},
    )
    gone: int = cursor.rowcount
    # A required column is told by every report that tells the line.
    required = {column.field for column in family.columns if column.required}
    fields = [f for f in family.line_fields if f not in {*family.key, *required, EXTRA, LINE_KEY}]
    mine = {f: f"('{f}' = ANY(l.columns) OR t.older_columns ? '{f}')" for f in fields}
    own_extra = f"('{EXTRA}.' || k = ANY(l.columns) OR t.older_columns ? ('{EXTRA}.' || k))"
    cursor.execute(
        f"UPDATE {family.table} t SET {''.join(f'{f} = CASE WHEN {mine[f]} THEN t.{f} END, ' for f in fields)}"
        f" extra = (SELECT coalesce(jsonb_object_agg(k, v), '{{}}') FROM jsonb_each(t.extra) AS e (k, v)"
        f"  WHERE {own_extra})"
        f" FROM layouts l WHERE l.layout = t.layout AND t.account = %(account)s AND t.as_of > {NOBODYS['as_of']} AND ("
        f"{''.join(f't.{f} IS NOT NULL AND NOT {mine[f]} OR ' for f in fields)}"
        f" EXISTS (SELECT FROM jsonb_object_keys(t.extra) AS e (k) WHERE NOT {own_extra}))",
        {"account": account},
    )
    gone += cursor.rowcount
    blank = {f: (group, "'{}'" if f == EXTRA else "NULL") for group, fs in family.buyer_groups.items() for f in fs}
    kept = (f"{f} = CASE WHEN b.versions ? '{group}' THEN b.{f} ELSE {none} END" for f, (group, none) in blank.items())
    cursor.execute(
        f"UPDATE buyers b SET {', '.join(kept)} WHERE b.account = %(account)s AND b.family = %(family)s"
        " AND b.purged_at IS NULL AND NOT b.versions ?& %(groups)s",
        {"account": account, "family": family.name, "groups": list(family.buyer_groups)},
    )
    cursor.execute(
        "DELETE FROM buyers b WHERE b.account = %s AND b.family = %s AND b.versions = '{}' AND b.purged_at IS NULL",
        (account, family.name),
    )
    return gone


def _claims(family: Family) -> str:
    return f"claims_{family.name}"


def _mark(version: str) -> str:
    """What all version keys of one report have in common: its time and its id, without what the line has of its own."""
    return f"left(right({version}, 69), 59)"


def _without_mine(versions: str) -> str:
    """A map of versions without those of the report."""
    return (
        f"(SELECT coalesce(jsonb_object_agg(k, v), '{{}}') FROM jsonb_each_text({versions}) AS e (k, v)"
        " WHERE strpos(v, %(mark)s) = 0)"
    )
