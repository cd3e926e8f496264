"""A listing reads pages of something that changes meanwhile: each report is entered once, and none is missed."""

from __future__ import annotations

import itertools
import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.building import at_once


def entered(drain, account="acme"):
    rows = drain.s.db.query(
        "SELECT report_id, count(*) AS n FROM report_history WHERE account = %s AND event = 'entered' GROUP BY 1",
        (account,),
    )
    return {row.report_id: row.n for row in rows}


def test_what_another_program_has_acknowledged_is_found_by_the_daily_full_listing(drain):
    """It is hidden from the filtered listing: only the daily one without the filter can find it."""
    drain.run_message("list", {"account": "acme"})
    made = drain.amazon("reports", account="acme", count=3)["report_ids"]
    drain.amazon("acknowledge", account="acme", report_ids=made[:2])
    drain.s.db.query("UPDATE connections SET next_full_list_at = app_now() + interval '20 hours'")

    drain.run()
    assert entered(drain).keys() == {made[2]}
    drain.pass_time(hours=25)

    assert entered(drain) == dict.fromkeys(made, 1)
    drain.assert_judged()


def test_a_full_listing_comes_once_a_day(drain):
    """It reads far back: more often, its pages would use up the quota of the listings that matter."""
    drain.pass_time(hours=72, every_minutes=120)

    full = [sentence for sentence in drain.sentences("list") if "acme (all)" in sentence]
    assert 3 <= len(full) <= 4


def test_a_report_of_a_type_that_is_not_declared_is_never_entered(drain):
    """Other programs' reports are none of our business: acknowledging them would hide them from their owners."""
    drain.amazon("reports", account="acme", report_type="_GET_MERCHANT_LISTINGS_DATA_", body_base64="")
    drain.amazon("reports", account="acme")

    drain.run()
    drain.run_message("list", {"account": "acme", "full": True})

    assert len(entered(drain)) == 1


def test_two_beats_at_once_list_each_account_once(drain):
    """A second beat happens at each deployment: it must find nothing due that the first has taken."""
    taken = at_once(drain.s.accounts.due_to_list, drain.s.accounts.due_to_list, drain.s.accounts.due_to_list)

    assert sorted(itertools.chain.from_iterable(taken)) == ["acme", "bravo", "cedar"]


def test_two_workers_told_to_list_one_account_list_it_once(drain):
    """A doubled message must not make two pagers of one account: its acknowledgements would wait for both."""
    drain.amazon("reports", account="acme", count=3)

    at_once(*[lambda: drain.run_message("list", {"account": "acme"})] * 3)

    assert len(drain.calls("GetReportList")) == 1
    assert entered(drain).keys() == {ids["report_id"] for step, ids in drain.messages if step == "download"}


@pytest.mark.parametrize("night", [datetime(2027, 3, 27, 23, tzinfo=UTC), datetime(2027, 10, 30, 23, tzinfo=UTC)])
def test_no_hour_is_skipped_or_doubled_when_the_clocks_change(drain, monkeypatch, night):
    """Host and database think in Berlin's time: an hour skipped is an hour late, an hour doubled is quota spent twice."""
    drain.s.db.query("ALTER DATABASE " + drain.database_url.rpartition("/")[2] + " SET timezone = 'Europe/Berlin'")
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    drain.advance(seconds=(night - drain.s.clock.now()).total_seconds())
    drain.restart()
    drain.run()
    before = len(drain.calls("GetReportList", account="acme"))

    drain.pass_time(hours=4, every_minutes=5)
    monkeypatch.undo()
    time.tzset()

    began = [datetime.fromisoformat(call["at"]) for call in drain.calls("GetReportList", account="acme")[before:]]
    assert 23 <= len(began) <= 25, "every ten minutes"
    assert all(timedelta(minutes=4) < b - a < timedelta(minutes=16) for a, b in itertools.pairwise(began))


def test_after_three_hours_without_beat_one_listing_catches_up(drain):
    """The missed ticks are not made up for one by one: a listing finds all that has gathered."""
    drain.run()
    before = len(drain.calls("GetReportList", account="acme"))
    drain.advance(hours=3)
    drain.amazon("reports", account="acme", count=4)

    drain.run()

    assert len(drain.calls("GetReportList", account="acme")) - before <= 2
    assert drain.states("acme") == {"acknowledged": 4}
    drain.assert_judged()
