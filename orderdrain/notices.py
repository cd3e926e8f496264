"""All SQL about notices: what Amazon has announced, what became of the messages, and how far push is trusted.

A notice enters no report. It makes a listing due, or the look at a request, and is remembered: so that its copies are
known as copies, and a listing can tell which of the reports that it found had been announced.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from orderdrain.accounts import list_soon
from orderdrain.policy import NOTICES_KEPT, PUSH_GRACE, PUSH_LISTINGS
from orderdrain.requests import look_soon
from orderdrain.turns import check_turn

if TYPE_CHECKING:
    from collections import Counter
    from datetime import timedelta

    from orderdrain.db import Cursor, Database
    from orderdrain.notifications import Notice
    from orderdrain.turns import Turn


class Kind(StrEnum):
    """What a message was that was removed from its queue. Of several accounts of one seller, the first of these."""

    #: The first to announce a report that the ledger has.
    REPORT = "report"
    #: About a request of ours, which has ended.
    REQUEST = "request"
    #: A copy: its report had been announced by another message.
    DOUBLED = "doubled"
    #: Of a report that ended without data, was cancelled or could not be made, and that we did not ask for.
    NO_REPORT = "no_report"
    #: What it announces could not be found for ten minutes: forged, or left to the listing.
    GIVEN_UP = "given_up"
    #: Another type of notification, or of report, than we have to do with.
    FOREIGN_TYPE = "foreign_type"
    #: Of a seller whom we do not know.
    FOREIGN_SELLER = "foreign_seller"
    #: No notification that Amazon sends.
    MALFORMED = "malformed"


@dataclass(frozen=True)
class Push:
    """How far a listing could trust push: before it, after it, and how many reports it found that nobody announced."""

    worked: bool
    works: bool
    missed: int


class Notices:
    """What was announced."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # ------------------------------------------------------------------------------------------------- hearing

    def hear(self, notice: Notice, *, message_id: str, queue: str) -> Kind | None:
        """Makes due what the notice announces. None: it is awaited, and the message shall come again; else what the
        message was."""
        with self._database.transaction() as cursor:
            cursor.execute(
                "UPDATE connections c SET push_heard_at = app_now(), push_queue = %s FROM accounts a"
                " WHERE a.account = c.account AND a.seller_id = %s AND c.api = %s"
                " RETURNING c.account, c.report_types ? %s AS wanted",
                (queue, notice.seller_id, notice.api, notice.report_type),
            )
            found = [_hear(cursor, row.account, notice, message_id, wanted=row.wanted) for row in cursor.fetchall()]
        if not found:
            return Kind.FOREIGN_SELLER
        told = [kind for kind in found if kind is not None]
        return min(told, key=list(Kind).index) if len(told) == len(found) else None

    def removed(self, kinds: Counter[Kind]) -> None:
        """Counts messages that were removed."""
        with self._database.transaction() as cursor:
            for kind, n in sorted(kinds.items()):
                cursor.execute(
                    "INSERT INTO notice_counts AS c (day, kind, n) VALUES (app_now()::date, %s, %s)"
                    " ON CONFLICT (day, kind) DO UPDATE SET n = c.n + EXCLUDED.n",
                    (kind, n),
                )

    def prune(self) -> int:
        """Forgets what was announced so long ago that no copy of it can come; returns how many reports."""
        rows = self._database.query(
            "DELETE FROM notices WHERE heard_at <= app_now() - %s RETURNING report_id", (NOTICES_KEPT,)
        )
        return len(rows)

    # ---------------------------------------------------------------------------------------------------- trust

    def judge(self, turn: Turn) -> Push:
        """Compares what is in the ledger with what was announced, before this listing ends. Where push no longer works,
        the account is listed at its own interval from now on.

        A notice may be some minutes late. So each listing judges the reports that were there for that long when it
        began, and not yet when the last complete one did, whichever of them found the report. What was there before,
        and is found by one that reaches further back, says nothing. (Amazon tells when in whole seconds.)
        """
        ids = {"account": turn.account, "api": turn.api, "grace": PUSH_GRACE, "enough": PUSH_LISTINGS}
        with self._database.transaction() as cursor:
            check_turn(cursor, turn)
            cursor.execute(
                "WITH before AS (SELECT account, api, listed, date_trunc('second', listed_at) AS listed_at,"
                "  date_trunc('second', listed_at - %(grace)s) AS judged_to,"
                "  date_trunc('second', listing_started_at - %(grace)s) AS judge_to,"
                "  push_streak >= %(enough)s AS worked"
                "  FROM connections WHERE account = %(account)s AND api = %(api)s),"
                " found AS (SELECT count(*) AS announced FROM before b JOIN reports r USING (account, api)"
                "  JOIN notices USING (account, api, report_id)"
                "  WHERE r.listing > b.listed AND r.available_at >= b.listed_at),"
                " unheard AS (SELECT count(*) AS missed FROM before b JOIN reports r USING (account, api)"
                "  WHERE r.available_at >= b.judged_to AND r.available_at < b.judge_to"
                "  AND NOT EXISTS (SELECT FROM notices n"
                "   WHERE (n.account, n.api, n.report_id) = (r.account, r.api, r.report_id))"
                # A notice of what we requested is not kept: it tells the end of the request (at SP-API of the same id).
                "  AND NOT EXISTS (SELECT FROM report_requests q WHERE (q.account, q.api, q.amazon_request_id)"
                "   = (r.account, r.api, coalesce(r.report_request_id, r.report_id))))"
                " UPDATE connections SET push_streak = CASE WHEN missed > 0 THEN 0"
                "  WHEN announced > 0 THEN least(push_streak + 1, %(enough)s) ELSE push_streak END"
                " FROM before, found, unheard WHERE connections.account = %(account)s AND connections.api = %(api)s"
                " RETURNING worked, push_streak >= %(enough)s AS works, missed",
                ids,
            )
            row = cursor.fetchone()
            if row.worked and not row.works:
                _own_interval(cursor, [turn.account])
            return Push(row.worked, row.works, row.missed)

    def queue_read(self, url: str) -> None:
        """The queue answers."""
        self._database.query(
            "INSERT INTO notice_queues (url) VALUES (%s)"
            " ON CONFLICT (url) DO UPDATE SET read_at = app_now(), failing = NULL",
            (url,),
        )

    def queue_failed(self, url: str, reason: str) -> list[str]:
        """The queue does not answer. Where that lasts, push does not work for whom it served: returns their accounts,
        which are listed at their own interval from now on."""
        with self._database.transaction() as cursor:
            cursor.execute(
                "INSERT INTO notice_queues AS q (url, failing) VALUES (%s, %s)"
                " ON CONFLICT (url) DO UPDATE SET failing = EXCLUDED.failing"
                " RETURNING q.read_at < app_now() - %s AS lasts",
                (url, reason, PUSH_GRACE),
            )
            if not cursor.fetchone().lasts:
                return []
            cursor.execute(
                "UPDATE connections SET push_streak = 0 WHERE push_queue = %s AND push_streak >= %s RETURNING account",
                (url, PUSH_LISTINGS),
            )
            accounts = sorted({row.account for row in cursor.fetchall()})
            _own_interval(cursor, accounts)
            return accounts

    # -------------------------------------------------------------------------------------------------- looking

    def counts(self, span: timedelta) -> dict[str, int]:
        """How many messages were removed in that span (by whole days), by kind."""
        rows = self._database.query(
            "SELECT kind, sum(n)::bigint AS n FROM notice_counts WHERE day > (app_now() - %s)::date GROUP BY kind",
            (span,),
        )
        told = {row.kind: row.n for row in rows}
        return {kind: told[kind] for kind in Kind if kind in told}

    def push(self) -> dict[str, str]:
        """Account -> what push does for it, where a notice of it was ever heard."""
        rows = self._database.query(
            "SELECT account, CASE WHEN bool_and(push_streak >= %s) THEN 'works' ELSE 'not all' END AS push"
            " FROM connections GROUP BY account HAVING max(push_heard_at) IS NOT NULL",
            (PUSH_LISTINGS,),
        )
        return {row.account: row.push for row in rows}

    def queues(self) -> list[Any]:
        """Every queue that was read: when last, and why it cannot be read now."""
        return self._database.query("SELECT url, read_at, failing FROM notice_queues ORDER BY url")


