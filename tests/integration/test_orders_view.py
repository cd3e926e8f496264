"""The view `orders`: one row an order, whatever families told of it, each line counted once."""

from __future__ import annotations

import json

import pytest

from tests.tables import ALL, FBA, NEW, PENDING, UNSHIPPED, cell, flat, new_account, parse_all

ORDER = "111-0000001-0000000"
ONE, TWO = "01234567890123", "01234567890124"


def new_orders(number, *lines, hour=None):
    """Lines as (item id, sku, price)."""
    rows = [f"{ORDER} {item} {sku} 1 USD {price} 1.00" for item, sku, price in lines]
    header = "order-id order-item-id sku quantity-purchased currency item-price item-tax"
    return flat(NEW, number, header, rows, hour=number if hour is None else hour)


def all_orders(number, *lines, updated=None, hour=None, currency="USD"):
    """Lines as (item id or `.`, sku, status, price)."""
    updated = number if updated is None else updated
    rows = [
        f"{ORDER} {cell(0)} {cell(updated)} {status} {item} {sku} {currency if price != '.' else '.'} {price}"
        for item, sku, status, price in lines
    ]
    header = "amazon-order-id purchase-date last-updated-date order-status order-item-id sku currency item-price"
    return flat(ALL, number, header, rows, hour=number if hour is None else hour)


def unshipped(number, *items, hour=None):
    rows = [f"{ORDER} {item} {cell(0)} A 1 1" for item in items]
    header = "order-id order-item-id payments-date sku quantity-purchased quantity-to-ship"
    return flat(UNSHIPPED, number, header, rows, hour=number if hour is None else hour)


def pending(number, *items):
    header = "order-id order-item-id sku quantity-purchased"
    return flat(PENDING, number, header, [f"{ORDER} {item} A 1" for item in items], hour=number)


def shipments(number, *lines):
    """Lines as (shipment item id, item id or `.`, sku, price)."""
    rows = [f"{shipment} S1 {ORDER} {item} {sku} 1 USD {price}" for shipment, item, sku, price in lines]
    header = (
        "shipment-item-id shipment-id amazon-order-id amazon-order-item-id sku quantity-shipped currency item-price"
    )
    return flat(FBA, number, header, rows, hour=number)


def order(s, *reports):
    """What the view says of the one order; money as text, since a number of JSON may lose its digits."""
    account = new_account(s)
    parse_all(s, account, reports)
    (row,) = s.db.query("SELECT *, totals::text AS money FROM orders WHERE account = %s", (account,))
    assert row.order_id == ORDER
    return row


def money(row):
    return json.loads(row.money, parse_float=str, parse_int=str)


def test_an_order_that_one_family_told(s):
    """Two lines, their sums column by column: whether a price has its tax inside differs by marketplace."""
    row = order(s, new_orders(1, (ONE, "A", "10.00"), (TWO, "B", "2.50")))

    assert (row.lines, row.families, row.status, row.still_unshipped) == (2, ["new_orders"], None, None)
    assert money(row) == {"USD": {"item_price": "12.50", "item_tax": "2.00"}}


def test_a_line_that_several_families_tell_counts_once(s):
    """Known by its id."""
    row = order(
        s,
        pending(1, ONE),
        new_orders(2, (ONE, "A", "10.00")),
        unshipped(3, ONE),
        all_orders(4, (ONE, "A", "Shipped", "10.00"), (TWO, "A", "Shipped", "5.00")),
        shipments(5, ("D1", ONE, "A", "4.00"), ("D2", ONE, "A", "6.00")),
    )

    assert row.lines == 2
    assert row.families == ["all_orders", "fba_shipments", "new_orders", "pending", "unshipped"]


def test_lines_without_id_count_with_those_of_their_sku(s):
    """The second of a SKU is the second, whoever tells it; one that only a file without ids told is one more."""
    sets = all_orders(2, (".", "A", "Shipped", "1"), (".", "A", "Shipped", "1"), (".", "B", "Shipped", "1"))

    assert order(s, new_orders(1, (ONE, "A", "1")), sets).lines == 3
    assert order(s, new_orders(1, (ONE, "A", "1"), (TWO, "A", "1")), sets).lines == 3
    assert order(s, new_orders(1, (ONE, "C", "1")), sets).lines == 4


def test_a_line_that_got_another_sku_is_still_one_line(s):
    """The id says so."""
    assert order(s, new_orders(1, (ONE, "A", "1")), all_orders(2, (ONE, "B", "Shipped", "1"))).lines == 1


def test_lines_with_an_id_replace_those_without_in_the_view(s):
    """All Orders alone told the order, before its files had ids and after."""
    before = all_orders(1, (".", "A", "Pending", "1"), (".", "A", "Pending", "1"))
    row = order(s, before, all_orders(2, (ONE, "A", "Shipped", "3.00"), (TWO, "A", "Shipped", "4.00")))

    assert (row.lines, row.status, money(row)) == (2, "Shipped", {"USD": {"item_price": "7.00"}})


