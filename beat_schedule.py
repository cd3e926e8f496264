"""WHAT RUNS WHEN. Data only: each entry is a tick, and the rows in Postgres decide what is due at it.

Nothing here says "once a day": a beat that is restarted every day would never get there. The daily listing without the
Acknowledged filter and the daily comparison of schedules are due by a time kept with each account. Every entry expires
a little before its next tick, so that ticks do not pile up while no worker runs.
"""

from __future__ import annotations

from typing import Any

SCHEDULE: dict[str, dict[str, Any]] = {
    # Recovery and waiting both end at a sweep: 10 s is how late a wake-up may be, and costs a few queries.
    "sweep": {"task": "reports.sweep", "schedule": 10.0, "options": {"expires": 9}},
    # Accounts are due at times of their own (spread by name, not on the hour); a minute is how late one may be.
    "list": {"task": "reports.list", "schedule": 60.0, "options": {"expires": 55}},
    # Schedules are compared once a day an account; ten minutes is how late that may be.
    "schedule": {"task": "reports.schedule", "schedule": 600.0, "options": {"expires": 550}},
}
