"""What Amazon does to whoever drains it, at both APIs alike: slow requests, less quota than documented, moving pages."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta

import pytest


@pytest.fixture
def drain(drain_on):
    return drain_on


def make(drain, api, account="acme", **told):
    return drain.amazon("reports", account=account, api=api.name, **told)["report_ids"]


def ask_for_the_last_day(drain, api):
    """Acme sells what no schedule has told yet, and a report of it is asked for; returns our key."""
    drain.amazon("orders", account="acme", count=3)
    drain.advance(minutes=2)
    now = drain.s.clock.now().replace(microsecond=0)
    window = {"start": now - timedelta(hours=24), "end": now - timedelta(minutes=1)}
    return drain.s.requests.enter("acme", api.name, api.report_type, **window, options={})


def asked(drain, key):
    (row,) = drain.s.db.query("SELECT * FROM report_requests WHERE request_key = %s", (key,))
    return row


def entered(drain):
    """How often each of acme's reports was entered."""
    rows = drain.s.db.query(
        "SELECT report_id, count(*) AS n FROM report_history WHERE account = 'acme' AND event = 'entered' GROUP BY 1"
    )
    return {row.report_id: row.n for row in rows}


def attempts_counted(drain):
    return drain.s.db.query("SELECT event, attempt FROM report_history WHERE event = 'failed' OR attempt > 1")


def at(call):
    return datetime.fromisoformat(call["at"])


# ------------------------------------------------------------------------------------------------------ slow requests


def test_a_slow_request_is_asked_for_once_and_keeps_nobody_waiting(drain, api):
    """Users saw reports take ten hours: two in the queue, six in progress here. Meanwhile it must cost no attempt, no
    second request, and no other account its turn."""
    drain.fault(api.request, "slow_request")
    for account in ("bravo", "cedar", "delta"):
        make(drain, api, account, count=2)
    key = ask_for_the_last_day(drain, api)

    drain.run(until=lambda: sum(drain.states(a).get("acknowledged", 0) for a in ("bravo", "cedar", "delta")) == 6)

    took = drain.s.clock.now() - asked(drain, key).asked_at
    assert took < timedelta(minutes=10), "the others were drained at once"
    drain.pass_time(hours=1)
    assert asked(drain, key).status == "submitted"
    drain.pass_time(hours=6)
    waiting = asked(drain, key)
    assert (waiting.status, waiting.attempts, waiting.stuck_at) == ("in_progress", 0, None)
    drain.pass_time(hours=3)
    done = asked(drain, key)
    assert (done.status, drain.row(done.report_id).state) == ("done", "acknowledged")
    assert len(drain.calls(api.request)) == 1
    drain.assert_judged()


def test_a_request_that_is_stuck_for_a_day_is_told_and_asked_for_once_more(drain, api):
    """Amazon loses requests: a day later a person hears of it, and one more is made, never a third."""
    drain.fault(api.request, "stuck_request")
    key = ask_for_the_last_day(drain, api)

    drain.pass_time(hours=23)
    assert len(drain.calls(api.request)) == 1
    drain.pass_time(hours=30)

    assert len(drain.s.requests.story(key)) == 2
    stuck, again = asked(drain, key), asked(drain, f"{key}-again")
    assert (stuck.asked_again_as, stuck.status) == (again.request_key, "in_progress")
    assert (again.status, drain.row(again.report_id).state) == ("done", "acknowledged")
    assert [log["request_key"] for log in drain.logs if "stuck" in log["event"]] == [key]
    drain.assert_judged()


def test_killed_while_it_waits_and_redis_flushed_the_same_request_goes_on(drain, api):
    """The wish is a row in Postgres: what a killed worker and an empty Redis forget was never needed."""
    drain.fault(api.request, "slow_request")
    make(drain, api, "bravo", count=2)
    key = ask_for_the_last_day(drain, api)
    drain.pass_time(hours=3)
    before = asked(drain, key)

    drain.restart(flush=True)
    drain.pass_time(hours=7)

    after = asked(drain, key)
    assert after.amazon_request_id == before.amazon_request_id
    assert (after.status, drain.row(after.report_id).state) == ("done", "acknowledged")
    assert len(drain.calls(api.request)) == 1
    drain.assert_judged()


# -------------------------------------------------------------------------------------------- less than is documented


def test_a_third_of_the_documented_quota_is_learned_from_few_refusals(drain, api):
    """One document in three minutes, not one in one. Each refused call is one that Amazon counts against us, and a
    fleet that goes on at its old pace has two of three refused, for ever."""
    hour = {"hourly": 60} if api.name == "mws" else {}
    drain.amazon("quota", account="acme", operation=api.document, max=1, restore_seconds=180, **hour)
    drain.s.db.query("UPDATE accounts SET list_every = interval '1 hour'")
    for account in ("acme", "bravo"):
        make(drain, api, account, count=40)

    drain.run()

    slow = drain.calls(api.document, account="acme")
    refused = [number for number, call in enumerate(slow) if call["code"] == api.throttled]
    assert len(refused) < len(slow) / 10
    assert sum(number >= 20 for number in refused) <= sum(number < 20 for number in refused), "falling"
    apart = [at(slow[b]) - at(slow[a]) for a, b in itertools.pairwise(refused)]
    assert all(span >= timedelta(seconds=59) for span in apart), "no two workers find it out one by one"
    normal = drain.calls(api.document, account="bravo")
    assert at(normal[-1]) - at(normal[0]) < timedelta(minutes=41), "one a minute, as documented"
    assert attempts_counted(drain) == []
    assert drain.states() == {"acknowledged": 80}
    # At SP-API two calls come before it: they are not made in vain for those that wait.
    assert len(drain.calls("getReport")) <= len(drain.calls("getReportDocument"))
    drain.assert_judged(refused=len(refused))


# ------------------------------------------------------------------------------------------------------ moving pages


def test_a_listing_under_change_enters_each_report_once_and_misses_none(drain, api):
    """230 reports on three pages; between two pages one arrives and, where that is known, one is acknowledged by
    another; entries come twice, a page is empty, a token is lost: what Amazon does to a pager, all in one listing."""
    made = make(drain, api, count=230)
    drain.fault(api.listing, "duplicate_listing", account="acme")
    drain.run(until=lambda: any("listing waits" in sentence for sentence in drain.sentences("list")))
    first = len(entered(drain))
    assert first in {100, 199}, "as many pages as quota gave, one entry twice"

    made += make(drain, api)
    if api.name == "mws":
        drain.amazon("acknowledge", account="acme", report_ids=[max(made[:230])])
    drain.fault(api.next_page, "token_corrupted", account="acme")
    drain.run(until=lambda: any(call["code"] == api.token_lost for call in pages(drain, api)))
    drain.fault(api.next_page, "empty_page", account="acme")
    drain.run(stride_minutes=14)

    assert entered(drain) == dict.fromkeys(made, 1)
    (lost,) = [call for call in pages(drain, api) if call["code"] == api.token_lost]
    assert [call["token_used"] for call in pages(drain, api)].count(lost["token_used"]) == 1
    (empty,) = [call for call in pages(drain, api) if call["fault"] == "empty_page"]
    assert (empty["report_ids"], empty["next_token"]) == ([], True)
    drain.run_message("list", {"account": "acme", "full": True})
    drain.run()
    assert entered(drain) == dict.fromkeys(made, 1)
    drain.assert_judged()


def pages(drain, api):
    return drain.calls(api.next_page, account="acme")
