"""The path of a report at SP-API: the same promises, without an acknowledgement, a checksum or an hourly quota."""

from __future__ import annotations

import base64
from datetime import timedelta
from itertools import islice

import pytest

from orderdrain import pipeline
from orderdrain.amazon import ListedReport
from orderdrain.declarations import declare
from orderdrain.errors import Throttled
from orderdrain.reports import ReportKey, State
from tests.building import DECLARED, report_in
from tests.drain import draining, draining_quiet_sellers
from tests.emulator_process import Emulator

SHIPPING = "GET_FLAT_FILE_ORDER_REPORT_DATA_SHIPPING"
INVOICING = "GET_FLAT_FILE_ORDER_REPORT_DATA_INVOICING"


@pytest.fixture
def drain(database_url, redis_url, tmp_path):
    """The path of a report: acme and bravo sell at SP-API, cedar at MWS."""
    with draining_quiet_sellers(database_url, redis_url, tmp_path, sp_api_sellers="acme,bravo") as running:
        yield running


def make(drain, account="acme", **told):
    return drain.amazon("reports", account=account, api="sp-api", **told)["report_ids"]


def history(drain, report_id, account="acme"):
    return drain.s.history.of(ReportKey(account, "sp-api", report_id))


def paused(drain):
    return {row.account: row.paused_reason for row in drain.s.accounts.table() if row.paused_at}


def attempts_counted(drain):
    return drain.s.db.query("SELECT event, attempt FROM report_history WHERE event = 'failed' OR attempt > 1")


def test_an_application_that_is_stored_under_two_names_has_one_quota(drain):
    """Amazon knows it by its client id: a quota for each name would be calls over it, for ever."""
    told, acme = drain.emulator.account("acme"), drain.s.accounts.connection("acme", "sp-api")
    drain.s.accounts.add_application("twin", api="sp-api", key_id=told["client_id"], secret=told["client_secret"])
    drain.s.amazon(acme).list_schedules()

    drain.s.accounts.add(
        acme.account,
        api="sp-api",
        application="twin",
        endpoint=acme.endpoint,
        token=acme.token,
        login_url=acme.login_url,
        list_every=timedelta(minutes=15),
    )

    with pytest.raises(Throttled):
        drain.s.amazon(drain.s.accounts.connection("acme", "sp-api")).list_schedules()
    assert len(drain.calls("getReportSchedules")) == 1


def test_both_apis_are_drained_side_by_side_to_the_last_line(drain):
    """Acknowledged means at SP-API that the ledger remembers: nobody is told, and no report is entered twice."""
    make(drain, count=12)
    make(drain, "bravo", count=3)
    drain.amazon("reports", account="cedar", count=3)

    drain.run()

    assert drain.states() == {"acknowledged": 18}
    assert {call["account"] for call in drain.calls("UpdateReportAcknowledgements")} == {"cedar"}
    told = drain.s.db.query("SELECT api, detail FROM report_history WHERE event = 'acknowledged'")
    assert {row.detail for row in told if row.api == "sp-api"} == {"nothing to tell Amazon"}
    assert all(row.detail.startswith("in a call of") for row in told if row.api == "mws")
    drain.pass_time(hours=2)
    assert len(drain.calls("getReportDocument")) == 15
    drain.assert_judged()


def test_a_backlog_with_amazons_usual_faults_is_drained_to_the_last_line(database_url, redis_url, tmp_path):
    """Throttles, 5xx, cut and stalled bodies, urls and tokens that expire, gzip that is announced and is none."""
    with (
        Emulator.start(backlog=12, faults="default", sp_api_sellers="acme,bravo") as emulator,
        draining(database_url, redis_url, tmp_path, emulator) as drain,
    ):
        drain.amazon("stop-selling")
        drain.run(stride_minutes=1)
        drain.assert_judged()
        assert emulator.get("/_emulator/calls")["totals"]["leaks"] == 0


