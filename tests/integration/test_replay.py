"""Archived reports parsed again with today's code: what it makes otherwise, and that nothing else is touched."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orderdrain import replaying
from orderdrain.errors import GiveUp
from orderdrain.parsers import cells
from orderdrain.reports import ReportKey
from tests.integration.test_every_family import some_reports
from tests.tables import ALL, FBA, NEW, PENDING, UNSHIPPED, cell, flat, new_account, parse_all, rows, tables

ORDER, ITEM = "111-0000001-0000000", "01234567890123"


def key_of(account, report):
    return ReportKey(account, "mws", str(report.number))


def ledger_row(s, account, report):
    (row,) = s.ledger.find(str(report.number), account)
    return row


def replay_everything(s, account, **told):
    """What `orderdrain replay --account` does; returns what became of each report, and the last sentences."""
    sentences = []
    chosen = s.replays.chosen(account, api=None, report_type=None, since=None)
    outcomes = dict(replaying.replay_all(s, chosen, settled=sentences.append, **told))
    return outcomes, [sentence for sentence in sentences if sentence]


@pytest.fixture
def fixed(monkeypatch):
    """`fixed("integer", reader)`: a version whose parser reads that type of cell otherwise."""

    def fix(kind, reader):
        monkeypatch.setitem(cells.READERS, kind, reader)

    return fix


def tenfold(cell_, style):
    """What a parser says that reads quantities wrongly."""
    return f"{cell_}0"


def one_of_each_family(*, hour=1, number=1, quantity="2"):
    """A report of each family that tells one line with that quantity."""
    line = f"{ORDER} {ITEM} SKU-1 {quantity}"
    return [
        flat(NEW, number, "order-id order-item-id sku quantity-purchased buyer-name", [f"{line} Ann"], hour=hour),
        flat(
            UNSHIPPED,
            number + 1,
            "order-id order-item-id sku quantity-purchased quantity-to-ship",
            [f"{line} 1"],
            hour=hour,
        ),
        flat(
            ALL,
            number + 2,
            "amazon-order-id order-item-id sku quantity purchase-date order-status ship-city",
            [f"{line} {cell(0)} Shipped Köln"],
            hour=hour,
        ),
        flat(PENDING, number + 3, "order-id order-item-id sku quantity-purchased", [line], hour=hour),
        flat(
            FBA,
            number + 4,
            "amazon-order-id shipment-item-id sku quantity-shipped shipment-id",
            [f"{line} S1"],
            hour=hour,
        ),
    ]


# -------------------------------------------------------------------------------------------- what a parser's fix does


@pytest.mark.parametrize("place", range(5), ids=["new orders", "unshipped", "all orders", "pending", "fba shipments"])
def test_a_fixed_parser_is_shown_by_a_dry_run_and_then_replaces_what_the_wrong_one_told(s, fixed, place):
    """The version of the rows is the same: by newest wins alone a corrected value would never get in."""
    account, report = new_account(s), one_of_each_family()[place]
    right = cells.READERS["integer"]
    fixed("integer", tenfold)
    parse_all(s, account, [report])
    wrong = tables(s, account)
    fixed("integer", right)

    dry = replaying.replay(s, key_of(account, report), dry_run=True)

    assert (dry.difference.new, dry.difference.changed, dry.difference.gone) == (0, 1, 0)
    assert {"what": "changed", "column": "quantity", "old": "20", "new": "2"}.items() <= dry.difference.changes[
        0
    ].items()
    assert tables(s, account) == wrong

    done = replaying.replay(s, key_of(account, report))

    assert done.difference == dry.difference
    assert tables(s, account) == drained_afresh(s, [report])
    again = replaying.replay(s, key_of(account, report), dry_run=True)
    assert str(again.difference) == "no difference"
    assert again.counts.same == 1


def drained_afresh(s, reports):
    """The tables of an account that was drained with today's code alone."""
    account = new_account(s)
    parse_all(s, account, reports)
    return tables(s, account)


