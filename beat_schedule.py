"""WHAT RUNS WHEN. Data only: each entry is a tick, and the rows in Postgres decide what is due at it.

Nothing here says "once a day": a beat that is restarted every day would never get there. The daily listing without the
Acknowledged filter and the daily comparison of schedules are due by a time kept with each account.
"""

from __future__ import annotations

from typing import Any

#: Seconds after which a worker throws a tick away, so that ticks do not pile up for hours while no worker runs. It is
#: by the worker's clock against beat's: shorter, and a fleet whose clock runs ahead of beat's would never work again. A
#: tick that comes late or twice costs a few queries, since the rows decide.
EXPIRES = 900

SCHEDULE: dict[str, dict[str, Any]] = {
    # Recovery and waiting both end at a sweep: 10 s is how late a wake-up may be, and costs a few queries.
    "sweep": {"task": "reports.sweep", "schedule": 10.0, "options": {"expires": EXPIRES}},
    # Accounts are due at times of their own (spread by name, not on the hour); 10 s is how late one may be. Amazon lets
    # an account be listed each 45 s: at a tick a minute, each minute would be as often as anybody could.
    "list": {"task": "reports.list", "schedule": 10.0, "options": {"expires": EXPIRES}},
    # What Amazon announces waits for the next look into the queue: with a long poll of 2 s, 8 s at most. With no queue
    # this tick is left out (workers/config.py).
    "listen": {"task": "reports.listen", "schedule": 10.0, "options": {"expires": EXPIRES}},
    # Schedules are compared once a day an account; ten minutes is how late that may be.
    "schedule": {"task": "reports.schedule", "schedule": 600.0, "options": {"expires": EXPIRES}},
}
