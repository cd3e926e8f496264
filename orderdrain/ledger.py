"""All SQL about reports: enter, lease, advance, snooze, fail, quarantine, requeue. What sends their messages is in
dispatch.py, what tells Amazon of many at once in acknowledgements.py; each change leaves a line in history.py.

The row is the truth and a message a hint. A step begins with a *lease*: one committed update (owner, expiry, fence)
that also counts the attempt, so that a report which kills its worker is counted too. The commit that ends a step checks
the fence: a worker that lost its lease changes nothing. No transaction is held open across a call to Amazon.

Leases and messages on their way are measured in real seconds (they watch processes); waiting, backoff and everything
about Amazon in application time, by `app_now()`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg2.extras

from orderdrain.errors import GiveUp, LeaseLost, NotFound, UsageError
from orderdrain.history import note_from, write_history
from orderdrain.policy import ARCHIVE_LOSSES, MAX_ATTEMPTS, backoff
from orderdrain.progress import Progress
from orderdrain.reports import STEP_FROM, Report, ReportKey, RowCounts, State

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from orderdrain.amazon import ListedReport
    from orderdrain.db import Cursor, Database

_KEY = "account = %(account)s AND api = %(api)s AND report_id = %(report_id)s"


@dataclass(frozen=True)
class Lease:
    """The exclusive right to work on a report, given back by time. `fence` grows with each lease of that report."""

    report: Report
    owner: str
    fence: int
    progress: Progress = field(default_factory=Progress, compare=False)

    @property
    def key(self) -> ReportKey:
        return self.report.key


class Ledger:
    """The reports and how far each has come."""

    def __init__(self, database: Database, *, lease_seconds: int) -> None:
        self._database = database
        self._lease_seconds = lease_seconds

    # ------------------------------------------------------------------------------------------------- entering

    def enter(
        self,
        account: str,
        api: str,
        reports: Sequence[ListedReport],
        *,
        listing: int,
        worker: str,
        request_id: str | None,
    ) -> int:
        """Enters what we do not know yet as `listed`; a known id is a no-op. Returns how many were new."""
        if not reports:
            return 0
        with self._database.transaction() as cursor:
            entered = psycopg2.extras.execute_values(
                cursor,
                "INSERT INTO reports (account, api, report_id, report_type, report_request_id, available_at, listing,"
                " marketplaces) VALUES %s ON CONFLICT DO NOTHING RETURNING report_id",
                [
                    (
                        *(account, api, r.report_id, r.report_type, r.report_request_id, r.available_at, listing),
                        list(r.marketplaces),
                    )
                    # In one order: two that enter the same ids at once wait for each other, and never in a circle.
                    for r in sorted(reports, key=lambda r: r.report_id)
                ],
                page_size=1000,
                fetch=True,
            )
            for row in entered:
                key = ReportKey(account, api, row.report_id)
                write_history(cursor, key, "list", "entered", None, State.LISTED, worker=worker, request_id=request_id)
            return len(entered)

    # ------------------------------------------------------------------------------------- lease, and its endings

    def lease(self, key: ReportKey, state: State, owner: str) -> Lease | None:
        """The lease of a report that is in `state` and due, its attempt counted; None when there is nothing to do now.

        A report whose attempts are used up (its workers died of it, one after the other) is quarantined instead.
        """
        with self._database.transaction() as cursor:
            cursor.execute_prepared(
                "UPDATE reports r SET lease_owner = %(owner)s, lease_until = app_now() + real_seconds(%(seconds)s),"
                " fence = fence + 1, attempts = attempts + 1, sent_at = NULL, progress = NULL"
                " FROM connections c JOIN applications p USING (application),"
                f" (SELECT lease_owner AS died FROM reports WHERE {_KEY} FOR UPDATE) before"
                " WHERE r.account = %(account)s AND r.api = %(api)s AND r.report_id = %(report_id)s"
                " AND c.account = r.account AND c.api = r.api AND c.paused_at IS NULL AND p.paused_at IS NULL"
                " AND (r.state <> 'listed' OR c.download_after <= app_now())"
                " AND r.state = %(state)s AND r.next_attempt_at <= app_now()"
                " AND (r.lease_until IS NULL OR r.lease_until <= app_now())"
                f" RETURNING {', '.join(f'r.{column}' for column in Report.COLUMNS)}, r.fence, r.reason, before.died",
                {**_ids(key), "owner": owner, "seconds": self._lease_seconds, "state": state},
            )
            row = cursor.fetchone()
            if row is None:
                # The message is spent, whatever it found: the row must not count as on its way for longer.
                cursor.execute(
                    f"UPDATE reports SET sent_at = NULL WHERE {_KEY} AND state = %(state)s AND sent_at IS NOT NULL",
                    {**_ids(key), "state": state},
                )
                return None
            if row.died:
                write_history(
                    cursor,
                    key,
                    STEP_FROM[state],
                    "lease ran out",
                    state,
                    state,
                    attempt=row.attempts - 1,
                    worker=row.died,
                    detail=f"{owner} begins again",
                )
            lease = Lease(Report.of(row), owner, row.fence)
            if row.attempts <= MAX_ATTEMPTS:
                return lease
            reason = (
                f"{MAX_ATTEMPTS} attempts at {STEP_FROM[state]}, the last without a word: {row.reason or 'worker died'}"
            )
            _set_aside(cursor, lease, reason, request_id=None)
            return None

    def renew(self, lease: Lease) -> bool:
        """Keeps the lease for longer, and writes down how far the work is; False when it is no longer ours."""
        return bool(
            self._database.query(
                "UPDATE reports SET lease_until = app_now() + real_seconds(%(seconds)s), progress = %(progress)s"
                f" WHERE {_KEY} AND fence = %(fence)s AND state = %(state)s AND lease_until > app_now() RETURNING 1",
                {
                    **_ids(lease.key),
                    "seconds": self._lease_seconds,
                    "progress": lease.progress.to_write(),
                    "fence": lease.fence,
                    "state": lease.report.state,
                },
            )
        )

    def downloaded(
        self,
        lease: Lease,
        *,
        archive_key: str,
        size: int,
        sha256: str,
        content_type: str | None,
        request_id: str | None,
    ) -> None:
        """From listed to downloaded: the bytes are archived, the message for parse counts as sent. Raises LeaseLost."""
        with self._database.transaction() as cursor:
            _advance(
                cursor,
                lease,
                State.DOWNLOADED,
                {
                    "archive_key": archive_key,
                    "bytes": size,
                    "sha256": sha256,
                    "content_type": content_type,
                },
                detail=f"{size:,} bytes",
                request_id=request_id,
            )

    def download_again(self, lease: Lease, reason: str) -> None:
        """From downloaded back to listed: the archive no longer has its bytes. Raises LeaseLost, and GiveUp when they
        were lost too often: then workers do not share one archive, and would download it for ever."""
        with self._database.transaction() as cursor:
            cursor.execute(
                f"SELECT count(*) AS lost FROM report_history WHERE {_KEY} AND step = 'parse' AND event = 'listed'",
                _ids(lease.key),
            )
            if (lost := cursor.fetchone().lost) >= ARCHIVE_LOSSES:
                raise GiveUp(f"{reason}, {lost + 1} times: do all workers share ORDERDRAIN_ARCHIVE?")
            _advance(cursor, lease, State.LISTED, {"archive_key": None}, detail=reason)

    def parsed(
        self, cursor: Cursor, lease: Lease, *, outcome: str, counts: RowCounts, encoding: str, encoding_reason: str
    ) -> None:
        """From downloaded to parsed, in the rows' own transaction, as its last statement. Raises LeaseLost."""
        told = {"outcome": outcome, "encoding": encoding, "encoding_reason": encoding_reason, **counts.columns}
        _advance(cursor, lease, State.PARSED, told, detail=str(counts))

    def snooze(self, lease: Lease, reason: str, until: datetime, *, request_id: str | None = None) -> None:
        """Waiting is not failing: due again at `until`, the attempt given back. Raises LeaseLost."""
        self._end(lease, "snoozed", reason, until=until, given_back=1, request_id=request_id)

    def fail(self, lease: Lease, reason: str, *, request_id: str | None = None) -> datetime | None:
        """The attempt failed: returns when the next one is due, or None when it was the last and the report is
        quarantined. Raises LeaseLost."""
        if lease.report.attempts >= MAX_ATTEMPTS:
            step = STEP_FROM[lease.report.state]
            self.quarantine(
                lease, f"attempt {MAX_ATTEMPTS} of {MAX_ATTEMPTS} at {step}: {reason}", request_id=request_id
            )
            return None
        return self._end(lease, "failed", reason, wait=backoff(lease.report.attempts), request_id=request_id)

    def give_back(self, lease: Lease, reason: str) -> None:
        """The step could not be tried (shutdown, a dependency away, credentials): due at once, no attempt spent."""
        self._end(lease, "given back", reason, given_back=1)

    def quarantine(self, lease: Lease, reason: str, *, request_id: str | None = None) -> None:
        """Set aside for a person, its bytes kept. Raises LeaseLost."""
        with self._database.transaction() as cursor:
            _set_aside(cursor, lease, reason, request_id=request_id)

    def _end(
        self,
        lease: Lease,
        event: str,
        reason: str,
        *,
        until: datetime | None = None,
        wait: timedelta = timedelta(0),
        given_back: int = 0,
        request_id: str | None = None,
    ) -> datetime:
        with self._database.transaction() as cursor:
            row = _ended(
                cursor,
                lease,
                lease.report.state,
                "reason = %(reason)s, attempts = attempts - %(given_back)s,"
                " next_attempt_at = coalesce(%(until)s, app_now() + %(backoff)s)",
                {"reason": reason, "given_back": given_back, "until": until, "backoff": wait},
                event=event,
                detail=f"{reason}; due ",
                and_due=True,
                request_id=request_id,
            )
            due_at: datetime = row.next_attempt_at
            return due_at

    # -------------------------------------------------------------------------------------------------- looking

    def find(self, report_id: str, account: str | None = None, api: str | None = None) -> list[Any]:
        """The rows with this id: more than one where several connections have a report of that id."""
        return self._database.query(
            "SELECT * FROM reports WHERE report_id = %s AND account = coalesce(%s, account) AND api = coalesce(%s, api)"
            " ORDER BY account, api",
            (report_id, account, api),
        )

    def reports(
        self, *, account: str | None = None, state: str | None = None, report_type: str | None = None, limit: int = 50
    ) -> list[Any]:
        """Reports, newest first; one more than `limit`, so that the caller sees whether there are more."""
        wanted = {"account": account, "state": state, "report_type": report_type}
        # Only what is asked for: by "account = account" Postgres would expect few rows, and read all of them.
        where = " AND ".join(f"{name} = %({name})s" for name, value in wanted.items() if value is not None)
        return self._database.query(
            "SELECT account, api, report_id, report_type, state, available_at, attempts, next_attempt_at,"
            " rows_read, rows_rejected, reason"
            f" FROM reports WHERE {where or 'true'} ORDER BY available_at DESC, account, report_id LIMIT %(limit)s",
            {**wanted, "limit": limit + 1},
        )

    def summary(self) -> list[Any]:
        """One row an account: how many reports wait in each state or are quarantined, the oldest that has no rows yet,
        and up to when its orders are in. What is finished is not counted: it is millions, and says nothing."""
        return self._database.query(
            "SELECT account, coalesce(listed, 0) AS listed, coalesce(downloaded, 0) AS downloaded,"
            " coalesce(parsed, 0) AS parsed, coalesce(quarantined, 0) AS quarantined, oldest_waiting, fresh_to"
            " FROM accounts a LEFT JOIN ("
            "  SELECT account, count(*) FILTER (WHERE state = 'listed') AS listed,"
            "  count(*) FILTER (WHERE state = 'downloaded') AS downloaded,"
            "  count(*) FILTER (WHERE state = 'parsed') AS parsed,"
            "  min(available_at) FILTER (WHERE state IN ('listed', 'downloaded')) AS oldest_waiting"
            "  FROM reports WHERE state IN ('listed', 'downloaded', 'parsed') GROUP BY account) waiting USING (account)"
            " LEFT JOIN (SELECT account, count(*) AS quarantined FROM reports WHERE state = 'quarantined'"
            "  GROUP BY account) set_aside USING (account)"
            " LEFT JOIN LATERAL (SELECT r.available_at AS fresh_to FROM reports r WHERE r.account = a.account"
            "  AND r.state IN ('parsed', 'acknowledged') ORDER BY r.available_at DESC LIMIT 1) newest ON true"
            " ORDER BY account"
        )

    def under_way(self) -> list[Any]:
        """What is being downloaded or parsed, and takes so long that how far it is was written down."""
        return self._database.query(
            "SELECT account, api, report_id, CASE state WHEN 'listed' THEN 'download' ELSE 'parse' END AS step,"
            " lease_owner, progress FROM reports WHERE state IN ('listed', 'downloaded')"
            " AND lease_until > app_now() AND progress IS NOT NULL ORDER BY account, report_id"
        )

    def requeue(self, key: ReportKey, *, note: str) -> State:
        """From quarantined to where it came from, its attempts forgotten. Raises NotFound, UsageError."""
        with self._database.transaction() as cursor:
            cursor.execute(f"SELECT state, quarantined_from FROM reports WHERE {_KEY} FOR UPDATE", _ids(key))
            row = cursor.fetchone()
            if row is None:
                raise NotFound(f"there is no {key}. See: orderdrain reports")
            if row.state != State.QUARANTINED:
                raise UsageError(f"{key} is {row.state}: only a quarantined report is requeued")
            state = State(row.quarantined_from)
            cursor.execute(
                "UPDATE reports SET state = quarantined_from, quarantined_from = NULL, attempts = 0, reason = NULL,"
                f" next_attempt_at = app_now(), sent_at = NULL WHERE {_KEY}",
                _ids(key),
            )
            write_history(cursor, key, "requeue", "requeued", State.QUARANTINED, state, worker="a person", detail=note)
            return state