def test_a_report_that_took_ten_hours_is_found_by_a_listing_of_today(drain):
    """SP-API filters by the time at which it was asked for: every listing of those hours was begun after that."""
    drain.run()
    drain.pass_time(hours=11, every_minutes=30)
    asked = drain.s.clock.now() - timedelta(hours=10)
    (slow,) = make(drain, created_at=asked.isoformat())

    drain.pass_time(hours=1, every_minutes=10)

    assert drain.row(slow).state == "acknowledged"
    since = [call for call in drain.calls("getReports", account="acme") if call["status"] == 200]
    assert len(since) > 10
    drain.assert_judged()


def test_a_scheduled_report_is_not_taken_for_the_request_whose_answer_was_lost(drain):
    """Scheduled ones stand in the same list. Taken for ours, the window that was asked for would never be told."""
    drain.fault("createReport", "no_answer")
    drain.s.requests.enter("acme", "sp-api", SHIPPING, start=None, end=None, options={})
    drain.run(until=lambda: drain.calls("createReport"))
    drain.amazon("orders", account="acme", count=3)
    drain.advance(minutes=20)

    drain.run()

    assert drain.states("acme") == {"acknowledged": 1}
    assert [call["status"] for call in drain.calls("createReport")] == [None, 202]
    drain.assert_judged()


def test_many_requests_at_once_all_come_to_their_end(drain):
    """Each is a call of its own, and quota lets two of them go a second: none waits for ever behind the others."""
    now = drain.s.clock.now().replace(microsecond=0)
    for hours in range(1, 7):
        start, end = now - timedelta(hours=hours + 1), now - timedelta(hours=hours)
        drain.s.requests.enter("acme", "sp-api", SHIPPING, start=start, end=end, options={})

    drain.run()

    rows = drain.s.db.query("SELECT status FROM report_requests")
    assert not {"asked", "submitted", "in_progress", "refused"} & {row.status for row in rows}
    assert len(rows) == len(drain.calls("createReport")) == 6
    assert drain.verdict().over_quota == 0


def test_a_report_type_with_a_lower_rate_of_its_own_is_asked_for_as_rarely_and_no_other(drain):
    """Users saw createReport throttled for single types. What its answers tell of the rate is kept for that type."""
    limit = {"operation": "createReport", "report_type": SHIPPING, "max": 1, "restore_seconds": 600}
    drain.amazon("quota", account="acme", **limit)
    now = drain.s.clock.now().replace(microsecond=0)
    for hours in range(1, 5):
        for report_type in (SHIPPING, INVOICING):
            start, end = now - timedelta(hours=hours + 1), now - timedelta(hours=hours)
            drain.s.requests.enter("acme", "sp-api", report_type, start=start, end=end, options={})

    drain.run()

    rows = drain.s.db.query(
        "SELECT report_type, max(submitted_at) - min(submitted_at) AS took FROM report_requests GROUP BY 1"
    )
    took = {row.report_type: row.took for row in rows}
    assert took[SHIPPING] >= timedelta(minutes=30)
    assert took[INVOICING] < timedelta(minutes=5)
    assert drain.verdict().over_quota == 0


def test_a_report_that_could_not_be_made_is_never_parsed(drain):
    """It is not listed, and one that was listed before tells a person why."""
    told = base64.b64encode(b'{"errorDetails": "the seller has no such data"}').decode()
    (fatal,) = make(drain, status="FATAL", body_base64=told)
    make(drain, status="CANCELLED")
    (good,) = make(drain)

    drain.run()

    assert drain.states() == {"acknowledged": 1}
    assert drain.row(good).state == "acknowledged"
    drain.assert_judged()

    listed = ListedReport(fatal, SHIPPING, drain.s.clock.now(), acknowledged=False)
    drain.s.ledger.enter("acme", "sp-api", [listed], listing=0, worker="a test", request_id=None)
    drain.run()
    assert drain.row(fatal).state == "quarantined"
    assert "the seller has no such data" in drain.row(fatal).reason


