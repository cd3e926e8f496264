"""Pending: orders that are not paid for yet, in Japan, where a buyer may pay at a convenience store. Nobody is named.

A report carries no time of update, so a line is as new as its report.
"""

from __future__ import annotations

from orderdrain.families.columns import Column, Family, XmlLayout, seen

_COLUMNS = seen(
    "SP-API documentation, pending order reports attributes",
    Column("order-id", "order_id", "id", required=True),
    Column("order-item-id", "order_item_id", "id", required=True),
    Column("purchase-date", "purchased_at", "timestamp"),
    Column("sku", "sku", "code", required=True),
    Column("product-name", "product_name"),
    Column("quantity-purchased", "quantity", "integer", required=True),
    Column("payment-type", "payment_type"),
)

# Which element holds an order is not documented: whatever stands in a Message beside its number.
_XML = XmlLayout(
    message_type="",
    order="",
    item="Item",
    columns={
        "AmazonOrderID": "order-id",
        "OrderDate": "purchase-date",
        "PaymentType": "payment-type",
        "Item/AmazonOrderItemCode": "order-item-id",
        "Item/SKU": "sku",
        "Item/Title": "product-name",
        "Item/Quantity": "quantity-purchased",
    },
    where_seen={},
    by_type=("ItemPrice/Component",),
)

PENDING = Family("pending", "pending_lines", ("order_id", "order_item_id"), _COLUMNS, xml=_XML)
