"""Reports that end CANCELLED or FATAL: what is missed is asked for again, so often and no more, and what stays missing is
told. Amazon's record judges that no request goes round in circles."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from orderdrain.policy import FATAL_ASKED_AGAIN
from tests.building import ORDERS
from tests.drain import draining_quiet_sellers

SHIPPING = "GET_FLAT_FILE_ORDER_REPORT_DATA_SHIPPING"
#: Reports with given bytes, of a line each.
GIVEN = 5
#: Who sells at which API, which type is asked for, and by which call.
SP_API, MWS = ("acme", "sp-api", SHIPPING, "createReport"), ("bravo", "mws", ORDERS, "RequestReport")
BOTH = pytest.mark.parametrize("who", [SP_API, MWS], ids=lambda who: who[1])


@pytest.fixture
def drain(database_url, redis_url, tmp_path):
    """Acme sells at SP-API, by a schedule of 15 minutes, and bravo at MWS."""
    with draining_quiet_sellers(database_url, redis_url, tmp_path, sellers=2, sp_api_sellers="acme") as running:
        yield running


def sold_all_day(drain, account="acme", api="sp-api"):
    """The reports of the last 30 hours, none of them empty, are drained; and the other seller has sold something."""
    now = drain.s.clock.now()
    for hours in (30, 24, 16, 8, 2):
        body = f"order-id\torder-item-id\tsku\tquantity-purchased\n111-0000001-00000{hours:02}\t1\tTEAPOT\t1\n"
        told = {"body_base64": base64.b64encode(body.encode()).decode(), "content_type": "text/plain"}
        moment = (now - timedelta(hours=hours)).isoformat()
        drain.amazon("reports", account=account, api=api, available_at=moment, **told)
    other, others_api = ("bravo", "mws") if account == "acme" else ("acme", "sp-api")
    drain.amazon("reports", account=other, api=others_api)
    drain.run()
    assert drain.states(account) == {"acknowledged": GIVEN}


def sell_and_wait(drain, *, times=1, account="acme"):
    """Something is sold, and its quarter of an hour passes."""
    for _ in range(times):
        drain.advance(seconds=2)
        drain.amazon("orders", account=account)
        drain.pass_time(hours=0.25, every_minutes=5)


def requests(drain, account="acme"):
    """All that was asked for or came to nothing, oldest first."""
    return sorted(drain.s.requests.table(account), key=lambda row: (row.asked_at, row.again))


def told(drain, event):
    return [log for log in drain.logs if log["event"] == event]


def asked_at(drain, operation="createReport", account="acme"):
    return [datetime.fromisoformat(call["at"]) for call in drain.calls(operation, account=account)]


def ask(drain, who, *, hours=1):
    """A report of the last hours is asked for; returns its key."""
    account, api, report_type, _ = who
    end = drain.s.clock.now().replace(microsecond=0) - timedelta(minutes=1)
    start = end - timedelta(hours=hours)
    return drain.s.requests.enter(account, api, report_type, start=start, end=end, options={})


# ------------------------------------------------------------------------------------------------------- CANCELLED


def test_a_scheduled_report_that_was_never_empty_before_is_asked_for_once_more(drain):
    """CANCELLED may say that Amazon was asked too often: what was sold then is in no later scheduled report."""
    sold_all_day(drain)
    drain.fault("schedule", "cancelled")
    sell_and_wait(drain)
    assert drain.calls("createReport") == []

    sell_and_wait(drain, times=8)

    cancelled, again = requests(drain)
    assert (cancelled.status, cancelled.scheduled, again.status) == ("cancelled", True, "done")
    assert (again.window_start, again.window_end) == (cancelled.window_start, cancelled.window_end)
    (once,) = asked_at(drain)
    assert once - cancelled.ended_at >= timedelta(hours=1)
    assert drain.row(again.report_id).state == "acknowledged"
    assert drain.s.requests.gaps() == []
    drain.assert_judged(given=GIVEN)


def test_a_night_of_cancelled_reports_is_had_in_the_end_each_asked_for_once(drain):
    """The first is asked for alone; once it turns out that it was not empty, the others are."""
    sold_all_day(drain)
    drain.fault("schedule", "cancelled", count=8)
    sell_and_wait(drain, times=4)
    assert len(requests(drain)) == 2

    sell_and_wait(drain, times=4 + 18)

    assert len(drain.calls("createReport")) == 8
    assert {row.status for row in requests(drain) if row.again} == {"done"}
    assert drain.s.requests.gaps() == []
    drain.assert_judged(given=GIVEN)


def test_a_shop_that_falls_silent_is_asked_about_once_a_week(drain):
    """A hundred empty windows a day are no error, and must not become a hundred requests."""
    sold_all_day(drain)

    drain.pass_time(hours=24 * 6, every_minutes=240)
    assert len(drain.calls("createReport")) == 1
    (gap,) = drain.s.requests.gaps()
    assert (gap.account, gap.status, gap.reason) == ("acme", "cancelled", "told twice: no orders, or cancelled")
    assert [log["report_type"] for log in told(drain, "no orders told, twice")] == [SHIPPING]

    drain.pass_time(hours=24 * 8, every_minutes=240)
    assert len(drain.calls("createReport")) <= 2
    assert drain.states("acme") == {"acknowledged": GIVEN}
    drain.assert_judged(given=GIVEN)


def test_the_emptiness_of_a_shop_with_quiet_hours_is_no_news(drain):
    """An empty window in the week before says that the shop has such hours."""
    sold_all_day(drain)
    drain.pass_time(hours=4)
    assert len(drain.calls("createReport")) == 1
    sell_and_wait(drain, times=3)

    drain.pass_time(hours=24)

    assert len(drain.calls("createReport")) == 1
    drain.assert_judged(given=GIVEN)


@BOTH
def test_a_request_that_is_cancelled_though_there_were_orders_is_asked_for_once_more(drain, who):
    """No field tells whether there was no data, somebody cancelled it, or it was asked for too often."""
    account, api, _, operation = who
    sold_all_day(drain, account, api)
    drain.fault(operation, "cancelled", count=9)
    key = ask(drain, who)

    sell_and_wait(drain, account=account, times=12)
    drain.pass_time(hours=0.1, every_minutes=2)

    first, again = requests(drain, account)
    assert (first.request_key, first.status, again.status) == (key, "cancelled", "cancelled")
    assert (first.asked_again_as, again.asked_again_as) == (again.request_key, None)
    assert len(drain.calls(operation)) == 2
    (gap,) = drain.s.requests.gaps()
    assert (gap.window_start, gap.window_end) == (first.window_start, first.window_end)
    assert drain.states(account) == {"acknowledged": GIVEN + 12}
    drain.assert_judged(given=GIVEN)


def test_a_request_that_is_cancelled_where_nothing_says_otherwise_has_ended(drain):
    """There was never a report: that there are no orders is no surprise."""
    drain.amazon("reports", account="bravo")
    ask(drain, SP_API)

    drain.pass_time(hours=30)

    (asked,) = requests(drain)
    assert (asked.status, asked.asked_again_as) == ("cancelled", None)
    assert len(drain.calls("createReport")) == 1
    assert drain.s.requests.gaps() == []
    drain.assert_judged()


# ----------------------------------------------------------------------------------------------------------- FATAL


@pytest.mark.parametrize("fault", ["fatal", "fatal_with_reason"])
def test_a_scheduled_report_that_cannot_be_made_is_asked_for_a_few_times_and_then_told(drain, fault):
    """With growing waits, and then it ends with a person; its document is Amazon's reason and no orders."""
    drain.amazon("reports", account="bravo")
    drain.run()
    drain.fault("schedule", fault)
    drain.fault("createReport", fault, count=99)
    sell_and_wait(drain)

    drain.pass_time(hours=48)

    first, *again = requests(drain)
    assert [row.status for row in (first, *again)] == ["fatal"] * FATAL_ASKED_AGAIN + ["refused"]
    reason = "the report could not be created" if fault == "fatal_with_reason" else "it states no reason"
    assert all(reason in row.reason for row in (first, *again))
    assert again[-1].reason.startswith("asked for 4 times: Amazon could not make it: ")
    waits = [later - before for before, later in pairwise([first.ended_at, *asked_at(drain)])]
    assert len(waits) == FATAL_ASKED_AGAIN
    assert all(longer > 3 * shorter for shorter, longer in pairwise(waits))
    (gap,) = drain.s.requests.gaps()
    assert (gap.report_type, gap.window_start, gap.window_end) == (SHIPPING, first.window_start, first.window_end)
    (cannot,) = told(drain, "report cannot be had")
    assert (cannot["account"], cannot["log_level"]) == ("acme", "error")
    assert drain.states("acme") == {}
    drain.assert_judged()


