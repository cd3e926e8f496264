"""Our SP-API client against the emulated Amazon: two programs that share no code, and must agree on every byte."""

from __future__ import annotations

import base64
import gzip
from datetime import UTC, datetime, timedelta

import pytest

from orderdrain.amazon import lwa
from orderdrain.amazon.http import Http
from orderdrain.amazon.sp_api import QUOTAS, SpApiReports
from orderdrain.errors import (
    BadBody,
    GiveUp,
    NextTokenLost,
    OperatorNeeded,
    RetryLater,
    ServiceFault,
    Throttled,
)
from tests.emulator_process import Emulator
from tests.scripted_mws import QuotaNotes

SHIPPING = "GET_FLAT_FILE_ORDER_REPORT_DATA_SHIPPING"
BODY = b"order-id\torder-item-id\tsku\tquantity-purchased\n111-0000001-0000001\t1\tTEAPOT\t1\n"


@pytest.fixture
def emulator():
    """Its clock stands still but for /advance: no test hangs on how fast the machine is."""
    with Emulator.start(backlog=0, orders_per_minute=0, speed=0.001, sp_api_sellers="acme,bravo") as running:
        yield running


class Tokens:
    """Asks Login with Amazon anew each time that it must."""

    def __init__(self, emulator, account, **changed):
        told = emulator.account(account)
        self._keys = {name: told[name] for name in ("client_id", "client_secret", "refresh_token")} | changed
        self._url = emulator.first_line["lwa"]
        self.given = []

    def worked(self, operation, token):
        """Nothing is noted of any."""

    def access_token(self, *, instead_of=None):
        if not self.given or self.given[-1] == instead_of:
            token = lwa.refresh(Http(read_seconds=2), self._url, **self._keys, now=datetime.now(UTC))
            assert token.token not in repr(token)
            self.given.append(token.token)
        return self.given[-1]


class EmulatedClock:
    def __init__(self, emulator):
        self._emulator = emulator

    def now(self):
        return datetime.fromisoformat(self._emulator.get("/_emulator/clock")["now"])


def client(emulator, account="acme", *, tokens=None, quota=None, marketplaces=None):
    told = emulator.account(account)
    return SpApiReports(
        emulator.first_line["sp_api"],
        marketplaces or told["marketplaces"],
        tokens=tokens or Tokens(emulator, account),
        http=Http(read_seconds=1),
        clock=EmulatedClock(emulator),
        quota=quota or QuotaNotes(),
    )


def make(emulator, account="acme", **told):
    return emulator.post("/_emulator/reports", {"account": account, "api": "sp-api", **told})["report_ids"]


def fault(emulator, operation, kind, count=1):
    emulator.post("/_emulator/faults", {"operation": operation, "fault": kind, "next": count})


def advance(emulator, **span):
    emulator.post("/_emulator/advance", {"seconds": timedelta(**span).total_seconds()})


def downloaded(api, report_id):
    body = bytearray()
    told = api.download(report_id, body.extend)
    return bytes(body), told


def calls(emulator, operation):
    return [call for call in emulator.calls() if call["operation"] == operation]


# --------------------------------------------------------------------------------------------------------- listing


def test_a_listing_follows_next_token_alone_to_its_end(emulator):
    """SP-API refuses a nextToken with anything beside it."""
    made = make(emulator, count=230)
    api = client(emulator)

    page = api.list_reports(report_types=[SHIPPING], acknowledged=None)
    found = [report.report_id for report in page.reports]
    while page.next_token:
        page = api.list_reports(report_types=[SHIPPING], acknowledged=None, next_token=page.next_token)
        found += [report.report_id for report in page.reports]

    assert sorted(found) == sorted(made)
    assert len(calls(emulator, "getReports")) == 3
    assert page.reports[0].available_at.utcoffset() == timedelta(0)


def test_a_place_that_amazon_no_longer_knows_begins_the_listing_anew(emulator):
    """The same token would be refused for ever."""
    make(emulator, count=101)
    api = client(emulator)
    page = api.list_reports(report_types=[SHIPPING], acknowledged=None)
    fault(emulator, "getReports", "token_corrupted")
    with pytest.raises(NextTokenLost):
        api.list_reports(report_types=[SHIPPING], acknowledged=None, next_token=page.next_token)


def test_only_reports_that_are_done_are_listed_and_since_is_when_they_were_asked_for(emulator):
    """A report that cannot be downloaded is no report yet; one that took ten hours is older than it looks."""
    (done,) = make(emulator)
    make(emulator, status="CANCELLED")
    make(emulator, status="FATAL")
    now = EmulatedClock(emulator).now()
    (slow,) = make(emulator, created_at=(now - timedelta(hours=10)).isoformat())
    api = client(emulator)

    page = api.list_reports(report_types=[SHIPPING], acknowledged=None)
    assert {report.report_id for report in page.reports} == {done, slow}
    page = api.list_reports(report_types=[SHIPPING], acknowledged=None, since=now - timedelta(hours=2))
    assert {report.report_id for report in page.reports} == {done}


