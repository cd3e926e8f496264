"""Which report types exist, what may be done with them, and the words of the API's enumerations (MWS documentation)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from emulator.reports import NEW_ORDERS, all_orders, fba_shipments, new_orders, pending, unshipped

if TYPE_CHECKING:
    from emulator.reports.kind import Kind


@dataclass(frozen=True)
class ReportType:
    """What it tells; may it be asked for, may it be scheduled, for which country alone; does SP-API restrict it for
    buyers' data."""

    kind: Kind
    requestable: bool = True
    schedulable: bool = True
    country: str | None = None
    restricted: bool = False


def on_request(kind: Kind, *, restricted: bool = False) -> ReportType:
    """One that is made only when somebody asks for it."""
    return ReportType(kind, schedulable=False, restricted=restricted)


def of_japan(kind: Kind) -> ReportType:
    """One that only sellers of Japan have."""
    return ReportType(kind, country="JP")


REPORT_TYPES: dict[str, ReportType] = {
    NEW_ORDERS: ReportType(new_orders.FLAT),
    "_GET_ORDERS_DATA_": ReportType(new_orders.XML, requestable=False),
    "_GET_CONVERGED_FLAT_FILE_ORDER_REPORT_DATA_": ReportType(new_orders.CONVERGED),
    "_GET_FLAT_FILE_ACTIONABLE_ORDER_DATA_": ReportType(unshipped.FLAT),
    "_GET_FLAT_FILE_ALL_ORDERS_DATA_BY_LAST_UPDATE_": on_request(all_orders.BY_UPDATE),
    "_GET_FLAT_FILE_ALL_ORDERS_DATA_BY_ORDER_DATE_": on_request(all_orders.BY_ORDER_DATE),
    "_GET_FLAT_FILE_ARCHIVED_ORDERS_DATA_BY_ORDER_DATE_": on_request(all_orders.ARCHIVED),
    "_GET_XML_ALL_ORDERS_DATA_BY_LAST_UPDATE_": on_request(all_orders.XML_BY_UPDATE),
    "_GET_XML_ALL_ORDERS_DATA_BY_ORDER_DATE_": on_request(all_orders.XML_BY_ORDER_DATE),
    "_GET_FLAT_FILE_PENDING_ORDERS_DATA_": of_japan(pending.FLAT),
    "_GET_PENDING_ORDERS_DATA_": of_japan(pending.XML),
    "_GET_CONVERGED_FLAT_FILE_PENDING_ORDERS_DATA_": of_japan(pending.FLAT),
    "_GET_AMAZON_FULFILLED_SHIPMENTS_DATA_": on_request(fba_shipments.FLAT),
}

#: Only one of these may be scheduled; scheduling another silently cancels the one that was.
ONE_OF = {NEW_ORDERS, "_GET_ORDERS_DATA_", "_GET_CONVERGED_FLAT_FILE_ORDER_REPORT_DATA_"}

#: Schedule names with their periods; `_NEVER_` ends a schedule.
SCHEDULES: dict[str, timedelta | None] = {
    "_15_MINUTES_": timedelta(minutes=15),
    "_30_MINUTES_": timedelta(minutes=30),
    "_1_HOUR_": timedelta(hours=1),
    "_2_HOURS_": timedelta(hours=2),
    "_4_HOURS_": timedelta(hours=4),
    "_8_HOURS_": timedelta(hours=8),
    "_12_HOURS_": timedelta(hours=12),
    "_1_DAY_": timedelta(days=1),
    "_2_DAYS_": timedelta(days=2),
    "_72_HOURS_": timedelta(hours=72),
    "_1_WEEK_": timedelta(weeks=1),
    "_14_DAYS_": timedelta(days=14),
    "_15_DAYS_": timedelta(days=15),
    "_30_DAYS_": timedelta(days=30),
    "_NEVER_": None,
}

STATUSES = {"_SUBMITTED_", "_IN_PROGRESS_", "_CANCELLED_", "_DONE_", "_DONE_NO_DATA_"}
