"""All Orders before 2026: lines without order-item-id are whole sets an order and SKU, through the parse step."""

from __future__ import annotations

import itertools

import pytest

from tests.tables import ALL, ALL_XML, Given, cell, flat, new_account, parse, parse_all, rows, tables

HEADER = "amazon-order-id purchase-date last-updated-date order-status sku quantity item-price currency"
ORDER = "111-0000001-0000000"


def line(updated, *, order=ORDER, status="Shipped", sku="A", quantity="1", price="10.00"):
    return f"{order} {cell(0)} {updated} {status} {sku} {quantity} {price} USD"


def told(number, *lines, hour=None, header=HEADER):
    return flat(ALL, number, header, lines, hour=number if hour is None else hour)


def holds(s, account):
    """The lines that hold: (line key, quantity)."""
    return sorted((row["line_key"], row["quantity"]) for row in rows(s, account, "current_all_order_lines"))


def every_order(s, reports):
    """The lines that hold after each order of arrival, all of them the same; whole tables are compared."""
    accounts = [new_account(s) for _ in itertools.permutations(reports)]
    for account, order in zip(accounts, itertools.permutations(reports), strict=True):
        parse_all(s, account, [*order, order[0]])
    first = tables(s, accounts[0])
    for account in accounts:
        assert tables(s, account) == first
    return holds(s, accounts[0])


def test_two_equal_twins_are_two_lines_and_the_same_report_twice_is_still_two(s):
    """One article from two warehouses: two equal rows. Twice parsed they must not become four, nor one."""
    account = new_account(s)
    report = told(1, line(cell(0)), line(cell(0)))

    assert parse_all(s, account, [report, report]) == ["parsed 2 rows: 2 new", "parsed 2 rows: 2 same"]
    assert holds(s, account) == [("A#1", 1), ("A#2", 1)]


def test_a_newer_set_with_fewer_lines_replaces_the_whole_older_one(s):
    """Two lines became one: merged line by line, the second would be sold for ever."""
    two, one = told(1, line(cell(1)), line(cell(1))), told(2, line(cell(2), quantity="2"))

    assert every_order(s, [two, one]) == [("A#1", 2)]


def test_the_set_of_one_sku_does_not_touch_that_of_another(s):
    """A report may tell one line of an order alone."""
    assert every_order(s, [told(1, line(cell(1)), line(cell(1), sku="B")), told(2, line(cell(2), quantity="3"))]) == [
        ("A#1", 3),
        ("B#1", 1),
    ]


def test_a_set_is_as_new_as_its_own_time_of_update_not_as_its_report(s):
    """A late report of an old window says how the order was then."""
    newer, later_report = told(1, line(cell(5), status="Shipped")), told(2, line(cell(3), status="Pending"), hour=9)
    accounts = [new_account(s), new_account(s)]
    parse_all(s, accounts[0], [newer, later_report])
    parse_all(s, accounts[1], [later_report, newer])

    for account in accounts:
        assert [row["order_status"] for row in rows(s, account, "all_order_lines")] == ["Shipped"]


def test_an_order_told_twice_in_one_file_counts_over_the_rows_with_its_newest_update(s):
    """A file by update time may hold both states of an order: they are no twins."""
    report = told(1, line(cell(2), quantity="2"), line(cell(1)), line(cell(1)))

    assert every_order(s, [report]) == [("A#1", 2)]


def test_of_two_blank_update_times_the_newer_report_wins(s):
    """Some exports leave last-updated-date blank: then a set is as new as its report."""
    assert every_order(s, [told(1, line(".")), told(2, line("."), line("."))]) == [("A#1", 1), ("A#2", 1)]


def xml(number, *orders, hour=None):
    """All Orders in XML: each order is (hour of update, quantities of its items)."""
    told = "".join(
        f"<Message><Order><AmazonOrderID>{ORDER}</AmazonOrderID><PurchaseDate>{cell(0)}</PurchaseDate>"
        f"<LastUpdatedDate>{cell(updated)}</LastUpdatedDate><OrderStatus>Shipped</OrderStatus>"
        + "".join(
            f"<OrderItem><SKU>A</SKU><ItemStatus>Shipped</ItemStatus><Quantity>{quantity}</Quantity></OrderItem>"
            for quantity in quantities
        )
        + "</Order></Message>"
        for updated, quantities in orders
    )
    body = f'<?xml version="1.0" encoding="UTF-8"?><AmazonEnvelope><Header><DocumentVersion>1.00</DocumentVersion></Header><MessageType>AllOrdersReport</MessageType>{told}</AmazonEnvelope>'
    return Given(ALL_XML, number, number if hour is None else hour, body.encode())


def test_a_repeated_order_element_is_a_duplicate_and_no_twin(s):
    """Real XML files hold the same order twice (samples of 2017): its lines must not be doubled."""
    assert every_order(s, [xml(1, (1, (1, 1)), (1, (1, 1)))]) == [("A#1", 1), ("A#2", 1)]


def test_of_two_elements_of_one_order_the_last_is_the_whole_set(s):
    """Same order, same update: what the second no longer has does not hold."""
    assert every_order(s, [xml(1, (1, (1, 1)), (1, (3,)))]) == [("A#1", 3)]
    assert every_order(s, [xml(1, (2, (3,)), (1, (1, 1)))]) == [("A#1", 3)]


def test_flat_files_and_xml_tell_the_same_sets(s):
    """An account may have both: they are one family."""
    assert every_order(s, [told(1, line(cell(1)), line(cell(1))), xml(2, (2, (5,))), xml(3, (3, (7, 7)))]) == [
        ("A#1", 7),
        ("A#2", 7),
    ]


