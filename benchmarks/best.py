"""The least delay that Amazon's documented quotas allow. It shares no code with the product, and knows no machine.

One account's documents, each from the moment at which it can be known: a token of getReportDocument, and it is
committed. No other call costs anything (a listing and a notice name the document, and one restricted token may be for
fifty of them), and nothing takes time. The newest goes first, as in the product: which documents wait for which is then
the same, and delays can be compared one by one. In any other order as many would wait, and as long in the mean.
"""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Burst, and tokens a second (SP-API model).
GET_REPORT_DOCUMENT = (15, 0.0167)
#: Seconds that getReports takes to restore a token (SP-API model: 0.0222 a second): who hears of no report listens by
#: listing, and more often than this nobody can for long. The burst of 10 is ten listings more in a whole day.
LISTINGS_APART = 1 / 0.0222


class Bucket:
    """A token bucket that begins full. Times are seconds, and never go back."""

    def __init__(self, burst: int, per_second: float) -> None:
        self._burst, self._per_second = burst, per_second
        self._tokens, self._at = float(burst), float("-inf")

    def ready_at(self, now: float) -> float:
        """When a token can be taken, at `now` or after it."""
        return now + max(0.0, 1 - self._at_hand(now)) / self._per_second

    def take(self, now: float) -> None:
        """Takes the token that is ready at `now`."""
        self._tokens, self._at = self._at_hand(now) - 1, now

    def _at_hand(self, now: float) -> float:
        return min(self._burst, self._tokens + (now - self._at) * self._per_second)


def listed_after(available: float, *, first: float, every: float) -> float:
    """When a document is known to who lists at `first`, and before and after it `every` so many seconds."""
    return first + math.ceil((available - first) / every) * every


def best_commits(documents: Sequence[tuple[float, float]]) -> list[float]:
    """When each document of an account could be committed: of (known_at, available_at), in seconds, in the same order.

    Among those that are equally new the first goes first.
    """
    bucket = Bucket(*GET_REPORT_DOCUMENT)
    commits = [0.0] * len(documents)
    unknown = sorted(range(len(documents)), key=lambda n: documents[n][0], reverse=True)
    waiting: list[tuple[float, int]] = []
    now = float("-inf")
    while unknown or waiting:
        if not waiting:
            now = max(now, documents[unknown[-1]][0])
        now = bucket.ready_at(now)
        while unknown and documents[unknown[-1]][0] <= now:
            n = unknown.pop()
            heapq.heappush(waiting, (-documents[n][1], n))
        _, n = heapq.heappop(waiting)
        bucket.take(now)
        commits[n] = now
    return commits