def _hear(cursor: Cursor, account: str, notice: Notice, message_id: str, *, wanted: bool) -> Kind | None:
    """The same for one account of the seller."""
    still_made = look_soon(cursor, account, notice.api, notice.request_id)
    if still_made is not None:
        return None if still_made else Kind.REQUEST
    if notice.status != "DONE":
        return Kind.NO_REPORT
    if not wanted:
        return Kind.FOREIGN_TYPE
    cursor.execute(
        "INSERT INTO notices AS n (account, api, report_id, message_id) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (account, api, report_id)"
        " DO UPDATE SET copies = n.copies + (n.message_id <> EXCLUDED.message_id)::int"
        " RETURNING message_id, (SELECT count(*) FROM reports r WHERE (r.account, r.api, r.report_id)"
        "  = (n.account, n.api, n.report_id)) AS known",
        (account, notice.api, notice.report_id, message_id),
    )
    row = cursor.fetchone()
    if not row.known:
        list_soon(cursor, account)
    if row.message_id != message_id:
        return Kind.DOUBLED
    return Kind.REPORT if row.known else None


def _own_interval(cursor: Cursor, accounts: list[str]) -> None:
    cursor.execute(
        "UPDATE accounts SET next_list_at = least(next_list_at, app_now() + list_every) WHERE account = ANY(%s)",
        (accounts,),
    )
