"""New Orders: what was bought, by whom and where it goes, as flat file and as XML (OrderReport)."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from emulator.reports.kind import LAYOUTS, Kind, Window, write_flat
from emulator.reports.xml import amounts, around, by_order, document, element

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from emulator.orders import Line, Order
    from emulator.sellers import Seller

#: A requested report goes back no further (MWS documentation, ReportType).
_REACH = timedelta(days=60)
#: By country: the layout when scheduled, and when requested. MWS documentation: the format "differs slightly".
_LAYOUT_OF = {
    "US": ("north_america", "business"),
    "JP": ("base", "japan_requested"),
}
_ELSEWHERE = ("base", "business")
#: What some types have beside it: invoices name who pays, tax reports (United States) where that is.
_BILLING = tuple(f"bill-{name}" for name in ("address-1", "address-2", "city", "state", "postal-code", "country"))
_TAX = tuple(f"tax-location-{name}" for name in ("code", "city", "county", "state"))
#: XML has no way to tell these: the columns of an order report of 2015.
_IN_XML = (
    *("order-id", "order-item-id", "purchase-date", "payments-date", "buyer-email", "buyer-name"),
    *("buyer-phone-number", "sku", "product-name", "quantity-purchased", "currency", "item-price", "item-tax"),
    *("shipping-price", "shipping-tax", "ship-service-level", "recipient-name", "ship-address-1", "ship-address-2"),
    *("ship-city", "ship-state", "ship-postal-code", "ship-country", "ship-phone-number"),
    *("item-promotion-discount", "item-promotion-id", "is-business-order", "purchase-order-number"),
    *("price-designation", "is-prime"),
)


def _columns(more: tuple[str, ...], seller: Seller, requested: bool) -> tuple[str, ...]:
    layout = _LAYOUT_OF.get(seller.home.country, _ELSEWHERE)[requested]
    return (*LAYOUTS["new_orders"][layout].split(), *more)


def _lines(order: Order, form: int, _at: datetime) -> Iterator[Line]:
    for line in order.lines(form):
        yield line | _more(line)


def _more(line: Line) -> Line:
    """Who pays is who gets it; where that is, as a tax office calls it."""
    billing = {name: line.get(name.replace("bill-", "ship-"), "") for name in _BILLING}
    tax = {f"tax-location-{name}": line.get(f"ship-{name}", "") for name in ("city", "state")}
    return billing | tax | {"tax-location-code": line.get("ship-postal-code", "")}


def _tells(order: Order, form: int, window: Window) -> bool:
    return order.is_fulfillable(form) and window.holds(order.sold_at, back=_REACH)


def _write_xml(seller: Seller, _columns: tuple[str, ...], lines: Iterable[Line]) -> str:
    header = element("DocumentVersion", "1.01") + element("MerchantIdentifier", f"M_{seller.account.upper()}_1")
    orders = by_order(lines, "order-id", _order)
    # Those of Europe were recorded without a declaration.
    return document(seller, header, "OrderReport", orders, declared=seller.home.region != "EU", numbered=True)


def _order(lines: list[Line]) -> str:
    first = lines[0]
    address = around(
        "Address",
        element("Name", first["recipient-name"]),
        element("AddressFieldOne", first["ship-address-1"]),
        element("AddressFieldTwo", first["ship-address-2"]),
        element("City", first["ship-city"]),
        element("StateOrRegion", first["ship-state"]),
        element("PostalCode", first["ship-postal-code"]),
        element("CountryCode", first["ship-country"]),
        element("PhoneNumber", first["ship-phone-number"]),
    )
    return around(
        "OrderReport",
        element("AmazonOrderID", first["order-id"]),
        element("AmazonSessionID", first["order-id"]),
        element("OrderDate", first["purchase-date"]),
        element("OrderPostedDate", first["payments-date"]),
        around(
            "BillingData",
            element("BuyerEmailAddress", first["buyer-email"]),
            element("BuyerName", first["buyer-name"]),
            element("BuyerPhoneNumber", first["buyer-phone-number"]),
        ),
        around(
            "FulfillmentData",
            element("FulfillmentMethod", "Ship"),
            element("FulfillmentServiceLevel", first["ship-service-level"]),
            address,
        ),
        element("IsBusinessOrder", first["is-business-order"]),
        element("PurchaseOrderNumber", first["purchase-order-number"]),
        element("IsPrime", first["is-prime"]),
        *map(_item, lines),
    )


def _item(line: Line) -> str:
    currency = line["currency"]
    promotion = around(
        "Promotion",
        element("PromotionClaimCode", "_SITE_WIDE_" if line["item-promotion-id"] else ""),
        element("MerchantPromotionID", line["item-promotion-id"]),
        amounts(currency, Principal=line["item-promotion-discount"]),
    )
    return around(
        "Item",
        element("AmazonOrderItemCode", line["order-item-id"]),
        element("SKU", line["sku"]),
        element("Title", line["product-name"]),
        element("Quantity", line["quantity-purchased"]),
        element("ProductTaxCode", "A_GEN_TAX"),
        around(
            "ItemPrice",
            amounts(
                currency,
                Principal=line["item-price"],
                Shipping=line["shipping-price"],
                Tax=line["item-tax"],
                ShippingTax=line["shipping-tax"],
            ),
        ),
        around(
            "ItemFees",
            around("Fee", element("Type", "Commission"), f'<Amount currency="{currency}">-0.15</Amount>\n'),
        ),
        promotion,
        element("PriceDesignation", line["price-designation"]),
    )


def _flat(*more: str) -> Kind:
    return Kind("new_orders", ("order-id", "order-item-id"), partial(_columns, more), _lines, _tells, write_flat)


FLAT = _flat()
INVOICING, TAX = _flat(*_BILLING), _flat(*_TAX)
CONVERGED = _flat("ship-method")
XML = Kind(
    "new_orders",
    ("order-id", "order-item-id"),
    lambda _seller, _requested: _IN_XML,
    _lines,
    _tells,
    _write_xml,
    leaves_out=True,
)
