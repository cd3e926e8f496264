"""All SQL about the messages of reports: what is due and has a free slot, whose lease ran out, what the broker forgot.

A message is a hint, and the row the truth: what is marked here as sent is due again when nobody took it in time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderdrain.history import write_history
from orderdrain.policy import HURRY_AFTER
from orderdrain.reports import STEP_FROM, ReportKey, State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orderdrain.db import Database

#: A message is on its way, or a worker is at it. After a lease's length a message that nobody took counts as lost.
IN_FLIGHT = "(r.lease_until > app_now() OR r.sent_at > app_now() - real_seconds(%(seconds)s))"


class Dispatch:
    """What is sent, and taken back."""

    def __init__(self, database: Database, *, lease_seconds: int, account_slots: int) -> None:
        self._database = database
        self._lease_seconds = lease_seconds
        self._account_slots = account_slots

    def send_due(self, account: str | None = None) -> list[tuple[ReportKey, str]]:
        """Marks as sent what is due and has a free slot in its connection, and returns each with its step.

        Soon lost at Amazon first, then bytes that we already hold, then the newest. Two sweeps at once do not send the
        same: the second skips what the first has locked.
        """
        # Of one account by its index; an "or all of them" in the statement would hide that from the planner.
        of_account = " AND r.account = %(account)s" * (account is not None)
        rows = self._database.query(
            "WITH in_flight AS ("
            "  SELECT r.account, r.api, count(*) AS n FROM reports r"
            f" WHERE r.state IN ('listed', 'downloaded') AND {IN_FLIGHT}{of_account} GROUP BY r.account, r.api),"
            " due AS ("
            "  SELECT r.account, r.api, r.report_id, row_number() OVER (PARTITION BY r.account, r.api ORDER BY"
            "   r.available_at >= app_now() - CASE r.api WHEN 'mws' THEN %(mws)s::interval ELSE %(sp_api)s END,"
            "   r.state = 'listed', r.available_at DESC, r.report_id) AS place"
            "  FROM reports r JOIN connections c USING (account, api) JOIN applications p USING (application)"
            "  WHERE r.state IN ('listed', 'downloaded') AND r.next_attempt_at <= app_now()"
            f" AND NOT coalesce({IN_FLIGHT}, false){of_account}"
            "  AND c.paused_at IS NULL AND p.paused_at IS NULL"
            "  AND (r.state <> 'listed' OR c.download_after <= app_now())),"
            " chosen AS ("
            "  SELECT r.account, r.api, r.report_id, due.place FROM due"
            "  JOIN reports r USING (account, api, report_id) LEFT JOIN in_flight USING (account, api)"
            "  WHERE due.place <= %(slots)s - coalesce(in_flight.n, 0) FOR UPDATE OF r SKIP LOCKED)"
            " UPDATE reports r SET sent_at = app_now() FROM chosen"
            " WHERE (r.account, r.api, r.report_id) = (chosen.account, chosen.api, chosen.report_id)"
            f" AND NOT coalesce({IN_FLIGHT}, false)"
            " RETURNING r.account, r.api, r.report_id, r.state, chosen.place",
            {
                "account": account,
                "seconds": self._lease_seconds,
                "mws": HURRY_AFTER["mws"],
                "sp_api": HURRY_AFTER["sp-api"],
                "slots": self._account_slots,
            },
            prepared=True,
        )
        # One of each account in turn, so that a big account's messages do not stand before the small ones'.
        rows.sort(key=lambda row: (row.place, row.account))
        return [(ReportKey(r.account, r.api, r.report_id), STEP_FROM[State(r.state)]) for r in rows]

    def not_sent(self, keys: Sequence[ReportKey]) -> None:
        """The broker did not take these messages: they are due again."""
        if keys:
            self._database.query(
                "UPDATE reports SET sent_at = NULL WHERE (account, api, report_id) IN %s",
                (tuple((k.account, k.api, k.report_id) for k in keys),),
            )

    def take_back(self) -> list[ReportKey]:
        """Takes back the leases that ran out: their workers died. Their attempts stay counted.

        What is being acknowledged lasts as long as its connection's turn: the next one that has it takes it back.
        """
        with self._database.transaction() as cursor:
            cursor.execute(
                "UPDATE reports r SET lease_owner = NULL, lease_until = NULL,"
                " reason = 'lease of ' || old.lease_owner || ' ran out'"
                " FROM (SELECT account, api, report_id, lease_owner FROM reports WHERE lease_until <= app_now()"
                "  AND state IN ('listed', 'downloaded') FOR UPDATE SKIP LOCKED) old"
                " WHERE (r.account, r.api, r.report_id) = (old.account, old.api, old.report_id)"
                " RETURNING r.account, r.api, r.report_id, r.state, r.attempts, old.lease_owner"
            )
            taken = cursor.fetchall()
            for row in taken:
                state = State(row.state)
                write_history(
                    cursor,
                    ReportKey(row.account, row.api, row.report_id),
                    "sweep",
                    "lease ran out",
                    state,
                    state,
                    attempt=row.attempts,
                    worker=row.lease_owner,
                    detail=f"{STEP_FROM[state]} will be sent again",
                )
            return [ReportKey(row.account, row.api, row.report_id) for row in taken]

    def broker_forgot(self, word: str | None) -> str | None:
        """Compares the broker's word with ours. Where the broker has forgotten it, every message is gone: all that
        was sent is due again, and the new word to leave with the broker is returned."""
        with self._database.transaction() as cursor:
            cursor.execute("SELECT word FROM broker FOR UPDATE")
            if cursor.fetchone().word == word:
                return None
            cursor.execute("UPDATE broker SET word = gen_random_uuid()::text RETURNING word")
            new_word: str = cursor.fetchone().word
            cursor.execute(
                "UPDATE reports SET sent_at = NULL WHERE sent_at IS NOT NULL AND state IN ('listed', 'downloaded')"
            )
            cursor.execute("UPDATE report_requests SET sent_at = NULL WHERE sent_at IS NOT NULL")
            cursor.execute("UPDATE connections SET acknowledge_sent_at = NULL WHERE acknowledge_sent_at IS NOT NULL")
            return new_word
