"""All SQL about requested reports: written down before Amazon is asked, followed to their end.

A request has our own key, committed before the call. Whoever asks again (the answer was lost, the worker died) first
looks at Amazon for a request of that type and window, so that one wish becomes one report.

What ends FATAL or CANCELLED is asked for once more under a key of its own, in the transaction that writes its end down:
a bounded number of times, with growing waits. A scheduled report that ended so stands here beside the requested ones.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from orderdrain.errors import LeaseLost
from orderdrain.policy import (
    EMPTY_IS_NEWS_AFTER,
    EMPTY_REMEMBERED,
    FATAL_ASKED_AGAIN,
    FIRST_ASKED_AGAIN,
    GAP_TOLD,
    MAX_ATTEMPTS,
    STUCK_AFTER,
    backoff,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from orderdrain.amazon import RequestInfo
    from orderdrain.db import Cursor, Database

#: Of a window `r`: that nothing was sold in it is news. Neither a report nor a request of the week up to its end was
#: empty (one that is asked for again is not known to be), and there were reports for long enough to say so.
_EMPTY_IS_NEWS = (
    "CASE WHEN r.window_end IS NULL OR EXISTS (SELECT FROM report_requests e WHERE e.account = %(account)s"
    "  AND e.api = %(api)s AND e.report_type = r.report_type AND e.amazon_request_id <> r.amazon_request_id"
    "  AND e.status IN ('cancelled', 'no_data') AND e.asked_again_as IS NULL"
    "  AND e.window_end > r.window_end - %(week)s AND e.window_end <= r.window_end) THEN false"
    " ELSE (SELECT min(t.available_at) <= r.window_end - %(enough)s AND bool_and(t.outcome = 'rows')"
    "  FROM reports t WHERE t.account = %(account)s AND t.api = %(api)s AND t.report_type = r.report_type"
    "  AND t.available_at > r.window_end - %(week)s AND t.available_at <= r.window_end) END"
)
_NEWS: dict[str, Any] = {"week": EMPTY_REMEMBERED, "enough": EMPTY_IS_NEWS_AFTER}
#: The key under which a request is asked for again: abc, abc-again, abc-again-2.
_NEXT_KEY = "split_part(request_key, '-', 1) || '-again' || CASE WHEN again > 0 THEN '-' || again + 1 ELSE '' END"


@dataclass(frozen=True)
class Request:
    """A requested report under lease. `attempts` counts this one; beyond 1 an earlier call may have gone through."""

    account: str
    api: str
    request_key: str
    report_type: str
    window_start: datetime | None
    window_end: datetime | None
    options: Mapping[str, str]
    amazon_request_id: str | None
    asked_at: datetime
    attempts: int
    fence: int

    def __str__(self) -> str:
        return f"request {self.request_key} ({self.account})"


class Requests:
    """The reports asked for."""

    def __init__(self, database: Database, *, lease_seconds: int) -> None:
        self._database = database
        self._lease_seconds = lease_seconds

    def enter(
        self,
        account: str,
        api: str,
        report_type: str,
        *,
        start: datetime | None,
        end: datetime | None,
        options: Mapping[str, str],
    ) -> str:
        """Writes a wish down, before Amazon is asked; returns its key."""
        request_key = uuid.uuid4().hex[:12]
        self._database.query(
            "INSERT INTO report_requests (account, api, request_key, report_type, window_start, window_end, options)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s)",
            (account, api, request_key, report_type, start, end, dict(options)),
        )
        return request_key

    def enter_come_to_nothing(self, account: str, api: str, ended: Sequence[RequestInfo]) -> int:
        """Enters scheduled reports that ended without a file, where that is news, as requests still being made: the
        look at them finds how they ended, and what follows. A known one is a no-op. Returns how many were new.

        Of many that are empty the first goes alone. The others, which the listings name for a day, wait for what
        becomes of it: they are news only if it turns out that there were orders.
        """
        if not ended:
            return 0
        windows = [_window(info) for info in ended]
        of_its_type = "FROM report_requests e WHERE e.account = %(account)s AND e.api = %(api)s"
        rows = self._database.query(
            "WITH unknown AS ("
            "  SELECT r.*, row_number() OVER (PARTITION BY report_type, fatal ORDER BY window_end) AS place"
            "  FROM unnest(%(ids)s::text[], %(types)s::text[], %(starts)s::timestamptz[], %(ends)s::timestamptz[],"
            "   %(submitted)s::timestamptz[], %(fatal)s::boolean[])"
            "   AS r (amazon_request_id, report_type, window_start, window_end, submitted_at, fatal)"
            f"  WHERE NOT EXISTS (SELECT {of_its_type} AND e.amazon_request_id = r.amazon_request_id)"
            f"  AND (r.fatal OR {_EMPTY_IS_NEWS}))"
            " INSERT INTO report_requests (account, api, request_key, report_type, window_start, window_end, scheduled,"
            " status, amazon_request_id, submitted_at)"
            " SELECT %(account)s, %(api)s, r.amazon_request_id, r.report_type, r.window_start, r.window_end, true,"
            "  'in_progress', r.amazon_request_id, r.submitted_at FROM unknown r WHERE r.fatal OR ("
            f"  NOT EXISTS (SELECT {of_its_type} AND e.status IN ('asked', 'submitted', 'in_progress')"
            "   AND e.report_type = r.report_type AND (e.again = 1 OR e.scheduled))"
            f"  AND (r.place = 1 OR EXISTS (SELECT {of_its_type} AND e.status = 'done' AND e.again = 1"
            "   AND e.report_type = r.report_type AND e.ended_at > app_now() - %(enough)s"
            "   AND EXISTS (SELECT FROM report_requests o WHERE o.account = e.account"
            "    AND o.asked_again_as = e.request_key AND o.status = 'cancelled'))))"
            " ON CONFLICT DO NOTHING RETURNING request_key",
            {
                **_NEWS,
                "account": account,
                "api": api,
                "ids": [info.request_id_at_amazon for info in ended],
                "types": [info.report_type for info in ended],
                "starts": [start for start, _ in windows],
                "ends": [end for _, end in windows],
                "submitted": [info.submitted_at for info in ended],
                "fatal": [info.status == "FATAL" for info in ended],
            },
        )
        return len(rows)

    def lease(self, account: str, request_key: str, owner: str) -> Request | None:
        """The right to work on an open, due request, its attempt counted; None when there is nothing to do now."""
        rows = self._database.query(
            "UPDATE report_requests r SET lease_owner = %s, lease_until = app_now() + real_seconds(%s),"
            " fence = fence + 1, attempts = attempts + 1, sent_at = NULL"
            " FROM connections c JOIN applications p USING (application)"
            " WHERE r.account = %s AND r.request_key = %s AND r.status IN ('asked', 'submitted', 'in_progress')"
            " AND r.next_attempt_at <= app_now() AND (r.lease_until IS NULL OR r.lease_until <= app_now())"
            " AND c.account = r.account AND c.api = r.api AND c.paused_at IS NULL AND p.paused_at IS NULL"
            " RETURNING r.*",
            (owner, self._lease_seconds, account, request_key),
        )
        return _request(rows[0]) if rows else None

    def renew(self, request: Request) -> bool:
        """Keeps the lease for longer; False when it is no longer ours."""
        return bool(
            self._database.query(
                "UPDATE report_requests SET lease_until = app_now() + real_seconds(%s) WHERE account = %s"
                " AND request_key = %s AND fence = %s AND lease_until > app_now() RETURNING 1",
                (self._lease_seconds, request.account, request.request_key, request.fence),
            )
        )

    def known_at_amazon(self, account: str, api: str) -> set[str]:
        """Amazon's ids of all our requests: a request of these is not another's."""
        rows = self._database.query(
            "SELECT amazon_request_id FROM report_requests WHERE account = %s AND api = %s"
            " AND amazon_request_id IS NOT NULL AND NOT scheduled",
            (account, api),
        )
        return {row.amazon_request_id for row in rows}

    def open_at_amazon(self, account: str, api: str, limit: int = 100) -> list[str]:
        """Amazon's ids of the requests still being made, the longest unseen first: one call answers for all."""
        rows = self._database.query(
            "SELECT amazon_request_id FROM report_requests WHERE account = %s AND api = %s"
            " AND status IN ('submitted', 'in_progress') ORDER BY next_attempt_at LIMIT %s",
            (account, api, limit),
        )
        return [row.amazon_request_id for row in rows]

    def submitted(self, request: Request, info: RequestInfo, due_at: datetime) -> None:
        """Amazon has it. Where it has ended there already (its answer was lost), that is taken by the look which
        follows at `due_at`: it enters the report too. Raises LeaseLost."""
        with self._database.transaction() as cursor:
            _check(cursor, request)
            if info.status not in _STILL_MADE:
                info = replace(info, status="IN_PROGRESS", report_id=None)
            _moved(cursor, request.account, request.api, info, due_at, key=request.request_key)

    def seen(self, cursor: Cursor, account: str, api: str, info: RequestInfo, due_at: datetime) -> Any | None:
        """What Amazon says of a request of ours now; an end of its own is an end, no failure.

        One that has come to nothing by this is asked for again, or cannot be had: its row is returned. So is that of an
        emptiness that Amazon has told twice.
        """
        if not _moved(cursor, account, api, info, due_at, key=None) or info.status not in {"CANCELLED", "FATAL"}:
            return None
        ours = "account = %(account)s AND api = %(api)s AND amazon_request_id = %(id)s AND asked_again_as IS NULL"
        told = {**_NEWS, "account": account, "api": api, "id": info.request_id_at_amazon, "most": FATAL_ASKED_AGAIN}
        if rows := _ask_again(
            cursor,
            f"UPDATE report_requests r SET asked_again_as = {_NEXT_KEY} WHERE {ours}"
            " AND (NOT scheduled OR window_end IS NOT NULL)"
            " AND (status = 'fatal' AND again < %(most)s"
            f"  OR status = 'cancelled' AND again = 0 AND (scheduled OR {_EMPTY_IS_NEWS}))",
            told,
            wait="%(first)s * 4 ^ again",
        ):
            return rows[0]
        cursor.execute(
            "UPDATE report_requests SET status = CASE status WHEN 'fatal' THEN 'refused' ELSE status END,"
            " reason = CASE WHEN status = 'cancelled' THEN 'told twice: no orders, or cancelled'"
            "  WHEN again > 0 THEN 'asked for ' || again + 1 || ' times: ' || reason ELSE reason END"
            f" WHERE {ours} AND (status = 'fatal' OR again > 0) RETURNING *",
            told,
        )
        return cursor.fetchone()

    def ask_again_for_stuck(self, cursor: Cursor, account: str) -> list[str]:
        """Marks requests that are still being made after a day, and writes each down once more; returns their keys.

        A request that is itself asked for again is not asked for a third time because of that.
        """
        rows = _ask_again(
            cursor,
            f"UPDATE report_requests SET stuck_at = app_now(), asked_again_as = {_NEXT_KEY}"
            " WHERE account = %(account)s AND status IN ('submitted', 'in_progress') AND stuck_at IS NULL"
            " AND submitted_at < app_now() - %(stuck)s AND again = 0 AND NOT scheduled",
            {"account": account, "stuck": STUCK_AFTER},
            wait="interval '0'",
        )
        return [row.request_key for row in rows]

    def wait(self, request: Request, reason: str, until: datetime, *, asked: bool = False) -> None:
        """Waiting is not failing: the attempt is given back, unless Amazon may have been `asked` in it already: then
        the next one must look there first. Raises LeaseLost."""
        change = "next_attempt_at = %s, attempts = attempts - %s, reason = %s"
        self._end(request, change, (until, 0 if asked else 1, reason))

    def fail(self, request: Request, reason: str) -> None:
        """The attempt failed; after the last one the request is refused. Raises LeaseLost."""
        if request.attempts >= MAX_ATTEMPTS:
            self.refuse(request, f"attempt {MAX_ATTEMPTS} of {MAX_ATTEMPTS}: {reason}")
        else:
            self._end(request, "next_attempt_at = app_now() + %s, reason = %s", (backoff(request.attempts), reason))

    def refuse(self, request: Request, reason: str) -> None:
        """It cannot be had. Raises LeaseLost."""
        self._end(request, "status = 'refused', ended_at = app_now(), reason = %s", (reason,))

    def send_due(self) -> list[tuple[str, str]]:
        """Marks as sent what is due, one an account (it answers for the account's others too): (account, key)."""
        rows = self._database.query(
            "WITH due AS (SELECT DISTINCT ON (r.account, r.status = 'asked') r.account, r.request_key"
            "  FROM report_requests r JOIN connections c USING (account, api) JOIN applications p USING (application)"
            "  WHERE r.status IN ('asked', 'submitted', 'in_progress') AND r.next_attempt_at <= app_now()"
            "  AND coalesce(r.sent_at, '-infinity') <= app_now() - real_seconds(%s)"
            "  AND (r.lease_until IS NULL OR r.lease_until <= app_now())"
            "  AND c.paused_at IS NULL AND p.paused_at IS NULL"
            "  ORDER BY r.account, r.status = 'asked', r.next_attempt_at)"
            " UPDATE report_requests r SET sent_at = app_now() FROM due"
            " WHERE (r.account, r.request_key) = (due.account, due.request_key)"
            " AND coalesce(r.sent_at, '-infinity') <= app_now() - real_seconds(%s) RETURNING r.account, r.request_key",
            (self._lease_seconds, self._lease_seconds),
        )
        return [(row.account, row.request_key) for row in rows]

    def not_sent(self, account: str, request_key: str) -> None:
        """The broker did not take the message: it is due again."""
        self._database.query(
            "UPDATE report_requests SET sent_at = NULL WHERE account = %s AND request_key = %s", (account, request_key)
        )

    def table(self, account: str) -> list[Any]:
        """An account's requests, newest first."""
        return self._database.query(
            "SELECT * FROM report_requests WHERE account = %s ORDER BY asked_at DESC, request_key LIMIT 200",
            (account,),
        )

    def story(self, known_as: str, account: str | None = None, api: str | None = None) -> list[Any]:
        """Everything that was asked for the same as what is known by our key or Amazon's id, in the order of asking."""
        return self._database.query(
            "SELECT r.* FROM report_requests r WHERE (r.account, split_part(r.request_key, '-', 1)) IN ("
            "  SELECT account, split_part(request_key, '-', 1) FROM report_requests"
            "  WHERE (request_key = %(id)s OR amazon_request_id = %(id)s) AND account = coalesce(%(account)s, account)"
            "  AND api = coalesce(%(api)s, api)) ORDER BY r.account, r.again",
            {"id": known_as, "account": account, "api": api},
        )

    def gaps(self, account: str | None = None) -> list[Any]:
        """The windows that were asked for again and are not had, oldest first, of one account or of all: refused, or
        empty as Amazon has told twice (for a week: most likely it was so). A request that covers one closes it."""
        return self._database.query(
            "SELECT account, api, report_type, window_start, window_end, status, reason, amazon_request_id"
            " FROM report_requests r WHERE asked_again_as IS NULL AND account = coalesce(%(account)s, account)"
            " AND (status = 'refused' AND (again > 0 OR scheduled) AND ended_at > app_now() - %(told)s"
            "  OR status = 'cancelled' AND again > 0 AND ended_at > app_now() - %(week)s)"
            " AND NOT EXISTS (SELECT FROM report_requests d WHERE d.account = r.account AND d.api = r.api"
            "  AND d.report_type = r.report_type AND d.status IN ('done', 'no_data')"
            "  AND d.window_start <= r.window_start AND d.window_end >= r.window_end)"
            " ORDER BY account, window_start, request_key",
            {"account": account, "told": GAP_TOLD, "week": EMPTY_REMEMBERED},
        )

    def _end(self, request: Request, change: str, parameters: Sequence[Any]) -> None:
        with self._database.transaction() as cursor:
            _check(cursor, request)
            cursor.execute(
                f"UPDATE report_requests SET {change}, lease_owner = NULL, lease_until = NULL"
                " WHERE account = %s AND request_key = %s",
                (*parameters, request.account, request.request_key),
            )


