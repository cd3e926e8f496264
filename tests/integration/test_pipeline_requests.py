"""Requested reports: each wish is asked for once, followed to its end, and waiting holds nobody up."""

from __future__ import annotations

import urllib.request
from datetime import timedelta

import pytest

from orderdrain.amazon.signature import signed_form
from tests.building import ORDERS


def enter(drain, *, hours=24):
    """A wish for the orders of the last hours; returns its key."""
    now = drain.s.clock.now().replace(microsecond=0)
    return drain.s.requests.enter(
        "acme", "mws", ORDERS, start=now - timedelta(hours=hours), end=now - timedelta(minutes=1), options={}
    )


def wish(drain, key):
    (row,) = drain.s.db.query("SELECT * FROM report_requests WHERE request_key = %s", (key,))
    return row


def sell_to_be_told_by_request_only(drain):
    """An order of acme's that no schedule tells before the request does."""
    drain.amazon("orders", account="acme", count=3)
    drain.advance(minutes=2)


def cancel(drain, amazon_request_id):
    """Somebody cancels the request in Seller Central."""
    connection = drain.s.accounts.connection("acme", "mws")
    parameters = {
        "Action": "CancelReportRequests",
        "Version": "2009-01-01",
        "SellerId": connection.account.seller_id,
        "AWSAccessKeyId": connection.key_id,
        "SignatureMethod": "HmacSHA256",
        "SignatureVersion": "2",
        "Timestamp": f"{drain.s.clock.now():%Y-%m-%dT%H:%M:%SZ}",
        "ReportRequestIdList.Id.1": amazon_request_id,
    }
    host = connection.endpoint.removeprefix("http://")
    form = signed_form(connection.secret, method="POST", host=host, path="/", parameters=parameters)
    request = urllib.request.Request(connection.endpoint + "/", form.encode(), {"User-Agent": "a person"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


def test_a_request_that_is_done_is_entered_and_drained_like_any_report(drain):
    """A report asked for goes the way of all reports, found by its request and not by a listing."""
    sell_to_be_told_by_request_only(drain)
    key = enter(drain)

    drain.run()

    asked = wish(drain, key)
    assert asked.status == "done"
    assert drain.row(asked.report_id).state == "acknowledged"
    assert drain.row(asked.report_id).report_request_id == asked.amazon_request_id
    assert len(drain.calls("RequestReport")) == 1
    drain.assert_judged()


def test_no_data_is_an_end_of_its_own_and_no_failure(drain):
    """Nothing was sold in that window: that is an answer, not an error to be tried again."""
    drain.amazon("reports", account="bravo")
    key = enter(drain)

    drain.run()

    asked = wish(drain, key)
    assert (asked.status, asked.report_id, asked.reason) == ("no_data", None, None)
    assert asked.ended_at is not None
    assert drain.states("acme") == {}
    drain.assert_judged()


def test_a_request_that_somebody_cancelled_has_ended(drain):
    """It was cancelled for a reason: asking again by ourselves would undo what a person did."""
    drain.amazon("reports", account="bravo")
    key = enter(drain)
    drain.run(until=lambda: wish(drain, key).amazon_request_id)
    cancel(drain, wish(drain, key).amazon_request_id)

    drain.run()

    assert wish(drain, key).status == "cancelled"
    assert len(drain.calls("RequestReport")) == 1
    drain.assert_judged()


def test_a_second_wish_that_is_stuck_too_is_followed_and_not_asked_for_again(drain):
    """What Amazon cannot make twice it will not make a third time: an endless loop of requests would use up the quota."""
    drain.amazon("reports", account="bravo")
    drain.fault("RequestReport", "stuck_request", count=9)
    enter(drain)

    drain.pass_time(hours=80)

    assert len(drain.calls("RequestReport")) == 2
    drain.assert_judged()


def test_a_scheduled_report_is_not_taken_for_the_request_whose_answer_was_lost(drain):
    """Scheduled ones stand in the same list. Taken for ours, the window that was asked for would never be told."""
    drain.fault("RequestReport", "no_answer")
    key = drain.s.requests.enter("acme", "mws", ORDERS, start=None, end=None, options={})
    drain.run(until=lambda: drain.calls("RequestReport"))
    drain.amazon("orders", account="acme", count=3)
    drain.advance(minutes=20)

    drain.run()

    assert len(drain.states("acme")) == 1
    assert [call["status"] for call in drain.calls("RequestReport")] == [None, 200]
    assert wish(drain, key).status in {"done", "no_data"}
    drain.assert_judged()


@pytest.mark.parametrize("restarted", [False, True])
def test_a_lost_answer_to_a_request_does_not_make_two_of_it(drain, restarted):
    """Amazon had made the request, we never heard: asking again without looking would make a second report."""
    sell_to_be_told_by_request_only(drain)
    drain.fault("RequestReport", "late_answer")
    key = enter(drain)
    drain.run(until=lambda: drain.calls("RequestReport"))
    if restarted:
        drain.restart(flush=True)

    drain.run()

    assert wish(drain, key).status == "done"
    assert len(drain.calls("RequestReport")) == 1
    drain.assert_judged()
