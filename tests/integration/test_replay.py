"""Archived reports parsed again with today's code: what it makes otherwise, and that nothing else is touched."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orderdrain import replaying
from orderdrain.errors import GiveUp
from orderdrain.parsers import cells, flat_file
from orderdrain.reports import ReportKey
from tests.integration.test_every_family import flat_files, some_reports, xml_files
from tests.tables import (
    ALL,
    ALL_XML,
    FBA,
    NEW,
    PENDING,
    UNSHIPPED,
    cell,
    flat,
    new_account,
    parse_all,
    rows,
    tables,
    without_digests,
)

ORDER, ITEM = "111-0000001-0000000", "01234567890123"


def key_of(account, report):
    return ReportKey(account, "mws", str(report.number))


def ledger_row(s, account, report):
    (row,) = s.ledger.find(str(report.number), account)
    return row


def held(s, account):
    """Its tables, but for what a line is known by: a replay reads cell by cell, and leaves no digest."""
    return without_digests(tables(s, account))


def replay_everything(s, account, **told):
    """What `orderdrain replay --account` does; returns what became of each report, and the last sentences."""
    ended = []
    chosen = s.replays.chosen(account, api=None, report_type=None, since=None)
    outcomes = dict(replaying.replay_all(s, chosen, settled=ended.append, **told))
    return outcomes, [end.sentence for end in ended if end.sentence]


@pytest.fixture
def fixed(monkeypatch):
    """`fixed("integer", reader)`: a version whose parser reads that type of cell otherwise, one cell after the other."""

    def fix(kind, reader):
        monkeypatch.setattr(flat_file, "may_be_usual", lambda *_: False)
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
    wrong = held(s, account)
    fixed("integer", right)

    dry = replaying.replay(s, key_of(account, report), dry_run=True)

    assert (dry.difference.new, dry.difference.changed, dry.difference.gone) == (0, 1, 0)
    assert {"what": "changed", "column": "quantity", "old": "20", "new": "2"}.items() <= dry.difference.changes[
        0
    ].items()
    assert held(s, account) == wrong

    done = replaying.replay(s, key_of(account, report))

    assert done.difference == dry.difference
    assert held(s, account) == drained_afresh(s, [report])
    again = replaying.replay(s, key_of(account, report), dry_run=True)
    assert str(again.difference) == "no difference"
    assert again.counts.same == 1


def drained_afresh(s, reports):
    """The tables of an account that was drained with today's code alone."""
    account = new_account(s)
    parse_all(s, account, reports)
    return held(s, account)


def test_what_a_newer_report_told_is_not_touched(s, fixed):
    """The older report is read rightly now, but it is the older one still."""
    account = new_account(s)
    (older, *_), (newer, *_) = one_of_each_family(quantity="2"), one_of_each_family(hour=2, number=11, quantity="3")
    right = cells.READERS["integer"]
    fixed("integer", tenfold)
    parse_all(s, account, [older])
    fixed("integer", right)
    parse_all(s, account, [newer])
    before = held(s, account)

    done = replaying.replay(s, key_of(account, older))

    assert held(s, account) == before
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
    assert held(s, account) == drained_afresh(s, [older, newer])


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
    assert held(s, account) == drained_afresh(s, reports)


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
    assert held(s, account) == drained_afresh(s, [older, newer])


@st.composite
def reports_read_twice(draw):
    """Reports with the bytes that stand for what an old version read in them, and with those that today's does: as
    different as two versions of a parser can be. Columns, lines and whole files come and go."""
    now = draw(some_reports())
    then = [
        replace(
            report, body=draw(xml_files(0) if report.report_type == ALL_XML else flat_files(0, report.report_type)).body
        )
        if draw(st.booleans())
        else report
        for report in now
    ]
    return then, now


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(reports=reports_read_twice(), data=st.data())
def test_after_a_replay_of_all_the_tables_are_those_of_a_fresh_database(s, reports, data):
    """Whatever an old version read, in whatever order, and whatever single replays came before."""
    account, now = account_read_twice(s, reports, data), reports[1]

    outcomes, _ = replay_everything(s, account)

    assert len(outcomes) == len(now)
    # What today's code cannot read any more stays as it was told: nothing of it is lost, and nothing proven.
    if not any("It stays parsed" in str(outcome) for outcome in outcomes.values()):
        assert held(s, account) == drained_afresh(s, now)


