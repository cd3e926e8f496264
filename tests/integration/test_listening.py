"""Push at both APIs: what is announced is here within seconds, and nothing is believed, lost or asked for too often."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from orderdrain.errors import DependencyDown
from orderdrain.notifications import Queue, read_notice
from orderdrain.policy import NOTICE_RECEIVES
from tests.building import DECLARED
from tests.drain import draining
from tests.emulator_process import Emulator

#: Who sells at which API, and what its listing is called.
SELLERS = {"mws": ("acme", "GetReportList"), "sp-api": ("bravo", "getReports")}


@pytest.fixture
def drain(database_url, redis_url, tmp_path):
    """One, acme, sells at MWS, and bravo at SP-API; both are listed, and their next listing is far away."""
    with (
        Emulator.start(orders_per_minute=0, backlog=0, sellers=2, sp_api_sellers="bravo") as emulator,
        draining(database_url, redis_url, tmp_path, emulator, notifications=emulator.first_line["sqs"]) as running,
    ):
        running.run()
        running.advance(minutes=2)
        not_due(running)
        yield running


@pytest.fixture(params=["mws", "sp-api"])
def api(request):
    return request.param


def not_due(drain, hours=24):
    drain.s.db.query("UPDATE accounts SET next_list_at = app_now() + %s", (timedelta(hours=hours),))


def make(drain, api, **told):
    return drain.amazon("reports", account=SELLERS[api][0], api=api, **told)["report_ids"]


def announce(drain, api, **told):
    return drain.amazon("notifications", account=SELLERS[api][0], api=api, **told)


def hear(drain, *, seconds=6):
    """Lets the notices come, reads the queue, and does what is then due."""
    drain.advance(seconds=seconds)
    told = drain.listen()
    drain.run_messages()
    return told


def listings(drain, api):
    account, operation = SELLERS[api]
    return len(drain.calls(operation, account=account))


def left_in_the_queue(drain):
    told = drain.emulator.get("/_emulator/notifications")
    return told["visible"] + told["in_flight"]


def counts(drain):
    return drain.s.notices.counts(timedelta(days=30))


def logged(drain, words):
    return [log for log in drain.logs if words in log["event"]]


# ------------------------------------------------------------------------------------------------- what is announced


def test_an_announced_report_is_drained_without_a_listing_that_is_due(drain, api):
    """Freshness is seconds: nobody waits for the interval, nor for the tick that lists."""
    before = listings(drain, api)
    (report_id,) = make(drain, api)

    hear(drain)

    account = SELLERS[api][0]
    assert drain.row(report_id, account).state == "acknowledged"
    assert listings(drain, api) == before + 1
    hear(drain, seconds=61)
    assert (counts(drain), left_in_the_queue(drain)) == ({"report": 1}, 0)
    drain.assert_judged()


def test_a_notice_alone_enters_no_report(drain, api):
    """Anybody who may write to the queue can say anything: Amazon's own listing decides what there is."""
    announce(drain, api, report_ids=["404040404040"])

    hear(drain)

    assert drain.states() == {}
    assert drain.s.db.query("SELECT report_id FROM notices") == [("404040404040",)]


def test_a_forged_notice_costs_a_listing_a_minute_and_ends(drain, api):
    """The same quota that true reports need must not be spent on what does not exist."""
    before = listings(drain, api)
    announce(drain, api, report_ids=["404040404040"])

    for _ in range(NOTICE_RECEIVES):
        hear(drain, seconds=61)

    assert (counts(drain), left_in_the_queue(drain)) == ({"given_up": 1}, 0)
    assert listings(drain, api) - before == NOTICE_RECEIVES
    assert drain.verdict().over_quota == 0


def test_a_flood_of_forged_notices_makes_one_listing(drain, api):
    """Coalesced: what is due is an account, not a notice."""
    before = listings(drain, api)
    announce(drain, api, report_ids=[str(404040404040 + n) for n in range(100)])

    hear(drain)
    hear(drain, seconds=20)

    assert listings(drain, api) - before == 1


