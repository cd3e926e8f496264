"""SP-API's report types as far as orders go, and the words of its enumerations (SP-API model and documentation)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from emulator.report_types import REPORT_TYPES, ReportType, of_japan, on_request
from emulator.reports import all_orders, fba_shipments, new_orders, pending, unshipped

if TYPE_CHECKING:
    from emulator.reports.kind import Kind

#: The type that sells and schedules here: New Orders, with the columns that MWS gave it.
SHIPPING = "GET_FLAT_FILE_ORDER_REPORT_DATA_SHIPPING"


def _restricted(kind: Kind, *, requestable: bool = True) -> ReportType:
    return ReportType(kind, restricted=True, requestable=requestable)


SP_REPORT_TYPES: dict[str, ReportType] = {
    SHIPPING: _restricted(new_orders.FLAT),
    "GET_FLAT_FILE_ORDER_REPORT_DATA_INVOICING": _restricted(new_orders.INVOICING),
    "GET_FLAT_FILE_ORDER_REPORT_DATA_TAX": _restricted(new_orders.TAX),
    "GET_ORDER_REPORT_DATA_SHIPPING": _restricted(new_orders.XML, requestable=False),
    "GET_ORDER_REPORT_DATA_INVOICING": _restricted(new_orders.XML, requestable=False),
    "GET_ORDER_REPORT_DATA_TAX": _restricted(new_orders.XML, requestable=False),
    "GET_FLAT_FILE_ACTIONABLE_ORDER_DATA_SHIPPING": _restricted(unshipped.FLAT),
    "GET_FLAT_FILE_ALL_ORDERS_DATA_BY_LAST_UPDATE_GENERAL": on_request(all_orders.BY_UPDATE),
    "GET_FLAT_FILE_ALL_ORDERS_DATA_BY_ORDER_DATE_GENERAL": on_request(all_orders.BY_ORDER_DATE),
    "GET_FLAT_FILE_ARCHIVED_ORDERS_DATA_BY_ORDER_DATE": on_request(all_orders.ARCHIVED),
    "GET_XML_ALL_ORDERS_DATA_BY_LAST_UPDATE_GENERAL": on_request(all_orders.XML_BY_UPDATE),
    "GET_XML_ALL_ORDERS_DATA_BY_ORDER_DATE_GENERAL": on_request(all_orders.XML_BY_ORDER_DATE),
    "GET_FLAT_FILE_PENDING_ORDERS_DATA": of_japan(pending.FLAT),
    "GET_PENDING_ORDERS_DATA": of_japan(pending.XML),
    "GET_CONVERGED_FLAT_FILE_PENDING_ORDERS_DATA": of_japan(pending.FLAT),
    "GET_AMAZON_FULFILLED_SHIPMENTS_DATA_GENERAL": on_request(fba_shipments.FLAT),
    "GET_AMAZON_FULFILLED_SHIPMENTS_DATA_INVOICING": on_request(fba_shipments.FLAT, restricted=True),
    "GET_AMAZON_FULFILLED_SHIPMENTS_DATA_TAX": on_request(fba_shipments.FLAT, restricted=True),
}

#: How often a schedule makes a report. A month is 30 days here.
PERIODS: dict[str, timedelta] = {
    "PT5M": timedelta(minutes=5),
    "PT15M": timedelta(minutes=15),
    "PT30M": timedelta(minutes=30),
    "PT1H": timedelta(hours=1),
    "PT2H": timedelta(hours=2),
    "PT4H": timedelta(hours=4),
    "PT8H": timedelta(hours=8),
    "PT12H": timedelta(hours=12),
    "P1D": timedelta(days=1),
    "P2D": timedelta(days=2),
    "P3D": timedelta(days=3),
    "PT84H": timedelta(hours=84),
    "P7D": timedelta(days=7),
    "P14D": timedelta(days=14),
    "P15D": timedelta(days=15),
    "P18D": timedelta(days=18),
    "P30D": timedelta(days=30),
    "P1M": timedelta(days=30),
}

PROCESSING_STATUSES = {"CANCELLED", "DONE", "FATAL", "IN_PROGRESS", "IN_QUEUE"}


def rivals(report_type: str) -> set[str]:
    """The types whose schedule this one ends: of flat file and XML with the same suffix only one may be scheduled."""
    for kind in ("INVOICING", "SHIPPING", "TAX"):
        pair = {f"GET_FLAT_FILE_ORDER_REPORT_DATA_{kind}", f"GET_ORDER_REPORT_DATA_{kind}"}
        if report_type in pair:
            return pair - {report_type}
    return set()


def kind_of(report_type: str) -> Kind | None:
    """What a report type of either API tells; None for one that is no order report."""
    known = REPORT_TYPES.get(report_type) or SP_REPORT_TYPES.get(report_type)
    return known.kind if known else None


def tells_new_orders(report_type: str) -> bool:
    """Whether what it tells is told by no later schedule."""
    kind = kind_of(report_type)
    return kind is not None and kind.family == "new_orders"
