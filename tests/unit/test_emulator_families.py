"""What the emulated sellers' reports of every family say: each in its marketplace's bytes, and true to what was sold."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from emulator.account import Account
from emulator.report_types import REPORT_TYPES
from emulator.reports import make_columns
from emulator.sellers import make_sellers
from emulator.sold_through import families, sold_through, turn
from emulator.sp_report_types import SP_REPORT_TYPES
from emulator.truth import FAMILIES, told_lines

STARTED = datetime(2026, 5, 8, 12, 0, tzinfo=UTC)
SELLERS = make_sellers(seed=1, count=6)
KINDS = REPORT_TYPES | SP_REPORT_TYPES


def live(seller, *, api="mws", until=timedelta(hours=3), backlog=12, orders_per_minute=1.0):
    account = Account(
        seller,
        STARTED,
        orders_per_minute=orders_per_minute,
        backlog=backlog,
        on_sp_api=api == "sp-api",
        every_family=True,
    )
    account.catch_up(STARTED + until)
    return account


def reports_of(account, family=None):
    made = [*account.reports.values(), *account.sp.files()]
    return [report for report in made if report.kind and family in {None, report.kind.family}]


@pytest.mark.parametrize("seller", SELLERS, ids=lambda seller: seller.account)
def test_every_report_type_fits_the_charset_of_every_marketplace(seller):
    """A character that the charset lacks would end the emulator, or become a question mark."""
    account = live(seller, until=timedelta(0))
    told = [(order, order.form_at(STARTED)) for order in account.orders.values()]
    for report_type, kind in ((name, known.kind) for name, known in KINDS.items()):
        report = account.add_report(report_type, STARTED, told=told)

        text = report.render().decode(seller.home.encoding)

        assert "?" not in text.replace("<?xml", "").replace("?>", ""), report_type
        assert all(line[kind.key[0]] in text for line in report.lines()), report_type
        assert report.columns == make_columns(kind, seller, requested=False)
        if kind.leaves_out:
            names = {"windows-1252": "ISO-8859-1", "windows-31j": "Windows-31J", "UTF-8": "UTF-8"}
            declared = re.match(r'<\?xml version="1.0" encoding="(.*)"\?>', text)
            assert declared is None or declared[1] == names[seller.home.charset], report_type


@pytest.mark.parametrize("api", ["mws", "sp-api"])
def test_sellers_of_every_family_have_a_type_of_each_that_their_marketplaces_have(api):
    """Pending is Japan's alone, All Orders all others'; flat files and XML of both."""
    known = REPORT_TYPES if api == "mws" else SP_REPORT_TYPES
    seen = set()
    for seller in SELLERS:
        types = sold_through(seller, api, every_family=True)
        seen |= set(types)
        assert types.keys() <= known.keys()
        assert families(types) == set(FAMILIES) - {"all_orders" if seller.home.country == "JP" else "pending"}
        for name, every in types.items():
            assert known[name].schedulable if every else known[name].requestable
        assert {turn(types, number)[0] for number in range(12)} == set(types)
    assert {known[name].kind.leaves_out for name in seen if known[name].kind.family == "all_orders"} == {True, False}
    assert {known[name].kind.leaves_out for name in seen if known[name].kind.family == "new_orders"} == {True, False}


@pytest.mark.parametrize("api", ["mws", "sp-api"])
def test_each_family_tells_the_orders_that_it_is_about(api):
    """What Amazon ships is none of the seller's to ship; what waits for its payment has no price and nobody's name."""
    cedar, acme = live(SELLERS[2], api=api), live(SELLERS[0], api=api)
    for account in (cedar, acme):
        by_amazon = {order.order_id for order in account.orders.values() if order.by_amazon}
        assert by_amazon
        for family in ("new_orders", "unshipped", "pending"):
            assert not by_amazon & {o.order_id for report in reports_of(account, family) for o, _ in report.told}
        assert {o.order_id for report in reports_of(account, "fba_shipments") for o, _ in report.told} <= by_amazon
    pending = [line for report in reports_of(cedar, "pending") for line in report.lines()]
    assert pending
    assert not [
        name for line in pending for name in line if "price" in name or "name" in name.replace("product-name", "")
    ]
    statuses = {line["order-status"] for report in reports_of(acme, "all_orders") for line in report.lines()}
    assert statuses >= {"Unshipped", "Shipped"}
    assert by_amazon & {o.order_id for report in reports_of(acme, "all_orders") for o, _ in report.told}


def test_an_order_that_is_not_paid_for_is_told_as_new_once_it_is():
    """Pending first, then New Orders, by the next schedule; never both at once."""
    account = live(SELLERS[2], until=timedelta(hours=5))
    waited = [order for order in account.orders.values() if order.pending_since]
    assert waited
    for order in waited:
        new = [r.taken_at or r.available_at for r in reports_of(account, "new_orders") for o, _ in r.told if o is order]
        assert all(order.sold_at <= moment for moment in new)
        if order.sold_at < STARTED + timedelta(hours=4):
            assert new
        for report in reports_of(account, "pending"):
            if order in {o for o, _ in report.told}:
                assert order.pending_since <= report.taken_at < order.sold_at


def test_a_picture_lacks_what_was_shipped_and_the_truth_says_that_it_waits_no_longer():
    """A line of an older picture, and none of the newest."""
    account = live(SELLERS[0])
    pictures = sorted(reports_of(account, "unshipped"), key=lambda report: report.newness)
    newest = {line["order-item-id"] for line in pictures[-1].lines()}

    lines = list(told_lines(account, pictures, STARTED + timedelta(hours=3)))

    assert {line["order_item_id"] for line in lines if line["waits"]} == newest
    gone = [line for line in lines if not line["waits"]]
    assert gone
    assert all(line["report_id"] != pictures[-1].report_id for line in gone)


def test_a_parcel_tells_its_share_and_all_parcels_the_whole():
    """An item in two parcels is not paid for twice."""
    account = live(SELLERS[0], until=timedelta(0))
    order = account.sell(STARTED)
    order.by_amazon, order.changes, order.statuses = True, (), {0: "Shipped"}
    order.given[0] = [line | {"quantity-purchased": "3", "item-price": "10.00"} for line in order.lines(0)[:1]]
    report = account.add_report("_GET_AMAZON_FULFILLED_SHIPMENTS_DATA_", STARTED, told=[(order, 0)])

    parcels = list(report.lines())

    assert [(line["quantity-shipped"], line["item-price"]) for line in parcels] == [("1", "3.33"), ("2", "6.67")]
    assert len({line["shipment-item-id"] for line in parcels}) == 2
    assert len({line["amazon-order-item-id"] for line in parcels}) == 1
