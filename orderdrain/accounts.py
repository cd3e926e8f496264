"""All SQL about applications, accounts and connections: who is drained, how they are reached, and when each is due.
Whose turn a connection is, is in turns.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg2.errors

from orderdrain.errors import NotFound, UsageError
from orderdrain.policy import (
    LAST_BACKOFF,
    LISTINGS_APART,
    PUSH_LISTINGS,
    PUSHED_LIST_EVERY,
    PUSHED_LISTINGS_RARER,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from orderdrain.db import Cursor, Database
    from orderdrain.vault import Vault

#: Of an account `a`: at least one of its connections works.
_NOT_PAUSED = (
    "EXISTS (SELECT FROM connections c JOIN applications p USING (application)"
    " WHERE c.account = a.account AND c.paused_at IS NULL AND p.paused_at IS NULL)"
)
#: Of an account `a`: how often it is listed now. Where push works for all of it, more rarely.
_LIST_EVERY = (
    "CASE WHEN (SELECT bool_and(c.push_streak >= %(push)s) FROM connections c JOIN applications p USING (application)"
    "  WHERE c.account = a.account AND c.paused_at IS NULL AND p.paused_at IS NULL)"
    " THEN greatest(a.list_every, least(a.list_every * %(rarer)s, %(most)s)) ELSE a.list_every END"
)

#: Of a connection `c` that is declared again. Of a type that is new, everything is to be listed that Amazon keeps.
_NO_NEW_TYPE = "c.report_types ?& ARRAY(SELECT jsonb_object_keys(EXCLUDED.report_types))"


@dataclass(frozen=True)
class Account:
    """A seller in a region, as declared for one connection: each API has its own names of report types."""

    account: str
    seller_id: str
    marketplaces: tuple[str, ...]
    report_types: Mapping[str, str]
    manage_schedules: bool


@dataclass(frozen=True)
class Connection:
    """How one API reaches an account; with the application's keys, which never leave this process."""

    account: Account
    api: str
    application: str
    endpoint: str
    key_id: str
    secret: str
    token: str | None
    login_url: str | None
    #: Raised by whoever declares the connection anew or resumes it, and by whoever stores its application's keys.
    version: int
    application_version: int

    def __repr__(self) -> str:
        return f"Connection({self.account.account}, {self.api})"