def test_a_request_that_cannot_be_made_goes_the_same_way(drain):
    """It was asked for by a person, and the last word is Amazon's reason."""
    drain.amazon("reports", account="bravo")
    drain.fault("createReport", "fatal_with_reason", count=99)
    key = ask(drain, SP_API)

    drain.pass_time(hours=48)

    rows = requests(drain)
    assert [row.request_key for row in rows] == [key, f"{key}-again", f"{key}-again-2", f"{key}-again-3"]
    assert (rows[-1].status, len(drain.calls("createReport"))) == ("refused", 1 + FATAL_ASKED_AGAIN)
    assert "the report could not be created" in rows[-1].reason
    drain.assert_judged()


def test_what_could_not_be_made_at_first_is_had_when_amazon_can(drain):
    """The window is that of the report which is missing; no gap stays."""
    drain.amazon("reports", account="bravo")
    drain.run()
    drain.fault("schedule", "fatal_with_reason")
    drain.fault("createReport", "fatal")
    sell_and_wait(drain)

    drain.pass_time(hours=12)

    first, second, third = requests(drain)
    assert [row.status for row in (first, second, third)] == ["fatal", "fatal", "done"]
    assert drain.row(third.report_id).state == "acknowledged"
    assert drain.s.requests.gaps() == []
    drain.assert_judged()


