"""What the emulated sellers sell, and what reports tell of it: believable, repeatable, in the right bytes."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from emulator.account import Account
from emulator.reports import NEW_ORDERS
from emulator.sellers import make_sellers

STARTED = datetime(2026, 5, 8, 12, 0, tzinfo=UTC)
SELLERS = make_sellers(seed=1, count=6)


def live(seller, *, until=timedelta(hours=3), step=None, backlog=6, orders_per_minute=1.0):
    """An account that lived from STARTED on, looked at in steps or once."""
    account = Account(seller, STARTED, orders_per_minute=orders_per_minute, backlog=backlog)
    moment = STARTED
    while step and moment < STARTED + until:
        account.catch_up(moment)
        moment += step
    account.catch_up(STARTED + until)
    return account


def order_reports(account):
    return [report for report in account.reports.values() if not report.foreign]


@pytest.mark.parametrize("seller", SELLERS, ids=lambda seller: seller.account)
def test_every_report_fits_its_charset_and_reads_back_as_sold(seller):
    """A character that the charset lacks would end the emulator, or become a question mark."""
    for report in order_reports(live(seller)):
        text = report.render().decode(seller.home.encoding)
        header, *lines = [line for line in re.split(r"\r?\n", text) if line]
        told = [dict(zip(header.split("\t"), line.split("\t"), strict=True)) for line in lines]
        assert told == list(report.lines())
        assert told
    assert not text.isascii()


def test_what_is_sold_looks_like_what_amazon_sells():
    """Parsers are only as good as what they are fed: quotes, pipes, leading zeros, offsets, twelve of a kind."""
    lines = [line for seller in SELLERS for report in order_reports(live(seller)) for line in report.lines()]
    assert all(re.fullmatch(r"\d{3}-\d{7}-\d{7}", line["order-id"]) for line in lines)
    assert all(re.fullmatch(r"\d{13,15}", line["order-item-id"]) for line in lines)
    assert any(line["order-item-id"].startswith("0") for line in lines)
    titles = "".join(line["product-name"] for line in lines)
    assert {'"', "|", "'", "–", "€", "①", "～", "㈱"} <= set(titles)
    assert {line["currency"] for line in lines} == {"USD", "EUR", "JPY", "GBP", "SGD", "CAD"}
    offsets = {line["purchase-date"][-6:] for line in lines}
    assert {"-08:00", "+01:00", "+09:00", "+00:00"} <= offsets
    assert any(line["purchase-date"][-6:] != line["payments-date"][-6:] for line in lines)
    prices = {line["currency"]: line["item-price"] for line in lines}
    assert re.fullmatch(r"\d+\.\d\d", prices["EUR"])
    assert re.fullmatch(r"\d+", prices["JPY"])


def test_all_people_are_invented():
    """Phones of the reserved range, addresses of the relay, nothing that could be somebody's."""
    for report in order_reports(live(SELLERS[1])):
        for line in report.lines():
            assert re.fullmatch(r"[0-9a-f]{14}@marketplace\.amazon\.(de|fr)", line["buyer-email"])
            assert re.fullmatch(r"555-01\d\d", line["buyer-phone-number"])


def test_the_same_seed_gives_the_same_life_however_often_somebody_looks():
    """A failing run must be repeatable, and looking must not change what is seen."""
    once, often = live(SELLERS[0]), live(SELLERS[0], step=timedelta(seconds=7))
    assert list(once.reports) == list(often.reports)
    assert [report.render() for report in once.reports.values()] == [r.render() for r in often.reports.values()]
    other = live(make_sellers(seed=2, count=1)[0])
    assert order_reports(other)[0].render() != order_reports(once)[0].render()


def test_ids_are_unique_in_an_account_and_too_long_for_a_float():
    """Who reads a ReportId as a number in JavaScript or Excel has another one."""
    account = live(SELLERS[0])
    ids = [line["order-item-id"] for order in account.orders.values() for line in order.lines(0)]
    assert len(set(ids)) == len(ids)
    assert all(int(report_id) > 2**53 for report_id in account.reports)
    assert all(10 <= len(request_id) <= 12 for request_id in account.requests)


def test_scheduled_reports_hold_only_what_is_new_and_are_not_made_for_nothing():
    """Nothing sold, no report at all: silence is not a fault."""
    account = live(SELLERS[0], orders_per_minute=0, backlog=0)
    assert order_reports(account) == []
    order = account.sell(STARTED + timedelta(hours=3, seconds=1))
    account.catch_up(STARTED + timedelta(hours=4))
    (report,) = order_reports(account)
    assert [told for told, _ in report.told] == [order]
    assert not report.requested


def test_the_backlog_is_there_even_where_hardly_anything_is_sold():
    """A demo asks for N reports and must get them, one in five of them asked for by hand."""
    reports = order_reports(live(SELLERS[0], until=timedelta(0), orders_per_minute=0, backlog=10))
    assert len(reports) == 10
    assert sum(report.requested for report in reports) == 2


def test_a_requested_report_tells_again_and_in_a_newer_form():
    """Requested and scheduled reports overlap; some orders have changed in between."""
    account = live(SELLERS[0], until=timedelta(0), backlog=10)
    forms: dict[str, set[int]] = {}
    for report in order_reports(account):
        for order, form in report.told:
            forms.setdefault(order.order_id, set()).add(form)
    assert any(len(told) > 1 for told in forms.values())
    order = next(order for order in account.orders.values() if len(order.changes) > 1)
    assert order.lines(0) != order.lines(1)
    assert [line["order-item-id"] for line in order.lines(0)] == [line["order-item-id"] for line in order.lines(1)]


def test_a_change_by_hand_leaves_the_bytes_of_older_reports_alone():
    """A file that was made stays as it was made, also when the order changes in the same second."""
    account = live(SELLERS[0], orders_per_minute=0, backlog=0)
    now = STARTED + timedelta(hours=4)
    order = account.sell(now)
    report = account.add_report(NEW_ORDERS, now, told=[(order, order.form_at(now))])
    before = report.render()
    changed = [line | {"ship-city": "Elsewhere"} for line in order.lines(0)]
    order.give(changed, now)
    assert report.render() == before
    newer = account.add_report(NEW_ORDERS, now, told=[(order, order.form_at(now))])
    assert b"Elsewhere" in newer.render()
    assert newer.newness > report.newness
