"""Personal columns in groups: whole or not at all, known data is not replaced by blanks, purged data does not return."""

from __future__ import annotations

import pytest

from tests.tables import (
    ALL,
    FBA,
    NEW,
    NEW_XML,
    PENDING,
    UNSHIPPED,
    Given,
    cell,
    flat,
    new_account,
    parse_all,
    rows,
    tables,
)

ORDER = "111-0000001-0000000"
ITEM = "01234567890123"
#: Families with a table that is apart from their buyers: report type, header, row, key in `buyers`.
APART = {
    "new_orders": (NEW, "order-id order-item-id sku quantity-purchased", f"{ORDER} {ITEM} A 1", ITEM),
    "unshipped": (
        UNSHIPPED,
        "order-id order-item-id sku quantity-purchased quantity-to-ship",
        f"{ORDER} {ITEM} A 1 1",
        ITEM,
    ),
    "fba_shipments": (
        FBA,
        "shipment-item-id shipment-id amazon-order-id sku quantity-shipped",
        f"D7 S7 {ORDER} A 1",
        "D7",
    ),
}
ADDRESS = "recipient-name ship-address-1 ship-city"
each_family = pytest.mark.parametrize("family", APART)


def told(family, number, names, cells, *, hour=None):
    report_type, header, row, _ = APART[family]
    return flat(report_type, number, f"{header} {names}", [f"{row} {cells}"], hour=number if hour is None else hour)


def both_orders(s, *reports):
    """The tables after either order of arrival, which are the same."""
    one, other = new_account(s), new_account(s)
    parse_all(s, one, reports)
    parse_all(s, other, reports[::-1])
    assert tables(s, one) == tables(s, other)
    return one


@each_family
def test_a_group_with_any_value_replaces_the_whole_group(s, family):
    """Cell by cell, two halves of two addresses would become one that nobody lives at."""
    account = both_orders(s, told(family, 1, ADDRESS, "Ann Elm_Street_1 Bath"), told(family, 2, ADDRESS, "Ann . Leeds"))

    (buyer,) = rows(s, account, "buyers")
    assert (buyer["family"], buyer["order_id"], buyer["line_key"]) == (family, ORDER, APART[family][3])
    assert (buyer["recipient_name"], buyer["ship_address_1"], buyer["ship_city"]) == ("Ann", None, "Leeds")


@each_family
def test_a_blank_group_says_nothing(s, family):
    """Approval was withdrawn: newer reports come with blanks, and the parcels still have to arrive."""
    account = both_orders(s, told(family, 1, ADDRESS, "Ann Elm_Street_1 Bath"), told(family, 2, ADDRESS, ". . ."))

    (buyer,) = rows(s, account, "buyers")
    assert (buyer["recipient_name"], buyer["ship_city"]) == ("Ann", "Bath")


@each_family
def test_each_group_has_a_version_of_its_own(s, family):
    """A newer report with a telephone number says nothing about the address."""
    account = both_orders(
        s,
        told(family, 1, f"buyer-phone-number {ADDRESS}", "1 Ann Elm_Street_1 Bath"),
        told(family, 2, f"buyer-phone-number {ADDRESS}", "2 . . ."),
    )

    (buyer,) = rows(s, account, "buyers")
    assert (buyer["buyer_phone"], buyer["ship_city"]) == ("2", "Bath")


@each_family
def test_a_line_of_blanks_alone_makes_no_buyer(s, family):
    """A row in `buyers` says that there is something to purge."""
    account = both_orders(s, told(family, 1, ADDRESS, ". . ."))

    assert rows(s, account, "buyers") == []


@each_family
def test_purged_buyers_take_data_from_no_report_again(s, family):
    """What was removed on its day must not come back from the archive, nor with a newer report."""
    account = new_account(s)
    first, newer = told(family, 1, ADDRESS, "Ann Elm_Street_1 Bath"), told(family, 2, ADDRESS, "Ann Elm_Street_2 Bath")
    parse_all(s, account, [first])
    s.db.query(
        "UPDATE buyers SET recipient_name = NULL, ship_address_1 = NULL, ship_city = NULL, purged_at = app_now()"
        " WHERE account = %s",
        (account,),
    )

    parse_all(s, account, [first, newer])

    (buyer,) = rows(s, account, "buyers")
    assert (buyer["recipient_name"], buyer["ship_address_1"], buyer["ship_city"]) == (None, None, None)


