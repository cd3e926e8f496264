"""All SQL of acknowledging: which parsed reports Amazon is told of, many at once, and what its answer means for each.

A report's rows are committed when it is parsed. It is acknowledged once the listing that found it has ended, by a
worker that has its connection's turn (turns.py): the caller checks the turn in the transaction of each ending here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orderdrain.dispatch import IN_FLIGHT
from orderdrain.history import note_from, write_history
from orderdrain.policy import ACKNOWLEDGE_AT_ONCE, MAX_ATTEMPTS, backoff
from orderdrain.reports import ReportKey, State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orderdrain.db import Cursor, Database
    from orderdrain.turns import Turn


class Acknowledgements:
    """What Amazon is to be told, and what it was told."""

    def __init__(self, database: Database, *, lease_seconds: int) -> None:
        self._database = database
        self._lease_seconds = lease_seconds

    # ------------------------------------------------------------------------------------------------- messages

    def send_due(self, account: str | None = None, *, complete: bool = False) -> list[str]:
        """Marks as sent the accounts (or this one) with parsed reports that may be acknowledged now, and returns them.

        `complete`: only where no other report of the account is on its way, so that what there is goes in one call.
        """
        of_account = " AND account = %(account)s" * (account is not None)
        rows = self._database.query(
            "UPDATE connections c SET acknowledge_sent_at = app_now() FROM applications p,"
            " (SELECT account, api, min(listing) AS listing FROM reports WHERE state = 'parsed'"
            f"  AND next_attempt_at <= app_now(){of_account} GROUP BY account, api) due"
            " WHERE (c.account, c.api) = (due.account, due.api) AND due.listing <= c.listed"
            " AND p.application = c.application AND c.paused_at IS NULL AND p.paused_at IS NULL"
            " AND c.listing_token IS NULL AND c.acknowledge_after <= app_now()"
            " AND (c.turn IS NULL OR c.turn_until <= app_now())"
            # As with a report's message: after a lease's length one that nobody took counts as lost.
            " AND (c.acknowledge_sent_at > app_now() - real_seconds(%(seconds)s)) IS NOT TRUE"
            " AND NOT (%(complete)s AND EXISTS (SELECT FROM reports r WHERE r.account = c.account"
            f" AND r.state IN ('listed', 'downloaded') AND {IN_FLIGHT})) RETURNING c.account",
            {"account": account, "seconds": self._lease_seconds, "complete": complete},
            prepared=True,
        )
        return sorted({row.account for row in rows})

    def not_sent(self, accounts: Sequence[str]) -> None:
        """No message to acknowledge is on its way to these: the broker did not take it, or it is here and spent."""
        self._database.query(
            "UPDATE connections SET acknowledge_sent_at = NULL"
            " WHERE account = ANY(%s) AND acknowledge_sent_at IS NOT NULL",
            (list(accounts),),
        )

    # ------------------------------------------------------------------------------------------ begin, and endings

    def begin(self, turn: Turn, *, skip: Sequence[str] = ()) -> list[str]:
        """Leases up to 100 ids whose rows are committed and whose listing has ended, oldest first, their attempt
        counted; returns them.

        Those that failed most often come first and among themselves, and in ever smaller batches: an id that Amazon
        refuses is alone before its attempts are used up, also where quota allows one call a turn. One whose attempts
        are used up (its workers died of it, one after the other) is quarantined instead.
        """
        with self._database.transaction() as cursor:
            cursor.execute(
                "WITH due AS ("
                "  SELECT r.report_id, r.available_at, r.attempts, max(r.attempts) OVER () AS most"
                "  FROM reports r JOIN connections c USING (account, api)"
                "  WHERE r.account = %(account)s AND r.api = %(api)s AND r.state = 'parsed'"
                "  AND r.next_attempt_at <= app_now() AND r.listing <= c.listed AND c.turn_fence = %(fence)s"
                "  AND NOT r.report_id = ANY(%(skip)s)),"
                " was AS ("
                "  SELECT report_id, attempts, lease_owner FROM reports"
                "  WHERE account = %(account)s AND api = %(api)s AND report_id IN ("
                "   SELECT report_id FROM due WHERE attempts = most ORDER BY available_at, report_id"
                "   LIMIT greatest(1, %(at_once)s >> (SELECT max(greatest(most - 1, 0)) FROM due)))"
                "  ORDER BY report_id FOR UPDATE)"
                " UPDATE reports r SET attempts = r.attempts + 1, sent_at = NULL, lease_owner = %(owner)s,"
                " lease_until = app_now() + real_seconds(%(seconds)s) FROM was"
                " WHERE r.account = %(account)s AND r.api = %(api)s AND r.report_id = was.report_id"
                " RETURNING r.report_id, was.attempts, was.lease_owner AS died",
                {
                    "account": turn.account,
                    "api": turn.api,
                    "fence": turn.fence,
                    "skip": list(skip),
                    "at_once": ACKNOWLEDGE_AT_ONCE,
                    "owner": turn.owner,
                    "seconds": self._lease_seconds,
                },
            )
            begun = sorted(cursor.fetchall())
            for row in begun:
                # Whoever had it before had the turn before: the turn is ours, so that one is dead or out of time.
                if row.died:
                    write_history(
                        cursor,
                        ReportKey(turn.account, turn.api, row.report_id),
                        "acknowledge",
                        "lease ran out",
                        State.PARSED,
                        State.PARSED,
                        attempt=row.attempts,
                        worker=row.died,
                        detail=f"{turn.owner} begins again",
                    )
            used_up = [row.report_id for row in begun if row.attempts >= MAX_ATTEMPTS]
            self.refused(
                cursor, turn, used_up, f"{MAX_ATTEMPTS} attempts at acknowledge, the last without a word", None
            )
        return [row.report_id for row in begun if row.attempts < MAX_ATTEMPTS]

    def done(
        self, cursor: Cursor, turn: Turn, report_ids: Sequence[str], *, detail: str, request_id: str | None
    ) -> int:
        """From parsed to acknowledged for these ids. Returns how many."""
        return _end(
            cursor,
            turn,
            report_ids,
            "state = 'acknowledged', acknowledged_at = app_now(), attempts = 0, reason = NULL",
            {},
            "acknowledged",
            State.ACKNOWLEDGED,
            detail,
            request_id,
        )

    def not_done(
        self, cursor: Cursor, turn: Turn, report_ids: Sequence[str], reason: str, *, waits: bool, request_id: str | None
    ) -> None:
        """These stay parsed and are told again: without an attempt spent where `waits`, after a backoff else; those
        whose attempts are used up are quarantined."""
        used_up = [] if waits else _used_up(cursor, turn, report_ids)
        _end(
            cursor,
            turn,
            sorted(set(report_ids).difference(used_up)),
            "reason = %(reason)s, attempts = r.attempts - %(given_back)s,"
            " next_attempt_at = CASE WHEN %(given_back)s = 1 THEN next_attempt_at"
            " ELSE app_now() + (%(backoffs)s)[least(r.attempts, %(last)s)] END",
            # One wait for all that have failed as often: what was told in one call is told in one call again.
            {
                "given_back": int(waits),
                "backoffs": [backoff(attempt) for attempt in range(1, MAX_ATTEMPTS + 1)],
                "last": MAX_ATTEMPTS,
            },
            "snoozed" if waits else "failed",
            State.PARSED,
            reason,
            request_id,
        )
        self.refused(cursor, turn, used_up, f"attempt {MAX_ATTEMPTS} of {MAX_ATTEMPTS}: {reason}", request_id)

    def refused(
        self, cursor: Cursor, turn: Turn, report_ids: Sequence[str], reason: str, request_id: str | None
    ) -> None:
        """Amazon refuses these for good: set aside, their rows stay committed."""
        _end(
            cursor,
            turn,
            report_ids,
            "state = 'quarantined', quarantined_from = 'parsed', reason = %(reason)s",
            {},
            "quarantined",
            State.QUARANTINED,
            reason,
            request_id,
        )


def _end(
    cursor: Cursor,
    turn: Turn,
    report_ids: Sequence[str],
    change: str,
    parameters: dict[str, Any],
    event: str,
    to_state: State,
    detail: str,
    request_id: str | None,
) -> int:
    if not report_ids:
        return 0
    cursor.execute(
        f"WITH ended AS (UPDATE reports r SET lease_owner = NULL, lease_until = NULL, {change}"
        "  FROM (SELECT account, api, report_id, attempts FROM reports WHERE account = %(account)s AND api = %(api)s"
        "   AND report_id = ANY(%(ids)s) AND state = 'parsed' ORDER BY report_id FOR UPDATE) was"
        "  WHERE (r.account, r.api, r.report_id) = (was.account, was.api, was.report_id)"
        "  RETURNING r.account, r.api, r.report_id, was.attempts),"
        f" noted AS ({note_from('ended', attempt='attempts')})"
        " SELECT count(*) AS ended FROM ended",
        {
            "account": turn.account,
            "api": turn.api,
            "ids": list(report_ids),
            "reason": detail,
            **parameters,
            "step": "acknowledge",
            "event": event,
            "state": State.PARSED,
            "to_state": to_state,
            "owner": turn.owner,
            "detail": detail,
            "request_id": request_id,
        },
    )
    return int(cursor.fetchone().ended)


def _used_up(cursor: Cursor, turn: Turn, report_ids: Sequence[str]) -> list[str]:
    if not report_ids:
        return []
    cursor.execute(
        "SELECT report_id FROM reports WHERE account = %s AND api = %s AND report_id = ANY(%s)"
        " AND state = 'parsed' AND attempts >= %s",
        (turn.account, turn.api, list(report_ids), MAX_ATTEMPTS),
    )
    return [row.report_id for row in cursor.fetchall()]
