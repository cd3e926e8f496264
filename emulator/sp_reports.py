"""What one seller has at SP-API: reports asked for by people and schedules, and the documents that came of them.

One thing where MWS had two: a report has its id from the moment it is asked for, and a document once it is made. With
nothing to tell it ends CANCELLED, which is also the word for one that a person cancelled (SP-API model).
"""

from __future__ import annotations

import json
import string
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from emulator.reports import Report, make_columns
from emulator.requests import MAKING, RETENTION, Request, Schedule, draw_pace, still_to_tell
from emulator.sp_report_types import kind_of, tells_new_orders

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from emulator.orders import Order
    from emulator.sellers import Seller

#: Something that is due, and what is then done.
Happening = tuple[datetime, Callable[[datetime], None]]

#: The charset's name in a document's Content-Type where it is not MWS's (recorded 2025 traffic).
_CHARSETS = {"windows-1252": "Cp1252"}
#: What the document of a FATAL report says, in the shape that users of the API have seen.
_REASON = {"errorDetails": "Error in report request: the report could not be created for the requested time range."}
#: The kinds of fault that are a report's fate, asked for or scheduled.
_FATES = {"cancelled": "CANCELLED", "fatal": "FATAL", "fatal_with_reason": "FATAL"}


@dataclass
class SpReport(Request):
    """A report as SP-API shows it; `request_id` is its reportId. `fate` is how it ends, if it has anything to tell."""

    marketplace_ids: tuple[str, ...] = ()
    schedule_id: str | None = None
    fate: str = "DONE"
    document: Document | None = None

    def status(self, now: datetime) -> str:
        """Amazon's word for where it stands."""
        if self.cancelled:
            return "CANCELLED"
        if now < self.started_at:
            return "IN_QUEUE"
        if self.done_at is None or now < self.done_at:
            return "IN_PROGRESS"
        if self.fate == "FATAL":
            return "FATAL"
        return "DONE" if self.document else "CANCELLED"


@dataclass(frozen=True)
class Document:
    """The bytes of a report. Whether they are compressed, and whether Amazon says so, are two things."""

    document_id: str
    file: Report
    compressed: bool
    announced: bool


@dataclass
class SpSchedule(Schedule):
    """`name` is the period as SP-API writes it. `covered_until` is where the next report's interval begins."""

    schedule_id: str
    marketplace_ids: tuple[str, ...]
    covered_until: datetime
    options: dict[str, str] = field(default_factory=dict)


