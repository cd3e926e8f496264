"""What reports hold, as data: report type -> family -> table, key and columns.

A family is all report types that tell the same thing about the same lines, and so fill one table, flat file or XML,
MWS or SP-API. Columns are found by Amazon's header name, never by their place: layouts differ by marketplace and year,
and grow without notice.

Personal columns live in `buyers`, apart from the line, in groups: a report that brings any value of a group replaces
the whole group, so that two halves of different addresses never meet. A column that is declared nowhere is personal
until somebody has looked at it: better a product code among buyer data than a name among order data.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final, Literal

#: How a cell is read (orderdrain/parsers/cells.py), and what Postgres keeps.
SQL_TYPES = {
    "id": "text",
    "code": "text",
    "text": "text",
    "integer": "integer",
    "money": "numeric",
    "currency": "text",
    "timestamp": "timestamptz",
    "boolean": "boolean",
    "json": "jsonb",
}

CellType = Literal["id", "code", "text", "integer", "money", "currency", "timestamp", "boolean"]
Group = Literal["contact", "ship_address", "bill_address", "gift", "tax", "extra"]

#: The column that keeps, by header name, what has no column of its own: one in the table, one in `buyers`.
EXTRA: Final = "extra"


@dataclass(frozen=True)
class Column:
    """One column of a report.

    `field` is our SQL column, None where the value is kept in `extra`. `required` means twice: a report without the
    column is none of this family, a row without a value in it is no line. `source` says where the column was seen.
    """

    name: str
    field: str | None = None
    type: CellType = "text"
    required: bool = False
    personal: Group | None = None
    source: str = ""

    @property
    def shown_as(self) -> str:
        """Its name in what `orderdrain parse` prints: ours, but Amazon's for a time (`purchase_date`)."""
        amazons = self.name.lower().replace("-", "_")
        return amazons if self.field is None or self.type == "timestamp" else self.field


@dataclass(frozen=True)
class Family:
    """Report types with the same content. `columns` are in the order of the table's columns."""

    name: str
    table: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    @cached_property
    def by_name(self) -> dict[str, Column]:
        """Column by Amazon's header name in lower case: files differ in it (`delivery-Instructions`)."""
        return {column.name.lower(): column for column in self.columns}

    @cached_property
    def line_fields(self) -> dict[str, str]:
        """SQL column -> SQL type of the family's table, as far as a report fills it; `extra` last."""
        own = {c.field: SQL_TYPES[c.type] for c in self.columns if c.field and not c.personal}
        return {**own, EXTRA: SQL_TYPES["json"]}

    @cached_property
    def buyer_groups(self) -> dict[str, tuple[str, ...]]:
        """Group -> its SQL columns in `buyers`. What has no column of its own is the group `extra`."""
        groups: dict[str, tuple[str, ...]] = {}
        for column in self.columns:
            if column.personal and column.field:
                groups[column.personal] = (*groups.get(column.personal, ()), column.field)
        return {**groups, EXTRA: (EXTRA,)}


@dataclass(frozen=True)
class ReportType:
    """What may be done with one report type, by Amazon's documentation.

    `family` is None where this version does not read it. `twins`: scheduling one of them cancels this one, without a
    word.
    """

    name: str
    family: Family | None = None
    format: Literal["flat", "xml"] = "flat"
    requestable: bool = True
    schedulable: bool = False
    twins: tuple[str, ...] = field(default=())


def api_of(report_type: str) -> str:
    """Which API has a report type of this name: MWS puts each of its words between underscores."""
    return "mws" if report_type.startswith("_") else "sp-api"


def family_of(report_type: str) -> Family | None:
    """The family of a report type; None where this version does not read it, or has never heard of it."""
    known = REPORT_TYPES.get(report_type)
    return known.family if known else None


def _seen(source: str, *columns: Column) -> tuple[Column, ...]:
    return tuple(replace(column, source=source) for column in columns)


# ------------------------------------------------------------------------------------------------------- New Orders