def test_ten_copies_cost_one_download(drain, api):
    """SQS delivers at least once, and MWS once for each marketplace."""
    (report_id,) = make(drain, api)
    announce(drain, api, report_ids=[report_id], count=9)

    hear(drain)
    hear(drain, seconds=61)

    assert (counts(drain), left_in_the_queue(drain)) == ({"report": 1, "doubled": 9}, 0)
    assert len(drain.calls("GetReport", "getReportDocument")) == 1
    drain.assert_judged()


def test_what_is_announced_before_it_can_be_fetched_waits_and_comes_back(drain, api):
    """The message stays in the queue: what was not there at its first reading is there at its second."""
    soon = drain.s.clock.now() + timedelta(seconds=90)
    told = {"created_at": drain.s.clock.now().isoformat()} if api == "sp-api" else {}
    (report_id,) = make(drain, api, available_at=soon.isoformat(), **told)
    announce(drain, api, report_ids=[report_id])

    hear(drain)
    assert (drain.states(), left_in_the_queue(drain), counts(drain)) == ({}, 1, {})
    for _ in range(3):
        hear(drain, seconds=61)

    assert drain.row(report_id, SELLERS[api][0]).state == "acknowledged"
    assert left_in_the_queue(drain) == 0
    drain.assert_judged()


def test_the_queue_does_not_grow_by_what_is_none_of_ours(drain, api):
    """Five thousand notices of another type, one of another seller, a torn one, one of a type that nobody declared."""
    announce(drain, api, notification_type="ANY_OFFER_CHANGED", count=5000)
    announce(drain, api, report_ids=["505050505050"], seller_id="A0NOBODYHERE0")
    announce(drain, api, report_ids=["505050505050"], report_type="GET_MERCHANT_LISTINGS_DATA")
    drain.amazon("notifications", body='{"notificationType": "REPORT_PROCESSING_FI')
    before = listings(drain, api)

    while left_in_the_queue(drain):
        hear(drain)

    assert counts(drain) == {"foreign_type": 5001, "foreign_seller": 1, "malformed": 1}
    assert listings(drain, api) == before
    assert drain.s.db.query("SELECT report_id FROM notices") == []


def test_a_lost_notice_is_found_by_the_listing_within_its_interval(drain, api):
    """Push is a hint, and the listing the net."""
    drain.fault("notification", "lost_notice")
    (report_id,) = make(drain, api)
    hear(drain)
    assert drain.states() == {}

    not_due(drain, hours=0)
    drain.run()

    assert drain.row(report_id, SELLERS[api][0]).state == "acknowledged"
    drain.assert_judged()


def test_a_notice_that_comes_after_its_listing_is_a_no_op(drain, api):
    """The listing was quicker: nothing is left to do."""
    (report_id,) = make(drain, api)
    not_due(drain, hours=0)
    drain.run_messages()
    drain.tick()
    drain.run_messages()
    before = listings(drain, api)
    assert drain.row(report_id, SELLERS[api][0]).state == "acknowledged"
    not_due(drain)

    hear(drain)

    assert (counts(drain), left_in_the_queue(drain)) == ({"report": 1}, 0)
    assert listings(drain, api) == before


@pytest.mark.parametrize(("fault", "status"), [(None, "done"), ("cancelled", "cancelled"), ("fatal", "fatal")])
def test_the_end_of_a_request_of_ours_is_looked_at_at_once(drain, fault, status):
    """Done, cancelled or impossible: the next look would have been minutes away."""
    drain.amazon("orders", account="bravo", count=2)
    drain.advance(minutes=2)
    key = request(drain, "bravo", "sp-api", fault=fault and ("createReport", fault))
    drain.s.db.query("UPDATE report_requests SET next_attempt_at = app_now() + interval '5 hours'")

    hear(drain, seconds=70)
    drain.tick()
    drain.run_messages()

    assert wish(drain, key).status == status
    drain.run()
    hear(drain, seconds=61)
    asked = len(drain.calls("createReport"))
    assert asked == (2 if status == "fatal" else 1), "what could not be made is asked for again"
    assert (counts(drain)["request"], left_in_the_queue(drain)) == (asked, 0)


