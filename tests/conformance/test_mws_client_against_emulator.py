"""Our client against the emulated Amazon: two programs that share no code, and must agree on every byte of MWS."""

from __future__ import annotations

import base64
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from orderdrain.amazon.http import Http, emulator_at
from orderdrain.amazon.mws import QUOTAS, MwsReports
from orderdrain.errors import (
    BadBody,
    GiveUp,
    NextTokenLost,
    OperatorNeeded,
    OrderdrainError,
    RetryLater,
    ServiceFault,
    Throttled,
)
from orderdrain.quota import Quota
from orderdrain.redis_client import connect
from tests.scripted_mws import QuotaNotes

if TYPE_CHECKING:
    from tests.emulator_process import Emulator

ORDERS = "_GET_FLAT_FILE_ORDERS_DATA_"


class EmulatedClock:
    """The emulator's time; `advance` moves both on."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self.ahead = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def advance(self, **span: float) -> None:
        self._emulator.post("/_emulator/advance", {"seconds": timedelta(**span).total_seconds()})
        self.ahead += timedelta(**span)


@pytest.fixture
def clock(emulator):
    return EmulatedClock(emulator)


def _api(emulator: Emulator, clock: EmulatedClock, account: str = "acme", **changed) -> MwsReports:
    keys = emulator.account(account)
    wanted = {name: keys[name] for name in ("seller_id", "access_key", "secret_key", "marketplaces")}
    wanted |= {
        "auth_token": keys.get("auth_token"),
        "http": Http(read_seconds=2),
        "clock": clock,
        "quota": QuotaNotes(),
    }
    return MwsReports(emulator.url, **(wanted | changed))


def _listed(api: MwsReports, *, acknowledged: bool | None) -> list[str]:
    page = api.list_reports(report_types=[ORDERS], acknowledged=acknowledged)
    ids = [report.report_id for report in page.reports]
    while page.next_token:
        page = api.list_reports(report_types=[ORDERS], acknowledged=acknowledged, next_token=page.next_token)
        ids += [report.report_id for report in page.reports]
    return ids


@pytest.mark.parametrize("account", ["acme", "bravo", "cedar"])
@pytest.mark.parametrize("path", ["/Reports/2009-01-01", "/"])
def test_each_region_lists_downloads_and_acknowledges(emulator, clock, account, path):
    """The drain in miniature: North America, Europe and Japan, over both paths."""
    made = emulator.post("/_emulator/reports", {"account": account, "count": 2})["report_ids"]
    api = _api(emulator, clock, account, path=path)
    assert sorted(_listed(api, acknowledged=False)) == sorted(made)
    for report_id in made:
        body = bytearray()
        came = api.download(report_id, body.extend)
        assert body.startswith(b"order-id\t")
        assert came.content_type.startswith("text/plain")
    assert api.acknowledge(made[:1]).report_ids == {made[0]}
    assert _listed(api, acknowledged=False) == made[1:]
    assert _listed(api, acknowledged=True) == made[:1]
    assert sorted(_listed(api, acknowledged=None)) == sorted(made)


def test_a_long_listing_is_followed_to_its_end(emulator, clock):
    """Pages of 100, each next one by its token."""
    made = emulator.post("/_emulator/reports", {"account": "acme", "count": 230})["report_ids"]
    listed = _listed(_api(emulator, clock), acknowledged=False)
    assert sorted(listed) == sorted(made)
    assert len(emulator.calls("GetReportList")) == 1
    assert len(emulator.calls("GetReportListByNextToken")) == 2


def test_a_report_arrives_byte_for_byte(emulator, clock):
    """Every byte there is, in more than one block."""
    body = bytes(range(256)) * 1000
    given = {
        "account": "acme",
        "body_base64": base64.b64encode(body).decode(),
        "content_type": "application/octet-stream",
    }
    (report_id,) = emulator.post("/_emulator/reports", given)["report_ids"]
    got = bytearray()
    assert _api(emulator, clock).download(report_id, got.extend).content_type == "application/octet-stream"
    assert got == body


def test_a_requested_report_is_followed_from_submitted_to_done(emulator, clock):
    """By its id, and by its type and time."""
    emulator.post("/_emulator/orders", {"account": "acme", "count": 3})
    clock.advance(hours=3)
    api = _api(emulator, clock)
    asked = api.request_report(
        ORDERS,
        start=clock.now() - timedelta(days=1),
        end=clock.now() - timedelta(minutes=1),
        options={"ShowSalesChannel": "true"},
    )
    assert (asked.status, asked.scheduled, asked.report_id) == ("SUBMITTED", False, None)
    clock.advance(hours=3)
    (by_id,) = api.list_requests(request_ids=[asked.request_id_at_amazon]).requests
    assert by_id.status == "DONE"
    assert (by_id.window_start, by_id.window_end) == (asked.window_start, asked.window_end)
    (by_type,) = api.list_requests(report_types=[ORDERS], since=clock.now() - timedelta(hours=4)).requests
    assert by_type == by_id
    body = bytearray()
    api.download(by_id.report_id, body.extend)
    assert b"sales-channel" in body.splitlines()[0]


def test_a_requested_report_without_orders_ends_without_data(emulator, clock):
    """An end of its own, not a failure."""
    api = _api(emulator, clock, "cedar")
    start, end = clock.now() - timedelta(days=2), clock.now() - timedelta(days=1)
    asked = api.request_report(ORDERS, start=start, end=end, options={})
    clock.advance(hours=3)
    (info,) = api.list_requests(request_ids=[asked.request_id_at_amazon]).requests
    assert (info.status, info.report_id) == ("NO_DATA", None)


def test_a_schedule_is_set_seen_and_removed(emulator, clock):
    """`_NEVER_` removes it."""
    api = _api(emulator, clock, "bravo")
    assert api.set_schedule(ORDERS, "_30_MINUTES_")
    assert [(s.report_type, s.every) for s in api.list_schedules()] == [(ORDERS, "_30_MINUTES_")]
    api.set_schedule(ORDERS, "_NEVER_")
    assert api.list_schedules() == ()


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("throttle", Throttled),
        ("quota_exceeded", Throttled),
        ("internal_error", ServiceFault),
        ("unavailable", ServiceFault),
        ("html", ServiceFault),
        ("no_answer", ServiceFault),
        ("late_answer", ServiceFault),
        ("cut_body", BadBody),
        ("cut_without_length", BadBody),
        ("stalled_body", BadBody),
        ("wrong_md5", BadBody),
    ],
)
def test_each_fault_of_a_download_is_told_and_the_next_one_succeeds(emulator, clock, fault, error):
    """Nothing that goes wrong in one call is left over for the next."""
    (report_id,) = emulator.post("/_emulator/reports", {"account": "acme"})["report_ids"]
    emulator.post("/_emulator/faults", {"operation": "GetReport", "fault": fault})
    api = _api(emulator, clock, http=Http(read_seconds=2))
    with pytest.raises(error) as caught:
        api.download(report_id, lambda _block: None)
    assert type(caught.value) is error
    body = bytearray()
    api.download(report_id, body.extend)
    assert body.startswith(b"order-id\t")


def test_an_acknowledgement_whose_answer_was_lost_can_be_made_again(emulator, clock):
    """It had its effect; the second one says so."""
    made = emulator.post("/_emulator/reports", {"account": "acme", "count": 3})["report_ids"]
    emulator.post("/_emulator/faults", {"operation": "UpdateReportAcknowledgements", "fault": "late_answer", "next": 1})
    api = _api(emulator, clock)
    with pytest.raises(ServiceFault):
        api.acknowledge(made)
    assert api.acknowledge(made).report_ids == set(made)


def test_a_listing_begins_anew_when_its_token_is_no_longer_known(emulator, clock):
    """Expired, corrupted, or another seller's."""
    emulator.post("/_emulator/reports", {"account": "acme", "count": 101})
    api = _api(emulator, clock)
    token = api.list_reports(report_types=[ORDERS], acknowledged=False).next_token
    for asking, which in ((api, token[:-9] + "AAAA/+A=="), (_api(emulator, clock, "bravo"), token)):
        with pytest.raises(NextTokenLost):
            asking.list_reports(report_types=[], acknowledged=False, next_token=which)
    clock.advance(hours=2)
    with pytest.raises(NextTokenLost):
        api.list_reports(report_types=[], acknowledged=False, next_token=token)