def test_an_access_token_that_ends_in_mid_drain_costs_no_attempt(drain):
    """It ends every hour, in the middle of something."""
    make(drain, count=30)
    drain.run(until=lambda: drain.states().get("acknowledged", 0) >= 3)
    drain.fault("getReportDocument", "throttle")
    drain.fault("getReport", "expired_access_token")

    drain.run()

    assert attempts_counted(drain) == []
    assert drain.states() == {"acknowledged": 30}
    assert len(drain.calls("LWA", account="acme")) >= 2
    drain.assert_judged(refused=0)


def test_a_seller_who_revoked_his_authorization_pauses_alone_and_resumes_where_he_stood(drain):
    """The others are drained; after repair no report is entered anew."""
    make(drain, count=3)
    make(drain, "bravo", count=3)
    drain.fault("LWA", "invalid_grant", count=1000, account="acme")

    drain.run()

    assert paused(drain).keys() == {"acme"}
    assert "let the seller authorise again" in paused(drain)["acme"]
    assert drain.states() == {"acknowledged": 3}
    assert len(drain.calls("LWA", account="acme")) <= 2

    drain.amazon("faults", clear=True)
    drain.s.accounts.resume("acme")
    drain.run()
    assert drain.states() == {"acknowledged": 6}
    assert drain.s.db.query("SELECT count(*) AS n FROM report_history WHERE event = 'entered'")[0].n == 6
    drain.assert_judged()


def move_cedar(drain):
    """It has both connections from now on."""
    told = {account["account"]: account for account in drain.emulator.get("/_emulator/accounts?keys=all")}
    cedar = told["cedar"]
    drain.s.accounts.add_application("new", api="sp-api", key_id=cedar["client_id"], secret=cedar["client_secret"])
    keys = {
        "api": "sp-api",
        "application": "new",
        "seller_id": cedar["seller_id"],
        "endpoint": drain.emulator.first_line["sp_api"],
        "login_url": drain.emulator.first_line["lwa"],
        "marketplaces": cedar["marketplaces"],
        "report_types": DECLARED["sp-api"],
    }
    declare(drain.s, "cedar", keys, token=cedar["refresh_token"])


def test_an_account_that_moves_has_both_connections_and_each_order_once(drain):
    """The day of the move, the same orders are told by both: the newest wins, and nothing is doubled."""
    drain.amazon("reports", account="cedar", count=2)
    drain.run()
    move_cedar(drain)
    make(drain, "cedar", count=2)

    drain.run()

    assert drain.states("cedar") == {"acknowledged": 4}
    apis = drain.s.db.query("SELECT DISTINCT api FROM reports WHERE account = 'cedar' ORDER BY api")
    assert [row.api for row in apis] == ["mws", "sp-api"]
    drain.assert_judged()


def test_draining_by_hand_looks_at_the_report_of_its_own_api_alone(drain):
    """One id may name two reports of an account. Led by the other's state, it would go round for ever."""
    move_cedar(drain)
    (report_id,) = make(drain, "cedar")
    drain.run(until=lambda: drain.states("cedar") == {"parsed": 1})
    drain.s.db.query("UPDATE reports SET next_attempt_at = app_now() + interval '1 hour'")
    report_in(drain.s, State.QUARANTINED, report_id, account="cedar")

    said = list(islice(pipeline.drain_report(drain.s, ReportKey("cedar", "sp-api", report_id)), 3))

    assert len(said) == 2
    assert said[-1].startswith(f"report {report_id} (cedar): stays parsed")


def test_schedules_are_set_at_each_api_in_its_own_words(drain):
    """What is declared is what Amazon has, the day after."""
    drain.pass_time(hours=1)

    for account, api in (("acme", "sp-api"), ("cedar", "mws")):
        connection = drain.s.accounts.connection(account, api)
        there = {info.report_type: info.every for info in drain.s.amazon(connection).list_schedules()}
        assert DECLARED[api].items() <= there.items()
