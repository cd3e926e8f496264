"""When documents become available in the benchmark's day: as schedules make them, and now and then many at once."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Of each account, in the mean: 20,000 over 500 accounts.
DOCUMENTS_A_DAY = 40
#: Three of ten accounts have a schedule of 15 minutes, the others one of an hour: seconds, and how often there was a
#: sale to tell of. Together two of three documents come so.
SCHEDULES = [(900, 0.5)] * 3 + [(3600, 0.75)] * 7
#: The rest comes many at once, as where a seller asks for them: from as many as a bucket holds to more than twice that.
BURST = range(15, 41)


@dataclass(frozen=True)
class Arrival:
    """So many documents of an account are available, `at` seconds after the day began."""

    at: int
    account: str
    count: int


def plan(accounts: Sequence[str], *, hours: float, seed: int = 1) -> list[Arrival]:
    """DOCUMENTS_A_DAY for each account, cut to so many hours; by time."""
    random, seconds = Random(seed), int(hours * 3600)  # noqa: S311 - the same day each time is the point
    arrivals = []
    for account in accounts:
        every, likely = random.choice(SCHEDULES)
        due = range(random.randrange(every), seconds, every)
        arrivals += [Arrival(at, account, 1) for at in due if random.random() < likely]
    left = round(len(accounts) * DOCUMENTS_A_DAY * hours / 24) - len(arrivals)
    while left > 0:
        count = min(random.choice(BURST), left)
        arrivals.append(Arrival(random.randrange(seconds), random.choice(accounts), count))
        left -= count
    return sorted(arrivals, key=lambda arrival: (arrival.at, arrival.account))
