"""All SQL about requested reports: written down before Amazon is asked, followed to their end.

A request has our own key, committed before the call. Whoever asks again (the answer was lost, the worker died) first
looks at Amazon for a request of that type and window, so that one wish becomes one report.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from orderdrain.errors import LeaseLost
from orderdrain.policy import MAX_ATTEMPTS, STUCK_AFTER, backoff

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from orderdrain.amazon import RequestInfo
    from orderdrain.db import Cursor, Database


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
    status: str
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
            " AND amazon_request_id IS NOT NULL",
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

    def seen(self, cursor: Cursor, account: str, api: str, info: RequestInfo, due_at: datetime) -> None:
        """What Amazon says of a request of ours now; an end of its own is an end, no failure."""
        _moved(cursor, account, api, info, due_at, key=None)

    def ask_again_for_stuck(self, cursor: Cursor, account: str) -> list[str]:
        """Marks requests that are still being made after a day, and writes each down once more; returns their keys.

        A request that is itself such a second wish is not asked for a third time.
        """
        cursor.execute(
            "WITH stuck AS (UPDATE report_requests SET stuck_at = app_now(), asked_again_as = request_key || '-again'"
            "  WHERE account = %s AND status IN ('submitted', 'in_progress') AND stuck_at IS NULL"
            "  AND submitted_at < app_now() - %s AND request_key NOT LIKE '%%-again' RETURNING *)"
            " INSERT INTO report_requests (account, api, request_key, report_type, window_start, window_end, options)"
            " SELECT account, api, asked_again_as, report_type, window_start, window_end, options FROM stuck"
            " ON CONFLICT DO NOTHING RETURNING request_key",
            (account, STUCK_AFTER),
        )
        return [row.request_key.removesuffix("-again") for row in cursor.fetchall()]

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


def _moved(cursor: Cursor, account: str, api: str, info: RequestInfo, due_at: datetime, *, key: str | None) -> None:
    status = info.status.lower()
    cursor.execute(
        "UPDATE report_requests SET status = %(status)s, amazon_request_id = %(id)s, report_id = %(report_id)s,"
        " submitted_at = coalesce(submitted_at, %(submitted_at)s), attempts = 0, reason = NULL,"
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
            "due_at": due_at,
        },
    )


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
