"""Which lines of a report are known already: asked by key and digest, many at a time, before anybody reads them."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orderdrain.families import Family


@cache
def judge_lines(family: Family, *, tells_buyers: bool) -> str:
    """The statement that tells of lines, given as four arrays (numbers, orders, keys, digests; no key twice), what each
    is: `new`, `changed` (or not surely known), `older`, `moved`, or, of which it says nothing, known and just as new.

    Its rows: state, lines (how many), numbers (which, of the new and the changed); how many it has moved, `done`; and
    which of the new ones have `left` a buyer.
    The same line in a newer report is `moved` by it: its version moves on, and that of the buyer's groups that it told.
    `bought` are the numbers of lines with a row in `buyers`, where they are known; NULL else.
    """
    # Where nothing but the line's own cell tells a time of update, the same line has it still.
    of_report = {"as_of": "%(as_of)s", "report_id": "%(report_id)s", "line": "p.n", "is_whole": "true"}
    of_report["changed_at"] = "coalesce(t.own_time, %(as_of)s)"
    mine, stored = (
        ", ".join(f"{value}::numeric" if c == "report_id" else value for c, value in versions)
        for versions in (
            [(c, of_report[c]) for c in family.version],
            [(c, f"t.{c}") for c in family.version],
        )
    )
    matches = " AND ".join(_matches(family, "p"))
    version = ", ".join(family.version)
    own_time = f", {family.changed_by} AS own_time" if family.changed_by else ""
    # What the line's version was, to find the groups that it has told.
    versions = ", " + ", ".join(f"t.{c} AS was_{c}" for c in family.version) if tells_buyers else ""
    was, now = (
        ", ".join(version)
        for version in ([f"j.was_{c}" for c in family.version], [_moved(of_report[c]) for c in family.version])
    )
    moves_on = ", ".join(f"{c} = {_moved(of_report[c])}" for c in family.version if c != "is_whole")
    buyers = f""",
        of_buyers AS (
            UPDATE buyers b SET versions = (
                SELECT jsonb_object_agg(k, CASE v WHEN version_key({was}) THEN version_key({now}) ELSE v END)
                FROM jsonb_each_text(b.versions) AS told (k, v))
            FROM judged j CROSS JOIN LATERAL ({_buyer("j", "b.ctid AS at")} LIMIT 1) AS own
            WHERE j.state = 'moved' AND b.ctid = own.at
                AND (%(bought)s::integer[] IS NULL OR j.n = ANY (%(bought)s))
        )"""
    # Who deletes lines may leave their buyers: these are merged, not copied.
    left = f"""
        UNION ALL SELECT 'left', count(*), array_agg(n) FROM judged j CROSS JOIN LATERAL ({_buyer("j")} LIMIT 1) AS b
        WHERE j.state = 'new'"""
    return f"""
        WITH judged AS MATERIALIZED (
            SELECT * FROM (
                SELECT p.*, t.at{", t.own_time" if family.changed_by else ""}, CASE
                    WHEN t.account IS NULL THEN 'new'
                    WHEN t.digest IS DISTINCT FROM p.digest THEN 'changed'
                    -- The same report: this costs less than to compare versions.
                    WHEN t.line = p.n AND t.report_id = %(report_id)s AND t.as_of = %(as_of)s THEN NULL
                    WHEN ({mine}) > ({stored}) THEN 'moved'
                    WHEN ({mine}) < ({stored}) THEN 'older'
                END AS state{versions}
                FROM unnest(%(numbers)s::integer[], %(orders)s::text[], %(keys)s::text[], %(digests)s::uuid[])
                    AS p (n, order_id, line_key, digest)
                -- A row at a time by the key, whatever the planner thinks of tables that nobody has analysed yet.
                LEFT JOIN LATERAL (
                    SELECT ctid AS at, account, digest, {version}{own_time} FROM {family.table} t
                    WHERE t.account = %(account)s AND {matches} LIMIT 1
                ) AS t ON true
            ) AS lines WHERE state IS NOT NULL
        ),
        moved AS (
            -- By its place: by the key the planner may read all of the account's rows, for each batch again.
            UPDATE {family.table} t SET {moves_on} FROM judged j WHERE j.state = 'moved' AND t.ctid = j.at RETURNING 1
        ){buyers if tells_buyers else ""}
        SELECT state, count(*) AS lines, array_agg(n) FILTER (WHERE state IN ('new', 'changed')) AS numbers
        FROM judged GROUP BY state
        UNION ALL SELECT 'done', count(*), NULL FROM moved{left if tells_buyers else ""}
    """


def _moved(value: str) -> str:
    """What the report has for a line, of one that is judged."""
    return value.replace("p.", "j.").replace("t.", "j.")


def _matches(family: Family, line: str) -> list[str]:
    """The row of a line's key, which is an order's id and what tells the line from others, or the latter alone."""
    names = dict.fromkeys(family.key, "order_id") | {family.key[-1]: "line_key"}
    return [f"t.{column} = {line}.{name}" for column, name in names.items()]


def _buyer(line: str, what: str = "") -> str:
    return (
        f"SELECT {what} FROM buyers b WHERE b.account = %(account)s AND b.family = %(family)s"
        f" AND b.order_id = {line}.order_id AND b.line_key = {line}.line_key"
    )