def _advance(
    cursor: Cursor,
    lease: Lease,
    to_state: State,
    told: dict[str, Any],
    *,
    detail: str,
    request_id: str | None = None,
) -> None:
    """Moves a leased report on. Where another step follows at once, its message counts as sent: it keeps its slot."""
    columns = "".join(f", {name} = %({name})s" for name in told)
    sent_at = "app_now()" if to_state is State.DOWNLOADED else "NULL"
    change = (
        f"state = %(to_state)s, {to_state}_at = app_now(), attempts = 0, reason = NULL, next_attempt_at = app_now(),"
        f" sent_at = {sent_at}{columns}"
    )
    _ended(cursor, lease, to_state, change, told, event=to_state, detail=detail, request_id=request_id)


def _set_aside(cursor: Cursor, lease: Lease, reason: str, *, request_id: str | None) -> None:
    change = "state = %(to_state)s, quarantined_from = state, reason = %(detail)s, sent_at = NULL"
    _ended(cursor, lease, State.QUARANTINED, change, {}, event="quarantined", detail=reason, request_id=request_id)


def _ended(
    cursor: Cursor,
    lease: Lease,
    to_state: State,
    change: str,
    told: dict[str, Any],
    *,
    event: str,
    detail: str,
    and_due: bool = False,
    request_id: str | None,
) -> Any:
    """Every end of a lease: what changes of its report, and the line that this leaves in its history, in one statement.
    `and_due`: the line also tells when it is due. Returns the row's next_attempt_at; raises LeaseLost."""
    due = " || to_char(next_attempt_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS\"Z\"')" if and_due else ""
    cursor.execute_prepared(
        f"WITH ended AS (UPDATE reports SET lease_owner = NULL, lease_until = NULL, {change}"
        f"  WHERE {_KEY} AND fence = %(fence)s AND state = %(state)s AND lease_owner IS NOT NULL"
        "  RETURNING account, api, report_id, next_attempt_at),"
        f" noted AS ({note_from('ended', detail=f'%(detail)s{due}')})"
        " SELECT next_attempt_at FROM ended",
        {
            **_ids(lease.key),
            **told,
            "state": lease.report.state,
            "to_state": to_state,
            "fence": lease.fence,
            "step": STEP_FROM[lease.report.state],
            "event": event,
            "attempt": lease.report.attempts,
            "owner": lease.owner,
            "detail": detail,
            "request_id": request_id,
        },
    )
    row = cursor.fetchone()
    if row is None:
        raise LeaseLost(f"{lease.key}: lost its lease, another worker has it now; nothing was changed")
    return row


def _ids(key: ReportKey) -> dict[str, Any]:
    return {"account": key.account, "api": key.api, "report_id": key.report_id}
