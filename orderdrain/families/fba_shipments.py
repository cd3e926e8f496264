"""FBA shipments: what Amazon's warehouses sent. One item of an order may be sent in several shipments, so the key is
the shipment's own item id.

A line is as new as its report: a shipment does not change.
"""

from __future__ import annotations

from orderdrain.families.columns import BILL_ADDRESS, CONTACT, SHIP_ADDRESS, Column, Family, seen

_COLUMNS = (
    *seen(
        "Japan 2017, United States 2020",
        Column("shipment-item-id", "shipment_item_id", "id", required=True),
        Column("shipment-id", "shipment_id", "id", required=True),
        Column("amazon-order-id", "order_id", "id", required=True),
        Column("amazon-order-item-id", "order_item_id", "id"),
        # The seller's own, of an order from elsewhere (Multi-Channel Fulfillment): any text.
        Column("merchant-order-id", "merchant_order_id"),
        Column("merchant-order-item-id", "merchant_order_item_id"),
        Column("purchase-date", "purchased_at", "timestamp"),  # blank for an order from elsewhere
        Column("payments-date", "paid_at", "timestamp"),
        Column("shipment-date", "shipped_at", "timestamp"),
        Column("reporting-date", "reported_at", "timestamp"),
        Column("sku", "sku", "code", required=True),
        Column("product-name", "product_name"),
        Column("quantity-shipped", "quantity", "integer", required=True),
        Column("currency", "currency", "currency"),
        Column("item-price", "item_price", "money"),
        Column("item-tax", "item_tax", "money"),
        Column("shipping-price", "shipping_price", "money"),
        Column("shipping-tax", "shipping_tax", "money"),
        Column("gift-wrap-price", "gift_wrap_price", "money"),
        Column("gift-wrap-tax", "gift_wrap_tax", "money"),
        Column("item-promotion-discount", "item_promotion_discount", "money"),
        Column("ship-promotion-discount", "ship_promotion_discount", "money"),
        Column("ship-service-level", "ship_service_level"),
        Column("carrier", "carrier"),
        Column("tracking-number", "tracking_number"),
        Column("estimated-arrival-date", "estimated_arrival_at", "timestamp"),
        Column("fulfillment-center-id", "fulfillment_center_id"),
        Column("fulfillment-channel", "fulfillment_channel"),
        Column("sales-channel", "sales_channel"),
        *CONTACT,
        *SHIP_ADDRESS,
        Column("ship-phone-number", "ship_phone", personal="ship_address"),
        *BILL_ADDRESS,
    ),
    *seen("Japan", Column("points-granted")),
)

FBA_SHIPMENTS = Family("fba_shipments", "fba_shipment_lines", ("shipment_item_id",), _COLUMNS)