def test_a_set_with_a_rejected_row_replaces_nothing(s):
    """One of three twins cannot be read: the two others would make the third vanish."""
    whole = told(1, line(cell(1)), line(cell(1)), line(cell(1)))
    damaged = told(2, line(cell(2), quantity="2"), line(cell(2), quantity="x"), line(cell(2), quantity="2"))

    assert every_order(s, [whole, damaged]) == [("A#1", 1), ("A#2", 1), ("A#3", 1)]


def test_a_set_with_a_rejected_row_is_kept_while_nothing_whole_is_known(s):
    """Two lines of three are more than none; the rejected one is named."""
    damaged, newer = (
        told(number, line(cell(number)), line(cell(number), quantity="x"), line(cell(number))) for number in (1, 2)
    )

    assert every_order(s, [damaged]) == [("A#1", 1), ("A#2", 1)]
    assert every_order(s, [damaged, newer]) == [("A#1", 1), ("A#2", 1)]
    whole = told(3, line(cell(0), quantity="9"))
    assert every_order(s, [damaged, newer, whole]) == [("A#1", 9)]


def test_a_rejected_row_of_one_sku_leaves_the_sets_of_the_others_whole(s):
    """Only what may be missing is doubted."""
    before = told(1, line(cell(1)), line(cell(1), sku="B"))
    damaged = told(2, line(cell(2), quantity="x"), line(cell(2), quantity="2"), line(cell(2), sku="B", quantity="2"))

    assert every_order(s, [before, damaged]) == [("A#1", 1), ("B#1", 2)]


def test_a_row_cut_short_may_belong_to_any_set_of_its_order(s):
    """Its cells have shifted: which SKU it was nobody knows; the sets of other orders are whole."""
    other = "111-0000002-0000000"
    before = told(1, line(cell(1)), line(cell(1), sku="B"), line(cell(1), order=other))
    damaged = told(2, line(cell(2), quantity="2"), f"{ORDER} x", line(cell(2), order=other, quantity="2"))

    assert every_order(s, [before, damaged]) == [("A#1", 1), ("A#1", 2), ("B#1", 1)]


def test_a_broken_item_spoils_its_own_element_only(s):
    """A repeated element that can be read whole is a whole set."""
    broken = xml(2, (2, (1, "x")), (2, (4, 4)))

    assert every_order(s, [xml(1, (1, (1, 1, 1))), broken]) == [("A#1", 4), ("A#2", 4)]
    assert every_order(s, [xml(1, (1, (1, 1, 1))), xml(2, (2, (1, "x")))]) == [("A#1", 1), ("A#2", 1), ("A#3", 1)]


WITH_ID = f"{HEADER} order-item-id"


def test_lines_with_and_without_id_are_kept_apart_and_those_with_id_hold(s):
    """From 2026 the files have ids: which of the old rows is which of the new nobody knows."""
    old = told(5, line(cell(5)), line(cell(5)))
    new = told(1, f"{line(cell(1))} 01234567890123", f"{line(cell(1))} 01234567890124", header=WITH_ID)

    assert every_order(s, [old, new]) == [("01234567890123", 1), ("01234567890124", 1)]
    account = new_account(s)
    parse_all(s, account, [old, new])
    assert len(rows(s, account, "all_order_lines")) == 4


def test_a_rejected_row_with_an_id_belongs_to_no_set(s):
    """It is one line that is missing, and its own key says which."""
    before = told(1, line(cell(1)))
    damaged = told(
        2, f"{line(cell(2), quantity='x')} 01234567890123", f"{line(cell(2), quantity='4')} .", header=WITH_ID
    )
    account = new_account(s)
    parse_all(s, account, [before, damaged])

    assert holds(s, account) == [("A#1", 4)]


def test_a_sku_that_looks_like_a_number_of_a_set_is_a_sku(s):
    """`A#1` may be a seller's own code."""
    assert every_order(s, [told(1, line(cell(1)), line(cell(1), sku="A#1"), line(cell(1), sku="A#1"))]) == [
        ("A#1", 1),
        ("A#1#1", 1),
        ("A#1#2", 1),
    ]


def test_a_column_that_the_layout_of_a_newer_set_lacks_keeps_its_value(s):
    """Reports by order date have columns that others lack: blank is what they say, not what they leave out."""
    full = told(1, line(cell(1)))
    without_money = "amazon-order-id purchase-date last-updated-date order-status sku quantity"
    less = told(2, f"{ORDER} {cell(0)} {cell(2)} Shipped A 1", header=without_money)
    accounts = [new_account(s), new_account(s)]
    parse_all(s, accounts[0], [full, less])
    parse_all(s, accounts[1], [less, full])

    for account in accounts:
        ((price,),) = s.db.query("SELECT item_price::text FROM all_order_lines WHERE account = %s", (account,))
        assert price == "10.00"


@pytest.mark.parametrize("header", [HEADER, WITH_ID])
def test_rows_of_a_repeated_parse_write_nothing(s, header):
    """Also where a row of the file lost against another of it."""
    account = new_account(s)
    end = " 01234567890123" if header == WITH_ID else ""
    report = told(1, f"{line(cell(2), quantity='2')}{end}", f"{line(cell(1))}{end}", header=header)
    parse(s, account, report)
    before = s.db.query("SELECT xmin, ctid, line FROM all_order_lines WHERE account = %s", (account,))

    assert parse(s, account, report) == "parsed 2 rows: 1 same, 1 older"
    assert s.db.query("SELECT xmin, ctid, line FROM all_order_lines WHERE account = %s", (account,)) == before
    assert [row.line for row in before] == [2]
