"""Reports that were asked for, once or every so often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime, timedelta


@dataclass
class Request:
    """A report that was asked for, by a person or by a schedule. `done_at` None: it never ends."""

    request_id: str
    report_type: str
    start: datetime
    end: datetime
    submitted_at: datetime
    started_at: datetime
    done_at: datetime | None
    columns: tuple[str, ...] = ()
    countries: frozenset[str] | None = None
    scheduled: bool = False
    cancelled: bool = False
    report_id: str | None = None

    def status(self, now: datetime) -> str:
        """Amazon's word for where it stands."""
        if self.cancelled:
            return "_CANCELLED_"
        if now < self.started_at:
            return "_SUBMITTED_"
        if self.done_at is None or now < self.done_at:
            return "_IN_PROGRESS_"
        return "_DONE_" if self.report_id else "_DONE_NO_DATA_"


@dataclass
class Schedule:
    """A report to be made every `period`; `due` is when the next one is."""

    report_type: str
    name: str
    period: timedelta
    due: datetime
