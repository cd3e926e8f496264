"""Pending: orders of Japan that are not paid for yet, as flat file and as XML. Nobody is named, nothing has a price."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emulator.reports.kind import LAYOUTS, Kind, Window, write_flat
from emulator.reports.xml import around, by_order, document, element

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from emulator.orders import Line, Order
    from emulator.sellers import Seller

_KEY = ("order-id", "order-item-id")
_WAYS_TO_PAY = ("ConvenienceStore", "ATM")


def _columns(_seller: Seller, _requested: bool) -> tuple[str, ...]:
    return tuple(LAYOUTS["pending"]["base"].split())


def _lines(order: Order, form: int, _at: datetime) -> Iterator[Line]:
    for line in order.lines(form):
        yield line | {"payment-type": _WAYS_TO_PAY[order.serial % len(_WAYS_TO_PAY)]}


def _tells(order: Order, form: int, _window: Window) -> bool:
    return order.status(form) == "Pending" and not order.by_amazon


def _write_xml(seller: Seller, _columns: tuple[str, ...], lines: Iterable[Line]) -> str:
    header = element("DocumentVersion", "1.01") + element("MerchantIdentifier", f"M_{seller.account.upper()}_1")
    orders = by_order(lines, "order-id", _order)
    return document(seller, header, "PendingOrdersReport", orders, declared=True, numbered=True)


def _order(lines: list[Line]) -> str:
    """Which element holds an order is not documented."""
    first = lines[0]
    return around(
        "PendingOrder",
        element("AmazonOrderID", first["order-id"]),
        element("OrderDate", first["purchase-date"]),
        element("PaymentType", first["payment-type"]),
        *(
            around(
                "Item",
                element("AmazonOrderItemCode", line["order-item-id"]),
                element("SKU", line["sku"]),
                element("Title", line["product-name"]),
                element("Quantity", line["quantity-purchased"]),
            )
            for line in lines
        ),
    )


FLAT = Kind("pending", _KEY, _columns, _lines, _tells, write_flat, names_buyers=False)
XML = Kind("pending", _KEY, _columns, _lines, _tells, _write_xml, names_buyers=False, leaves_out=True)
