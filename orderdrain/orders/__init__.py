"""All SQL about order tables: the newest-wins merge, the buyers, the snapshots, the rejected rows.

Lines that are known already, or new and as usual, go the short way (usual.py). All others are copied to a temporary
table in batches (incoming.py), then merged by whole sets, never row by row (lines.py, buyers.py). It is one path for
all families: what differs is data on the Family. The newest version of a line wins, and any order, overlap or
repetition of reports ends in the same rows:

- A version is the line's own time of update where the family has one, when the report was finished at Amazon, the
  report's id as a number, and the line in the file.
- A newer report replaces the columns that its layout has, also when their content is the same: the version must move
  on, or a report between the two that arrives late would win.
- A column that a layout lacks is not told: it keeps its value, and `older_columns` keeps the version that told it, so
  that a report which arrives late and lies between may still win for just that column.
- Personal columns come in groups, each with a version of its own: a group with any value replaces the whole group.
- Lines without an id (All Orders before 2026) are one set an order and SKU, with one version. A set that lacks a
  rejected row counts as older than any whole one. No row is deleted: what only an older set had no longer holds
  (view current_all_order_lines).
- A report that is told again first withdraws what it told before (withdrawn.py): only there a version goes back.
- A report of a family that is a snapshot leaves one, also an empty report (snapshots.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orderdrain.errors import RetryLater
from orderdrain.families import REPORT_TYPES
from orderdrain.orders.buyers import merge_buyers
from orderdrain.orders.difference import Difference, difference, keep, whole_difference
from orderdrain.orders.digests import Digests
from orderdrain.orders.incoming import bring, make_tables
from orderdrain.orders.lines import merge_lines
from orderdrain.orders.snapshots import keep_snapshot, keep_snapshot_of_nothing
from orderdrain.orders.told import Told
from orderdrain.orders.usual import NotUsual, take_usual_lines
from orderdrain.orders.withdrawn import (
    BEFORE_BUYERS,
    before_lines,
    empty,
    look_ahead,
    make_room,
    remember,
    settle,
    untold,
    withdraw,
)
from orderdrain.reports import RowCounts

if TYPE_CHECKING:
    from datetime import datetime

    from orderdrain.amazon import RequestInfo
    from orderdrain.db import Cursor, Database
    from orderdrain.families import Family
    from orderdrain.parsers import ParsedReport, UsualLines
    from orderdrain.reports import Report

__all__ = ["Difference", "Digests", "Orders"]


# One report of an account at a time: two that tell the same lines in another order would lock each other out.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(%(account)s, 0))"


class Orders:
    """The order tables."""

    def __init__(self, digests: Digests) -> None:
        self._digests = digests

    def merge(
        self, cursor: Cursor, report: Report, parsed: ParsedReport, *, again: bool = False, looked_ahead: bool = False
    ) -> RowCounts:
        """Brings a report's lines into their table, newest wins, and sets its bad rows aside, in the caller's
        transaction. Raises NotAReport where reading on shows that it is none, and RetryLater where others wrote.

        `again`: what this report told before is withdrawn first, so that what it tells now takes its place, whatever
        the rows hold; `difference` then says what is otherwise. `looked_ahead`: by this session, for this account.
        """
        cursor.with_next(
            f"{_LOCK};"
            " DELETE FROM rejected_rows WHERE account = %(account)s AND api = %(api)s AND report_id = %(report_id)s;"
            " SAVEPOINT as_it_was",
            vars(report.key),
        )
        # A line that is told again must take the place of what was told before, also where it is known.
        if parsed.usual and not again:
            try:
                return self._merge_by_line(cursor, report, parsed, parsed.usual)
            except NotUsual:
                cursor.execute("ROLLBACK TO SAVEPOINT as_it_was")
        bring(cursor, report, parsed)
        if again:
            remember(cursor, report, parsed.family, looked_ahead=looked_ahead)
            withdraw(cursor, report, parsed.family)
        counts = self._merge_brought(cursor, report, parsed)
        if parsed.family.snapshot:
            keep_snapshot(cursor, report, parsed)
        return counts

    def _merge_by_line(self, cursor: Cursor, report: Report, parsed: ParsedReport, usual: UsualLines) -> RowCounts:
        """Most lines go the short way (usual.py), the rest as a whole report would."""
        taken = take_usual_lines(cursor, report, usual, self._digests.of(usual.reading))
        lines = taken.new + taken.same + taken.older + taken.changed
        rest = usual.rest(taken.odd, lines)
        counts = RowCounts(new=taken.new, same=taken.same, older=taken.older)
        if taken.odd or taken.changed:
            bring(cursor, report, rest)
            counts += self._merge_brought(cursor, report, rest)
        parsed.counts = rest.counts
        parsed.counts.lines += lines
        parsed.names_buyers = taken.names_buyers
        return counts

    def _merge_brought(self, cursor: Cursor, report: Report, parsed: ParsedReport) -> RowCounts:
        """Merges the rows that are in the temporary table."""
        told = Told(cursor, report, parsed)
        new = changed = same = older = 0
        for number in range(1, told.passes + 1):
            cursor.execute_prepared(merge_lines(told), told.parameters(number))
            counted = cursor.fetchone()
            if not counted.undisturbed:
                raise RetryLater("somebody else wrote to its lines at the same moment, without the account's lock")
            cursor.execute_prepared(merge_buyers(told), told.parameters(number))
            new += counted.new
            changed += counted.changed
            same += counted.same
            older += counted.older
        return RowCounts(new, changed, same, older, parsed.counts.joined, parsed.counts.rejected)

    def look_ahead(self, cursor: Cursor, account: str, family: Family) -> None:
        """Before many reports of an account and a family are merged `again` in this session: which told which line."""
        look_ahead(cursor, account, family)

    def make_room(self, cursor: Cursor, family: Family, *, emptied: bool = False) -> None:
        """Makes the temporary tables of `merge` where this session has none, so that a transaction which is rolled back
        does not make them each time anew. `emptied`: for the next report of the same transaction."""
        tables = make_tables(cursor, family)
        make_room(cursor, family)
        if emptied:
            empty(cursor, *tables, before_lines(family), BEFORE_BUYERS)

    def keep(self, cursor: Cursor, account: str, family: Family) -> None:
        """Keeps for this session what the account's tables hold, for `whole_difference`; they are locked as in a merge
        for the rest of the transaction."""
        cursor.execute(_LOCK, {"account": account})
        keep(cursor, account, family)

    def difference(self, cursor: Cursor, account: str, family: Family, *, limit: int) -> Difference:
        """What a merge `again` made otherwise, in its transaction; up to `limit` changes one by one."""
        return difference(cursor, account, family, limit=limit)

    def whole_difference(self, cursor: Cursor, account: str, family: Family, *, limit: int) -> Difference | None:
        """What is otherwise than it was kept, whoever made it so; None where this session has kept nothing."""
        return whole_difference(cursor, account, family, limit=limit)

    def untold(self, cursor: Cursor, account: str, family: Family) -> int:
        """How many lines are told by no report, as far as reports were merged `again`."""
        return untold(cursor, account, family)

    def settle(self, cursor: Cursor, account: str, family: Family) -> int:
        """Takes away what no report tells any more, once all of the family were told again. Returns how many rows."""
        cursor.execute(_LOCK, {"account": account})
        return settle(cursor, account, family)

    def nothing_there(self, cursor: Cursor, account: str, api: str, info: RequestInfo, now: datetime) -> None:
        """Amazon made no report since there was nothing to tell: of a snapshot that says as much as an empty one."""
        known = REPORT_TYPES.get(info.report_type)
        if known and known.family.snapshot:
            keep_snapshot_of_nothing(cursor, account, api, info, now)

    def rejected(
        self,
        database: Database,
        *,
        account: str | None = None,
        api: str | None = None,
        report_id: str | None = None,
        report_type: str | None = None,
        limit: int,
    ) -> list[Any]:
        """Rejected rows, newest first; one more than `limit`, so that the caller sees whether there are more."""
        wanted = {"account": account, "api": api, "report_id": report_id, "report_type": report_type}
        where = " AND ".join(f"{name} = %({name})s" for name, value in wanted.items() if value is not None)
        return database.query(
            'SELECT account, api, report_type, report_id, line, "column", rejected_rows.reason, order_id,'
            " order_item_id, rejected_at FROM rejected_rows JOIN reports USING (account, api, report_id)"
            f" WHERE {where or 'true'} ORDER BY rejected_at DESC, account, report_id, line LIMIT %(limit)s",
            {**wanted, "limit": limit + 1},
        )