class Accounts:
    """The declared sellers and their connections."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    # ------------------------------------------------------------------------------------------------ declaring

    def add_application(self, application: str, *, api: str = "mws", key_id: str, secret: str) -> None:
        """Adds a developer's keys for an API (MWS: access key id and secret key; SP-API: client id and client secret),
        or replaces them: then what was paused for the old ones may go on. Raises UsageError."""
        if not self._database.query(
            "INSERT INTO applications AS a (application, api, key_id, secret) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT (application) DO UPDATE SET key_id = EXCLUDED.key_id,"
            " secret = EXCLUDED.secret, paused_at = NULL, paused_reason = NULL, version = a.version + 1"
            " WHERE a.api = EXCLUDED.api RETURNING 1",
            (application, api, key_id, self._vault.seal(secret, place=f"application {application}")),
        ):
            raise UsageError(f"application {application} has the keys of another API: give this one a name of its own")

    def applications(self) -> list[Any]:
        """Every application with how many connections use it; never its secret."""
        return self._database.query(
            "SELECT application, api, key_id, paused_at, paused_reason, created_at,"
            " (SELECT count(*) FROM connections c WHERE c.application = a.application) AS connections"
            " FROM applications a ORDER BY application"
        )

    def add(
        self,
        account: Account,
        *,
        api: str,
        application: str,
        endpoint: str,
        token: str | None,
        login_url: str | None = None,
        list_every: timedelta,
    ) -> None:
        """Adds an account with its connection, or changes it: what is known of its reports stays.

        Its first listing is due now; `due_to_list` spreads the later ones.
        """
        with self._database.transaction() as cursor:
            try:
                cursor.execute(
                    "INSERT INTO accounts (account, seller_id, marketplaces, list_every)"
                    " VALUES (%(account)s, %(seller_id)s, %(marketplaces)s, %(every)s)"
                    " ON CONFLICT (account) DO UPDATE SET seller_id = EXCLUDED.seller_id,"
                    " marketplaces = EXCLUDED.marketplaces, list_every = EXCLUDED.list_every,"
                    " next_list_at = app_now(), next_schedule_at = app_now()",
                    {
                        "account": account.account,
                        "seller_id": account.seller_id,
                        "marketplaces": list(account.marketplaces),
                        "every": list_every,
                    },
                )
                cursor.execute(
                    "INSERT INTO connections AS c (account, api, application, endpoint, token, login_url, report_types,"
                    " manage_schedules, next_full_list_at)"
                    " SELECT %(account)s, %(api)s, application, %(endpoint)s, %(token)s, %(login_url)s, %(types)s,"
                    " %(manage)s, app_now() + %(every)s * (abs(hashtext(%(account)s)::bigint) %% 997) / 997.0"
                    " FROM applications WHERE application = %(application)s AND api = %(api)s"
                    " ON CONFLICT (account, api) DO UPDATE SET application = EXCLUDED.application,"
                    " endpoint = EXCLUDED.endpoint, token = EXCLUDED.token, login_url = EXCLUDED.login_url,"
                    " report_types = EXCLUDED.report_types, manage_schedules = EXCLUDED.manage_schedules,"
                    f" full_listed_at = CASE WHEN {_NO_NEW_TYPE} THEN c.full_listed_at END,"
                    f" next_full_list_at = CASE WHEN {_NO_NEW_TYPE} THEN c.next_full_list_at ELSE app_now() END,"
                    " access_token = NULL, list_after = '-infinity', version = c.version + 1 RETURNING account",
                    {
                        "account": account.account,
                        "api": api,
                        "application": application,
                        "endpoint": endpoint,
                        "token": token and self._vault.seal(token, place=_place(account.account, api)),
                        "login_url": login_url,
                        "types": dict(account.report_types),
                        "manage": account.manage_schedules,
                        "every": list_every,
                    },
                )
                if cursor.fetchone() is None:
                    raise UsageError(
                        f"there is no application {application} with {api} keys."
                        f" Add it first: orderdrain application add {application}"
                    )
            except psycopg2.errors.CheckViolation:
                raise UsageError(
                    f"{account.account!r} is no name for an account: lower-case letters, digits, '-', '_' and '.'"
                ) from None

    def pause(self, account: str, reason: str) -> None:
        """Nothing is begun for its connections until `resume`. Raises NotFound."""
        if not self._database.query(
            "UPDATE connections SET paused_at = coalesce(paused_at, app_now()), paused_reason = %s"
            " WHERE account = %s RETURNING account",
            (reason, account),
        ):
            raise _no_account(account)

    def pause_connection(self, connection: Connection, reason: str) -> bool:
        """Pauses the one that was refused. False where another worker was quicker, or it is no longer what it was."""
        return bool(
            self._database.query(
                "UPDATE connections SET paused_at = app_now(), paused_reason = %s"
                " WHERE account = %s AND api = %s AND version = %s AND paused_at IS NULL RETURNING 1",
                (reason, connection.account.account, connection.api, connection.version),
            )
        )

    def pause_application(self, connection: Connection, reason: str) -> bool:
        """Pauses every connection that uses the keys of this one, as one thing: it is one fault, and one alert. False
        where another worker was quicker, or other keys are stored."""
        return bool(
            self._database.query(
                "UPDATE applications SET paused_at = app_now(), paused_reason = %s"
                " WHERE application = %s AND version = %s AND paused_at IS NULL RETURNING 1",
                (reason, connection.application, connection.application_version),
            )
        )

    def is_paused(self, account: str, api: str) -> bool:
        """Whether the connection or its application is."""
        return not self._database.query(
            "SELECT 1 FROM connections c JOIN applications p USING (application)"
            " WHERE c.account = %s AND c.api = %s AND c.paused_at IS NULL AND p.paused_at IS NULL",
            (account, api),
        )

    def resume(self, account: str) -> None:
        """Goes on with an account, its application included, and lists it at once. Raises NotFound."""
        with self._database.transaction() as cursor:
            cursor.execute(
                "UPDATE connections SET paused_at = NULL, paused_reason = NULL, listing_attempts = 0,"
                " list_after = '-infinity', version = version + 1"
                " WHERE account = %s RETURNING application",
                (account,),
            )
            applications = [row.application for row in cursor.fetchall()]
            if not applications:
                raise _no_account(account)
            cursor.execute(
                "UPDATE applications SET paused_at = NULL, paused_reason = NULL, version = version + 1"
                " WHERE application = ANY(%s)",
                (applications,),
            )
            cursor.execute("UPDATE accounts SET next_list_at = app_now() WHERE account = %s", (account,))

    # -------------------------------------------------------------------------------------------------- looking

    def names(self) -> list[str]:
        return [row.account for row in self._database.query("SELECT account FROM accounts ORDER BY account")]

    def table(self, account: str | None = None) -> list[Any]:
        """One row a connection, for people: what is declared, when it is listed next, why it is paused."""
        return self._database.query(
            "SELECT a.account, c.api, c.application, c.endpoint, a.seller_id, a.marketplaces, c.report_types,"
            " c.manage_schedules, a.list_every, a.next_list_at, c.full_listed_at, c.download_after,"
            " coalesce(c.paused_at, p.paused_at) AS paused_at,"
            " coalesce(c.paused_reason, p.paused_reason) AS paused_reason"
            " FROM accounts a JOIN connections c USING (account) JOIN applications p USING (application)"
            " WHERE a.account = coalesce(%s, a.account) ORDER BY a.account, c.api",
            (account,),
        )

    def connections(self, account: str) -> list[Connection]:
        """The account's connections, paused ones too. Raises NotFound."""
        rows = self._database.query(
            "SELECT a.account, a.seller_id, a.marketplaces, c.api, c.application, c.endpoint, c.token, c.login_url,"
            " c.report_types, c.manage_schedules, c.version, p.key_id, p.secret, p.version AS application_version"
            " FROM accounts a JOIN connections c USING (account) JOIN applications p USING (application)"
            " WHERE a.account = %(account)s ORDER BY c.api",
            {"account": account},
            prepared=True,
        )
        if not rows:
            raise _no_account(account)
        return [self._connection(row) for row in rows]

    def connection(self, account: str, api: str) -> Connection:
        """One connection. Raises NotFound."""
        for connection in self.connections(account):
            if connection.api == api:
                return connection
        raise NotFound(f"account {account} has no {api} connection. See: orderdrain account list")

    def _connection(self, row: Any) -> Connection:
        account = Account(
            row.account, row.seller_id, tuple(row.marketplaces), row.report_types, manage_schedules=row.manage_schedules
        )
        secret = self._vault.open(row.secret, place=f"application {row.application}")
        token = row.token and self._vault.open(row.token, place=_place(row.account, row.api))
        return Connection(
            account,
            row.api,
            row.application,
            row.endpoint,
            row.key_id,
            secret,
            token,
            row.login_url,
            row.version,
            row.application_version,
        )

    # ---------------------------------------------------------------------------------------------- what is due

    def due_to_list(self) -> list[str]:
        """Accounts whose listing is due; each is put off by its interval at once, so that a second tick (or a second
        beat) does not send it again. A listing that is lost comes again one interval later.

        An account is listed at times of its own, by a hash of its name: ten thousand that were added at once, or
        waited for beat together, are not listed together for ever, and none on the hour.
        """
        return [
            row.account
            for row in self._database.query(
                "UPDATE accounts SET list_sent_at = app_now(),"
                " next_list_at = every + date_bin(every, app_now() + every / 2,"
                "  timestamptz 'epoch' + every * mod(abs(hashtext(account)::bigint), 997) / 997.0)"
                f" FROM (SELECT account AS name, {_LIST_EVERY} AS every FROM accounts a"
                f"  WHERE next_list_at <= app_now() AND {_NOT_PAUSED} FOR UPDATE SKIP LOCKED) due"
                " WHERE account = due.name RETURNING account",
                {"push": PUSH_LISTINGS, "rarer": PUSHED_LISTINGS_RARER, "most": PUSHED_LIST_EVERY},
            )
        ]

    def due_to_schedule(self) -> list[str]:
        """Accounts whose report schedules are due to be compared; put off by an hour at once. The comparison puts its
        account off by a day when it has ended: one whose message is lost, or whose worker dies, comes again soon."""
        return [
            row.account
            for row in self._database.query(
                "UPDATE accounts SET next_schedule_at = app_now() + %s WHERE account IN ("
                f"  SELECT account FROM accounts a WHERE next_schedule_at <= app_now() AND {_NOT_PAUSED}"
                "  FOR UPDATE SKIP LOCKED) RETURNING account",
                (LAST_BACKOFF,),
            )
        ]

    def wait_to_schedule(self, account: str, until: datetime) -> None:
        """Its report schedules are compared again at `until`."""
        self._database.query("UPDATE accounts SET next_schedule_at = %s WHERE account = %s", (until, account))

    def wait_to_download(self, account: str, api: str, until: datetime) -> None:
        """Quota says not before `until`: no download of this connection is begun until then."""
        self._database.query(
            "UPDATE connections SET download_after = greatest(download_after, %s) WHERE account = %s AND api = %s",
            (until, account, api),
        )


def list_soon(cursor: Cursor, account: str) -> None:
    """Makes an account's listing due: at once, or a minute after its last one was sent."""
    cursor.execute(
        "UPDATE accounts SET next_list_at = least(next_list_at, greatest(app_now(), list_sent_at + %s))"
        " WHERE account = %s",
        (LISTINGS_APART, account),
    )


def _place(account: str, api: str) -> str:
    """Where a seller's token lies: it opens nowhere else."""
    return f"connection {account} {api}"


def _no_account(account: str) -> NotFound:
    return NotFound(f"there is no account {account}. See: orderdrain account list")