def test_a_request_at_mws_is_looked_at_when_its_report_is_announced(drain):
    """There the notice names both: the request that we know, and the report that we do not."""
    drain.amazon("orders", account="acme", count=2)
    drain.advance(minutes=2)
    key = request(drain, "acme", "mws")
    drain.s.db.query("UPDATE report_requests SET next_attempt_at = app_now() + interval '5 hours'")

    hear(drain, seconds=70)
    drain.tick()
    drain.run_messages()

    assert wish(drain, key).status == "done"
    drain.run()
    drain.assert_judged()


def test_a_scheduled_report_that_brought_nothing_is_no_reason_to_list(drain, api):
    """Without an order there is nothing to find; one seller may announce hundreds of these a day."""
    before = listings(drain, api)
    announce(drain, api, report_ids=["404040404040"], status={"mws": "_DONE_NO_DATA_", "sp-api": "CANCELLED"}[api])

    hear(drain)

    assert (counts(drain), left_in_the_queue(drain)) == ({"no_report": 1}, 0)
    assert listings(drain, api) == before


# ----------------------------------------------------------------------------------------------- how far it is trusted


def announced_rounds(drain, api, rounds=3):
    """Reports that are made and announced, one after the other."""
    for _ in range(rounds):
        make(drain, api)
        drain.advance(minutes=2)
        hear(drain)


def test_where_push_works_an_account_is_listed_more_rarely(drain, api):
    """Three of four listings find nothing that was not announced: their calls are saved."""
    announced_rounds(drain, api)
    assert len(logged(drain, "push announces all reports")) == 1
    before = listings(drain, api)

    drain.pass_time(hours=2, every_minutes=1)

    assert 5 <= listings(drain, api) - before <= 7, "one each twenty minutes instead of five"
    assert drain.s.notices.push()[SELLERS[api][0]] == "works"


def test_when_push_dies_the_listing_is_at_its_own_interval_again_and_says_so(drain, api):
    """Amazon stops announcing, without a word: the next listing finds what nobody announced."""
    announced_rounds(drain, api)
    drain.fault("notification", "lost_notice", count=1000)
    (report_id,) = make(drain, api)
    drain.advance(minutes=6)  # What a listing finds sooner says nothing yet.

    drain.pass_time(hours=1, every_minutes=1)

    assert drain.row(report_id, SELLERS[api][0]).state == "acknowledged"
    (warned,) = logged(drain, "push did not announce all reports")
    assert (warned["account"], warned["api"], warned["missed"]) == (SELLERS[api][0], api, 1)
    assert drain.s.notices.push()[SELLERS[api][0]] == "not all"
    before = listings(drain, api)
    drain.pass_time(hours=1, every_minutes=1)
    assert 11 <= listings(drain, api) - before <= 13, "one each five minutes"


def test_a_dead_push_is_noticed_also_where_listings_are_closer_together_than_a_notice_may_be_late(drain, api):
    """Each listing finds reports so young that their notices may be on their way: the next ones must ask for them."""
    drain.s.db.query("UPDATE accounts SET list_every = interval '1 minute'")
    announced_rounds(drain, api)
    drain.fault("notification", "lost_notice", count=1000)
    (report_id,) = make(drain, api)

    drain.pass_time(hours=0.5, every_minutes=1)

    assert drain.row(report_id, SELLERS[api][0]).state == "acknowledged"
    (warned,) = logged(drain, "push did not announce all reports")
    assert (warned["account"], warned["missed"]) == (SELLERS[api][0], 1)
    assert drain.s.notices.push()[SELLERS[api][0]] == "not all"