# -------------------------------------------------------------------------------------------------------- download


@pytest.mark.parametrize("zipped", [True, False])
def test_a_document_is_archived_as_it_was_sent(emulator, zipped):
    """Compressed or not: what Amazon announces of it is not always so, and the parser looks at the bytes."""
    sent = gzip.compress(BODY) if zipped else BODY
    (report_id,) = make(emulator, body_base64=base64.b64encode(sent).decode(), gzip=not zipped)

    body, told = downloaded(client(emulator), report_id)

    assert body == sent
    assert told.content_type.startswith("text/")


def test_no_token_of_amazons_goes_to_the_store_of_documents(emulator):
    """It opens the seller's other data to whoever runs the store."""
    (report_id,) = make(emulator)
    downloaded(client(emulator), report_id)

    assert len(calls(emulator, "document")) == 1
    assert emulator.get("/_emulator/calls")["totals"]["leaks"] == 0


def test_a_url_that_has_expired_is_asked_for_again(emulator):
    """A worker stood still for five minutes: that is no reason to pause an account."""
    (report_id,) = make(emulator)
    fault(emulator, "document", "expired_url")

    body, _ = downloaded(client(emulator), report_id)

    assert body
    assert len(calls(emulator, "getReportDocument")) == 2


@pytest.mark.parametrize("kind", ["cut_body", "cut_without_length", "stalled_body"])
def test_a_cut_document_is_never_taken_for_a_whole_one(emulator, kind):
    """There is no Content-MD5 any more: the length, or the end of the gzip, must tell."""
    (report_id,) = make(emulator, count=1)
    fault(emulator, "document", kind)
    api = client(emulator)

    with pytest.raises(BadBody, match="whole"):
        downloaded(api, report_id)
    assert downloaded(api, report_id)[0]


@pytest.mark.parametrize("kind", ["internal_error", "unavailable", "no_answer"])
def test_a_store_that_fails_is_amazons_trouble(emulator, kind):
    """And no url stands in what is said of it: it opens the document."""
    (report_id,) = make(emulator)
    fault(emulator, "document", kind)

    with pytest.raises((ServiceFault, BadBody)) as caught:
        downloaded(client(emulator), report_id)
    assert "X-Amz" not in str(caught.value)
    assert "http" not in str(caught.value)


def test_a_report_that_amazon_could_not_make_says_why(emulator):
    """The reason lies in its document, which must not be taken for orders."""
    told = base64.b64encode(b'{"errorDetails": "marketplaceIds are not valid"}').decode()
    stated, silent = make(emulator, status="FATAL", body_base64=told)[0], make(emulator, status="FATAL")[0]
    api = client(emulator)

    with pytest.raises(GiveUp, match="could not make it: marketplaceIds are not valid"):
        downloaded(api, stated)
    with pytest.raises(GiveUp, match="it states no reason"):
        downloaded(api, silent)
    with pytest.raises(GiveUp, match="cancelled it"):
        downloaded(api, make(emulator, status="CANCELLED")[0])
    with pytest.raises(GiveUp):
        downloaded(api, "999999999999")


# ---------------------------------------------------------------------------------------------------- who may call


def test_an_access_token_that_has_ended_costs_one_more_call(emulator):
    """A 403 stands for that too: whoever pauses the account at once loses a night."""
    make(emulator)
    tokens = Tokens(emulator, "acme")
    api = client(emulator, tokens=tokens)
    fault(emulator, "getReports", "expired_access_token")

    assert api.list_reports(report_types=[SHIPPING], acknowledged=None).reports
    assert len(tokens.given) == 2
    assert [call["status"] for call in calls(emulator, "getReports")] == [403, 200]


@pytest.mark.parametrize(
    ("operation", "said"), [("getReports", "roles"), ("createRestrictedDataToken", "Direct-to-Consumer Shipping")]
)
def test_a_role_that_is_lacking_pauses_the_seller_and_says_which(emulator, operation, said):
    """A newer token changes nothing: a person must act."""
    (report_id,) = make(emulator)
    fault(emulator, operation, "missing_role", 9)
    api = client(emulator)

    def calls():
        api.list_reports(report_types=[SHIPPING], acknowledged=None)
        downloaded(api, report_id)

    with pytest.raises(OperatorNeeded, match=said) as caught:
        calls()
    assert caught.value.scope == "connection"
    assert caught.value.evidence.request_id