def test_an_unknown_column_is_personal_in_every_family(s):
    """Nobody has looked at it yet: it may be a name."""
    account = new_account(s)
    pending = flat(PENDING, 9, "order-id order-item-id sku quantity-purchased new", [f"{ORDER} {ITEM} A 1 Bob"], hour=1)
    parse_all(s, account, [pending, *(told(family, n, "new", "Bob") for n, family in enumerate(APART, 1))])

    buyers = rows(s, account, "buyers")
    assert {row["family"] for row in buyers} == {*APART, "pending"}
    assert all(row["extra"] == {"new": "Bob"} for row in buyers)


# ------------------------------------------------------------------------------- personal columns that stay in the row

ALL_HEADER = "amazon-order-id purchase-date last-updated-date order-status order-item-id quantity"


def all_orders(number, town, *, names="ship-city ship-postal-code", updated=None, quantity=1):
    row = f"{ORDER} {cell(0)} {cell(updated or number)} Shipped {ITEM} {quantity} {town}"
    return flat(ALL, number, f"{ALL_HEADER} {names}", [row], hour=number)


def town(s, account):
    (row,) = rows(s, account, "all_order_lines")
    return row["ship_city"], row["ship_postal_code"]


def test_the_town_of_all_orders_stays_in_its_row_and_a_blank_one_says_nothing(s):
    """A cancelled order comes without its town: what is known stays, and the rest of the row follows the newest."""
    account = both_orders(s, all_orders(1, "Bath BA1"), all_orders(2, ". .", quantity=0))

    assert town(s, account) == ("Bath", "BA1")
    assert rows(s, account, "all_order_lines")[0]["quantity"] == 0
    assert rows(s, account, "buyers") == []


def test_the_town_of_all_orders_is_replaced_whole(s):
    """The postal code of one town beside the name of another is nobody's address."""
    assert town(s, both_orders(s, all_orders(1, "Bath BA1"), all_orders(2, "Leeds ."))) == ("Leeds", None)
    assert town(s, both_orders(s, all_orders(1, "Bath BA1"), all_orders(2, "Leeds", names="ship-city"))) == (
        "Leeds",
        None,
    )


def test_a_late_town_between_two_reports_wins_over_the_older(s):
    """Bath at 1, nothing at 3, and Leeds at 2, which arrives last."""
    account = new_account(s)
    parse_all(s, account, [all_orders(1, "Bath BA1"), all_orders(3, ". ."), all_orders(2, "Leeds LS1")])

    assert town(s, account) == ("Leeds", "LS1")


def test_a_layout_without_the_town_says_nothing_about_it(s):
    """As any column that is not there."""
    without = flat(ALL, 2, ALL_HEADER, [f"{ORDER} {cell(0)} {cell(2)} Shipped {ITEM} 1"], hour=2)

    assert town(s, both_orders(s, all_orders(1, "Bath BA1"), without)) == ("Bath", "BA1")


def test_a_purged_town_takes_data_from_no_report_again(s):
    """The row keeps `purged_at`, and all else of it follows the newest."""
    account = new_account(s)
    parse_all(s, account, [all_orders(1, "Bath BA1")])
    s.db.query(
        "UPDATE all_order_lines SET ship_city = NULL, ship_postal_code = NULL, purged_at = app_now() WHERE account = %s",
        (account,),
    )

    parse_all(s, account, [all_orders(1, "Bath BA1"), all_orders(3, "Bath BA1", quantity=3), all_orders(2, "Ely CB7")])

    assert town(s, account) == (None, None)
    assert rows(s, account, "all_order_lines")[0]["quantity"] == 3


def test_formats_and_types_of_one_family_share_its_buyers(s):
    """The XML of an order fills the same row as its flat file."""
    account = new_account(s)
    body = (
        '<?xml version="1.0" encoding="UTF-8"?><AmazonEnvelope><MessageType>OrderReport</MessageType><Message><OrderReport>'
        f"<AmazonOrderID>{ORDER}</AmazonOrderID><FulfillmentData><Address><Name>Ann</Name><City>Leeds</City></Address>"
        f"</FulfillmentData><Item><AmazonOrderItemCode>{ITEM}</AmazonOrderItemCode><SKU>A</SKU><Quantity>1</Quantity>"
        "</Item></OrderReport></Message></AmazonEnvelope>"
    )
    parse_all(
        s, account, [told("new_orders", 1, ADDRESS, "Ann Elm_Street_1 Bath"), Given(NEW_XML, 2, 2, body.encode())]
    )

    (buyer,) = rows(s, account, "buyers")
    assert (buyer["recipient_name"], buyer["ship_address_1"], buyer["ship_city"]) == ("Ann", None, "Leeds")
    assert len(rows(s, account, "order_lines")) == 1
