"""Snapshots: which pictures of what waits to be shipped were taken, and when. Absence is news only within one scope."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderdrain.orders.incoming import lines_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from orderdrain.amazon import RequestInfo
    from orderdrain.db import Cursor
    from orderdrain.parsers import ParsedReport
    from orderdrain.reports import Report


def keep_snapshot(cursor: Cursor, report: Report, parsed: ParsedReport) -> None:
    """Writes down that a report's picture was taken; its rows are in the temporary table."""
    cursor.execute(
        f"SELECT min(coalesce({parsed.family.changed_by}, %s)) AS taken_at FROM {lines_table(parsed.family)}",
        (report.available_at,),
    )
    _keep(
        cursor,
        report.key.account,
        _scope(report.key.api, report.report_type, report.marketplaces),
        report.available_at,
        report.key.report_id,
        cursor.fetchone().taken_at or report.available_at,
        parsed.counts.lines,
        parsed.counts.rejected,
    )


def keep_snapshot_of_nothing(cursor: Cursor, account: str, api: str, info: RequestInfo, now: datetime) -> None:
    """Writes down a picture with nothing on it, of which Amazon made no report (`_DONE_NO_DATA_`)."""
    as_of = info.completed_at or now
    scope = _scope(api, info.report_type, info.marketplaces)
    _keep(cursor, account, scope, as_of, info.request_id_at_amazon, as_of, 0, 0)


def _scope(api: str, report_type: str, marketplaces: Sequence[str]) -> str:
    return " ".join((api, report_type, *sorted(marketplaces)))


def _keep(
    cursor: Cursor,
    account: str,
    scope: str,
    as_of: datetime,
    report_id: str,
    taken_at: datetime,
    lines: int,
    rejected: int,
) -> None:
    cursor.execute(
        "INSERT INTO snapshots AS s (account, scope, as_of, report_id, taken_at, lines, rejected)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (account, scope, as_of, report_id) DO UPDATE"
        " SET taken_at = EXCLUDED.taken_at, lines = EXCLUDED.lines, rejected = EXCLUDED.rejected"
        " WHERE (s.taken_at, s.lines, s.rejected) IS DISTINCT FROM (EXCLUDED.taken_at, EXCLUDED.lines,"
        " EXCLUDED.rejected)",
        (account, scope, as_of, report_id, taken_at, lines, rejected),
    )
