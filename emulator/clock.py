"""The emulated time: it starts at the real time, runs `speed` times as fast, and jumps when told to."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta


class Clock:
    """now = real start + (real elapsed * speed) + advanced, in UTC. Safe to ask from any thread."""

    def __init__(self, speed: float = 1.0) -> None:
        self.speed = speed
        self.started = datetime.now(UTC)
        self._anchor = time.monotonic()
        self._advanced = timedelta(0)
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Emulated time, with microseconds."""
        with self._lock:
            elapsed = (time.monotonic() - self._anchor) * self.speed
            return self.started + timedelta(seconds=elapsed) + self._advanced

    def advance(self, seconds: float) -> None:
        """Jumps forward. Time never runs backwards: what was available stays so."""
        if seconds < 0:
            raise ValueError("seconds must not be negative")
        with self._lock:
            self._advanced += timedelta(seconds=seconds)


def iso(moment: datetime) -> str:
    """`2018-04-27T13:05:05Z`, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
