"""Versions of one order in all families, in every order of arrival (SP-API's `SHIPPING`, All Orders, Unshipped), and
buyers' data that later reports come without."""

from __future__ import annotations

import itertools
from functools import partial

import pytest
from structlog.testing import capture_logs

from tests.building import at_once
from tests.tables import ALL, NEW, UNSHIPPED, cell, flat, new_account, parse, parse_all, rows, tables

ORDER = "111-0000001-0000000"
ONE, TWO = "01234567890123", "01234567890124"

_ALL = "amazon-order-id order-item-id purchase-date last-updated-date order-status item-status sku quantity item-price ship-city"


def _all_orders(number, status, *lines, updated, hour):
    rows = [
        f"{ORDER} {item} {cell(0)} {cell(updated)} {status} {state} A {n} {price} {town}"
        for item, state, n, price, town in lines
    ]
    return flat(ALL, number, _ALL, rows, hour=hour)


#: Six reports of one order, in the order of what happened. The first two came late: they were made after the third.
SIX = (
    _all_orders(1, "Pending", (ONE, "Pending", 2, ".", "."), (TWO, "Pending", 1, ".", "."), updated=1, hour=5),
    _all_orders(
        2, "Unshipped", (ONE, "Unshipped", 2, "20.00", "Bath"), (TWO, "Unshipped", 1, "5.00", "Bath"), updated=2, hour=6
    ),
    flat(
        NEW,
        3,
        "order-id order-item-id sku quantity-purchased item-price buyer-name ship-city",
        [f"{ORDER} {ONE} A 2 20.00 Ann Bath", f"{ORDER} {TWO} A 1 5.00 Ann Bath"],
        hour=3,
    ),
    flat(
        UNSHIPPED,
        4,
        "order-id order-item-id payments-date sku quantity-purchased quantity-to-ship buyer-name",
        [f"{ORDER} {ONE} {cell(2)} A 2 2 Ann", f"{ORDER} {TWO} {cell(2)} A 1 1 Ann"],
        hour=4,
    ),
    _all_orders(
        5, "Unshipped", (ONE, "Unshipped", 2, "20.00", "Bath"), (TWO, "Cancelled", 0, ".", "."), updated=7, hour=8
    ),
    _all_orders(6, "Shipped", (ONE, "Shipped", 2, "20.00", "."), updated=9, hour=10),
)


@pytest.mark.parametrize("stride", [30, pytest.param(1, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_six_versions_of_an_order_in_every_order_two_at_a_time_end_in_one_table(s, stride):
    """Two workers come to the reports of an account as they may, and one of them comes three times."""
    expected = None
    for order in itertools.islice(itertools.permutations(SIX), 0, None, stride):
        account = new_account(s)
        for pair in zip(order[::2], order[1::2], strict=True):
            told = at_once(*(partial(_in_a_thread, s, account, report) for report in pair))
            assert all(said.startswith("parsed") for said in told), told
        before = _everything_written(s, account)
        for _ in range(2):
            assert parse(s, account, SIX[2]) == "parsed 2 rows: 2 same"
        assert _everything_written(s, account) == before, "a repeated parse has written something"
        expected = expected or tables(s, account)
        assert tables(s, account) == expected, [report.number for report in order]

    held = {row["order_item_id"]: row for row in expected["current_all_order_lines"]}
    assert [(held[item]["order_status"], held[item]["item_status"]) for item in (ONE, TWO)] == [
        ("Shipped", "Shipped"),
        ("Unshipped", "Cancelled"),
    ]
    assert str(held[ONE]["item_price"]) == "20.00", "the blank of the pending order is older"
    assert held[ONE]["ship_city"] == "Bath", "a blank town says nothing"
    (seen,) = expected["orders"]
    assert (seen["lines"], seen["status"], seen["still_unshipped"]) == (2, "Shipped", True)
    assert seen["families"] == ["all_orders", "new_orders", "unshipped"]


def _in_a_thread(s, account, report):
    try:
        return parse(s, account, report)
    finally:
        s.db.close()


def _everything_written(s, account):
    """Which transaction wrote each row, and where it lies."""
    names = ("order_lines", "unshipped_lines", "all_order_lines", "buyers", "snapshots")
    return [s.db.query(f"SELECT xmin, ctid FROM {name} WHERE account = %s ORDER BY ctid", (account,)) for name in names]


# ------------------------------------------------------------------------------------------- buyers' data that is blank

SHIPPING = "GET_FLAT_FILE_ORDER_REPORT_DATA_SHIPPING"
_SHIPPING = "order-id order-item-id sku quantity-purchased buyer-name ship-city"


def shipping(number, name, *, quantity=1, lines=1):
    """A report of New Orders at SP-API with so many lines."""
    rows = [f"{ORDER} {int(ONE) + n:014} A {quantity} {name} {name}" for n in range(lines)]
    return flat(SHIPPING, number, _SHIPPING, rows, hour=number)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_known_buyer_data_outlives_reports_that_come_without_it_by_right_or_by_design(s, order):
    """Approval was withdrawn, and All Orders names nobody: order data follows the newest, the address stays."""
    reports = (
        shipping(1, "Ann"),
        shipping(2, ".", quantity=3),
        _all_orders(3, "Shipped", (ONE, "Shipped", 3, "20.00", "."), updated=3, hour=3),
    )
    account = new_account(s)

    parse_all(s, account, [reports[place] for place in order])

    (buyer,) = rows(s, account, "buyers")
    assert (buyer["family"], buyer["buyer_name"], buyer["ship_city"]) == ("new_orders", "Ann", "Ann")
    assert [row["quantity"] for row in rows(s, account, "order_lines")] == [3]


def test_a_purge_removes_buyer_data_for_good_whatever_is_parsed_again(s):
    """The archive still holds the bytes; what the policy ended must not begin anew."""
    account = new_account(s)
    archived = shipping(1, "Ann")
    parse_all(s, account, [archived, shipping(2, ".")])
    s.db.query(
        "UPDATE buyers SET buyer_name = NULL, ship_city = NULL, purged_at = app_now() WHERE account = %s", (account,)
    )

    parse_all(s, account, [archived, shipping(3, "Ann")])

    assert [(row["buyer_name"], row["ship_city"]) for row in rows(s, account, "buyers")] == [(None, None)]


def test_a_report_without_any_buyer_data_is_noticed_once_and_not_once_a_row(s):
    """A right that is missing at Amazon shows only so: nothing is refused, the cells are blank."""
    account = new_account(s)
    with capture_logs() as logs:
        parse(s, account, shipping(1, ".", lines=50))
        parse(s, account, shipping(2, "Ann", lines=50))
        parse(s, account, flat(SHIPPING, 3, _SHIPPING, (), hour=3))
        parse(s, account, _all_orders(4, "Shipped", (ONE, "Shipped", 1, ".", "."), updated=4, hour=4))

    noticed = [entry for entry in logs if "no buyer" in entry["event"]]
    assert [(entry["report_id"], entry["log_level"]) for entry in noticed] == [("1", "warning")]
