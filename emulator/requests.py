"""Reports that were asked for, once or every so often, and how long things take at Amazon."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from emulator.reports.kind import Window
from emulator.sp_report_types import kind_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from random import Random

    from emulator.orders import Order

RETENTION = timedelta(days=90)
#: Recorded 2018 traffic: a scheduled report is complete about 13 seconds after its time.
MAKING = timedelta(seconds=13)
_SLOW = timedelta(hours=2), timedelta(hours=6)


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
    #: It will be cancelled when it would be done.
    doomed: bool = False
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

    def tells(self, orders: Iterable[Order], moment: datetime) -> list[tuple[Order, int]]:
        """Every order of its window and countries in the form it has at `moment`, whoever told it before."""
        kind, window = kind_of(self.report_type), Window(self.start, self.end, moment)
        if kind is None:
            return []
        forms = ((order, order.form_at(moment)) for order in orders)
        return [
            (order, form)
            for order, form in forms
            if (self.countries is None or order.marketplace.country in self.countries)
            and kind.tells(order, form, window)
        ]


@dataclass
class Schedule:
    """A report to be made every `period`; `due` is when the next one is."""

    report_type: str
    name: str
    period: timedelta
    due: datetime


def draw_pace(random: Random, fault: str | None) -> tuple[timedelta, timedelta]:
    """How long a request waits, and how long it is then worked on: within a minute together, unless it is slow."""
    pace = timedelta(seconds=random.randrange(3, 15)), timedelta(seconds=random.randrange(10, 45))
    return _SLOW if fault == "slow_request" else pace


def still_to_tell(fresh: Iterable[Order], moment: datetime) -> tuple[list[Order], list[Order]]:
    """Of orders that no scheduled report of New Orders has told: those that one of `moment` tells, and those that wait
    to be paid for. What Amazon ships is told by none."""
    ready: list[Order] = []
    waiting: list[Order] = []
    for order in fresh:
        if not order.by_amazon:
            paid = order.sold_at <= moment and order.is_fulfillable(order.form_at(moment))
            (ready if paid else waiting).append(order)
    return ready, waiting
