"""Sellers of every family are drained whole, by the emulator's own record; and the judge who says so sees what is wrong."""

from __future__ import annotations

import pytest

from tests.drain import draining_quiet_sellers
from tests.every_family import SELLER, declare, make, sell
from workers.judge import compare
from workers.judge_columns import FAMILIES

SOLD = {"sellers": 6, "families": "all", "backlog": 12, "orders_per_minute": 0.1}


@pytest.mark.parametrize("sp_api_sellers", ["", "acme,bravo,cedar,delta,ember,fjord"])
def test_sellers_of_every_family_are_drained_to_the_last_line(database_url, redis_url, tmp_path, sp_api_sellers):
    """Six marketplaces, flat files and XML, in each one's charset: all that waited at the start."""
    with draining_quiet_sellers(database_url, redis_url, tmp_path, sp_api_sellers=sp_api_sellers, **SOLD) as drain:
        drain.amazon("stop-selling")
        drain.run(stride_minutes=20)

        drain.assert_judged()
        truth = drain.emulator.get("/_emulator/truth")
        types = {report["report_type"] for report in truth["told_reports"] if report["family"]}
        assert len(types) >= 9, types
        assert all(truth["families"][family] for family in FAMILIES), {f: len(truth["families"][f]) for f in FAMILIES}
        assert {line["waits"] for line in truth["families"]["unshipped"]} == {True, False}
        charsets = {row.encoding for row in drain.s.db.query("SELECT DISTINCT encoding FROM reports")}
        assert {"cp1252", "cp932", "utf-8"} <= charsets


@pytest.fixture
def drained(database_url, redis_url, tmp_path):
    """A seller of Japan, whose report of each family is in its table."""
    with draining_quiet_sellers(database_url, redis_url, tmp_path) as drain:
        declare(drain)
        sell(drain)
        make(drain, "mws")
        drain.run()
        drain.assert_judged()
        yield drain


def found(drain):
    return compare(drain.emulator.url, drain.database_url)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_judge_sees_a_line_of_any_family_that_is_lost_doubled_or_wrong(drained, family):
    """Who compares nothing finds nothing: every family's table must be looked at, cell by cell."""
    table = FAMILIES[family].table.removeprefix("current_")
    key = FAMILIES[family].key[-1]
    drained.s.db.query(f"UPDATE {table} SET product_name = 'Something else' WHERE account = %s", (SELLER,))
    assert {line["family"] for line in found(drained).wrong} == {family}

    drained.s.db.query(f"UPDATE {table} SET {key} = 'nobody ' || {key} WHERE account = %s", (SELLER,))

    seen = found(drained)
    assert {line["family"] for line in seen.lost} == {family}
    assert {key[1] for key in seen.doubled} == {family}


@pytest.mark.parametrize("family", [name for name, family in FAMILIES.items() if family.buyer])
def test_the_judge_sees_another_buyer_in_any_family(drained, family):
    """Buyers stand apart from the lines."""
    drained.s.db.query("UPDATE buyers SET recipient_name = 'Somebody else' WHERE family = %s", (family,))

    assert {line["family"] for line in found(drained).wrong} == {family}


def test_the_judge_sees_that_an_order_is_said_to_wait_no_longer(drained):
    """A line that was never told otherwise, and a picture that nobody took."""
    drained.s.db.query(
        "INSERT INTO snapshots (account, scope, as_of, report_id, taken_at, lines, rejected)"
        " SELECT account, scope, as_of + interval '1 s', '99999999999999999', taken_at + interval '1 s', 0, 0 FROM snapshots"
    )

    assert {line["family"] for line in found(drained).wrong} == {"unshipped"}
