"""Access tokens of SP-API: given for an hour by Login with Amazon, shared by all workers, refreshed by one at a time.

A token is refreshed some minutes before its end, so that none ends on its way to Amazon, and at once where Amazon says
that it has ended. Who finds another worker refreshing goes on with the old token while it lasts, and waits else.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING

from orderdrain.amazon import lwa
from orderdrain.errors import Snooze

if TYPE_CHECKING:
    from orderdrain.accounts import Connection
    from orderdrain.amazon.http import Http
    from orderdrain.clock import Clock
    from orderdrain.db import Database
    from orderdrain.locks import Locks
    from orderdrain.vault import Vault

#: A token lasts for an hour (Login with Amazon, `expires_in`): refreshed this long before its end.
REFRESHED_AHEAD = timedelta(minutes=5)
#: A refresh is one call: who has nothing to go on with looks again after this.
WAIT = timedelta(seconds=10)


class AccessTokens:
    """The access token of one connection."""

    def __init__(
        self, connection: Connection, *, database: Database, vault: Vault, locks: Locks, http: Http, clock: Clock
    ) -> None:
        self._connection = connection
        self._database = database
        self._vault = vault
        self._lock = locks.login(connection.account.account, connection.api)
        self._http = http
        self._clock = clock
        self._noted: str | None = None

    def access_token(self, *, instead_of: str | None = None) -> str:
        """A token that is good now. `instead_of`: the one that Amazon has just refused; it is replaced, once.

        Raises Snooze while another worker is at it, OperatorNeeded where Amazon refuses the keys, ServiceFault.
        """
        if token := self._good(instead_of, ahead=REFRESHED_AHEAD):
            return token
        if not self._lock.acquire():
            if token := self._good(instead_of):
                return token
            raise Snooze("the access token is being refreshed by another worker", until=self._clock.now() + WAIT)
        try:
            # Another one may have refreshed it between our look and our lock.
            return self._good(instead_of, ahead=REFRESHED_AHEAD) or self._refresh()
        finally:
            self._lock.release()

    def was_renewed(self, operation: str, *, refused: str, renewed: str) -> bool:
        """Whether `refused` was noted here as got because that operation had refused the one before. If not, `renewed`
        is noted so: it could not be tried yet, and if it is refused as well, it is not that it has ended."""
        return not self._database.query(
            "UPDATE connections SET renewed_for = %s WHERE account = %s AND api = %s"
            " AND renewed_for IS DISTINCT FROM %s RETURNING 1",
            (_note(operation, renewed), *self._key, _note(operation, refused)),
        )

    def worked(self, operation: str, token: str) -> None:
        """Amazon took it: from now on nothing is noted of it, and when it is refused later, then it has ended."""
        if self._noted == (note := _note(operation, token)):
            self._noted = None
            self._database.query(
                "UPDATE connections SET renewed_for = NULL WHERE account = %s AND api = %s AND renewed_for = %s",
                (*self._key, note),
            )

    def _good(self, instead_of: str | None, *, ahead: timedelta = timedelta(0)) -> str | None:
        rows = self._database.query(
            "SELECT access_token, renewed_for FROM connections WHERE account = %s AND api = %s"
            " AND access_token IS NOT NULL AND access_token_until > %s",
            (*self._key, self._clock.now() + ahead),
        )
        if not rows:
            return None
        self._noted = rows[0].renewed_for
        token = self._vault.open(rows[0].access_token, place=self._place)
        return token if token != instead_of else None

    def _refresh(self) -> str:
        connection = self._connection
        given = lwa.refresh(
            self._http,
            connection.login_url or lwa.LOGIN_URL,
            client_id=connection.key_id,
            client_secret=connection.secret,
            refresh_token=connection.token or "",
            now=self._clock.now(),
        )
        # What was declared anew meanwhile may be another seller: a token of the one before is not for his calls.
        self._database.query(
            "UPDATE connections SET access_token = %s, access_token_until = %s"
            " WHERE account = %s AND api = %s AND version = %s",
            (self._vault.seal(given.token, place=self._place), given.expires_at, *self._key, connection.version),
        )
        return given.token

    @property
    def _place(self) -> str:
        return "access token of {} {}".format(*self._key)

    @property
    def _key(self) -> tuple[str, str]:
        return self._connection.account.account, self._connection.api


def _note(operation: str, token: str) -> str:
    return f"{operation} {hashlib.sha256(token.encode()).hexdigest()[:16]}"