def test_a_requested_report_that_a_listing_finds_first_is_no_loss_of_push(drain, api):
    """Its notice is about the request, and kept as that."""
    announced_rounds(drain, api)
    account = SELLERS[api][0]
    drain.amazon("orders", account=account, count=2)
    drain.advance(minutes=2)
    key = request(drain, account, api)
    drain.s.db.query("UPDATE report_requests SET next_attempt_at = app_now() + interval '5 hours'")
    drain.advance(minutes=3)
    drain.run_message("list", {"account": account})

    hear(drain)
    drain.tick()
    drain.run_messages()
    drain.advance(minutes=6)
    drain.run_message("list", {"account": account})

    assert wish(drain, key).status == "done"
    assert drain.row(wish(drain, key).report_id, account).listing > 0, "the listing found it first"
    assert logged(drain, "push did not") == []


def test_when_push_is_whole_again_listings_are_rare_again(drain, api):
    """What was repaired needs no person to say so."""
    announced_rounds(drain, api)
    drain.fault("notification", "lost_notice")
    make(drain, api)
    drain.advance(minutes=6)
    drain.pass_time(hours=1, every_minutes=5)
    assert drain.s.notices.push()[SELLERS[api][0]] == "not all"

    announced_rounds(drain, api)

    assert len(logged(drain, "push announces all reports")) == 2
    assert drain.s.notices.push()[SELLERS[api][0]] == "works"


def test_a_report_of_the_last_minutes_says_nothing_about_push(drain, api):
    """Its notice may be on its way: an account whose listing is quicker than the queue must not be thought without."""
    announced_rounds(drain, api)
    drain.fault("notification", "lost_notice")
    make(drain, api)
    not_due(drain, hours=0)

    drain.run()

    assert logged(drain, "push did not") == []
    assert drain.s.notices.push()[SELLERS[api][0]] == "works"


def test_a_queue_that_cannot_be_read_ends_the_trust_in_it(drain, api):
    """Whoever hears nothing because he is deaf must not believe that nothing was said."""
    announced_rounds(drain, api)
    drain.amazon("faults", operation="SQS", fault="unavailable", next=1000)

    for minutes in (1, 6):
        drain.advance(minutes=minutes)
        with pytest.raises(DependencyDown, match=r"the queue http://.*/notifications refuses ReceiveMessage"):
            drain.listen()

    (warned,) = logged(drain, "push is dead")
    assert warned["account"] == SELLERS[api][0]
    assert drain.s.notices.push()[SELLERS[api][0]] == "not all"
    (queue,) = drain.s.notices.queues()
    assert "refuses ReceiveMessage" in queue.failing


def test_a_report_from_before_push_is_no_loss_of_push(drain):
    """What was made while nobody had subscribed was announced to nobody: it is found late, and drained all the same."""
    announced_rounds(drain, "mws")
    old = drain.s.clock.now() - timedelta(days=2)
    (report_id,) = make(drain, "mws", available_at=old.isoformat())

    drain.pass_time(hours=2, every_minutes=10)

    assert drain.row(report_id).state == "acknowledged"
    assert logged(drain, "push did not") == []


# --------------------------------------------------------------------------------------------------- both, and dying


def test_a_worker_that_dies_before_it_removes_a_message_hears_it_again(drain, api):
    """What was made due was committed before; the second time is no copy, and counted once."""
    (report_id,) = make(drain, api)
    drain.advance(seconds=6)
    (queue,) = drain.s.queues
    (message,) = queue.receive(wait_seconds=1, hidden_seconds=1)
    drain.s.notices.hear(read_notice(message.body), message_id=message.message_id, queue=queue.url)

    hear(drain, seconds=5)
    hear(drain, seconds=61)

    assert drain.row(report_id, SELLERS[api][0]).state == "acknowledged"
    assert counts(drain) == {"report": 1}


