"""SP-API's report types as far as orders go, and the words of its enumerations (SP-API model and documentation)."""

from __future__ import annotations

from datetime import timedelta

from emulator.report_types import ReportType

#: The type that sells and schedules here: New Orders, with the columns that MWS gave it.
SHIPPING = "GET_FLAT_FILE_ORDER_REPORT_DATA_SHIPPING"

_RESTRICTED = ReportType(restricted=True)
_XML = ReportType(restricted=True, requestable=False)
_REQUEST_ONLY = ReportType(schedulable=False)
_JAPAN = ReportType(country="JP")

SP_REPORT_TYPES: dict[str, ReportType] = {
    SHIPPING: _RESTRICTED,
    "GET_FLAT_FILE_ORDER_REPORT_DATA_INVOICING": _RESTRICTED,
    "GET_FLAT_FILE_ORDER_REPORT_DATA_TAX": _RESTRICTED,
    "GET_ORDER_REPORT_DATA_SHIPPING": _XML,
    "GET_ORDER_REPORT_DATA_INVOICING": _XML,
    "GET_ORDER_REPORT_DATA_TAX": _XML,
    "GET_FLAT_FILE_ACTIONABLE_ORDER_DATA_SHIPPING": _RESTRICTED,
    "GET_FLAT_FILE_ALL_ORDERS_DATA_BY_LAST_UPDATE_GENERAL": _REQUEST_ONLY,
    "GET_FLAT_FILE_ALL_ORDERS_DATA_BY_ORDER_DATE_GENERAL": _REQUEST_ONLY,
    "GET_FLAT_FILE_ARCHIVED_ORDERS_DATA_BY_ORDER_DATE": _REQUEST_ONLY,
    "GET_XML_ALL_ORDERS_DATA_BY_LAST_UPDATE_GENERAL": _REQUEST_ONLY,
    "GET_XML_ALL_ORDERS_DATA_BY_ORDER_DATE_GENERAL": _REQUEST_ONLY,
    "GET_FLAT_FILE_PENDING_ORDERS_DATA": _JAPAN,
    "GET_PENDING_ORDERS_DATA": _JAPAN,
    "GET_CONVERGED_FLAT_FILE_PENDING_ORDERS_DATA": _JAPAN,
    "GET_AMAZON_FULFILLED_SHIPMENTS_DATA_GENERAL": _REQUEST_ONLY,
    "GET_AMAZON_FULFILLED_SHIPMENTS_DATA_INVOICING": ReportType(schedulable=False, restricted=True),
    "GET_AMAZON_FULFILLED_SHIPMENTS_DATA_TAX": ReportType(schedulable=False, restricted=True),
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
