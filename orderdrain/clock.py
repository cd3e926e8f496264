"""One clock for the whole system: Postgres's, through the SQL function `app_now()`.

A worker's own clock decides nothing: it may be minutes off, and in the demo and the tests the application's time runs
faster than life. A process asks Postgres now and then, and between two answers counts on by its monotonic clock.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orderdrain.db import Database

#: Real seconds for which an answer of Postgres is counted on from. Each step asks anew when it begins.
FRESH_SECONDS = 5.0


class Clock:
    """Application time, in UTC."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._asked = float("-inf")
        self._base = datetime.min.replace(tzinfo=UTC)
        self._speed = 1.0

    def now(self) -> datetime:
        """The application's time. Raises DependencyDown when it must be asked for and Postgres is away."""
        with self._lock:
            if time.monotonic() - self._asked > FRESH_SECONDS:
                self._ask()
            return self._base + timedelta(seconds=(time.monotonic() - self._asked) * self._speed)

    def refresh(self) -> None:
        """Asks Postgres now: a step calls it when it begins, so that a jump of the clock is seen at once."""
        with self._lock:
            self._ask()

    def set(self, moment: datetime, *, speed: float = 1.0) -> None:
        """From now on the application's time is `moment` and runs at `speed`. For the demo and for tests."""
        self._database.query(
            "UPDATE app_clock SET real_anchor = clock_timestamp(), app_anchor = %s, speed = %s", (moment, speed)
        )
        self.refresh()

    def advance(self, span: timedelta) -> None:
        """Jumps forward by `span`. For tests."""
        self._database.query("UPDATE app_clock SET app_anchor = app_anchor + %s", (span,))
        self.refresh()

    def _ask(self) -> None:
        before = time.monotonic()
        ((self._base, self._speed),) = self._database.query("SELECT app_now(), speed FROM app_clock", prepared=True)
        # The answer was right at some moment of the round trip: its middle is off by half of it at most.
        self._asked = (before + time.monotonic()) / 2
