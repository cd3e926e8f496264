"""A report that is told again (docs/adr/0020): what it told before is withdrawn, and its lines then go by newest wins.

What is withdrawn is the claim, never the value: the version, the layout, the group's version. A line that the report
was the newest to tell gets the lowest version of all, so that anything that is told wins over it, also an older
report; a column or a group that nobody claims is like one that nobody told. The values stay until they are known to be
nobody's: `settle`, once every report of the family was told again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orderdrain.families import EXTRA, LINE_KEY
from orderdrain.orders.told import layout_of

if TYPE_CHECKING:
    from orderdrain.db import Cursor
    from orderdrain.families import Family
    from orderdrain.reports import Report

#: A version below that of every report, by column.
NOBODYS = {
    "is_whole": "false",
    "changed_at": "'-infinity'::timestamptz",
    "as_of": "'-infinity'::timestamptz",
    "report_id": "'0'",
    "line": "0",
}


def withdraw(cursor: Cursor, report: Report, family: Family) -> None:
    """Takes back every claim of a report in its family's table and in `buyers`."""
    parameters = {**told_by(cursor, report, family), "layout": layout_of(cursor, family.name, [])}
    cursor.execute(
        f"UPDATE {family.table} t SET older_columns = {_without_mine('t.older_columns')}"
        " WHERE t.account = %(account)s AND t.older_columns <> '{}' AND strpos(t.older_columns::text, %(mark)s) > 0",
        parameters,
    )
    cursor.execute(
        f"UPDATE {family.table} t SET layout = %(layout)s, {', '.join(f'{c} = {NOBODYS[c]}' for c in family.version)}"
        " WHERE t.account = %(account)s AND t.as_of = %(as_of)s AND t.report_id = %(report_id)s",
        parameters,
    )
    cursor.execute(
        f"UPDATE buyers b SET versions = {_without_mine('b.versions')} WHERE b.account = %(account)s"
        " AND b.family = %(family)s AND b.purged_at IS NULL AND strpos(b.versions::text, %(mark)s) > 0",
        parameters,
    )


def told_by(cursor: Cursor, report: Report, family: Family) -> dict[str, Any]:
    """Parameters that say which rows a report told: `mark` stands in each version_key of it."""
    ids = {
        "account": report.key.account,
        "family": family.name,
        "as_of": report.available_at,
        "report_id": report.key.report_id,
    }
    # Less its line, of ten digits.
    cursor.execute("SELECT left(version_key(%(as_of)s, %(report_id)s, 0), -10) AS mark", ids)
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


def _without_mine(versions: str) -> str:
    """A map of versions without those of the report."""
    return (
        f"(SELECT coalesce(jsonb_object_agg(k, v), '{{}}') FROM jsonb_each_text({versions}) AS e (k, v)"
        " WHERE strpos(v, %(mark)s) = 0)"
    )
