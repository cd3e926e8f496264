"""Unshipped reports are pictures: what a newer one of the same scope no longer shows, waits no longer."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest

from orderdrain.amazon import RequestInfo
from tests.tables import UNSHIPPED, at, cell, flat, new_account, parse, parse_all, rows, tables

HEADER = "order-id order-item-id payments-date reporting-date sku quantity-purchased quantity-to-ship"
US, CA = "ATVPDKIKX0DER", "A2EUQ1WTGCTBG2"
#: Its header alone: nothing waits.
NOTHING = ()


def line(item, *, paid=0, taken=None, quantity="1"):
    taken = "." if taken is None else taken if isinstance(taken, str) else cell(taken)
    paid = "." if paid is None else cell(paid)
    return f"111-0000001-0000000 0123456789012{item} {paid} {taken} A {quantity} 1"


def picture(number, *lines, hour=None, **told):
    return flat(UNSHIPPED, number, HEADER, lines, hour=number if hour is None else hour, **told)


def waiting(s, account):
    """Which of the lines, by the last digit of their id, wait still: True, False, or None where nobody knows."""
    found = rows(s, account, "current_unshipped_lines")
    return {int(row["order_item_id"][-1]): row["still_unshipped"] for row in found}


def every_order(s, *reports):
    """Which lines wait, after each order of arrival: all of them say the same, and whole tables are compared."""
    accounts = []
    for order in itertools.permutations(reports):
        accounts.append(new_account(s))
        parse_all(s, accounts[-1], [*order, order[0]])
    first = tables(s, accounts[0])
    assert all(tables(s, account) == first for account in accounts)
    return waiting(s, accounts[0])


def test_a_line_waits_until_a_newer_picture_no_longer_shows_it(s):
    """It was shipped or cancelled: no report says so in words."""
    assert every_order(s, picture(1, line(1), line(2)), picture(2, line(2))) == {1: False, 2: True}


def test_a_line_that_is_back_waits_again(s):
    """The newest picture that lists it counts."""
    assert every_order(s, picture(1, line(1)), picture(2, line(2)), picture(3, line(1))) == {1: True, 2: False}


def test_a_header_alone_is_a_picture_with_nothing_on_it(s):
    """Everything was shipped: the best of news must not be taken for no news."""
    assert every_order(s, picture(1, line(1)), picture(2, *NOTHING)) == {1: False}
    account = new_account(s)
    parse_all(s, account, [picture(1, line(1)), flat(UNSHIPPED, 2, HEADER, (), hour=2)])
    assert [(row["lines"], row["rejected"]) for row in rows(s, account, "snapshots")] == [(1, 0), (0, 0)]


def test_a_picture_with_unreadable_rows_proves_nothing_about_what_it_lacks(s):
    """The line may be the very row that nobody could read: then nobody knows."""
    damaged = picture(2, line(2), line(1, quantity="x"))

    assert every_order(s, picture(1, line(1)), damaged) == {1: None, 2: True}
    assert every_order(s, picture(1, line(1)), damaged, picture(3, line(2))) == {1: False, 2: True}


def test_a_picture_reaches_back_38_days_from_payment(s):
    """Amazon leaves older orders out whether they were shipped or not (MWS documentation)."""
    day = 24
    assert every_order(s, picture(1, line(1, paid=0)), picture(2, *NOTHING, hour=38 * day)) == {1: False}
    assert every_order(s, picture(1, line(1, paid=0)), picture(2, *NOTHING, hour=38 * day + 1)) == {1: None}
    assert every_order(s, picture(1, line(1, paid=None)), picture(2, *NOTHING)) == {1: None}


def test_pictures_of_another_scope_prove_nothing(s):
    """One marketplace's picture shows none of the orders of the other."""
    us, ca = picture(1, line(1), marketplaces=(US,)), picture(2, line(2), marketplaces=(CA,))

    assert every_order(s, us, ca) == {1: True, 2: True}
    assert every_order(s, us, ca, picture(3, *NOTHING, marketplaces=(US,))) == {1: False, 2: True}


