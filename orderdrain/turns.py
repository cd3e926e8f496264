"""All SQL about turns: who lists a connection or acknowledges its reports, and from where a listing goes on.

A connection's *turn* keeps listing and acknowledging apart: Amazon's Acknowledged filter changes the very set that a
listing pages through, so an account is listed or acknowledged, never both at once. A turn is a lease with a fence, as
a report's is: it ends by itself when its worker dies, and a worker that lost it changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orderdrain.errors import LeaseLost
from orderdrain.policy import DAILY, OVERLAP

if TYPE_CHECKING:
    from datetime import datetime

    from orderdrain.accounts import Connection
    from orderdrain.db import Cursor, Database


@dataclass
class Turn:
    """The exclusive right to list (or acknowledge) a connection, given back by time. `next_token` moves on with it."""

    account: str
    api: str
    fence: int
    owner: str
    #: Of a listing: its number, whether it is without the Acknowledged filter, since when, and where it goes on.
    listing: int = 0
    full: bool = False
    since: datetime | None = None
    next_token: str | None = None
    attempts: int = 0


class Turns:
    """Whose turn each connection is."""

    def __init__(self, database: Database, *, lease_seconds: int) -> None:
        self._database = database
        self._lease_seconds = lease_seconds

    def take_listing(self, connection: Connection, owner: str, *, full: bool, since: datetime | None) -> Turn | None:
        """The turn to list, or None: somebody has the turn, the connection is paused, or it waits while the account is
        listed for its other one.

        Goes on with a listing that waits for quota between two pages; begins a new one else. Once a day, and when
        `full` is asked for, a listing is without the Acknowledged filter, back to `since` (default: the begin of the
        last complete one, less an overlap).
        """
        rows = self._database.query(
            "UPDATE connections c SET turn = 'list', turn_owner = %(owner)s,"
            " turn_until = app_now() + real_seconds(%(seconds)s), turn_fence = turn_fence + 1,"
            " listing = listing + CASE WHEN listing_token IS NULL THEN 1 ELSE 0 END,"
            " listing_full = CASE WHEN listing_token IS NULL THEN %(full)s OR c.next_full_list_at <= app_now()"
            "   ELSE listing_full END,"
            " listing_since = CASE WHEN listing_token IS NULL THEN coalesce(%(since)s, c.full_listed_at - %(overlap)s)"
            "   ELSE listing_since END,"
            " listing_started_at = CASE WHEN listing_token IS NULL THEN app_now() ELSE listing_started_at END,"
            " listing_attempts = listing_attempts + 1"
            " FROM accounts a, applications p WHERE a.account = c.account AND p.application = c.application"
            " AND c.account = %(account)s AND c.api = %(api)s AND c.paused_at IS NULL AND p.paused_at IS NULL"
            " AND (c.turn IS NULL OR c.turn_until <= app_now()) AND (c.list_after <= app_now()"
            "  OR NOT EXISTS (SELECT FROM connections o WHERE o.account = c.account AND o.api <> c.api))"
            " RETURNING c.turn_fence, c.listing, c.listing_full, c.listing_since, c.listing_token, c.listing_attempts",
            {
                "owner": owner,
                "seconds": self._lease_seconds,
                "full": full,
                "since": since,
                "overlap": OVERLAP[connection.api],
                "account": connection.account.account,
                "api": connection.api,
            },
        )
        if not rows:
            return None
        row = rows[0]
        return Turn(
            connection.account.account,
            connection.api,
            row.turn_fence,
            owner,
            listing=row.listing,
            full=row.listing_full,
            since=row.listing_since,
            next_token=row.listing_token,
            attempts=row.listing_attempts,
        )

    def take_acknowledging(self, account: str, api: str, owner: str) -> Turn | None:
        """The turn to acknowledge, or None: a listing is under way (also one that waits between two pages), somebody
        acknowledges, quota says not yet, or the connection is paused."""
        rows = self._database.query(
            "UPDATE connections c SET turn = 'acknowledge', turn_owner = %s,"
            " turn_until = app_now() + real_seconds(%s), turn_fence = turn_fence + 1"
            " FROM applications p WHERE p.application = c.application AND c.account = %s AND c.api = %s"
            " AND c.paused_at IS NULL AND p.paused_at IS NULL AND c.listing_token IS NULL"
            " AND c.acknowledge_after <= app_now() AND (c.turn IS NULL OR c.turn_until <= app_now())"
            " RETURNING c.turn_fence",
            (owner, self._lease_seconds, account, api),
        )
        return Turn(account, api, rows[0].turn_fence, owner) if rows else None

    def renew(self, turn: Turn) -> bool:
        """Keeps the turn for longer; False when it is no longer ours."""
        return bool(
            self._database.query(
                "UPDATE connections SET turn_until = app_now() + real_seconds(%s)"
                " WHERE account = %s AND api = %s AND turn_fence = %s AND turn IS NOT NULL AND turn_until > app_now()"
                " RETURNING 1",
                (self._lease_seconds, turn.account, turn.api, turn.fence),
            )
        )

    def end_listing(self, turn: Turn) -> None:
        """The listing has ended: Amazon named no next page. What it found may be acknowledged from now on."""
        with self._database.transaction() as cursor:
            check_turn(cursor, turn)
            cursor.execute(
                "UPDATE connections SET turn = NULL, turn_owner = NULL, turn_until = NULL, listing_token = NULL,"
                " listing_attempts = 0, listed = greatest(listed, %s), listed_at = listing_started_at"
                " WHERE account = %s AND api = %s"
                " RETURNING listing_started_at",
                (turn.listing, turn.account, turn.api),
            )
            started_at = cursor.fetchone().listing_started_at
            if turn.full:
                cursor.execute(
                    "UPDATE connections SET full_listed_at = %s, next_full_list_at = %s + %s"
                    " WHERE account = %s AND api = %s",
                    (started_at, started_at, DAILY, turn.account, turn.api),
                )

    def wait_to_list(self, turn: Turn, until: datetime, *, next_token: str | None, failed: bool) -> None:
        """The listing goes on at `until`: from `next_token` where it waits for quota, from its beginning else."""
        with self._database.transaction() as cursor:
            check_turn(cursor, turn)
            cursor.execute(
                "UPDATE connections SET turn = NULL, turn_owner = NULL, turn_until = NULL, listing_token = %s,"
                " listing_attempts = CASE WHEN %s THEN listing_attempts ELSE 0 END, list_after = %s"
                " WHERE account = %s AND api = %s",
                (next_token, failed, until, turn.account, turn.api),
            )
            # An account that moves from one API to the other has two connections: the trouble of one does not put off
            # the other. It is listed when either is due, and each waits for as long as it must.
            cursor.execute(
                "UPDATE accounts a SET next_list_at = CASE WHEN EXISTS (SELECT FROM connections c"
                "  WHERE c.account = a.account AND c.api <> %s AND c.paused_at IS NULL)"
                "  THEN least(next_list_at, %s) ELSE %s END WHERE account = %s",
                (turn.api, until, until, turn.account),
            )

    def release(self, turn: Turn, *, acknowledge_after: datetime | None = None) -> None:
        """Gives the turn back; where quota says so, the next acknowledgement waits until `acknowledge_after`."""
        self._database.query(
            "UPDATE connections SET turn = NULL, turn_owner = NULL, turn_until = NULL,"
            " acknowledge_after = coalesce(%s, acknowledge_after)"
            " WHERE account = %s AND api = %s AND turn_fence = %s",
            (acknowledge_after, turn.account, turn.api, turn.fence),
        )


def check_turn(cursor: Cursor, turn: Turn) -> None:
    """Raises LeaseLost unless the turn is still ours; holds it until the transaction ends."""
    cursor.execute(
        "SELECT FROM connections WHERE account = %s AND api = %s AND turn_fence = %s AND turn IS NOT NULL FOR UPDATE",
        (turn.account, turn.api, turn.fence),
    )
    if cursor.rowcount != 1:
        raise LeaseLost(f"account {turn.account}: another worker has its turn now; nothing was changed")