class SpReports:
    """Everything that a seller has at SP-API alone. Its orders are those of the account; World's lock guards it."""

    def __init__(self, seller: Seller, orders: dict[str, Order]) -> None:
        self.reports: dict[str, SpReport] = {}
        self.schedules: dict[str, SpSchedule] = {}
        #: Orders that no scheduled report of SP-API has told yet, oldest first.
        self.fresh: list[Order] = []
        #: Draws the fault of a scheduled report, if it is to have one.
        self.draw_fault: Callable[[], str | None] = lambda: None
        #: Whether it sells just now: who does not has no new pictures of what waits.
        self.sells: Callable[[], bool] = lambda: True
        self._seller = seller
        self._orders = orders
        self._open: list[SpReport] = []
        self._by_document: dict[str, SpReport] = {}
        # Accounts in the same country count alike, as at MWS: ids are unique only together with the seller.
        self._ids = Random(f"{seller.seed}/{seller.home.country}/sp-api/ids")
        self._last_report_number = 292_248_019_978
        self._last_schedule_number = 50_024_018_996

    def happenings(self) -> list[Happening]:
        """What will happen by itself, and when."""
        due: list[Happening] = [(s.due, partial(self._keep_to, s)) for s in self.schedules.values()]
        return due + [(report.done_at, partial(self.finish, report)) for report in self._open if report.done_at]

    def find(self, report_id: str, now: datetime) -> SpReport | None:
        """The report of that id, not older than 90 days."""
        report = self.reports.get(report_id)
        return report if report and report.submitted_at >= now - RETENTION else None

    def find_document(self, document_id: str, now: datetime) -> SpReport | None:
        """The finished report whose document it is."""
        report = self._by_document.get(document_id)
        if report is None or report.document is None or report.done_at is None:
            return None
        return report if report.done_at <= now <= report.done_at + RETENTION else None

    def files(self) -> Iterator[Report]:
        """The content of every document, the reasons of failed reports among them (as foreign ones)."""
        return (report.document.file for report in self.reports.values() if report.document)

    def request(
        self,
        report_type: str,
        start: datetime,
        end: datetime,
        now: datetime,
        *,
        marketplace_ids: tuple[str, ...],
        sales_channel: bool = False,
        fault: str | None = None,
    ) -> SpReport:
        """Asks for a report of [start, end); done within a minute, unless slow, stuck or fated otherwise."""
        waits, takes = draw_pace(self._ids, fault)
        report = self.enter(report_type, start, end, now, marketplace_ids=marketplace_ids, sales_channel=sales_channel)
        report.started_at = report.submitted_at + waits
        report.done_at = report.started_at + takes
        self._doom(report, fault)
        if fault == "stuck_request":
            report.done_at = None
        else:
            self._open.append(report)
        return report

    def cancel(self, report: SpReport, now: datetime) -> None:
        """It makes no document any more."""
        report.cancelled, report.done_at, report.document = True, now.replace(microsecond=0), None
        self._open = [other for other in self._open if other is not report]

    def schedule(
        self,
        report_type: str,
        name: str,
        period: timedelta,
        due: datetime,
        *,
        covered_until: datetime,
        marketplace_ids: tuple[str, ...] | None = None,
        options: dict[str, str] | None = None,
    ) -> SpSchedule:
        """From `due` on such a report every `period`, its first interval beginning at `covered_until`."""
        self._last_schedule_number += self._ids.randrange(1, 40)
        schedule = SpSchedule(
            report_type,
            name,
            period,
            due.replace(microsecond=0),
            schedule_id=str(self._last_schedule_number),
            marketplace_ids=marketplace_ids or self._everywhere(),
            covered_until=covered_until.replace(microsecond=0),
            options=options or {},
        )
        self.schedules[schedule.schedule_id] = schedule
        return schedule

    def make_scheduled(self, schedule: SpSchedule, due: datetime, *, fault: str | None = None) -> SpReport:
        """The report of `due`: New Orders of its interval that no schedule has told, of other families what there is;
        CANCELLED without any, but for a picture.

        What one that is fated otherwise did not tell, no later one tells: a schedule covers each interval once.
        """
        start, schedule.covered_until = schedule.covered_until, due
        report = self.enter(
            schedule.report_type,
            start,
            due,
            due,
            marketplace_ids=schedule.marketplace_ids,
            sales_channel=schedule.options.get("ShowSalesChannel", "").lower() == "true",
            schedule_id=schedule.schedule_id,
        )
        self._doom(report, fault)
        kind = kind_of(schedule.report_type)
        if kind and kind.family == "new_orders":
            # What is sold within the very second of `due`, but after it, is for the next report.
            countries = report.countries or frozenset()
            ready, _ = still_to_tell(self.fresh, due)
            fresh = [o for o in ready if start <= o.sold_at and o.marketplace.country in countries]
            self.take(fresh)
            told = [(order, order.form_at(due)) for order in fresh]
        else:
            told = report.tells(self._orders.values(), due)
        if report.fate == "DONE" and kind and (told or kind.picture):
            self.attach(report, told=told, taken_at=due)
        return report

    def take(self, orders: Iterable[Order]) -> None:
        """These are told: the schedules need not tell them any more."""
        told = {order.order_id for order in orders}
        self.fresh = [order for order in self.fresh if order.order_id not in told and not order.by_amazon]

    def enter(
        self,
        report_type: str,
        start: datetime,
        end: datetime,
        created_at: datetime,
        *,
        marketplace_ids: tuple[str, ...] | None = None,
        sales_channel: bool = False,
        schedule_id: str | None = None,
    ) -> SpReport:
        """A report that is worked on at once and done after a moment; it still lacks its document."""
        self._last_report_number += self._ids.randrange(1, 40_000)
        wanted = marketplace_ids or self._everywhere()
        moment = created_at.replace(microsecond=0)
        report = SpReport(
            request_id=str(self._last_report_number),
            report_type=report_type,
            start=start,
            end=end,
            submitted_at=moment,
            started_at=moment + timedelta(seconds=3),
            done_at=moment + MAKING,
            columns=make_columns(
                kind_of(report_type), self._seller, requested=schedule_id is None, sales_channel=sales_channel
            ),
            countries=frozenset(m.country for m in self._seller.marketplaces if m.marketplace_id in wanted),
            scheduled=schedule_id is not None,
            marketplace_ids=wanted,
            schedule_id=schedule_id,
        )
        self.reports[report.request_id] = report
        return report

    def finish(self, report: SpReport, moment: datetime) -> None:
        """It is done: every order of its window is told as it is now, unless it was fated to end otherwise."""
        self._open = [other for other in self._open if other is not report]
        if report.fate == "DONE" and (told := report.tells(self._orders.values(), moment)):
            self.attach(report, told=told)

    def attach(
        self,
        report: SpReport,
        *,
        told: Iterable[tuple[Order, int]] = (),
        body: bytes | None = None,
        content_type: str | None = None,
        gzip: bool | None = None,
        withheld: bool = False,
        taken_at: datetime | None = None,
    ) -> None:
        """Gives it its document: of these orders, as a gzip file or plain (the seed decides), or with these very bytes.

        Given bytes are never touched: there `gzip` is only what Amazon says of them.
        """
        home = self._seller.home
        if gzip is None:
            gzip = body is None and self._ids.random() < 0.6
        file = Report(
            seller=self._seller,
            report_id=report.request_id,
            request_id=report.request_id,
            report_type=report.report_type,
            available_at=report.done_at or report.submitted_at,
            kind=kind_of(report.report_type),
            columns=report.columns,
            told=tuple(told),
            taken_at=taken_at,
            body=body,
            content_type=content_type or f"text/plain; charset={_CHARSETS.get(home.charset, home.charset)}",
            requested=not report.scheduled,
            foreign=report.fate == "FATAL",
            withheld=withheld,
            api="sp-api",
        )
        report.document = Document(self._new_document_id(), file, gzip and body is None, gzip)
        self._by_document[report.document.document_id] = report

    def _doom(self, report: SpReport, fault: str | None) -> None:
        report.fate = _FATES.get(fault or "", "DONE")
        if fault == "fatal_with_reason":
            self.attach(report, body=json.dumps(_REASON).encode())

    def _keep_to(self, schedule: SpSchedule, moment: datetime) -> None:
        if self.sells() or tells_new_orders(schedule.report_type):
            self.make_scheduled(schedule, moment, fault=self.draw_fault())
        schedule.due += schedule.period

    def _everywhere(self) -> tuple[str, ...]:
        return tuple(marketplace.marketplace_id for marketplace in self._seller.marketplaces)

    def _new_document_id(self) -> str:
        """As recorded: amzn1.spdoc.1.4.eu.00051127-bd5b-48ff-ab6a-6d76c9061260.TXVRX1WISIZWM.5900."""
        unique = uuid.UUID(bytes=self._ids.randbytes(16), version=4)
        letters = "".join(self._ids.choices(string.ascii_uppercase + string.digits, k=12))
        return f"amzn1.spdoc.1.4.{self._seller.home.region.lower()}.{unique}.T{letters}.5900"