def test_what_a_newer_report_told_is_not_touched(s, fixed):
    """The older report is read rightly now, but it is the older one still."""
    account = new_account(s)
    (older, *_), (newer, *_) = one_of_each_family(quantity="2"), one_of_each_family(hour=2, number=11, quantity="3")
    right = cells.READERS["integer"]
    fixed("integer", tenfold)
    parse_all(s, account, [older])
    fixed("integer", right)
    parse_all(s, account, [newer])
    before = tables(s, account)

    done = replaying.replay(s, key_of(account, older))

    assert tables(s, account) == before
    assert (str(done.difference), done.counts.older) == ("no difference", 1)


def test_a_column_that_only_this_report_told_is_replaced_under_a_newer_one_that_lacks_it(s, fixed):
    """The newest report has no prices: those of the older one stand in the row, and are its own to correct."""
    account = new_account(s)
    header = "order-id order-item-id sku quantity-purchased"
    older = flat(NEW, 1, f"{header} number-of-items", [f"{ORDER} {ITEM} A 1 4"], hour=1)
    newer = flat(NEW, 2, header, [f"{ORDER} {ITEM} A 1"], hour=2)
    right = cells.READERS["integer"]
    fixed("integer", tenfold)
    parse_all(s, account, [older])
    fixed("integer", right)
    parse_all(s, account, [newer])

    done = replaying.replay(s, key_of(account, older))

    assert [(c["column"], c["old"], c["new"]) for c in done.difference.changes] == [("number_of_items", "40", "4")]
    assert tables(s, account) == drained_afresh(s, [older, newer])


def test_buyers_are_replaced_too_and_only_counted(s, fixed):
    """A name that was read wrongly is a wrong name on a parcel; that it changed may be told, what it is may not."""
    account, (report, *_) = new_account(s), one_of_each_family()
    right = cells.READERS["text"]
    fixed("text", lambda cell_, _style: f"{cell_}?")
    parse_all(s, account, [report])
    fixed("text", right)

    done = replaying.replay(s, key_of(account, report))

    assert done.difference.buyers == {"contact": 1}
    assert "Ann" not in f"{done} {done.difference}"
    assert rows(s, account, "buyers")[0]["buyer_name"] == "Ann"


def test_rows_that_were_rejected_are_stored_and_no_longer_rejected(s, fixed):
    """The commonest fix of all: a cell that was refused is read."""
    account = new_account(s)
    report = flat(
        NEW,
        1,
        "order-id order-item-id sku quantity-purchased",
        [f"{ORDER} {ITEM} A two", f"{ORDER} {ITEM[:-1]}4 A 1"],
        hour=1,
    )
    parse_all(s, account, [report])
    assert len(rows(s, account, "rejected_rows")) == 1
    right = cells.READERS["integer"]
    fixed("integer", lambda cell_, style: "2" if cell_ == "two" else right(cell_, style))

    done = replaying.replay(s, key_of(account, report))

    assert (done.difference.new, done.rejected_before, done.counts.rejected) == (1, 1, 0)
    assert rows(s, account, "rejected_rows") == []
    assert ledger_row(s, account, report).rows_rejected == 0


# ---------------------------------------------------------------------------------------- what is told no more


def test_a_line_that_is_told_no_more_stays_until_every_report_of_its_family_was_replayed(s, fixed):
    """An older report may have told it too, and its words were written over: taken away at once, an order were lost."""
    account = new_account(s)
    header = "order-id order-item-id sku quantity-purchased"
    reports = [flat(NEW, n, header, [f"{ORDER} {ITEM} A {quantity}"], hour=n) for n, quantity in ((1, "1"), (2, "2"))]
    reports.append(flat(NEW, 3, header, [f"{ORDER} {ITEM[:-1]}9 A 2", f"{ORDER} {ITEM} A 1"], hour=3))
    parse_all(s, account, reports)
    right = cells.READERS["integer"]

    def refuses_two(cell_, style):
        if cell_ == "2":
            raise cells.Unreadable("is not for today")
        return right(cell_, style)

    fixed("integer", refuses_two)
    alone = replaying.replay(s, key_of(account, reports[2]))
    assert (alone.difference.gone, alone.difference.open) == (1, 1)
    assert len(rows(s, account, "order_lines")) == 2

    outcomes, sentences = replay_everything(s, account)

    assert isinstance(outcomes[key_of(account, reports[1])], GiveUp)
    assert ["1 lines are told no more" in sentence for sentence in sentences] == [True]
    assert len(rows(s, account, "order_lines")) == 2