@pytest.mark.parametrize(
    ("kind", "error", "scope"),
    [
        ("invalid_grant", OperatorNeeded, "connection"),
        ("invalid_client", OperatorNeeded, "application"),
        ("no_answer", ServiceFault, None),
    ],
)
def test_a_login_that_is_refused_says_whose_fault_it_is(emulator, kind, error, scope):
    """A developer's bad secret is one alert; a seller's revoked authorization is his alone."""
    fault(emulator, "LWA", kind, 9)
    tokens = Tokens(emulator, "acme")
    with pytest.raises(error) as caught:
        client(emulator, tokens=tokens).list_reports(report_types=[SHIPPING], acknowledged=None)
    assert getattr(caught.value, "scope", None) == scope
    assert emulator.account("acme")["client_secret"] not in str(caught.value)


def test_a_refusal_for_quota_stops_that_operation_for_every_worker(emulator):
    """It says neither how long nor how many: the bucket is taken for empty."""
    quota = QuotaNotes()
    fault(emulator, "getReports", "throttle")
    with pytest.raises(Throttled, match="throttled by getReports, quota restores 1 per 45"):
        client(emulator, quota=quota).list_reports(report_types=[SHIPPING], acknowledged=None)
    assert quota.refusals == [("getReports", False, None)]


def test_every_call_takes_from_its_quota(emulator):
    """One that did not would be the one that Amazon refuses."""
    quota = QuotaNotes()
    (report_id,) = make(emulator)
    downloaded(client(emulator, quota=quota), report_id)

    assert quota.taken == ["getReport", "createRestrictedDataToken", "getReportDocument"]
    assert set(quota.taken) <= QUOTAS.keys()


# ------------------------------------------------------------------------------------------- requests and schedules


def test_a_request_is_followed_to_its_report(emulator):
    """Request and report have one id."""
    emulator.post("/_emulator/orders", {"account": "acme", "count": 2})
    advance(emulator, minutes=2)
    api, now = client(emulator), EmulatedClock(emulator).now().replace(microsecond=0)
    asked = api.request_report(SHIPPING, start=now - timedelta(hours=1), end=now, options={"ShowSalesChannel": "true"})
    assert asked.status == "SUBMITTED"

    advance(emulator, minutes=5)

    (info,) = api.list_requests(request_ids=[asked.request_id_at_amazon]).requests
    assert (info.status, info.report_id, info.scheduled) == ("DONE", asked.request_id_at_amazon, False)
    (same,) = api.list_requests(report_types=[SHIPPING], since=now - timedelta(minutes=1)).requests
    assert (same.window_start, same.window_end) == (now - timedelta(hours=1), now)
    assert b"order-id" in (
        gzip.decompress(body) if (body := downloaded(api, info.report_id)[0])[:1] == b"\x1f" else body
    )


def test_a_report_that_is_not_made_yet_is_tried_later(emulator):
    """It is neither lost nor wrong."""
    fault(emulator, "createReport", "slow_request")
    api, now = client(emulator), EmulatedClock(emulator).now().replace(microsecond=0)
    asked = api.request_report(SHIPPING, start=now - timedelta(hours=1), end=now, options={})
    with pytest.raises(RetryLater, match="not made it yet"):
        downloaded(api, asked.request_id_at_amazon)


def test_schedules_are_set_replaced_and_removed(emulator):
    """In Amazon's own words for how often."""
    api = client(emulator)
    ours = lambda: [info.every for info in api.list_schedules() if info.report_type == SHIPPING]  # noqa: E731
    api.set_schedule(SHIPPING, "PT15M")
    assert ours() == ["PT15M"]
    api.set_schedule(SHIPPING, "PT1H")
    assert ours() == ["PT1H"]
    api.set_schedule(SHIPPING, "_NEVER_")
    assert ours() == []


def test_a_schedule_for_other_marketplaces_is_neither_ours_nor_touched(emulator):
    """SP-API keeps one for each type and set of marketplaces: who drains two of them together leaves one alone."""
    whole = client(emulator, "bravo")
    one_of_them = client(emulator, "bravo", marketplaces=emulator.account("bravo")["marketplaces"][:1])
    one_of_them.set_schedule(SHIPPING, "PT1H")
    whole.set_schedule(SHIPPING, "PT15M")

    told = sorted((info.every, info.ours) for info in whole.list_schedules() if info.report_type == SHIPPING)
    assert told == [("PT15M", True), ("PT1H", False)]
    whole.set_schedule(SHIPPING, "_NEVER_")
    (left,) = [info for info in one_of_them.list_schedules() if info.report_type == SHIPPING]
    assert (left.every, left.ours) == ("PT1H", True)