def look_soon(cursor: Cursor, account: str, api: str, amazon_request_id: str) -> bool | None:
    """Makes the look at a request due at once. False: it has ended; None: it is no request of ours."""
    cursor.execute(
        "UPDATE report_requests SET next_attempt_at = least(next_attempt_at, app_now())"
        " WHERE account = %s AND api = %s AND amazon_request_id = %s"
        " RETURNING status IN ('submitted', 'in_progress') AS still_made",
        (account, api, amazon_request_id),
    )
    row = cursor.fetchone()
    return None if row is None else row.still_made


def _moved(cursor: Cursor, account: str, api: str, info: RequestInfo, due_at: datetime, *, key: str | None) -> bool:
    status = info.status.lower()
    fatal = f"Amazon could not make it: {info.reason or 'it states no reason'}" if status == "fatal" else None
    cursor.execute(
        "UPDATE report_requests SET status = %(status)s, amazon_request_id = %(id)s, report_id = %(report_id)s,"
        " submitted_at = coalesce(submitted_at, %(submitted_at)s), attempts = 0,"
        " reason = %(reason)s,"
        " next_attempt_at = %(due_at)s, lease_owner = NULL, lease_until = NULL, sent_at = NULL,"
        " ended_at = CASE WHEN %(status)s NOT IN ('submitted', 'in_progress') THEN app_now() END"
        " WHERE account = %(account)s AND api = %(api)s"
        " AND (request_key = %(key)s OR (%(key)s IS NULL AND amazon_request_id = %(id)s"
        "  AND status IN ('submitted', 'in_progress')))",
        {
            "account": account,
            "api": api,
            "key": key,
            "id": info.request_id_at_amazon,
            "status": status if status in _STATUSES else "in_progress",
            "report_id": info.report_id,
            "submitted_at": info.submitted_at,
            "reason": fatal,
            "due_at": due_at,
        },
    )
    return bool(cursor.rowcount)


