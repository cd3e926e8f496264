"""Several reports parsed again: a dry run tells what the real run then makes, of each and of all."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orderdrain import replaying
from orderdrain.parsers import cells
from tests.integration.test_replay import (
    account_read_twice,
    archive_again,
    fixed,
    ledger_row,
    reports_read_twice,
)
from tests.tables import ALL, NEW, cell, flat, new_account, parse_all, rows, tables

__all__ = ["fixed"]

ORDER, ITEM = "111-0000001-0000000", "01234567890123"
HEADER = "amazon-order-id purchase-date last-updated-date order-status sku quantity ship-city"


def all_orders(number, *lines):
    """Report `number` of All Orders: (sku, quantity, the hour of its update)."""
    told = [f"{ORDER} {cell(0)} {cell(hour)} Shipped {sku} {quantity} Köln" for sku, quantity, hour in lines]
    return flat(ALL, number, HEADER, told, hour=number)


def run_of(s, account, *, dry_run):
    """What became of each report, by its key, and how each family ended."""
    ended = []
    chosen = s.replays.chosen(account, api=None, report_type=None, since=None)
    outcomes = dict(replaying.replay_all(s, chosen, dry_run=dry_run, limit=1000, settled=ended.append))
    told = {
        key: str(outcome) if isinstance(outcome, Exception) else (outcome.counts, outcome.difference, outcome.state)
        for key, outcome in outcomes.items()
    }
    return told, {end.family: end for end in ended}


@pytest.fixture
def fallen_back(s, fixed):
    """An account whose newer report tells 77 of B, which today's code refuses, and whose older one tells 9."""
    account = new_account(s)
    parse_all(s, account, [all_orders(3, ("A", 1, 1), ("B", 77, 1)), all_orders(2, ("B", 9, 0.5))])
    right = cells.READERS["integer"]

    def refuses(cell_, style):
        if cell_ == "77":
            raise cells.Unreadable("is not for today")
        return right(cell_, style)

    fixed("integer", refuses)
    return account


def quantities(s, account):
    return {row["sku"]: row["quantity"] for row in rows(s, account, "all_order_lines")}


@pytest.mark.parametrize("dry_run", [True, False], ids=["for show", "for real"])
def test_what_one_report_withdraws_and_the_next_one_tells_is_one_change(s, fallen_back, dry_run):
    """B goes from 77 to 9: that is what whoever looks at a fix must see, for show as for real."""
    _, ended = run_of(s, fallen_back, dry_run=dry_run)

    whole = ended["all_orders"].difference
    (quantity,) = (change for change in whole.changes if change["column"] == "quantity")
    assert (whole.new, whole.changed, whole.gone) == (0, 1, 0)
    assert (quantity["what"], quantity["old"], quantity["new"]) == ("changed", "77", "9")
    assert quantities(s, fallen_back) == {"A": 1, "B": 77 if dry_run else 9}


def test_a_dry_run_tells_what_is_taken_away_at_the_end(s):
    """A line and a price that no report tells: which they are is seen before they are gone."""
    account = new_account(s)
    header = "order-id order-item-id sku quantity-purchased"
    then = [
        flat(NEW, 1, f"{header} item-price buyer-name", [f"{ORDER} {ITEM} A 1 9.99 Ann"], hour=1),
        flat(NEW, 2, header, [f"{ORDER} {ITEM[:-1]}9 B 2"], hour=2),
    ]
    parse_all(s, account, then)
    archive_again(s, account, flat(NEW, 1, header, [f"{ORDER} {ITEM} A 1"], hour=1))
    archive_again(s, account, flat(NEW, 2, header, [], hour=2))
    before = tables(s, account)

    told, ended = run_of(s, account, dry_run=True)

    end = ended["new_orders"]
    assert end.sentence == f"{account}, new_orders: 2 rows held what no report tells: it would be taken away"
    assert [(c["what"], c["column"], c["old"], c["new"]) for c in end.difference.changes] == [
        ("changed", "item_price", "9.99", None),
        ("gone", None, None, None),
    ]
    assert end.difference.buyers == {"contact": 1}
    assert "Ann" not in f"{told} {end} {end.difference}"
    assert tables(s, account) == before


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(reports=reports_read_twice(), data=st.data())
def test_a_dry_run_tells_what_the_real_run_makes(s, reports, data):
    """Whatever an old version read: of each report, of each family, and in every sentence at the end."""
    account = account_read_twice(s, reports, data)
    before = tables(s, account)

    dry, would_end = run_of(s, account, dry_run=True)
    unchanged = tables(s, account) == before
    real, ended = run_of(s, account, dry_run=False)

    assert unchanged
    assert dry == real
    assert {name: end.difference for name, end in would_end.items()} == {n: end.difference for n, end in ended.items()}
    assert [end.sentence.replace("would be", "was") for end in would_end.values()] == [
        end.sentence for end in ended.values()
    ]
    again, _ = run_of(s, account, dry_run=True)
    assert all(isinstance(told, str) or str(told[1]) == "no difference" for told in again.values())


def test_a_dry_run_holds_the_accounts_lock_and_no_row_of_a_report(s, fallen_back):
    """A parse of the account waits, since it may change what is shown; an acknowledgement need not."""
    chosen = s.replays.chosen(fallen_back, api=None, report_type=None, since=None)
    free = "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))"
    running = replaying.replay_all(s, chosen, dry_run=True)
    next(running)

    assert s.db.query(free, (fallen_back,)) == [(False,)]
    # As an UPDATE locks it.
    assert len(s.db.query("SELECT 1 FROM reports WHERE account = %s FOR NO KEY UPDATE NOWAIT", (fallen_back,))) == 2
    assert s.db.query("SELECT * FROM replays WHERE account = %s", (fallen_back,)) == []
    running.close()
    assert s.db.query(free, (fallen_back,)) == [(True,)]


def test_in_a_dry_run_a_report_that_cannot_be_read_costs_no_other(s, fallen_back):
    """It keeps its rows, as in the real run, and the transaction goes on."""
    archive_again(s, fallen_back, all_orders(3, ("B", 77, 1)))

    dry, would_end = run_of(s, fallen_back, dry_run=True)
    real, ended = run_of(s, fallen_back, dry_run=False)

    assert dry == real
    assert [isinstance(told, str) for told in dry.values()] == [True, False]
    assert str(would_end["all_orders"]).endswith("would replay 1 reports; in all no difference")
    assert ended["all_orders"].difference == would_end["all_orders"].difference
    assert ledger_row(s, fallen_back, all_orders(3)).state == "parsed"


def test_the_command_prints_the_whole_of_several(run, fallen_back):
    """Each report first, then what all of them do."""
    done = run("replay", "--account", fallen_back, "--dry-run")
    end = f"{fallen_back}, all_orders: would replay 2 reports; in all 1 changed"

    assert end in done.stdout
    assert f"\tchanged\t{ORDER}/B#1\tquantity\t77\t9" in done.stdout.partition(end)[2].splitlines()

    (family,) = json.loads(run("replay", "--account", fallen_back, "--yes", "--json").stdout)["families"]
    assert (family["family"], family["reports"], family["difference"]["changed"]) == ("all_orders", 2, 1)