def test_two_accounts_of_one_seller_both_hear(drain):
    """A notice names a seller, and what listens is an account."""
    told = drain.emulator.account("acme")
    drain.s.db.query(
        "INSERT INTO accounts (account, seller_id, marketplaces, next_list_at)"
        " SELECT 'acme-too', %s, marketplaces, app_now() + interval '1 day' FROM accounts WHERE account = 'acme'",
        (told["seller_id"],),
    )
    drain.s.db.query(
        "INSERT INTO connections (account, api, application, endpoint, token, report_types, listed_at)"
        " SELECT 'acme-too', api, application, endpoint, token, report_types, app_now() FROM connections"
        " WHERE account = 'acme'"
    )
    (report_id,) = make(drain, "mws")

    hear(drain)

    rows = drain.s.db.query("SELECT account FROM reports WHERE report_id = %s ORDER BY account", (report_id,))
    assert [row.account for row in rows] == ["acme", "acme-too"]


def test_one_queue_that_cannot_be_read_does_not_keep_the_others(drain):
    """A queue for each account: one whose policy is wrong is one account's trouble."""
    (queue,) = drain.s.queues
    drain.s = replace(drain.s, queues=(Queue(f"{queue.url}-misspelt"), queue))
    (report_id,) = make(drain, "mws")
    drain.advance(seconds=6)

    with pytest.raises(DependencyDown, match="-misspelt refuses ReceiveMessage"):
        drain.listen()
    drain.run_messages()

    assert drain.row(report_id).state == "acknowledged"
    assert {bool(queue.failing) for queue in drain.s.notices.queues()} == {True, False}


def test_a_queue_is_read_by_one_at_a_time(drain):
    """A tick comes every ten seconds, whether the last reader is done or not."""
    (queue,) = drain.s.queues
    make(drain, "mws")
    drain.advance(seconds=6)
    lock = drain.s.locks.listening(queue.url)
    assert lock.acquire()

    assert drain.listen() == "removed 0 notifications"
    assert not drain.messages

    lock.release()
    drain.listen()
    assert list(drain.messages) == [("list", {"account": "acme"})]


def test_what_no_copy_can_come_of_any_more_is_forgotten(drain):
    """A table of hints must not become a second ledger."""
    announce(drain, "mws", report_ids=["404040404040"])
    hear(drain)
    assert drain.s.notices.prune() == 0

    drain.advance(days=16)

    assert drain.s.notices.prune() == 1


def test_a_day_of_usual_faults_of_push_and_of_amazon_is_drained_to_the_last_line(database_url, redis_url, tmp_path):
    """Lost, doubled, early, forged, malformed and foreign notices, among throttles and cut bodies."""
    with (
        Emulator.start(sellers=2, sp_api_sellers="bravo", orders_per_minute=1, faults="default") as emulator,
        draining(database_url, redis_url, tmp_path, emulator, notifications=emulator.first_line["sqs"]) as drain,
    ):
        rates = dict.fromkeys(
            [
                "lost_notice",
                "doubled_notice",
                "early_notice",
                "forged_notice",
                "malformed_notice",
                "foreign_type_notice",
                "foreign_seller_notice",
            ],
            0.12,
        )
        drain.amazon("faults", rates={"notification": rates, "cut_body": 0.05, "internal_error": 0.05})
        drain.pass_time(hours=8, every_minutes=4)
        drain.amazon("stop-selling")
        drain.advance(minutes=16)
        drain.run(stride_minutes=2)

        assert set(emulator.get("/_emulator/notifications")["faults"]) == set(rates)
        assert {"report", "doubled", "malformed", "foreign_type", "foreign_seller", "given_up"} <= set(counts(drain))
        drain.assert_judged()


def request(drain, account, api, *, fault=None):
    """Asks Amazon for the orders of the last day; returns our key of it."""
    if fault:
        drain.fault(*fault)
    now = drain.s.clock.now().replace(microsecond=0)
    (report_type,) = DECLARED[api]
    key = drain.s.requests.enter(
        account, api, report_type, start=now - timedelta(days=1), end=now - timedelta(minutes=1), options={}
    )
    drain.tick()
    drain.run_messages()
    assert wish(drain, key).amazon_request_id
    return key


def wish(drain, key):
    (row,) = drain.s.db.query("SELECT * FROM report_requests WHERE request_key = %s", (key,))
    return row
