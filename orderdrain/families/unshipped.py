"""Unshipped: a picture of what waits to be shipped at the time of the report. A line that is missing from a newer
picture was shipped or cancelled; there are no prices.

Each line carries the time of its picture (`reporting-date`).
"""

from __future__ import annotations

from orderdrain.families.columns import CONTACT, SHIP_ADDRESS, Column, Family, seen

_COLUMNS = (
    *seen(
        "every layout since 2018",
        Column("order-id", "order_id", "id", required=True),
        Column("order-item-id", "order_item_id", "id", required=True),
        Column("purchase-date", "purchased_at", "timestamp"),
        Column("payments-date", "paid_at", "timestamp"),
        Column("reporting-date", "reported_at", "timestamp"),
        Column("promise-date", "promised_at", "timestamp"),
        Column("days-past-promise", "days_past_promise", "integer"),
        Column("sku", "sku", "code", required=True),
        Column("product-name", "product_name"),
        Column("quantity-purchased", "quantity", "integer", required=True),
        Column("quantity-shipped", "quantity_shipped", "integer"),
        Column("quantity-to-ship", "quantity_to_ship", "integer", required=True),
        Column("ship-service-level", "ship_service_level"),
        *CONTACT,
        *SHIP_ADDRESS,
    ),
    *seen(
        "SP-API documentation, order reports attributes",
        Column("is-business-order", "is_business_order", "boolean"),
        Column("purchase-order-number", "purchase_order_number"),
        Column("price-designation", "price_designation"),
        Column("is-prime", "is_prime", "boolean"),
    ),
    *seen(
        "North America, 73 columns",
        Column("sales-channel", "sales_channel"),  # with the option ShowSalesChannel
        Column("number-of-items", "number_of_items", "integer"),
        Column("is-buyer-requested-cancellation", "is_buyer_requested_cancellation", "boolean"),
        Column("is-replacement-order", "is_replacement_order", "boolean"),
        Column("is-exchange-order", "is_exchange_order", "boolean"),
        Column("original-order-id"),
        Column("ship-service-name"),
        Column("address-type"),
        Column("is-global-express"),
        Column("is-premium-order"),
        Column("is-transparency"),
        Column("is-ispu-order"),
        Column("store-chain-store-id"),
        Column("ioss-number"),
        Column("is-shipping-settings-automation-enabled"),
        Column("ssa-carrier"),
        Column("ssa-ship-method"),
        Column("tax-collection-model"),
        Column("tax-collection-responsible-party"),
        Column("signature-confirmation-recommended"),
        # The seller's own address.
        Column("default-ship-from-address-name"),
        Column("default-ship-from-address-field-1"),
        Column("default-ship-from-address-field-2"),
        Column("default-ship-from-address-field-3"),
        Column("default-ship-from-city"),
        Column("default-ship-from-state"),
        Column("default-ship-from-country"),
        Column("default-ship-from-postal-code"),
        Column("buyer-company-name", "buyer_company_name", personal="contact"),
        Column("cpf", "cpf", personal="tax"),
        Column("buyer-identification-number", "buyer_identification_number", personal="tax"),
        Column("buyer-identification-type", "buyer_identification_type", personal="tax"),
        Column("payment-method-details", personal="extra"),
        Column("buyer-requested-cancel-reason", personal="extra"),
        Column("licensee-name", personal="extra"),
        Column("license-number", personal="extra"),
        Column("license-state", personal="extra"),
        Column("license-expiration-date", personal="extra"),
    ),
    *seen(
        "gifts and customised products",
        Column("gift-wrap-type", "gift_wrap_type"),
        Column("gift-message-text", "gift_message_text", personal="gift"),
        Column("customized-url", "customized_url", personal="gift"),
        Column("customized-page", "customized_page", personal="gift"),
    ),
    *seen(
        "Japan, 34 columns; India",
        Column("payment-method", "payment_method"),
        Column("cod-collectible-amount", "cod_collectible_amount", "money"),
        Column("already-paid", "already_paid", "money"),
        Column("payment-method-fee", "payment_method_fee", "money"),
        Column("scheduled-delivery-start-date"),
        Column("scheduled-delivery-end-date"),
        Column("points-granted"),
        Column("is-iba"),
        Column("verge-of-cancellation"),
        Column("verge-of-lateShipment"),
    ),
)

UNSHIPPED = Family(
    "unshipped",
    "unshipped_lines",
    ("order_id", "order_item_id"),
    _COLUMNS,
    changed_by="reported_at",
    snapshot=True,
)