@pytest.mark.parametrize(
    ("changed", "error", "scope"),
    [
        ({"secret_key": "wrong"}, OperatorNeeded, "application"),
        ({"access_key": "AKIAUNKNOWN"}, OperatorNeeded, "application"),
        ({"seller_id": "A1SOMEBODYELSE"}, OperatorNeeded, "connection"),
        ({"path": "/Orders/2013-09-01"}, OperatorNeeded, "connection"),
    ],
)
def test_refused_credentials_pause_what_they_belong_to(emulator, clock, changed, error, scope):
    """An application's keys, or one seller's authorization."""
    with pytest.raises(error) as caught:
        _api(emulator, clock, **changed).list_schedules()
    assert caught.value.scope == scope
    assert caught.value.evidence.request_id


def test_a_clock_that_is_wrong_is_tried_again_not_given_up(emulator, clock):
    """It is set right one day, and nothing was wrong with the report."""
    clock.ahead = timedelta(minutes=20)
    with pytest.raises(RetryLater, match="clock") as caught:
        _api(emulator, clock).list_schedules()
    assert type(caught.value) is RetryLater


def test_a_report_that_amazon_does_not_know_is_given_up(emulator, clock):
    """Asking again cannot help."""
    with pytest.raises(GiveUp):
        _api(emulator, clock).download("99999999999", lambda _block: None)


