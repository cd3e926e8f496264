"""Redis locks: one holder per report and step, one lister per account, one reader per queue of notifications, one
refresher per access token.

They keep two workers from doing the same work at once, and that is all: what may be committed is decided by the lease
and its fence in the ledger. So Redis may be flushed while locks are held: work is then done twice and written once.
"""

from __future__ import annotations

import secrets
import threading
from typing import TYPE_CHECKING

from orderdrain.errors import DependencyDown
from orderdrain.redis_client import KEY_PREFIX, reaching_redis
from orderdrain.telemetry import logger

if TYPE_CHECKING:
    from redis import Redis

log = logger(__name__)


class Locks:
    """Makes locks that expire after `seconds`, by Redis's own clock, in real time: a dead worker is dead in real time
    too. Who holds one extends it whenever it renews its lease."""

    def __init__(self, redis: Redis, *, seconds: float) -> None:
        self._redis = redis
        self._milliseconds = int(seconds * 1000)

    def report(self, account: str, api: str, report_id: str, step: str) -> Lock:
        """For one step of one report."""
        return self._lock(account, api, report_id, step)

    def listing(self, account: str) -> Lock:
        """For listing an account, and for acknowledging, which must not happen while a listing is under way."""
        return self._lock(account, "listing")

    def listening(self, queue_url: str) -> Lock:
        """For reading a queue of notifications."""
        return self._lock(queue_url, "listening")

    def login(self, account: str, api: str) -> Lock:
        """For refreshing the access token of a connection."""
        return self._lock(account, api, "login")

    def _lock(self, *names: str) -> Lock:
        return Lock(self._redis, f"{KEY_PREFIX}lock:{':'.join(names)}", self._milliseconds)


class Lock:
    """One lock, held or not. Never waits. The token that proves it ours is kept here, so any thread may extend it."""

    def __init__(self, redis: Redis, key: str, milliseconds: int) -> None:
        self.key = key
        self._redis = redis
        self._milliseconds = milliseconds
        self._token: bytes | None = None
        # Extending must not slip behind a release in another thread: it would take the lock again, for nobody.
        self._turn = threading.Lock()
        self._extend = redis.register_script(_EXTEND)
        self._release = redis.register_script(_RELEASE)

    def acquire(self) -> bool:
        """Whether the lock is ours now. Raises DependencyDown when Redis does not answer."""
        with self._turn, reaching_redis(self._redis, f"the lock {self.key}"):
            token = self._token or secrets.token_bytes(16)
            # GET tells who holds it: ourselves, if the first answer was lost and the client asked again.
            holder = self._redis.set(self.key, token, nx=True, px=self._milliseconds, get=True)
            self._token = token if holder in (None, token) else None
            return self._token is not None

    def extend(self) -> bool:
        """Holds the lock for its whole time from now. False: it is not ours, and somebody else may work.

        A lock that ran out or was flushed, and that nobody has taken since, is taken again. Raises DependencyDown.
        """
        with self._turn, reaching_redis(self._redis, f"the lock {self.key}"):
            if self._token and not self._extend([self.key], [self._token, self._milliseconds]):
                self._token = None
            return self._token is not None

    def release(self) -> bool:
        """Gives the lock back; False if it was no longer ours. Raises nothing: left behind, it runs out by itself."""
        with self._turn:
            token, self._token = self._token, None
            if token is None:
                return False
            try:
                with reaching_redis(self._redis, f"releasing the lock {self.key}"):
                    released = bool(self._release([self.key], [token]))
            except DependencyDown as error:
                log.warning("lock not released", lock=self.key, error=str(error))
                return False
            if not released:
                log.warning("lock was lost before its release", lock=self.key)
            return released


_EXTEND = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

_RELEASE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""