def test_what_no_report_tells_is_taken_away_at_the_end_of_a_replay_of_all(s, fixed):
    """A number that was read into an id made lines that are none: they must not be counted for ever."""
    account = new_account(s)
    reports = one_of_each_family() + one_of_each_family(hour=2, number=11, quantity="3")
    right = cells.READERS["id"]
    fixed("id", lambda cell_, style: right(cell_, style) + ("X" if cell_ == ITEM else ""))
    parse_all(s, account, reports)
    fixed("id", right)

    outcomes, sentences = replay_everything(s, account)

    # All but FBA shipments: a parcel's own id is read as a code.
    assert sum(outcome.difference.gone for outcome in outcomes.values()) == 4
    assert len(sentences) == 4
    assert tables(s, account) == drained_afresh(s, reports)


def test_an_older_report_comes_to_its_word_again_where_a_newer_one_told_what_it_does_not(s, fixed):
    """What the newer one had written over is in the older one's bytes."""
    account = new_account(s)
    header = "order-id order-item-id sku quantity-purchased"
    older = flat(NEW, 1, header, [f"{ORDER} {ITEM} OLD 1"], hour=1)
    newer = flat(NEW, 2, header, [f"{ORDER} {ITEM[:-1]}9 NEW 2"], hour=2)
    right = cells.READERS["id"]
    fixed("id", lambda cell_, style: right(cell_.replace("9", "3"), style))
    parse_all(s, account, [older, newer])
    assert [row["sku"] for row in rows(s, account, "order_lines")] == ["NEW"]
    fixed("id", right)

    replay_everything(s, account)

    assert [row["sku"] for row in rows(s, account, "order_lines")] == ["OLD", "NEW"]
    assert tables(s, account) == drained_afresh(s, [older, newer])


#: Versions of the parser: each reads one type of cell otherwise, or refuses some.
OTHERWISE = {
    "integer": lambda cell_, right, style: "7" if cell_ == "z" else right(cell_, style),
    "money": lambda cell_, right, style: right(cell_, style) and "9.99",
    "text": lambda cell_, right, style: None if cell_ == "x" else right(cell_, style),
    "id": lambda cell_, right, style: right(cell_.replace("24", "23"), style),
    "timestamp": lambda cell_, right, style: right(cell_.replace("T01", "T05"), style),
}


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(reports=some_reports(), kinds=st.sets(st.sampled_from(sorted(OTHERWISE)), min_size=1), data=st.data())
def test_after_a_replay_of_all_the_tables_are_those_of_a_fresh_database(s, reports, kinds, data):
    """Whatever the old version read wrongly, in whatever order, and whatever single replays came before."""
    account = new_account(s)
    readers = dict(cells.READERS)
    try:
        for kind in kinds:
            cells.READERS[kind] = lambda cell_, style, kind=kind: OTHERWISE[kind](cell_, readers[kind], style)
        parse_all(s, account, data.draw(st.permutations(reports), label="order"))
    finally:
        cells.READERS.update(readers)
    for report in data.draw(st.lists(st.sampled_from(reports), max_size=2), label="one by one"):
        with suppress(GiveUp):
            replaying.replay(s, key_of(account, report))

    outcomes, _ = replay_everything(s, account)

    # What today's code cannot read any more stays as it was told: nothing of it is lost, and nothing proven.
    if not any("It stays parsed" in str(outcome) for outcome in outcomes.values()):
        assert tables(s, account) == drained_afresh(s, reports)
