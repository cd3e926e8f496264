"""What reports hold, as data: report type -> family -> table, key and columns.

A family is all report types that tell the same thing about the same lines, and so fill one table, flat file or XML,
MWS or SP-API; each has a module of its own. Columns are found by Amazon's header name, never by their place: layouts
differ by marketplace and year, and grow without notice.

Personal columns live in `buyers`, apart from the line, in groups: a report that brings any value of a group replaces
the whole group, so that two halves of different addresses never meet. A column that is declared nowhere is personal
until somebody has looked at it: better a product code among buyer data than a name among order data.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from orderdrain.families.all_orders import ALL_ORDERS
from orderdrain.families.columns import EXTRA, LINE_KEY, SQL_TYPES, CellType, Column, Family, Group, XmlLayout
from orderdrain.families.fba_shipments import FBA_SHIPMENTS
from orderdrain.families.new_orders import NEW_ORDERS
from orderdrain.families.pending import PENDING
from orderdrain.families.unshipped import UNSHIPPED

__all__ = [
    "ALL_ORDERS",
    "EXTRA",
    "FAMILIES",
    "FBA_SHIPMENTS",
    "LINE_KEY",
    "NEW_ORDERS",
    "PENDING",
    "REPORT_TYPES",
    "SQL_TYPES",
    "UNSHIPPED",
    "CellType",
    "Column",
    "Family",
    "Group",
    "ReportType",
    "XmlLayout",
    "api_of",
    "family_of",
]

FAMILIES = (NEW_ORDERS, UNSHIPPED, ALL_ORDERS, PENDING, FBA_SHIPMENTS)


@dataclass(frozen=True)
class ReportType:
    """What may be done with one report type, by Amazon's documentation.

    `twins`: scheduling one of them cancels this one, without a word.
    """

    name: str
    family: Family
    format: Literal["flat", "xml"] = "flat"
    requestable: bool = True
    schedulable: bool = False
    twins: tuple[str, ...] = field(default=())


def api_of(report_type: str) -> str:
    """Which API has a report type of this name: MWS puts each of its words between underscores."""
    return "mws" if report_type.startswith("_") else "sp-api"


def family_of(report_type: str) -> Family | None:
    """The family of a report type; None for one that this version has never heard of."""
    known = REPORT_TYPES.get(report_type)
    return known.family if known else None


# ----------------------------------------------------------------------------------------------------- report types

_FLAT = "_GET_FLAT_FILE_ORDERS_DATA_"
_XML = "_GET_ORDERS_DATA_"
_CONVERGED = "_GET_CONVERGED_FLAT_FILE_ORDER_REPORT_DATA_"


def _mws() -> tuple[ReportType, ...]:
    return (
        ReportType(_FLAT, NEW_ORDERS, schedulable=True, twins=(_XML, _CONVERGED)),
        ReportType(_CONVERGED, NEW_ORDERS, schedulable=True, twins=(_FLAT,)),
        ReportType(_XML, NEW_ORDERS, "xml", requestable=False, schedulable=True, twins=(_FLAT,)),
        ReportType("_GET_FLAT_FILE_ACTIONABLE_ORDER_DATA_", UNSHIPPED, schedulable=True),
        ReportType("_GET_FLAT_FILE_ALL_ORDERS_DATA_BY_LAST_UPDATE_", ALL_ORDERS),
        ReportType("_GET_FLAT_FILE_ALL_ORDERS_DATA_BY_ORDER_DATE_", ALL_ORDERS),
        ReportType("_GET_FLAT_FILE_ARCHIVED_ORDERS_DATA_BY_ORDER_DATE_", ALL_ORDERS),
        ReportType("_GET_XML_ALL_ORDERS_DATA_BY_LAST_UPDATE_", ALL_ORDERS, "xml"),
        ReportType("_GET_XML_ALL_ORDERS_DATA_BY_ORDER_DATE_", ALL_ORDERS, "xml"),
        ReportType("_GET_FLAT_FILE_PENDING_ORDERS_DATA_", PENDING, schedulable=True),
        ReportType("_GET_PENDING_ORDERS_DATA_", PENDING, "xml", schedulable=True),
        ReportType("_GET_CONVERGED_FLAT_FILE_PENDING_ORDERS_DATA_", PENDING, schedulable=True),
        ReportType("_GET_AMAZON_FULFILLED_SHIPMENTS_DATA_", FBA_SHIPMENTS),
    )


def _sp_api() -> tuple[ReportType, ...]:
    """The successors; flat and XML of one suffix are twins."""
    flat, xml = "GET_FLAT_FILE_ORDER_REPORT_DATA_", "GET_ORDER_REPORT_DATA_"
    suffixes = ("SHIPPING", "INVOICING", "TAX")
    shipments = "GET_AMAZON_FULFILLED_SHIPMENTS_DATA_"
    return (
        *(ReportType(flat + suffix, NEW_ORDERS, schedulable=True, twins=(xml + suffix,)) for suffix in suffixes),
        *(
            ReportType(xml + suffix, NEW_ORDERS, "xml", requestable=False, schedulable=True, twins=(flat + suffix,))
            for suffix in suffixes
        ),
        ReportType("GET_FLAT_FILE_ACTIONABLE_ORDER_DATA_SHIPPING", UNSHIPPED, schedulable=True),
        ReportType("GET_FLAT_FILE_ALL_ORDERS_DATA_BY_LAST_UPDATE_GENERAL", ALL_ORDERS),
        ReportType("GET_FLAT_FILE_ALL_ORDERS_DATA_BY_ORDER_DATE_GENERAL", ALL_ORDERS),
        ReportType("GET_FLAT_FILE_ARCHIVED_ORDERS_DATA_BY_ORDER_DATE", ALL_ORDERS),
        ReportType("GET_XML_ALL_ORDERS_DATA_BY_LAST_UPDATE_GENERAL", ALL_ORDERS, "xml"),
        ReportType("GET_XML_ALL_ORDERS_DATA_BY_ORDER_DATE_GENERAL", ALL_ORDERS, "xml"),
        ReportType("GET_FLAT_FILE_PENDING_ORDERS_DATA", PENDING, schedulable=True),
        ReportType("GET_PENDING_ORDERS_DATA", PENDING, "xml", schedulable=True),
        ReportType("GET_CONVERGED_FLAT_FILE_PENDING_ORDERS_DATA", PENDING, schedulable=True),
        *(ReportType(shipments + suffix, FBA_SHIPMENTS) for suffix in ("GENERAL", "INVOICING", "TAX")),
    )


REPORT_TYPES = {report_type.name: report_type for report_type in (*_mws(), *_sp_api())}