@pytest.mark.parametrize("form", ["doc", "2014", "2018"])
def test_the_end_of_the_hour_is_read_in_each_form(emulator, clock, form):
    """Whatever the age of the server."""
    emulator.post("/_emulator/headers", {"resets_on": form})
    quota = QuotaNotes()
    _api(emulator, clock, quota=quota).list_schedules()
    ((operation, maximum, remaining, resets_at),) = quota.told
    assert (operation, maximum) == ("GetReportScheduleList", 80.0)
    assert 0 < remaining <= 80
    assert timedelta(0) < resets_at - clock.now() <= timedelta(hours=1)


def test_a_call_that_the_quota_holds_back_never_reaches_amazon(emulator, clock, redis_url):
    """Over the real quota in Redis: two clients of one connection share it, and Amazon never has to refuse."""
    redis = connect(redis_url)
    shared = Quota(redis, clock).bound_to("acme:mws", QUOTAS)
    one, two = _api(emulator, clock, quota=shared), _api(emulator, clock, quota=shared)
    went = 0
    for minute in range(70):
        for api in (one, two):
            with suppress(Throttled):
                api.list_schedules()
                went += 1
        clock.advance(seconds=60 if minute % 2 else 30)
    calls = emulator.calls("GetReportScheduleList")
    assert len(calls) == went
    assert 60 <= went <= 80
    assert emulator.get("/_emulator/calls")["totals"]["over_quota"] == 0
    redis.close()


def test_a_refusal_all_the_same_stops_every_client_of_the_connection(emulator, clock, redis_url):
    """Another program may have used the quota up: one refusal is enough to know."""
    redis = connect(redis_url)
    quota = Quota(redis, clock)
    one, two = (_api(emulator, clock, quota=quota.bound_to("acme:mws", QUOTAS)) for _ in range(2))
    emulator.post("/_emulator/faults", {"operation": "GetReportScheduleList", "fault": "quota_exceeded", "next": 1})
    with pytest.raises(Throttled) as refused:
        one.list_schedules()
    with pytest.raises(Throttled) as held:
        two.list_schedules()
    assert held.value.until == refused.value.until
    assert timedelta(0) < refused.value.until - clock.now() <= timedelta(hours=1)
    assert len(emulator.calls("GetReportScheduleList")) == 1
    redis.close()


def test_the_emulator_is_known_as_one(emulator):
    """Secrets of an account may be given to it, and to no other address."""
    assert emulator_at(emulator.url)


def test_no_error_shows_a_secret(emulator, clock):
    """Whatever Amazon refuses, and however it words it."""
    keys = emulator.account("acme")
    api, forged = _api(emulator, clock), _api(emulator, clock, secret_key="a-wrong-secret")
    attempts = (
        forged.list_schedules,
        lambda: api.download("1", lambda _block: None),
        lambda: api.set_schedule("_NO_SUCH_TYPE_", "_NEVER_"),
    )
    for attempt in attempts:
        with pytest.raises(OrderdrainError) as caught:
            attempt()
        for secret in (keys["secret_key"], keys["access_key"], "a-wrong-secret"):
            assert secret not in str(caught.value)