def _ask_again(cursor: Cursor, marking: str, told: Mapping[str, Any], *, wait: str) -> list[Any]:
    """Writes down once more what the statement `marking` gives a next key to; returns the rows that were marked."""
    cursor.execute(
        f"WITH marked AS ({marking} RETURNING *), written AS ("
        "  INSERT INTO report_requests (account, api, request_key, report_type, window_start, window_end, options,"
        "   again, next_attempt_at)"
        "  SELECT account, api, asked_again_as, report_type, window_start, window_end, options, again + 1,"
        f"  app_now() + {wait} FROM marked ON CONFLICT DO NOTHING)"
        " SELECT * FROM marked",
        {**told, "first": FIRST_ASKED_AGAIN},
    )
    rows: list[Any] = cursor.fetchall()
    return rows


def _window(info: RequestInfo) -> tuple[datetime | None, datetime | None]:
    """The window that Amazon states, where it is one, in the whole seconds in which it is asked for again: milliseconds
    (recorded 2024 traffic) that were cut off its end would be missed, and its own request not known again."""
    if info.window_start and info.window_end and info.window_start < info.window_end:
        after = info.window_end + timedelta(microseconds=999_999)
        return info.window_start.replace(microsecond=0), after.replace(microsecond=0)
    return None, None


_STILL_MADE = frozenset({"SUBMITTED", "IN_PROGRESS"})
#: Amazon's words that we know; another one (a new one of Amazon's) is followed as a request still being made.
_STATUSES = frozenset({"submitted", "in_progress", "done", "no_data", "cancelled", "fatal"})


def _check(cursor: Cursor, request: Request) -> None:
    cursor.execute(
        "SELECT FROM report_requests WHERE account = %s AND request_key = %s AND fence = %s"
        " AND lease_owner IS NOT NULL FOR UPDATE",
        (request.account, request.request_key, request.fence),
    )
    if cursor.rowcount != 1:
        raise LeaseLost(f"{request}: another worker has it now; nothing was changed")


def _request(row: Any) -> Request:
    return Request(**{name: getattr(row, name) for name in Request.__dataclass_fields__})