_NEW_ORDERS_COLUMNS = (
    *_seen(
        "every layout since 2009",
        Column("order-id", "order_id", "id", required=True),
        Column("order-item-id", "order_item_id", "id", required=True),
        Column("purchase-date", "purchased_at", "timestamp"),
        Column("payments-date", "paid_at", "timestamp"),
        Column("sku", "sku", "code", required=True),
        Column("product-name", "product_name"),
        Column("quantity-purchased", "quantity", "integer", required=True),
        Column("currency", "currency", "currency"),
        Column("item-price", "item_price", "money"),
        Column("item-tax", "item_tax", "money"),
        Column("shipping-price", "shipping_price", "money"),
        Column("shipping-tax", "shipping_tax", "money"),
        Column("ship-service-level", "ship_service_level"),
        Column("buyer-email", "buyer_email", personal="contact"),
        Column("buyer-name", "buyer_name", personal="contact"),
        Column("buyer-phone-number", "buyer_phone", personal="contact"),
        Column("recipient-name", "recipient_name", personal="ship_address"),
        Column("ship-address-1", "ship_address_1", personal="ship_address"),
        Column("ship-address-2", "ship_address_2", personal="ship_address"),
        Column("ship-address-3", "ship_address_3", personal="ship_address"),
        Column("ship-city", "ship_city", personal="ship_address"),
        Column("ship-state", "ship_state", personal="ship_address"),
        Column("ship-postal-code", "ship_postal_code", personal="ship_address"),
        Column("ship-country", "ship_country", personal="ship_address"),
        Column("ship-phone-number", "ship_phone", personal="ship_address"),
        Column("delivery-Instructions", "delivery_instructions", personal="ship_address"),
        # Local times of the zone that the third names: kept as sent, since none is an instant by itself.
        Column("delivery-start-date"),
        Column("delivery-end-date"),
        Column("delivery-time-zone"),
    ),
    *_seen(
        "North America, 2017 to 2026",
        Column("sales-channel", "sales_channel"),  # with the option ShowSalesChannel
        Column("order-channel", "order_channel"),
        Column("order-channel-instance"),
        Column("external-order-id"),
        Column("number-of-items", "number_of_items", "integer"),
        Column("earliest-ship-date", "earliest_ship_at", "timestamp"),
        Column("latest-ship-date", "latest_ship_at", "timestamp"),
        Column("earliest-delivery-date", "earliest_delivery_at", "timestamp"),
        Column("latest-delivery-date", "latest_delivery_at", "timestamp"),
        Column("is-business-order", "is_business_order", "boolean"),
        Column("purchase-order-number", "purchase_order_number"),
        Column("price-designation", "price_designation"),
        Column("is-prime", "is_prime", "boolean"),
        Column("item-promotion-discount", "item_promotion_discount", "money"),
        Column("item-promotion-id", "item_promotion_id"),
        Column("ship-promotion-discount", "ship_promotion_discount", "money"),
        Column("ship-promotion-id", "ship_promotion_id"),
        Column("signature-confirmation-recommended"),
        Column("buyer-company-name", "buyer_company_name", personal="contact"),
        Column("buyer-identification-number", "buyer_identification_number", personal="tax"),
        Column("buyer-identification-type", "buyer_identification_type", personal="tax"),
        Column("cpf", "cpf", personal="tax"),
        Column("payment-method-details", personal="extra"),
    ),
    *_seen(
        "gifts and customised products",
        Column("gift-wrap-price", "gift_wrap_price", "money"),
        Column("gift-wrap-tax", "gift_wrap_tax", "money"),
        Column("gift-wrap-type", "gift_wrap_type"),
        Column("gift-message-text", "gift_message_text", personal="gift"),
        Column("customized-url", "customized_url", personal="gift"),
        Column("customized-page", "customized_page", personal="gift"),
    ),
    *_seen(
        "cash on delivery, Europe and Middle East",
        Column("ship-county", "ship_county", personal="ship_address"),
        Column("payment-method", "payment_method"),
        Column("cod-collectible-amount", "cod_collectible_amount", "money"),
        Column("already-paid", "already_paid", "money"),
        Column("payment-method-fee", "payment_method_fee", "money"),
        Column("fulfilled-by", "fulfilled_by"),
        Column("shipment-status", "shipment_status"),
    ),
    *_seen(
        "invoicing, Europe, India and Turkey",
        Column("bill-address-1", "bill_address_1", personal="bill_address"),
        Column("bill-address-2", "bill_address_2", personal="bill_address"),
        Column("bill-address-3", "bill_address_3", personal="bill_address"),
        Column("bill-city", "bill_city", personal="bill_address"),
        Column("bill-state", "bill_state", personal="bill_address"),
        Column("bill-postal-code", "bill_postal_code", personal="bill_address"),
        Column("bill-country", "bill_country", personal="bill_address"),
        Column("buyer-cst-number", "buyer_cst_number", personal="tax"),
        Column("buyer-vat-number", "buyer_vat_number", personal="tax"),
        Column("buyer-tax-registration-id", "buyer_tax_registration_id", personal="tax"),
        Column("buyer-tax-registration-country", "buyer_tax_registration_country", personal="tax"),
        Column("buyer-tax-registration-type", "buyer_tax_registration_type", personal="tax"),
        Column("tax-collection-model"),
        Column("tax-collection-responsible-party"),
        Column("ioss-number"),
        Column("is-iba"),
        Column("is-sold-by-ab"),
        Column("is-transparency"),
        Column("verge-of-cancellation"),
        Column("verge-of-lateShipment"),
    ),
    *_seen(
        "Japan",
        Column("is-buyer-requested-cancellation", "is_buyer_requested_cancellation", "boolean"),
        Column("buyer-requested-cancel-reason", personal="extra"),
        Column("scheduled-delivery-start-date"),
        Column("scheduled-delivery-end-date"),
        Column("points-granted"),
        Column("points"),
    ),
    *_seen(
        "tax, United States",
        Column("tax-location-code", "tax_location_code", personal="tax"),
        Column("tax-location-city", "tax_location_city", personal="tax"),
        Column("tax-location-county", "tax_location_county", personal="tax"),
        Column("tax-location-state", "tax_location_state", personal="tax"),
        *(
            Column(f"per-unit-{of}-{kind}-{by}")
            for of in ("item", "shipping")
            for kind in ("taxable", "non-taxable", "zero-rated", "tax-collected")
            for by in ("district", "city", "county", "state")
        ),
    ),
    *_seen("converged reports on request", Column("ship-method")),
)

