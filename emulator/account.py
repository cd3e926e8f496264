"""One account's life at Amazon: it sells, its schedules and requests make reports, reports are acknowledged and expire.

What it has at MWS is here; what it has at SP-API is its `sp`, with reports of its own about the same orders.

Nothing runs by itself. Whoever looks first lets the account catch up with the clock, in the order in which things
would have happened; the same seed gives the same life, whenever and however often somebody looks.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from operator import itemgetter
from random import Random
from typing import TYPE_CHECKING, Any

from emulator.backlog import live_before_the_start
from emulator.reports import Report, make_columns, make_content_type
from emulator.requests import MAKING, RETENTION, Request, Schedule, draw_pace, still_to_tell
from emulator.sales import new_order
from emulator.sold_through import families, sold_through
from emulator.sp_report_types import kind_of, tells_new_orders
from emulator.sp_reports import SpReports

if TYPE_CHECKING:
    from collections.abc import Iterable

    from emulator.orders import Order
    from emulator.sellers import Seller
    from emulator.sp_reports import Happening


class Account:
    """Everything of one account that time or a call changes. Not thread-safe: World's lock guards it."""

    def __init__(
        self,
        seller: Seller,
        started: datetime,
        *,
        orders_per_minute: float,
        backlog: int,
        on_sp_api: bool = False,
        every_family: bool = False,
    ) -> None:
        self.seller = seller
        #: Where its backlog and its first schedule are: at MWS or at SP-API.
        self.on_sp_api = on_sp_api
        self.api = "sp-api" if on_sp_api else "mws"
        self.sold_through = sold_through(seller, self.api, every_family=every_family)
        self.orders: dict[str, Order] = {}
        self.reports: dict[str, Report] = {}
        self.requests: dict[str, Request] = {}
        self.schedules: dict[str, Schedule] = {}
        self.acknowledged: dict[str, datetime] = {}
        #: Orders that no scheduled report has told yet, oldest first.
        self.fresh: list[Order] = []
        self.sp = SpReports(seller, self.orders)
        self.sp.sells = lambda: self._next_sale is not None
        self.started = started.replace(microsecond=0)
        self._families = families(self.sold_through)
        self._rate = orders_per_minute / 60
        self._backlog = backlog
        self._open: list[Request] = []
        self.random = Random(f"{seller.seed}/{seller.account}/sales")
        self._next_sale: datetime | None = None
        # Accounts in the same country count their reports alike: ids are unique only within an account.
        self._ids = Random(f"{seller.seed}/{seller.home.country}/ids")
        self._last_report_number = 14_827_889_873 if seller.old_manners else 10_516_502_317
        self._last_request_number = 9_043_182_978 if seller.old_manners else 281_605
        self._born = False

    def catch_up(self, now: datetime) -> None:
        """Lets everything happen that is due by `now`."""
        if not self._born:
            self._born = True
            live_before_the_start(self, self._backlog)
        while (happening := self._next_happening()) and happening[0] <= now:
            moment, happen = happening
            self.sell_until(moment)
            happen(moment)
        self.sell_until(now)

    def as_json(self, *, both_apis: bool = False) -> dict[str, Any]:
        """What a client needs to know to call for this seller: keys of the API that it sells on, or of both."""
        apis = ("mws", "sp-api") if both_apis else (self.api,)
        return self.seller.as_account(*apis) | {"report_types": self.sold_through}

    def begin_selling(self, since: datetime) -> None:
        """Orders from then on."""
        self._next_sale = self._after(since)

    def stop_selling(self, now: datetime) -> None:
        """No more orders from now on, and so no new pictures of them by schedule."""
        self.catch_up(now)
        self._next_sale = None

    def resume_selling(self, now: datetime) -> None:
        """Orders again, from now on."""
        self.catch_up(now)
        self._next_sale = self._next_sale or self._after(now)

    def sell(self, moment: datetime, order_id: str | None = None) -> Order:
        """One order, sold at `moment` (to the second below); it may change by itself later."""
        order = new_order(self.seller, len(self.orders) + 1, moment, self.random, self._families, order_id)
        self.orders[order.order_id] = order
        self.fresh.append(order)
        self.sp.fresh.append(order)
        return order

    def schedule(self, report_type: str, name: str, period: timedelta, due: datetime) -> None:
        """From `due` on such a report every `period`, in place of the schedule that was."""
        self.schedules[report_type] = Schedule(report_type, name, period, due.replace(microsecond=0))

    def make_scheduled(self, report_type: str, due: datetime) -> Report | None:
        """The scheduled report of `due`, and none at all without anything to tell: of New Orders what is new since the
        last one, of all others what there is. A picture is made also of nothing."""
        kind = kind_of(report_type)
        if kind is None:
            return None
        submitted = due.replace(microsecond=0)
        if kind.family == "new_orders":
            told = self._new_since(due)
        else:
            told = Request(report_type, report_type, submitted, submitted, submitted, submitted, None).tells(
                self.orders.values(), due
            )
        if not told and not kind.picture:
            return None
        request = self._enter_request(report_type, submitted, submitted, submitted, submitted + MAKING)
        request.scheduled = True
        request.columns = make_columns(kind, self.seller, requested=False)
        return self._make(request, submitted + MAKING, told, taken_at=due)

    def _new_since(self, due: datetime) -> list[tuple[Order, int]]:
        orders, self.fresh = still_to_tell(self.fresh, due)
        if orders and self.random.random() < 0.05 and (before := self._told_last()):
            orders = [before, *orders]  # rare, says the documentation: an order is told twice even by schedule
        return [(order, order.form_at(due)) for order in orders]

    def request(
        self,
        report_type: str,
        start: datetime,
        end: datetime,
        now: datetime,
        *,
        countries: frozenset[str] | None = None,
        sales_channel: bool = False,
        fault: str | None = None,
    ) -> Request:
        """Asks for a report of [start, end), of these countries or all; done within a minute, unless fated."""
        waits, takes = draw_pace(self._ids, fault)
        submitted = now.replace(microsecond=0)
        request = self._enter_request(report_type, start, end, submitted, None)
        request.started_at = submitted + waits
        kind = kind_of(report_type)
        request.columns = make_columns(kind, self.seller, requested=True, sales_channel=sales_channel)
        request.countries = countries
        request.doomed = fault == "cancelled"
        if fault != "stuck_request":
            request.done_at = request.started_at + takes
            self._open.append(request)
        return request

    def cancel(self, request: Request) -> None:
        """The request makes no report any more."""
        request.cancelled = True
        self._open = [other for other in self._open if other is not request]

    def available(self, now: datetime) -> list[Report]:
        """The reports that can be fetched now: made, and not older than 90 days."""
        return [report for report in self.reports.values() if now - RETENTION <= report.available_at <= now]

    def find(self, report_id: str, now: datetime) -> Report | None:
        """The available report of that id."""
        report = self.reports.get(report_id)
        return report if report and now - RETENTION <= report.available_at <= now else None

    def acknowledge(self, report_ids: Iterable[str], now: datetime, *, acknowledged: bool = True) -> None:
        """Marks or unmarks reports; the date is that of the first time."""
        for report_id in report_ids:
            if not acknowledged:
                self.acknowledged.pop(report_id, None)
            else:
                self.acknowledged.setdefault(report_id, now.replace(microsecond=0))

    def add_report(
        self,
        report_type: str,
        available_at: datetime,
        *,
        told: Iterable[tuple[Order, int]] = (),
        body: bytes | None = None,
        content_type: str | None = None,
        requested: bool = False,
        foreign: bool = False,
        withheld: bool = False,
    ) -> Report:
        """A report out of turn: of these orders, or with these very bytes."""
        moment = available_at.replace(microsecond=0)
        request = self._enter_request(report_type, moment, moment, moment, moment)
        request.scheduled = not requested
        request.columns = make_columns(kind_of(report_type), self.seller, requested=requested)
        return self._make(
            request, moment, told, body=body, content_type=content_type, foreign=foreign, withheld=withheld
        )

    def finish_at(self, report_type: str, start: datetime, moment: datetime) -> None:
        """A report of [start, moment) that somebody asked for then."""
        request = self._enter_request(report_type, start, moment, moment, moment + MAKING)
        request.columns = make_columns(kind_of(report_type), self.seller, requested=True)
        self._finish(request, moment + MAKING)

    # --- how time passes -------------------------------------------------------------------------------------------

    def _next_happening(self) -> Happening | None:
        happenings: list[Happening] = [(s.due, partial(self._keep_to, s)) for s in self.schedules.values()]
        happenings += [(request.done_at, partial(self._finish, request)) for request in self._open if request.done_at]
        return min(happenings + self.sp.happenings(), key=itemgetter(0), default=None)

    def _keep_to(self, schedule: Schedule, moment: datetime) -> None:
        if self._next_sale or tells_new_orders(schedule.report_type):
            self.make_scheduled(schedule.report_type, moment)
        schedule.due += schedule.period

    def sell_until(self, moment: datetime) -> None:
        """All that is sold by itself until `moment`."""
        while self._next_sale and self._next_sale <= moment:
            self.sell(self._next_sale)
            self._next_sale = self._after(self._next_sale)

    def _after(self, moment: datetime) -> datetime | None:
        return moment + timedelta(seconds=self.random.expovariate(self._rate)) if self._rate else None

    def _finish(self, request: Request, moment: datetime) -> None:
        self._open = [other for other in self._open if other is not request]
        if request.doomed:
            request.cancelled = True
            return
        if told := request.tells(self.orders.values(), moment):
            self._make(request, moment, told)

    def _make(
        self,
        request: Request,
        available_at: datetime,
        told: Iterable[tuple[Order, int]],
        *,
        body: bytes | None = None,
        content_type: str | None = None,
        foreign: bool = False,
        withheld: bool = False,
        taken_at: datetime | None = None,
    ) -> Report:
        report = Report(
            seller=self.seller,
            report_id=self._new_report_id(available_at),
            request_id=request.request_id,
            report_type=request.report_type,
            available_at=available_at,
            kind=kind_of(request.report_type),
            columns=request.columns,
            told=tuple(told),
            taken_at=taken_at,
            body=body,
            content_type=content_type or make_content_type(self.seller.home, len(self.reports)),
            requested=not request.scheduled,
            foreign=foreign,
            withheld=withheld,
        )
        request.report_id = report.report_id
        self.reports[report.report_id] = report
        return report

    def _told_last(self) -> Order | None:
        told = (
            r.told[-1][0]
            for r in reversed(self.reports.values())
            if r.told and r.kind and r.kind.family == "new_orders"
        )
        return next(told, None)

    def _enter_request(
        self, report_type: str, start: datetime, end: datetime, submitted_at: datetime, done_at: datetime | None
    ) -> Request:
        self._last_request_number += self._ids.randrange(1, 40)
        request = Request(
            request_id=self._stamped(self._last_request_number, submitted_at),
            report_type=report_type,
            start=start,
            end=end,
            submitted_at=submitted_at,
            started_at=submitted_at,
            done_at=done_at,
        )
        self.requests[request.request_id] = request
        return request

    def _new_report_id(self, moment: datetime) -> str:
        self._last_report_number += self._ids.randrange(1, 1000)
        return self._stamped(self._last_report_number, moment)

    def _stamped(self, number: int, moment: datetime) -> str:
        """Recorded ids of 2018 end in the day since 1970, in six digits: 10516502317017648. Those of 2014 do not."""
        if self.seller.old_manners:
            return str(number)
        return f"{number}{(moment - datetime(1970, 1, 1, tzinfo=UTC)).days:06}"