def test_a_gap_is_closed_by_a_later_request_that_covers_it(drain):
    """A person asks for a wider window, and nothing is missing any more."""
    drain.amazon("reports", account="bravo")
    drain.run()
    drain.fault("schedule", "fatal")
    drain.fault("createReport", "fatal", count=FATAL_ASKED_AGAIN)
    sell_and_wait(drain)
    drain.pass_time(hours=48)
    assert len(drain.s.requests.gaps("acme")) == 1

    ask(drain, SP_API, hours=72)
    drain.run()

    assert drain.s.requests.gaps() == []
    drain.assert_judged()


@pytest.mark.parametrize("restarted", [False, True])
def test_a_lost_answer_to_what_is_asked_for_again_does_not_make_two_of_it(drain, restarted):
    """It is a request like any other: whoever asks again looks first."""
    drain.amazon("reports", account="bravo")
    drain.run()
    drain.fault("schedule", "fatal")
    drain.fault("createReport", "late_answer")
    sell_and_wait(drain)
    drain.run(until=lambda: drain.calls("createReport"))
    if restarted:
        drain.restart(flush=True)

    drain.pass_time(hours=12)

    assert [row.status for row in requests(drain)] == ["fatal", "done"]
    assert len(drain.calls("createReport")) == 1
    drain.assert_judged()


def test_the_reason_of_a_report_that_cannot_be_made_waits_for_its_quota(drain):
    """It lies in a document like any other: no attempt is spent, and what is known meanwhile is kept."""
    drain.amazon("reports", account="bravo")
    drain.run()
    drain.amazon("quota", account="acme", operation="getReportDocument", max=1, restore_seconds=1200)
    drain.fault("getReportDocument", "throttle", account="acme")
    drain.fault("schedule", "fatal_with_reason")
    sell_and_wait(drain)

    drain.pass_time(hours=6, every_minutes=20)

    first, again = requests(drain)
    assert (first.status, again.status) == ("fatal", "done")
    assert "the report could not be created" in first.reason
    assert not [sentence for sentence in drain.sentences("request") if "failed" in sentence]
    drain.assert_judged()