NEW_ORDERS = Family("new_orders", "order_lines", ("order_id", "order_item_id"), _NEW_ORDERS_COLUMNS)


# ----------------------------------------------------------------------------------------------------- report types

_FLAT = "_GET_FLAT_FILE_ORDERS_DATA_"
_XML = "_GET_ORDERS_DATA_"
_CONVERGED = "_GET_CONVERGED_FLAT_FILE_ORDER_REPORT_DATA_"


def _mws() -> tuple[ReportType, ...]:
    return (
        ReportType(_FLAT, NEW_ORDERS, schedulable=True, twins=(_XML, _CONVERGED)),
        ReportType(_CONVERGED, NEW_ORDERS, schedulable=True, twins=(_FLAT,)),
        ReportType(_XML, format="xml", requestable=False, schedulable=True, twins=(_FLAT,)),
        ReportType("_GET_FLAT_FILE_ACTIONABLE_ORDER_DATA_", schedulable=True),
        ReportType("_GET_FLAT_FILE_ALL_ORDERS_DATA_BY_LAST_UPDATE_"),
        ReportType("_GET_FLAT_FILE_ALL_ORDERS_DATA_BY_ORDER_DATE_"),
        ReportType("_GET_FLAT_FILE_ARCHIVED_ORDERS_DATA_BY_ORDER_DATE_"),
        ReportType("_GET_XML_ALL_ORDERS_DATA_BY_LAST_UPDATE_", format="xml"),
        ReportType("_GET_XML_ALL_ORDERS_DATA_BY_ORDER_DATE_", format="xml"),
        ReportType("_GET_FLAT_FILE_PENDING_ORDERS_DATA_", schedulable=True),
        ReportType("_GET_PENDING_ORDERS_DATA_", format="xml", schedulable=True),
        ReportType("_GET_CONVERGED_FLAT_FILE_PENDING_ORDERS_DATA_", schedulable=True),
        ReportType("_GET_AMAZON_FULFILLED_SHIPMENTS_DATA_"),
    )


def _sp_api() -> tuple[ReportType, ...]:
    """The successors; flat and XML of one suffix are twins."""
    flat, xml = "GET_FLAT_FILE_ORDER_REPORT_DATA_", "GET_ORDER_REPORT_DATA_"
    suffixes = ("SHIPPING", "INVOICING", "TAX")
    return (
        *(ReportType(flat + suffix, NEW_ORDERS, schedulable=True, twins=(xml + suffix,)) for suffix in suffixes),
        *(
            ReportType(xml + suffix, format="xml", requestable=False, schedulable=True, twins=(flat + suffix,))
            for suffix in suffixes
        ),
        ReportType("GET_FLAT_FILE_ACTIONABLE_ORDER_DATA_SHIPPING", schedulable=True),
        ReportType("GET_FLAT_FILE_ALL_ORDERS_DATA_BY_LAST_UPDATE_GENERAL"),
        ReportType("GET_FLAT_FILE_ALL_ORDERS_DATA_BY_ORDER_DATE_GENERAL"),
        ReportType("GET_FLAT_FILE_ARCHIVED_ORDERS_DATA_BY_ORDER_DATE"),
        ReportType("GET_XML_ALL_ORDERS_DATA_BY_LAST_UPDATE_GENERAL", format="xml"),
        ReportType("GET_XML_ALL_ORDERS_DATA_BY_ORDER_DATE_GENERAL", format="xml"),
        ReportType("GET_FLAT_FILE_PENDING_ORDERS_DATA", schedulable=True),
        ReportType("GET_PENDING_ORDERS_DATA", format="xml", schedulable=True),
        ReportType("GET_CONVERGED_FLAT_FILE_PENDING_ORDERS_DATA", schedulable=True),
        *(ReportType(f"GET_AMAZON_FULFILLED_SHIPMENTS_DATA_{suffix}") for suffix in ("GENERAL", "INVOICING", "TAX")),
    )


REPORT_TYPES = {report_type.name: report_type for report_type in (*_mws(), *_sp_api())}
