"""Where the judge looks for what Amazon told: each family's table, and Amazon's columns beside ours.

A small list of its own, written down from Amazon's documentation and the tables: nothing of the parser's is used.
"""

from __future__ import annotations

from dataclasses import dataclass, field

#: Amazon's column: where it must be found, and as what it is compared.
Columns = dict[str, tuple[str, str]]


def _named(kind: str, *names: str) -> Columns:
    """Columns whose names differ from ours by their hyphens alone."""
    return {name: (name.replace("-", "_"), kind) for name in names}


_MONEY = _named("number", "item-price", "item-tax", "shipping-price", "shipping-tax")
_BUSINESS = _named("text", "purchase-order-number", "price-designation") | _named("flag", "is-business-order")
_BOUGHT: Columns = {"purchase-date": ("purchased_at", "time"), "payments-date": ("paid_at", "time")}
_LINE = {**_named("text", "sku", "product-name"), "quantity-purchased": ("quantity", "number")}
_CONTACT = {**_named("text", "buyer-email", "buyer-name"), "buyer-phone-number": ("buyer_phone", "text")}
_ADDRESS = _named(
    "text",
    *("recipient-name", "ship-address-1", "ship-address-2", "ship-city", "ship-state"),
    *("ship-postal-code", "ship-country"),
)
_BILLING = _named("text", "bill-address-1", "bill-city", "bill-postal-code", "bill-country", "tax-location-city")


@dataclass(frozen=True)
class Family:
    """`key`: our columns that tell a line of an account from all others, in the order of the emulator's key."""

    table: str
    key: tuple[str, ...]
    columns: Columns
    buyer: Columns = field(default_factory=dict)


FAMILIES = {
    "new_orders": Family(
        "order_lines",
        ("order_id", "order_item_id"),
        {
            **_BOUGHT,
            **_LINE,
            **_MONEY,
            **_BUSINESS,
            **_named("text", "currency", "ship-service-level", "item-promotion-id", "sales-channel"),
            **_named("number", "item-promotion-discount"),
            **_named("flag", "is-prime"),
            "latest-ship-date": ("latest_ship_at", "time"),
        },
        {**_CONTACT, **_ADDRESS, **_BILLING, "ship-phone-number": ("ship_phone", "text")},
    ),
    "unshipped": Family(
        "current_unshipped_lines",
        ("order_id", "order_item_id"),
        {
            **_BOUGHT,
            **_LINE,
            **_BUSINESS,
            **_named("text", "ship-service-level"),
            **_named("number", "quantity-shipped", "quantity-to-ship", "days-past-promise"),
            **_named("flag", "is-prime"),
            "reporting-date": ("reported_at", "time"),
            "promise-date": ("promised_at", "time"),
        },
        {**_CONTACT, **_ADDRESS},
    ),
    "all_orders": Family(
        "all_order_lines",
        ("order_id", "line_key"),
        {
            **_MONEY,
            **_BUSINESS,
            **_named("text", "order-item-id", "merchant-order-id", "order-status", "item-status"),
            **_named("text", "fulfillment-channel", "sales-channel", "ship-service-level", "product-name", "sku"),
            **_named("text", "asin", "currency", "promotion-ids", "ship-city", "ship-state"),
            **_named("text", "ship-postal-code", "ship-country"),
            **_named("number", "quantity", "item-promotion-discount"),
            "purchase-date": ("purchased_at", "time"),
            "last-updated-date": ("last_updated_at", "time"),
        },
    ),
    "pending": Family(
        "pending_lines",
        ("order_id", "order_item_id"),
        {**_LINE, "purchase-date": ("purchased_at", "time"), "payment-type": ("payment_type", "text")},
    ),
    "fba_shipments": Family(
        "fba_shipment_lines",
        ("shipment_item_id",),
        {
            **_BOUGHT,
            **_MONEY,
            **_named("text", "sku", "product-name", "currency", "shipment-id", "carrier", "tracking-number"),
            **_named("text", "fulfillment-center-id", "fulfillment-channel", "sales-channel", "ship-service-level"),
            **_named("number", "item-promotion-discount", "gift-wrap-price"),
            "amazon-order-id": ("order_id", "text"),
            "amazon-order-item-id": ("order_item_id", "text"),
            "quantity-shipped": ("quantity", "number"),
            "shipment-date": ("shipped_at", "time"),
            "reporting-date": ("reported_at", "time"),
            "estimated-arrival-date": ("estimated_arrival_at", "time"),
        },
        {**_CONTACT, **_ADDRESS, "ship-phone-number": ("ship_phone", "text")},
    ),
}
#: What names a buyer, in any family's reports.
BUYER_COLUMNS = {name: told for family in FAMILIES.values() for name, told in family.buyer.items()}
