"""A seller of every family, driven by hand: an order of each kind, and a report of each family that tells of them.

declare(drain)                     # cedar, of Japan, is drained through every family
sell(drain)                        # what each family needs to have something to tell
reports = make(drain, api)         # family -> report id
"""

from __future__ import annotations

from psycopg2.extras import Json

#: It has them all: pending orders are only in Japan.
SELLER = "cedar"
TYPES = {
    "mws": {
        "new_orders": "_GET_FLAT_FILE_ORDERS_DATA_",
        "unshipped": "_GET_FLAT_FILE_ACTIONABLE_ORDER_DATA_",
        "all_orders": "_GET_XML_ALL_ORDERS_DATA_BY_LAST_UPDATE_",
        "pending": "_GET_FLAT_FILE_PENDING_ORDERS_DATA_",
        "fba_shipments": "_GET_AMAZON_FULFILLED_SHIPMENTS_DATA_",
    },
    "sp-api": {
        "new_orders": "GET_FLAT_FILE_ORDER_REPORT_DATA_SHIPPING",
        "unshipped": "GET_FLAT_FILE_ACTIONABLE_ORDER_DATA_SHIPPING",
        "all_orders": "GET_XML_ALL_ORDERS_DATA_BY_LAST_UPDATE_GENERAL",
        "pending": "GET_FLAT_FILE_PENDING_ORDERS_DATA",
        "fba_shipments": "GET_AMAZON_FULFILLED_SHIPMENTS_DATA_INVOICING",
    },
}
UNSHIPPED, PENDING, SHIPPED = (f"249-000000{n}-0000001" for n in (1, 2, 3))


def declare(drain, account=SELLER):
    """Its reports of every family are drained, whether or not its marketplace is one that has them all."""
    types = {name: "_NEVER_" for families in TYPES.values() for name in families.values()}
    for (api,) in drain.s.db.query("SELECT api FROM connections WHERE account = %s", (account,)):
        mine = {name: every for name, every in types.items() if name in TYPES[api].values()}
        drain.s.db.query("UPDATE connections SET report_types = %s WHERE account = %s", (Json(mine), account))


def sell(drain, account=SELLER, **cells):
    """An order of two lines that waits to be shipped, one that waits to be paid for, one that Amazon ships."""
    orders = [
        {"order_id": UNSHIPPED, "lines": [cells, cells]},
        {"order_id": PENDING, "lines": [cells], "status": "Pending"},
        {"order_id": SHIPPED, "lines": [cells | {"quantity-purchased": "3"}], "status": "Shipped", "by_amazon": True},
    ]
    drain.amazon("orders", account=account, orders=orders)


def make(drain, api, account=SELLER, families=tuple(TYPES["mws"]), **told):
    """A report of each family, of all that there is to tell; returns their ids."""
    made = {}
    for family in families:
        report_type = TYPES[api][family]
        body = {"account": account, "api": api, "report_type": report_type, "requested": True} | told
        if family == "new_orders":  # by schedule: no later one tells it again
            body |= {"order_ids": [UNSHIPPED], "requested": False}
        (made[family],) = drain.amazon("reports", **body)["report_ids"]
    return made
