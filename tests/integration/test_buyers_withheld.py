"""Without the right to see buyers Amazon leaves their cells blank: what is known of them stays, and the rest goes on."""

from __future__ import annotations

import pytest

from tests.drain import draining_quiet_sellers
from tests.every_family import SELLER, declare, make, sell

#: Those that name buyers.
NAMED = ("new_orders", "unshipped", "fba_shipments")


@pytest.fixture(params=["mws", "sp-api"])
def api(request):
    return request.param


@pytest.fixture
def drain(api, database_url, redis_url, tmp_path):
    """A seller of Japan, whose report of each family was drained while the right was there."""
    names = SELLER if api == "sp-api" else ""
    with draining_quiet_sellers(database_url, redis_url, tmp_path, sp_api_sellers=names) as running:
        declare(running)
        sell(running)
        make(running, api)
        running.run()
        running.assert_judged()
        yield running


def buyers(drain):
    """What is known of each buyer, by family and line."""
    rows = drain.s.db.query("SELECT * FROM buyers WHERE account = %s ORDER BY family, order_id, line_key", (SELLER,))
    known = (
        "buyer_email",
        "buyer_name",
        "buyer_phone",
        "recipient_name",
        "ship_address_1",
        "ship_city",
        "ship_country",
    )
    return {(row.family, row.order_id, row.line_key): [getattr(row, name) for name in known] for row in rows}


def towns(drain):
    return drain.s.db.query("SELECT order_id, line_key, ship_city, ship_postal_code FROM all_order_lines ORDER BY 1, 2")


def products(drain):
    """The titles in every table."""
    tables = ("order_lines", "unshipped_lines", "all_order_lines", "pending_lines", "fba_shipment_lines")
    return {table: {r.product_name for r in drain.s.db.query(f"SELECT product_name FROM {table}")} for table in tables}


def change_and_withhold(drain, api):
    """Everything gets another title, and is told again, later, without its buyers."""
    drain.advance(minutes=16)
    sell(drain, **{"product-name": "Changed"})
    return make(drain, api, withheld=True)


def test_blank_buyers_replace_nobody_and_the_order_follows_the_newest(drain, api):
    """A seller whose approval was withdrawn would else lose, report by report, the addresses that he still ships to."""
    before, where = buyers(drain), towns(drain)
    assert {family for family, *_ in before} == set(NAMED)
    change_and_withhold(drain, api)

    drain.run()

    drain.assert_judged()
    assert buyers(drain) == before
    assert towns(drain) == where
    assert set(map(frozenset, products(drain).values())) == {frozenset({"Changed"})}


def test_the_missing_right_is_told_once_a_report_and_not_once_a_row(drain, api):
    """All Orders and Pending name nobody by design: there nothing is missing."""
    reports = change_and_withhold(drain, api)

    drain.run()

    told = [log for log in drain.logs if "no buyer's data in any row" in log["event"]]
    assert sorted(log["report_id"] for log in told) == sorted(reports[family] for family in NAMED)


def test_a_purged_buyer_comes_back_neither_from_a_newer_report_nor_from_the_archive(drain, api):
    """What is known although it was withheld later is removed on its day all the same."""
    reports = change_and_withhold(drain, api)
    drain.run()
    nobody = "buyer_email = NULL, buyer_name = NULL, buyer_phone = NULL, recipient_name = NULL, ship_address_1 = NULL"
    drain.s.db.query(f"UPDATE buyers SET {nobody}, ship_city = NULL, ship_country = NULL, purged_at = app_now()")
    drain.s.db.query("UPDATE all_order_lines SET ship_city = NULL, ship_postal_code = NULL, purged_at = app_now()")

    drain.s.db.query("UPDATE reports SET state = 'downloaded', next_attempt_at = app_now()")
    drain.advance(minutes=16)
    make(drain, api)
    drain.run()

    assert drain.states(SELLER) == {"acknowledged": 3 * len(reports)}
    assert {known for told in buyers(drain).values() for known in told} == {None}
    assert {value for row in towns(drain) for value in row[2:]} == {None}
