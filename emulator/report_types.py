"""Which report types exist, what may be done with them, and the words of the API's enumerations (MWS documentation)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from emulator.reports import NEW_ORDERS


@dataclass(frozen=True)
class ReportType:
    """May it be asked for, may it be scheduled, for which country alone; does SP-API restrict it for buyers' data."""

    requestable: bool = True
    schedulable: bool = True
    country: str | None = None
    restricted: bool = False


_REQUEST_ONLY = ReportType(schedulable=False)
_JAPAN = ReportType(country="JP")

REPORT_TYPES: dict[str, ReportType] = {
    NEW_ORDERS: ReportType(),
    "_GET_ORDERS_DATA_": ReportType(requestable=False),
    "_GET_CONVERGED_FLAT_FILE_ORDER_REPORT_DATA_": ReportType(),
    "_GET_FLAT_FILE_ACTIONABLE_ORDER_DATA_": ReportType(),
    "_GET_FLAT_FILE_ALL_ORDERS_DATA_BY_LAST_UPDATE_": _REQUEST_ONLY,
    "_GET_FLAT_FILE_ALL_ORDERS_DATA_BY_ORDER_DATE_": _REQUEST_ONLY,
    "_GET_FLAT_FILE_ARCHIVED_ORDERS_DATA_BY_ORDER_DATE_": _REQUEST_ONLY,
    "_GET_XML_ALL_ORDERS_DATA_BY_LAST_UPDATE_": _REQUEST_ONLY,
    "_GET_XML_ALL_ORDERS_DATA_BY_ORDER_DATE_": _REQUEST_ONLY,
    "_GET_FLAT_FILE_PENDING_ORDERS_DATA_": _JAPAN,
    "_GET_PENDING_ORDERS_DATA_": _JAPAN,
    "_GET_CONVERGED_FLAT_FILE_PENDING_ORDERS_DATA_": _JAPAN,
    "_GET_AMAZON_FULFILLED_SHIPMENTS_DATA_": _REQUEST_ONLY,
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