def test_money_is_from_the_family_with_the_newest_version(s):
    """Added up over families, it would be told twice."""
    newer_new = order(s, all_orders(1, (ONE, "A", "Shipped", "9.00")), new_orders(2, (ONE, "A", "10.00")))
    newer_all = order(s, new_orders(1, (ONE, "A", "10.00")), all_orders(2, (ONE, "A", "Shipped", "9.00")))

    assert money(newer_new) == {"USD": {"item_price": "10.00", "item_tax": "1.00"}}
    assert money(newer_all) == {"USD": {"item_price": "9.00"}}


def test_on_a_tie_all_orders_tells(s):
    """It alone has the state of the whole order; the report id of another family says nothing about it."""
    told = (
        all_orders(1, (ONE, "A", "Cancelled", "9.00"), hour=3, updated=3),
        new_orders(2, (ONE, "A", "10.00"), hour=3),
    )

    assert money(order(s, *told)) == {"USD": {"item_price": "9.00"}}


def test_a_family_without_prices_does_not_hide_those_of_another(s):
    """Unshipped has none: it is the newest, and says nothing about money."""
    row = order(s, new_orders(1, (ONE, "A", "10.00")), unshipped(2, ONE))

    assert (row.status, money(row)) == ("Unshipped", {"USD": {"item_price": "10.00", "item_tax": "1.00"}})


def test_totals_are_by_currency(s):
    """What has two currencies has two sums."""
    header = "order-id order-item-id sku quantity-purchased currency item-price"
    lines = [f"{ORDER} {ONE} A 1 USD 10.00", f"{ORDER} {TWO} B 1 EUR 7.50"]

    assert money(order(s, flat(NEW, 1, header, lines, hour=1))) == {
        "USD": {"item_price": "10.00"},
        "EUR": {"item_price": "7.50"},
    }


@pytest.mark.parametrize(
    ("reports", "status"),
    [
        ([pending(1, ONE)], "Pending"),
        ([pending(1, ONE), new_orders(2, (ONE, "A", "1"))], "Pending"),
        ([pending(1, ONE), unshipped(2, ONE)], "Unshipped"),
        ([all_orders(1, (ONE, "A", "Shipped", "1")), unshipped(2, ONE)], "Unshipped"),
        ([all_orders(3, (ONE, "A", "Cancelled", ".")), unshipped(2, ONE)], "Cancelled"),
        ([all_orders(1, (ONE, "A", "Unshipped", "1")), shipments(2, ("D1", ONE, "A", "1"))], "Shipped"),
        ([new_orders(1, (ONE, "A", "1"))], None),
    ],
)
def test_the_status_is_the_newest_that_is_known(s, reports, status):
    """New Orders tell none: a requested one holds cancelled and shipped orders too."""
    assert order(s, *reports).status == status


def test_whether_an_order_waits_still(s):
    """As long as one of its lines does; no longer when none does; unknown where any is."""
    assert order(s, unshipped(1, ONE, TWO), unshipped(2, TWO)).still_unshipped is True
    assert order(s, unshipped(1, ONE, TWO), unshipped(2)).still_unshipped is False
    late = unshipped(2, hour=39 * 24)
    assert order(s, unshipped(1, ONE), late).still_unshipped is None


def test_where_no_unshipped_reports_are_drained_nobody_knows_whether_an_order_waits(s):
    """False would say that it was shipped."""
    assert order(s, new_orders(1, (ONE, "A", "1"))).still_unshipped is None
    assert order(s, all_orders(1, (ONE, "A", "Unshipped", "1"))).still_unshipped is None


def test_shipments_from_elsewhere_have_no_item_id_and_count_by_sku(s):
    """Multi-Channel Fulfillment: two shipments of one SKU are one line."""
    row = order(s, shipments(1, ("D1", ".", "A", "4.00"), ("D2", ".", "A", "6.00")))

    assert (row.lines, row.status, money(row)) == (1, "Shipped", {"USD": {"item_price": "10.00"}})


def test_one_order_is_looked_up_by_its_key(s):
    """Of five million orders, one must not cost the reading of them all: the key reaches each table below the view."""
    account = new_account(s)
    parse_all(
        s, account, [new_orders(1, (ONE, "A", "1")), all_orders(2, (".", "A", "Shipped", "1")), unshipped(3, ONE)]
    )
    with s.db.transaction() as cursor:
        # The tables of a test are small: reading them whole is cheaper, where it is allowed.
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("EXPLAIN SELECT * FROM orders WHERE account = %s AND order_id = %s", (account, ORDER))
        plan = "\n".join(line for (line,) in cursor.fetchall())

    assert "Seq Scan" not in plan
    tables = ("order_lines", "all_order_lines", "unshipped_lines", "pending_lines", "fba_shipment_lines")
    for scan in (line for line in plan.splitlines() if any(f" on {table}" in line for table in tables)):
        assert "Scan" in scan
    assert plan.count("order_id = ") >= 2 * len(tables)