def test_the_scope_is_connection_type_and_marketplaces_in_one_order(s):
    """Amazon may name them in any order: they are the same picture."""
    account = new_account(s)
    parse_all(s, account, [picture(1, line(1), marketplaces=(US, CA)), picture(2, *NOTHING, marketplaces=(CA, US))])

    assert {row["scope"] for row in rows(s, account, "snapshots")} == {f"mws {UNSHIPPED} {CA} {US}"}
    assert waiting(s, account) == {1: False}


def test_the_time_of_the_picture_decides_not_that_of_the_report(s):
    """A report that took long shows how things were when it was begun."""
    slow = picture(1, line(2, taken=1), hour=9)

    assert every_order(s, picture(2, line(1, taken=5), line(2, taken=5), hour=6), slow) == {1: True, 2: True}


def test_a_line_never_seems_missing_from_a_picture_that_lists_it(s):
    """Where rows of one picture have different times, or none."""
    odd = picture(2, line(1, taken=1), line(2, taken=8), hour=9)

    assert every_order(s, picture(1, line(1, taken=5), hour=6), odd) == {1: True, 2: True}
    assert every_order(s, picture(1, line(1), hour=6), picture(2, line(1, taken=3), line(2), hour=9)) == {
        1: True,
        2: True,
    }


def test_two_pictures_of_one_second_are_two(s):
    """The greater report id is the newer one, as of lines."""
    assert every_order(s, picture(9, line(1), hour=3), picture(10, line(2), hour=3)) == {1: False, 2: True}


def test_the_same_picture_again_writes_nothing(s):
    """A repeated parse is the commonest event of all."""
    account = new_account(s)
    parse(s, account, picture(1, line(1)))
    before = s.db.query("SELECT xmin, ctid FROM snapshots WHERE account = %s", (account,))

    assert parse(s, account, picture(1, line(1))) == "parsed 1 rows: 1 same"
    assert s.db.query("SELECT xmin, ctid FROM snapshots WHERE account = %s", (account,)) == before


@pytest.mark.parametrize("report_type", [UNSHIPPED, "_GET_FLAT_FILE_ORDERS_DATA_"])
def test_no_data_is_a_picture_with_nothing_on_it_where_a_report_is_one(s, report_type):
    """`_DONE_NO_DATA_`: of Unshipped it says that nothing waits, of new orders that none came in its window."""
    account = new_account(s)
    parse_all(s, account, [picture(1, line(1))])
    info = RequestInfo("2291326454", report_type, "NO_DATA", submitted_at=at(2), completed_at=at(2.5))
    for _ in range(2):
        with s.db.transaction() as cursor:
            s.orders.nothing_there(cursor, account, "mws", info, at(3))

    taken = [(row["as_of"], row["report_id"], row["lines"]) for row in rows(s, account, "snapshots")]
    if report_type == UNSHIPPED:
        assert sorted(taken) == [(at(1), "1", 1), (at(2.5), "2291326454", 0)]
        assert waiting(s, account) == {1: False}
    else:
        assert taken == [(at(1), "1", 1)]
        assert waiting(s, account) == {1: True}


def test_a_request_that_ends_without_data_is_followed_to_its_picture(drain):
    """Through the request step, from Amazon's answer."""
    drain.s.requests.enter("acme", "mws", UNSHIPPED, start=None, end=None, options={})

    drain.run(until=lambda: [row.status for row in drain.s.requests.table("acme")] == ["no_data"])

    (row,) = rows(drain.s, "acme", "snapshots")
    assert (row["scope"], row["lines"], row["rejected"]) == (f"mws {UNSHIPPED}", 0, 0)
    (asked,) = drain.s.requests.table("acme")
    assert (row["report_id"], row["as_of"] - asked.submitted_at < timedelta(hours=1)) == (asked.amazon_request_id, True)
