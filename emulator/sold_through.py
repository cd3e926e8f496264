"""Through which report types a seller sells, and how often each comes by itself.

By default that is New Orders alone. A seller of every family has one type of each: flat file or XML, by date of update
or of order, in turn with the next seller, and only what its marketplaces have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emulator.report_types import REPORT_TYPES
from emulator.reports import NEW_ORDERS
from emulator.sp_report_types import SHIPPING, SP_REPORT_TYPES

if TYPE_CHECKING:
    from emulator.report_types import ReportType
    from emulator.sellers import Seller

#: Report types of either API, and how often they come: None for those that somebody must ask for.
SoldThrough = dict[str, str | None]

_NEW_ORDERS = {"mws": (NEW_ORDERS, "_GET_ORDERS_DATA_"), "sp-api": (SHIPPING, "GET_ORDER_REPORT_DATA_SHIPPING")}
_UNSHIPPED = {"mws": "_GET_FLAT_FILE_ACTIONABLE_ORDER_DATA_", "sp-api": "GET_FLAT_FILE_ACTIONABLE_ORDER_DATA_SHIPPING"}
_ALL_ORDERS = (
    ("_GET_FLAT_FILE_ALL_ORDERS_DATA_BY_LAST_UPDATE_", "GET_FLAT_FILE_ALL_ORDERS_DATA_BY_LAST_UPDATE_GENERAL"),
    ("_GET_XML_ALL_ORDERS_DATA_BY_LAST_UPDATE_", "GET_XML_ALL_ORDERS_DATA_BY_LAST_UPDATE_GENERAL"),
    ("_GET_FLAT_FILE_ALL_ORDERS_DATA_BY_ORDER_DATE_", "GET_FLAT_FILE_ALL_ORDERS_DATA_BY_ORDER_DATE_GENERAL"),
    ("_GET_XML_ALL_ORDERS_DATA_BY_ORDER_DATE_", "GET_XML_ALL_ORDERS_DATA_BY_ORDER_DATE_GENERAL"),
    ("_GET_FLAT_FILE_ARCHIVED_ORDERS_DATA_BY_ORDER_DATE_", "GET_FLAT_FILE_ARCHIVED_ORDERS_DATA_BY_ORDER_DATE"),
)
_PENDING = (
    ("_GET_FLAT_FILE_PENDING_ORDERS_DATA_", "GET_FLAT_FILE_PENDING_ORDERS_DATA"),
    ("_GET_PENDING_ORDERS_DATA_", "GET_PENDING_ORDERS_DATA"),
)
_SHIPMENTS = {"mws": "_GET_AMAZON_FULFILLED_SHIPMENTS_DATA_", "sp-api": "GET_AMAZON_FULFILLED_SHIPMENTS_DATA_GENERAL"}
_OFTEN = {"mws": "_15_MINUTES_", "sp-api": "PT15M"}
_RARELY = {"mws": "_30_MINUTES_", "sp-api": "PT30M"}


def sold_through(seller: Seller, api: str, *, every_family: bool) -> SoldThrough:
    """The report types of a seller, New Orders first."""
    if not every_family:
        return {_NEW_ORDERS[api][0]: _OFTEN[api]}
    number, place = seller.number, ("mws", "sp-api").index(api)
    # Sellers of Japan have no All Orders (MWS documentation), but what waits for its payment.
    japan = {_PENDING[number // 6 % 2][place]: _RARELY[api]}
    elsewhere = {_ALL_ORDERS[number % len(_ALL_ORDERS)][place]: None}
    flat, xml = _NEW_ORDERS[api]
    return {
        # XML comes by schedule alone: who wants to ask for New Orders asks for a flat file.
        **({xml: _OFTEN[api], flat: None} if number % 3 == 1 else {flat: _OFTEN[api]}),
        _UNSHIPPED[api]: _RARELY[api],
        **(japan if seller.home.country == "JP" else elsewhere),
        _SHIPMENTS[api]: None,
    }


def families(types: SoldThrough) -> set[str]:
    """What these types tell."""
    return {_known(name).kind.family for name in types}


def turn(types: SoldThrough, number: int) -> tuple[str, bool]:
    """The type of the report with this number, and whether somebody asked for it: New Orders before each of the others,
    now and then one that was asked for."""
    first, *others = types
    if not others:
        return first, number % 5 == 4
    name = first if number % 2 == 0 else others[number // 2 % len(others)]
    return name, types[name] is None or (number % 10 == 8 and _known(name).requestable)


def _known(name: str) -> ReportType:
    return REPORT_TYPES.get(name) or SP_REPORT_TYPES[name]
