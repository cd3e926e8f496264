"""Telling Amazon: only what is committed, each id until Amazon has named it, and no bad id in the way of the good ones."""

from __future__ import annotations

import base64

import pytest

from orderdrain.reports import State
from tests.building import ORDERS, report_in

UNKNOWN = "77700000000000001"
HEADER_ONLY = b"order-id\torder-item-id\tsku\tquantity-purchased\n"


def parsed(drain, count):
    """Reports of acme's whose rows are committed and of which Amazon does not know: quota has said not yet."""
    drain.s.db.query("UPDATE connections SET acknowledge_after = app_now() + interval '5 hours'")
    made = drain.amazon("reports", account="acme", count=count)["report_ids"]
    drain.run(until=lambda: drain.states("acme") == {"parsed": count}, stride_minutes=14)
    drain.s.db.query("UPDATE connections SET acknowledge_after = app_now()")
    return made


def tellings(drain):
    return drain.calls("UpdateReportAcknowledgements", account="acme")


def test_an_acknowledgement_whose_answer_is_lost_is_told_again(drain):
    """Amazon has marked them, we cannot know: telling twice is harmless, telling never is not."""
    ids = parsed(drain, 3)
    drain.fault("UpdateReportAcknowledgements", "late_answer")

    drain.run()

    first, again = tellings(drain)
    assert (first["applied"], first["status"]) == (True, None)
    assert sorted(first["report_ids"]) == sorted(again["report_ids"]) == sorted(ids)
    assert [event for event in drain.events(ids[0]) if event != "snoozed"][-2:] == ["failed", "acknowledged"]
    drain.assert_judged()


def test_two_hundred_and_fifty_ids_take_three_calls(drain):
    """Amazon takes a hundred at once, and 80 calls an hour: one call an id would take hours."""
    body = base64.b64encode(HEADER_ONLY).decode()
    made = drain.amazon("reports", account="acme", report_type=ORDERS, count=250, body_base64=body)["report_ids"]
    for report_id in made:
        report_in(drain.s, State.PARSED, report_id)
    drain.amazon("reports", account="bravo")

    drain.run()

    assert [len(call["report_ids"]) for call in tellings(drain)] == [100, 100, 50]
    assert drain.states("acme") == {"acknowledged": 250}
    drain.assert_judged()


@pytest.mark.parametrize("idle_minutes", [0, 30])
def test_an_unknown_id_is_named_and_the_others_go_through(drain, idle_minutes):
    """One refused id refuses the whole call. It must be found also where quota allows a single call at a time."""
    good = parsed(drain, 9)
    report_in(drain.s, State.PARSED, UNKNOWN)
    drain.advance(minutes=idle_minutes)

    drain.run()

    assert {drain.row(report_id).state for report_id in good} == {"acknowledged"}
    refused = drain.row(UNKNOWN)
    assert (refused.state, refused.quarantined_from) == ("quarantined", "parsed")
    assert UNKNOWN in refused.reason
    assert len(tellings(drain)) <= 12
    drain.s.db.query("DELETE FROM report_history WHERE report_id = %s", (UNKNOWN,))
    drain.s.db.query("DELETE FROM reports WHERE report_id = %s", (UNKNOWN,))
    drain.assert_judged()


def test_killed_between_commit_and_acknowledgement_it_is_told_later_and_parsed_once(drain):
    """The rows are in, the worker is gone: the sweep finds what Amazon was not told, and nothing is loaded twice."""
    ids = parsed(drain, 2)
    drain.restart(flush=True)

    drain.run()

    assert [drain.events(report_id).count("parsed") for report_id in ids] == [1, 1]
    assert drain.states() == {"acknowledged": 2}
    drain.assert_judged()


def test_nothing_is_acknowledged_while_a_listing_waits_between_two_pages(drain):
    """Acknowledging moves the entries of the pages to come: those that slip to an earlier page would be missed."""
    drain.amazon("reports", account="acme", count=201)
    drain.run(until=lambda: any("listing waits" in sentence for sentence in drain.sentences("list")))
    (said,) = [sentence for sentence in drain.sentences("list") if "listing waits" in sentence]
    assert "throttled by GetReportListByNextToken" in said

    drain.run(until=lambda: drain.states().get("parsed"))
    told = drain.run_message("acknowledge", {"account": "acme"})

    assert told == "account acme: nothing may be acknowledged now (listed, paused or out of quota)"
    assert tellings(drain) == []
    drain.run(until=lambda: drain.states().get("acknowledged"))
    assert drain.states().keys() == {"listed", "acknowledged"}
    drain.assert_never_acknowledged_within_a_listing()