def account_read_twice(s, reports, data):
    """An account that an old version read, of which some reports may have been replayed one by one."""
    account, (then, now) = new_account(s), reports
    parse_all(s, account, data.draw(st.permutations(then), label="order"))
    for report in now:
        archive_again(s, account, report)
    for report in data.draw(st.lists(st.sampled_from(now), max_size=2), label="one by one"):
        with suppress(GiveUp):
            replaying.replay(s, key_of(account, report))
    return account


def archive_again(s, account, report):
    """These bytes stand where those of the same report stood."""
    with s.archive.writer(ledger_row(s, account, report).archive_key) as writer:
        writer.write(report.body)
        writer.commit()


def test_a_column_and_a_group_that_no_report_tells_are_taken_away_at_the_end(s):
    """What an old version took for a price, and for a name, was something else."""
    account = new_account(s)
    header = "order-id order-item-id sku quantity-purchased"
    wrong = flat(NEW, 1, f"{header} item-price ioss-number buyer-name", [f"{ORDER} {ITEM} A 1 9.99 IM1 Ann"], hour=1)
    right = flat(NEW, 1, header, [f"{ORDER} {ITEM} A 1"], hour=1)
    parse_all(s, account, [wrong])
    archive_again(s, account, right)

    dry = replaying.replay(s, key_of(account, right), dry_run=True)
    assert dry.difference.columns == {"gone:item_price": 1, "gone:extra.ioss-number": 1}
    replaying.replay(s, key_of(account, right))
    assert rows(s, account, "buyers")[0]["buyer_name"] == "Ann"

    _, sentences = replay_everything(s, account)

    assert sentences == [f"{account}, new_orders: 1 rows held what no report tells: it was taken away"]
    assert held(s, account) == drained_afresh(s, [right])


def test_what_was_purged_does_not_come_back_by_a_replay(s):
    """A buyer's data that was removed on its day is in the archive's bytes still."""
    account = new_account(s)
    new, _, all_orders, *_ = one_of_each_family()
    parse_all(s, account, [new, all_orders])
    s.db.query("UPDATE buyers SET buyer_name = NULL, purged_at = app_now() WHERE account = %s", (account,))
    s.db.query("UPDATE all_order_lines SET ship_city = NULL, purged_at = app_now() WHERE account = %s", (account,))
    archive_again(s, account, replace(all_orders, body=all_orders.body.replace(ITEM.encode(), b"01234567890129")))

    replay_everything(s, account)
    archive_again(s, account, all_orders)
    replay_everything(s, account)

    assert [row["buyer_name"] for row in rows(s, account, "buyers")] == [None]
    assert {row["line_key"]: row["ship_city"] for row in rows(s, account, "all_order_lines")} == {ITEM: None}


def test_whether_a_line_waits_that_is_told_no_more_nobody_knows(s):
    """The picture that showed it is forgotten: true would be a guess."""
    account = new_account(s)
    report = one_of_each_family()[1]
    parse_all(s, account, [report])
    archive_again(s, account, replace(report, body=report.body.replace(ITEM.encode(), b"01234567890129")))

    replaying.replay(s, key_of(account, report))

    waits = {row["order_item_id"]: row["still_unshipped"] for row in rows(s, account, "current_unshipped_lines")}
    assert waits == {ITEM: None, "01234567890129": True}


def test_many_reports_are_replayed_as_one_by_one(s, monkeypatch):
    """Which lines they told is looked for once, or by each: the tables are the same."""
    header = "order-id order-item-id sku quantity-purchased buyer-name"
    then = [flat(NEW, n, header, [f"{ORDER} {ITEM[:-1]}{n % 4} A {n} Ann{n}"], hour=n) for n in range(1, 9)]
    now = [flat(NEW, n, header, [f"{ORDER} {ITEM[:-1]}{n % 3} A {n} Bob{n}"], hour=n) for n in range(1, 9)]
    ended = []
    for looked_ahead_from in (3, 100):
        monkeypatch.setattr(replaying, "LOOK_AHEAD_FROM", looked_ahead_from)
        account = new_account(s)
        parse_all(s, account, then)
        for report in now:
            archive_again(s, account, report)
        replay_everything(s, account)
        ended.append(held(s, account))
    assert ended == [drained_afresh(s, now)] * 2
