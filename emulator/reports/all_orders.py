"""All Orders: the state of every order, whoever ships it, with its time of last update. No names and no streets.

Flat files had no order-item-id until May 2026, when those of the United States got one; XML had it by 2023.
"""

from __future__ import annotations

import string
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from emulator.orders import iso_with_offset
from emulator.reports.kind import LAYOUTS, Kind, Window, write_flat
from emulator.reports.xml import amounts, around, by_order, document, element

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from emulator.orders import Line, Order
    from emulator.sellers import Seller

_KEY = ("amazon-order-id", "order-item-id", "sku")
_MONEY = ("item-price", "item-tax", "shipping-price", "shipping-tax", "item-promotion-discount")
_SAME = (
    *("order-item-id", "purchase-date", "ship-service-level", "product-name", "sku", "ship-city", "ship-state"),
    *("ship-postal-code", "ship-country", "is-business-order", "purchase-order-number", "price-designation"),
    *("sales-channel", "signature-confirmation-recommended", "shipping-price", "shipping-tax"),
)
_IN_XML = (
    *("amazon-order-id", "order-item-id", "merchant-order-id", "purchase-date", "last-updated-date", "order-status"),
    *("sales-channel", "fulfillment-channel", "ship-service-level", "ship-city", "ship-state", "ship-postal-code"),
    *("ship-country", "is-business-order", "asin", "sku", "item-status", "product-name", "quantity", "currency"),
    *("item-price", "item-tax", "shipping-price", "shipping-tax", "promotion-ids", "item-promotion-discount"),
)


def _columns(more: tuple[str, ...], seller: Seller, _requested: bool) -> tuple[str, ...]:
    country = seller.home.country
    layout = "united_states" if country == "US" else "without_business" if country == "SG" else "documented"
    names = LAYOUTS["all_orders"][layout].split()
    return (*names, *(name for name in more if name not in names))


def _lines(order: Order, form: int, _at: datetime) -> Iterator[Line]:
    lines, status = order.lines(form), order.status(form)
    if all(line["quantity-purchased"] == "0" for line in lines):
        status = "Cancelled"
    for line in lines:
        told = {name: line.get(name, "") for name in _SAME} | {
            "amazon-order-id": order.order_id,
            # An order that Amazon ships has the seller's own number too; here it is the same.
            "merchant-order-id": order.order_id if order.by_amazon else "",
            "last-updated-date": iso_with_offset(order.updated_at(form)),
            "order-status": status,
            "item-status": "Cancelled" if line["quantity-purchased"] == "0" else status,
            "fulfillment-channel": "Amazon" if order.by_amazon else "Merchant",
            "asin": asin(line["sku"]),
            "quantity": line["quantity-purchased"],
            "currency": line["currency"],
            "item-price": line["item-price"],
            "item-tax": line["item-tax"],
            "promotion-ids": line["item-promotion-id"],
            "item-promotion-discount": discount(order, line),
        }
        # What is cancelled has no price, nor has what the seller will ship before it is paid for (documentation).
        if told["quantity"] == "0" or (status == "Pending" and not order.by_amazon):
            told |= dict.fromkeys((*_MONEY, "currency"), "")
        yield told


def asin(sku: str) -> str:
    """Amazon's own number of a product."""
    return "B0" + "".join(Random(sku).choices(string.ascii_uppercase + string.digits, k=8))


def discount(order: Order, line: Line) -> str:
    """A discount, which is negative in files of North America and positive in others (samples)."""
    amount = line["item-promotion-discount"]
    return f"-{amount}" if amount and order.seller.home.region == "NA" else amount


def _updated_at(order: Order, form: int, _at: datetime) -> datetime:
    return order.updated_at(form)


def _updated(order: Order, form: int, window: Window) -> bool:
    return window.holds(order.updated_at(form))


def _placed(order: Order, _form: int, window: Window) -> bool:
    return window.holds(order.placed_at)


def _archived(order: Order, form: int, window: Window) -> bool:
    return _placed(order, form, window) and order.status(form) in {"Shipped", "Cancelled"}


def _write_xml(seller: Seller, _columns: tuple[str, ...], lines: Iterable[Line]) -> str:
    header = element("DocumentVersion", "1.00")
    orders = by_order(lines, "amazon-order-id", _order)
    return document(seller, header, "AllOrdersReport", orders, declared=True)


def _order(lines: list[Line]) -> str:
    first = lines[0]
    return around(
        "Order",
        element("AmazonOrderID", first["amazon-order-id"]),
        element("MerchantOrderID", first["merchant-order-id"]),
        element("PurchaseDate", first["purchase-date"]),
        element("LastUpdatedDate", first["last-updated-date"]),
        element("OrderStatus", first["order-status"]),
        element("SalesChannel", first["sales-channel"]),
        around(
            "FulfillmentData",
            element("FulfillmentChannel", first["fulfillment-channel"]),
            element("ShipServiceLevel", first["ship-service-level"]),
            around(
                "Address",
                element("City", first["ship-city"]),
                element("State", first["ship-state"]),
                element("PostalCode", first["ship-postal-code"]),
                element("Country", first["ship-country"]),
            ),
        ),
        element("IsBusinessOrder", first["is-business-order"]),
        *map(_item, lines),
    )


def _item(line: Line) -> str:
    return around(
        "OrderItem",
        element("AmazonOrderItemCode", line["order-item-id"]),
        element("ASIN", line["asin"]),
        element("SKU", line["sku"]),
        element("ItemStatus", line["item-status"]),
        element("ProductName", line["product-name"]),
        element("Quantity", line["quantity"]),
        around(
            "ItemPrice",
            amounts(
                line["currency"],
                Principal=line["item-price"],
                Tax=line["item-tax"],
                Shipping=line["shipping-price"],
                ShippingTax=line["shipping-tax"],
            ),
        ),
        around(
            "Promotion",
            element("PromotionIDs", line["promotion-ids"]),
            element("ItemPromotionDiscount", line["item-promotion-discount"]),
        ),
    )


def _flat(tells: Callable[[Order, int, Window], bool], *more: str) -> Kind:
    columns = partial(_columns, more)
    return Kind("all_orders", _KEY, columns, _lines, tells, write_flat, updated=_updated_at, names_buyers=False)


def _xml(tells: Callable[[Order, int, Window], bool]) -> Kind:
    return Kind(
        "all_orders",
        _KEY,
        lambda _seller, _requested: _IN_XML,
        _lines,
        tells,
        _write_xml,
        updated=_updated_at,
        names_buyers=False,
        leaves_out=True,
    )


BY_UPDATE, BY_ORDER_DATE, ARCHIVED = _flat(_updated), _flat(_placed, "cpf"), _flat(_archived, "cpf")
XML_BY_UPDATE, XML_BY_ORDER_DATE = _xml(_updated), _xml(_placed)
