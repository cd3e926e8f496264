"""One order from Pending to Shipped, told by reports of every family: in whatever order they are parsed, the same tables.

What the reports say is the emulator's; here they lie in the archive, and are parsed in every order.
"""

from __future__ import annotations

import itertools
import random

import pytest

from emulator.account import Account
from emulator.reports.kind import Window
from emulator.sellers import make_sellers
from emulator.sp_report_types import kind_of
from tests.tables import (
    ALL,
    ALL_XML,
    FBA,
    NEW,
    NEW_XML,
    PENDING,
    UNSHIPPED,
    Given,
    at,
    new_account,
    parse,
    parse_all,
    parse_by_two_workers,
    rows,
    tables,
)

ORDER, BY_AMAZON = "503-0000001-0000001", "503-0000002-0000002"
#: When each family's reports were made, and in which format, in the order of their numbers.
MADE = {
    "new_orders": [(NEW, 2.5), (NEW_XML, 3.5), (NEW, 4.5), (NEW_XML, 5.5)],
    "unshipped": [(UNSHIPPED, 2.5), (UNSHIPPED, 2.75), (UNSHIPPED, 3.5), (UNSHIPPED, 4.5)],
    "all_orders": [(ALL, 1.5), (ALL_XML, 2.5), (ALL, 3.5), (ALL_XML, 4.5)],
    "pending": [(PENDING, 1.25), (PENDING, 1.5), (PENDING, 1.75)],
    "fba_shipments": [(FBA, 4.5), (FBA, 5.5), (FBA, 6.5)],
}


def lives(seller):
    """An account, and what happens to two orders of it, hour by hour: (hour, what happens)."""
    account = Account(seller, at(0), orders_per_minute=0, backlog=0)

    def begin():
        for order_id in (ORDER, BY_AMAZON):
            order = account.sell(at(1), order_id)
            order.changes, order.statuses, order.pending_since = (), {0: "Pending"}, order.sold_at
            order.by_amazon = order_id == BY_AMAZON
            order.given[0] = [
                line | {"order-item-id": f"0123456789012{n}", "sku": f"SKU {n}", "quantity-purchased": "2"}
                for n, line in enumerate(2 * order.lines(0)[:1], 1)
            ]

    def change(hour, status, *, order_ids=(ORDER, BY_AMAZON), **cells):
        for order in map(account.orders.get, order_ids):
            lines = order.lines(order.form_at(at(hour)))
            lines[-1] |= cells
            order.give(lines, at(hour), status)

    return account, [
        (1, begin),
        (1.4, lambda: change(1.4, "Pending", **{"product-name": "Renamed while pending"})),
        (2, lambda: change(2, "Unshipped")),
        (3, lambda: change(3, "Unshipped", order_ids=(ORDER,), **{"quantity-purchased": "0"})),
        (4, lambda: change(4, "Shipped")),
        (5, lambda: change(5, "Shipped", **{"product-name": "Renamed at last"})),
    ]


@pytest.fixture(scope="module")
def reports():
    """Family -> its reports, of a seller of Singapore: flat files of All Orders have no order-item-id there."""
    account, happenings = lives(make_sellers(1, 5)[4])
    told = sorted((hour, report_type, family) for family, made in MADE.items() for report_type, hour in made)
    found = {family: [] for family in MADE}
    for number, (hour, report_type, family) in enumerate(told, 1):
        while happenings and happenings[0][0] < hour:
            happenings.pop(0)[1]()
        kind = kind_of(report_type)
        orders = [(order, order.form_at(at(hour))) for order in account.orders.values()]
        window = Window(at(0), at(24), at(hour))
        report = account.add_report(report_type, at(hour), told=[o for o in orders if kind.tells(*o, window)])
        found[family].append(Given(report_type, number, hour, report.render()))
    return found


def as_it_ended(s, account, family):
    """What is left of the lines, told shortly: (line, what the family knows of it)."""
    table = {"new_orders": "order_lines", "pending": "pending_lines", "fba_shipments": "fba_shipment_lines"}
    found = rows(s, account, table.get(family, f"current_{family.removesuffix('s')}_lines"))
    columns = {
        "new_orders": ("order_item_id", "quantity", "product_name"),
        "unshipped": ("order_item_id", "quantity", "still_unshipped"),
        "all_orders": ("order_id", "line_key", "order_status", "item_status", "quantity"),
        "pending": ("order_item_id", "quantity", "product_name"),
        "fba_shipments": ("order_item_id", "quantity", "product_name"),
    }[family]
    return sorted(tuple(row[name] for name in columns) for row in found)


ENDS = {
    "new_orders": [("01234567890121", 2), ("01234567890122", 0)],
    "unshipped": [("01234567890121", 2, False), ("01234567890122", 2, False)],
    "all_orders": [
        (ORDER, "01234567890121", "Shipped", "Shipped", 2),
        (ORDER, "01234567890122", "Shipped", "Cancelled", 0),
        (BY_AMAZON, "01234567890121", "Shipped", "Shipped", 2),
        (BY_AMAZON, "01234567890122", "Shipped", "Shipped", 2),
    ],
    "pending": [("01234567890121", 2), ("01234567890122", 2)],
    "fba_shipments": [("01234567890121", 1)] * 2 + [("01234567890122", 1)] * 2,
}
#: The title of the second line, where the family tells one.
TITLES = {"new_orders": "Renamed at last", "pending": "Renamed while pending", "fba_shipments": "Renamed at last"}


@pytest.mark.parametrize("family", MADE)
def test_the_states_of_an_order_parsed_in_any_order_end_in_the_newest(s, reports, family):
    """Nobody knows in which order workers come to them. The third comes three times, and then writes nothing."""
    first = None
    for order in itertools.permutations(reports[family]):
        account = new_account(s)
        for report in order:
            parse(s, account, report)
        again = [parse(s, account, reports[family][2]) for _ in range(2)]
        assert not [said for said in again if "new" in said or "changed" in said], again

        first = first or tables(s, account)
        assert tables(s, account) == first, [report.number for report in order]

    ended = as_it_ended(s, account, family)
    known = len(ENDS[family][0])
    assert [line[:known] for line in ended] == ENDS[family]
    if family in TITLES:
        assert {line[-1] for line in ended if line[0].endswith("2")} == {TITLES[family]}


@pytest.mark.parametrize("seed", range(4))
def test_reports_of_all_families_parsed_two_at_a_time_end_in_the_same_tables(s, reports, seed):
    """Two workers, and every report; the view on orders is told by all families together."""
    everything = [report for family in reports.values() for report in family]
    alone, shared = new_account(s), new_account(s)
    parse_all(s, alone, everything)

    assert parse_by_two_workers(s, shared, random.Random(seed).sample(everything, k=len(everything)), within=60) == []
    assert tables(s, shared) == tables(s, alone)
    (order,) = [row for row in rows(s, shared, "orders") if row["order_id"] == ORDER]
    assert (order["lines"], order["status"], order["still_unshipped"]) == (2, "Shipped", False)
    assert order["families"] == ["all_orders", "new_orders", "pending", "unshipped"]


def test_an_older_blank_never_erases_what_is_known(s, reports):
    """While an order is Pending All Orders tells no price, and comes last here."""
    account = new_account(s)
    for report in reversed(reports["all_orders"]):
        parse(s, account, report)

    held = rows(s, account, "current_all_order_lines")
    assert {row["order_id"] for row in held if row["item_price"] is None} == {ORDER}
    assert [row["line_key"] for row in held if row["item_price"] is None] == ["01234567890122"]
