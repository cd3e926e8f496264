"""The emulated MWS over raw HTTP: the rules that no published client exercises, each from the documentation or traffic."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import re
import socket
import threading
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import quote, urlsplit

import pytest

from tests.emulator_process import Emulator

NEW_ORDERS = "_GET_FLAT_FILE_ORDERS_DATA_"


@pytest.fixture
def emulator():
    with Emulator.start(backlog=12, orders_per_minute=1) as running:
        yield running


class Answer:
    """What came: status, headers, bytes; values of its XML by name."""

    def __init__(self, response, body):
        self.status, self.headers, self.body = response.status, response.headers, body

    def all(self, name):
        return re.findall(rf"<{name}>([^<]*)</{name}>", self.body.decode())

    def one(self, name):
        (value,) = self.all(name)
        return value

    @property
    def code(self):
        return self.one("Code")


def call(emulator, account, action, *, now=None, verb="POST", path="/Reports/2009-01-01", **options):
    """One signed call. `options` beyond host, agent, secret, where, digest are parameters; None leaves one out."""
    host = options.pop("host", urlsplit(emulator.url).netloc)
    agent = options.pop("agent", "orderdrain-tests/1.0 (Language=Python)")
    secret = options.pop("secret", account["secret_key"])
    where = options.pop("where", "body")
    digest = options.pop("digest", "HmacSHA256")
    pairs = {
        "AWSAccessKeyId": account["access_key"],
        "Action": action,
        "MWSAuthToken": account.get("mws_auth_token"),
        "SellerId": account["seller_id"],
        "SignatureMethod": digest,
        "SignatureVersion": "2",
        "Timestamp": now or emulator.get("/_emulator/clock")["now"],
        "Version": "2009-01-01",
    } | {name.replace("__", "."): value for name, value in options.items()}
    encode = lambda text: quote(str(text), safe="-_.~")  # noqa: E731
    query = "&".join(f"{encode(n)}={encode(v)}" for n, v in sorted(pairs.items()) if v is not None)
    text = f"{verb}\n{host.lower()}\n{path}\n{query}".encode()
    signature = base64.b64encode(hmac.digest(secret.encode(), text, digest.removeprefix("Hmac").lower())).decode()
    query += f"&Signature={encode(signature)}"
    connection = http.client.HTTPConnection(urlsplit(emulator.url).netloc, timeout=20)
    headers = {"Host": host} | ({"User-Agent": agent} if agent else {})
    if where == "body":
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    connection.request(verb, path + ("" if where == "body" else f"?{query}"), query if where == "body" else "", headers)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return Answer(response, body)


def listed(emulator, account, **parameters):
    """All ids of a listing, page by page."""
    answer = call(emulator, account, "GetReportList", **parameters)
    pages = [answer.all("ReportId")]
    while answer.one("HasNext") == "true":
        answer = call(emulator, account, "GetReportListByNextToken", NextToken=answer.one("NextToken"))
        pages.append(answer.all("ReportId"))
    return pages


def rows(body, encoding):
    header, *lines = body.decode(encoding).splitlines()
    return [dict(zip(header.split("\t"), line.split("\t"), strict=True)) for line in lines]


@pytest.mark.parametrize(("verb", "where"), [("GET", "query"), ("POST", "query"), ("POST", "body")])
@pytest.mark.parametrize("path", ["/", "/Reports/2009-01-01"])
def test_parameters_may_come_in_the_address_or_in_the_body_on_both_paths(emulator, verb, where, path):
    """Clients of 2014 and 2018 differ in this, and each must get its answer."""
    answer = call(emulator, emulator.account("acme"), "GetReportCount", verb=verb, where=where, path=path)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/xml")
    assert answer.one("Count") == "15"  # twelve of orders, three foreign ones


@pytest.mark.parametrize(
    "agent", ["Boto/2.49.0 Python/3.11.7 Linux/6.1", "@x/1 (Language=PHP)", "a/b/c/1 (d)", "x" * 500]
)
def test_user_agents_of_every_shape_are_taken(emulator, agent):
    """The documented form is what few clients send: only none at all, or one that is too long, is malformed."""
    assert call(emulator, emulator.account("acme"), "GetReportCount", agent=agent).status == 200
    assert call(emulator, emulator.account("acme"), "GetReportCount", agent=None).code == "UserAgentHeaderMalformed"


def test_what_is_wrong_with_a_caller_is_said_in_amazons_words(emulator):
    """A client must tell its own fault (a person must act) from one that passes."""
    acme, bravo = emulator.account("acme"), emulator.account("bravo")
    refused = {
        ("InvalidAddress", 404): {"path": "/Orders/2013-09-01"},
        ("UserAgentHeaderMalformed", 400): {"agent": "x" * 501},
        ("SignatureDoesNotMatch", 403): {"secret": "wrong"},
        ("InvalidAccessKeyId", 403): {"AWSAccessKeyId": "AKIAUNKNOWN", "secret": "wrong"},
        ("AccessDenied", 401): {"SellerId": bravo["seller_id"]},
        ("InvalidParameterValue", 400): {"Version": "2013-09-01"},
    }
    for (code, status), changed in refused.items():
        answer = call(emulator, acme, "GetReportCount", **changed)
        assert (answer.code, answer.status) == (code, status)
        assert answer.one("Message")
        assert answer.one("RequestID") == answer.headers["x-mws-request-id"]
    assert call(emulator, acme, "GetOrder").code == "InvalidAddress"


def test_the_host_is_signed_as_it_was_sent(emulator):
    """Some clients send the port in Host, some do not, some send Amazon's own name."""
    for host in ("127.0.0.1", "MWS.AmazonServices.com"):
        assert call(emulator, emulator.account("acme"), "GetReportCount", host=host).status == 200


def test_the_older_digest_and_the_older_name_of_the_seller_are_understood(emulator):
    """HmacSHA1 and Merchant are still documented."""
    acme = emulator.account("acme")
    answer = call(emulator, acme, "GetReportCount", digest="HmacSHA1", SellerId=None, Merchant=acme["seller_id"])
    assert answer.status == 200


def test_timestamps_are_judged_by_the_emulated_clock(emulator):
    """A quarter of an hour is forgiven, in any of the forms that clients send; no more."""
    acme = emulator.account("acme")
    now = datetime.fromisoformat(emulator.get("/_emulator/clock")["now"])
    for form in ("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S.000Z"):
        assert call(emulator, acme, "GetReportCount", now=now.strftime(form)).status == 200
    emulator.post("/_emulator/advance", {"seconds": 16 * 60})
    answer = call(emulator, acme, "GetReportCount", now=now.isoformat())
    assert (answer.status, answer.code) == (400, "InvalidParameterValue")
    assert "expired" in answer.one("Message")


def test_a_seller_reached_by_a_third_party_needs_its_token():
    """The fifth seller has given leave to a developer; without that token nobody speaks for it."""
    with Emulator.start(sellers=5, backlog=1) as emulator:
        ember = emulator.account("ember")
        assert call(emulator, ember, "GetReportCount").status == 200
        for token in (None, "", "amzn.mws.other"):
            assert call(emulator, ember, "GetReportCount", MWSAuthToken=token).code == "AccessDenied"
        assert call(emulator, emulator.account("acme"), "GetReportCount", MWSAuthToken="").status == 200


def test_pages_are_full_and_name_no_report_twice(emulator):
    """MaxCount holds for the following pages too."""
    pages = listed(emulator, emulator.account("acme"), MaxCount=7)
    assert [len(page) for page in pages] == [7, 7, 1]
    assert len({report_id for page in pages for report_id in page}) == 15
    for wrong in (0, 101, "ten"):
        assert call(emulator, emulator.account("acme"), "GetReportList", MaxCount=wrong).code == "InvalidParameterValue"


def test_a_next_token_needs_escaping_expires_and_belongs_to_one_listing(emulator):
    """It is opaque; whoever keeps it for later, or sends it elsewhere, must begin again."""
    acme = emulator.account("acme")
    token = call(emulator, acme, "GetReportList").one("NextToken")
    assert {"+", "/", "="} <= set(token)
    wrong = [
        (acme, "GetReportRequestListByNextToken", token),
        (emulator.account("bravo"), "GetReportListByNextToken", token),
        (acme, "GetReportListByNextToken", token[:-4]),
        (acme, "GetReportScheduleListByNextToken", token),
    ]
    for account, action, sent in wrong:
        answer = call(emulator, account, action, NextToken=sent)
        assert (answer.status, answer.code) == (400, "NextTokenCorrupted")
    assert call(emulator, acme, "GetReportListByNextToken", NextToken=token).status == 200
    emulator.post("/_emulator/advance", {"seconds": 15 * 60})
    assert call(emulator, acme, "GetReportListByNextToken", NextToken=token).code == "NextTokenCorrupted"


def test_acknowledging_while_paging_makes_later_pages_skip(emulator):
    """The documentation warns of it: the filter changes the very set that is being paged."""
    acme = emulator.account("acme")
    everything = [report_id for page in listed(emulator, acme, Acknowledged="false") for report_id in page]
    first = call(emulator, acme, "GetReportList", Acknowledged="false", MaxCount=5)
    emulator.post("/_emulator/acknowledge", {"account": "acme", "report_ids": first.all("ReportId")[:3]})
    second = call(emulator, acme, "GetReportListByNextToken", NextToken=first.one("NextToken"))
    assert first.all("ReportId") == everything[:5]
    assert second.all("ReportId") == everything[8:13]


def test_a_report_that_arrives_while_paging_is_for_the_next_listing(emulator):
    """Else it would push the others back, and the last one would be listed twice."""
    acme = emulator.account("acme")
    first = call(emulator, acme, "GetReportList", MaxCount=100, ReportTypeList__Type__1=NEW_ORDERS)
    page = call(emulator, acme, "GetReportList", MaxCount=5, ReportTypeList__Type__1=NEW_ORDERS)
    (new,) = emulator.post("/_emulator/reports", {"account": "acme"})["report_ids"]
    rest = call(emulator, acme, "GetReportListByNextToken", NextToken=page.one("NextToken"))
    assert page.all("ReportId") + rest.all("ReportId") == first.all("ReportId")[:10]
    assert new in call(emulator, acme, "GetReportList").all("ReportId")


def test_at_most_a_hundred_reports_are_acknowledged_and_an_unknown_one_stops_them_all(emulator):
    """The hundred is documented; that the rest of a bad batch stays untouched is what a client must be ready for."""
    acme = emulator.account("acme")
    ids = [report_id for page in listed(emulator, acme) for report_id in page]
    many = {f"ReportIdList__Id__{n}": ids[0] for n in range(1, 102)}
    assert call(emulator, acme, "UpdateReportAcknowledgements", **many).code == "InvalidParameterValue"
    bad = {"ReportIdList__Id__1": ids[0], "ReportIdList__Id__2": "999"}
    assert "999" in call(emulator, acme, "UpdateReportAcknowledgements", **bad).one("Message")
    assert call(emulator, acme, "GetReportCount", Acknowledged="true").one("Count") == "0"
    good = {"ReportIdList__Id__1": ids[0], "ReportIdList__id__2": ids[1]}
    answer = call(emulator, acme, "UpdateReportAcknowledgements", **good)
    assert (answer.one("Count"), answer.all("Acknowledged"), answer.all("ReportId")) == ("2", ["true"] * 2, ids[:2])
    assert len(answer.all("AcknowledgedDate")) == 2
    call(emulator, acme, "UpdateReportAcknowledgements", Acknowledged="False", ReportIdList__Id__1=ids[0])
    assert call(emulator, acme, "GetReportList", Acknowledged="true").all("ReportId") == [ids[1]]


def test_the_bucket_and_the_hour_refuse_each_with_its_own_code(emulator):
    """Only the code in the body tells a wait of a minute from a wait of an hour: both are 503."""
    acme = emulator.account("acme")
    answers = [call(emulator, acme, "GetReportList") for _ in range(11)]
    assert [answer.status for answer in answers] == [200] * 10 + [503]
    assert answers[0].headers["x-mws-quota-max"] == answers[0].headers["x-mws-quota-remaining"] == "60.0"
    assert (answers[10].code, answers[10].headers["Retry-After"]) == ("RequestThrottled", None)
    emulator.post("/_emulator/advance", {"seconds": 60})
    assert [call(emulator, acme, "GetReportList").status for _ in range(2)] == [200, 503]
    emulator.post("/_emulator/quota", {"operation": "GetReportList", "max": 5, "restore_seconds": 1, "hourly": 3})
    answers = [call(emulator, acme, "GetReportList") for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 503]
    assert (answers[3].code, answers[3].headers["x-mws-quota-remaining"]) == ("QuotaExceeded", "0.0")
    assert emulator.get("/_emulator/calls")["totals"]["over_quota"] == 3


@pytest.mark.parametrize(
    ("form", "shape"),
    [
        ("doc", r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT"),
        ("2014", r"[A-Z][a-z]{2},\d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d UTC"),
        ("2018", r"\d{4}-\d\d-\d\dT\d\d:\d\d:00\.000Z"),
    ],
)
def test_the_hour_ends_in_each_of_the_three_recorded_forms(emulator, form, shape):
    """The documentation, 2014 and 2018 all write the same moment differently."""
    emulator.post("/_emulator/headers", {"resets_on": form})
    answer = call(emulator, emulator.account("acme"), "GetReportCount")
    assert re.fullmatch(shape, answer.headers["x-mws-quota-resetsOn"])


def test_only_one_of_the_order_reports_stays_scheduled(emulator):
    """Scheduling the second silently cancels the first: who does not know it loses orders."""
    acme = emulator.account("acme")
    assert call(emulator, acme, "GetReportScheduleList").all("ReportType") == [NEW_ORDERS]
    schedule = {"ReportType": "_GET_ORDERS_DATA_", "Schedule": "_1_HOUR_"}
    assert call(emulator, acme, "ManageReportSchedule", **schedule).one("Count") == "1"
    assert call(emulator, acme, "GetReportScheduleList").all("ReportType") == ["_GET_ORDERS_DATA_"]
    ended = call(emulator, acme, "ManageReportSchedule", **schedule | {"Schedule": "_NEVER_"})
    assert (ended.one("Count"), ended.one("Schedule")) == ("1", "_NEVER_")
    assert call(emulator, acme, "GetReportScheduleCount").one("Count") == "0"
    for wrong in ({"ReportType": "_GET_NO_SUCH_DATA_"}, {"Schedule": "_3_HOURS_"}):
        assert call(emulator, acme, "ManageReportSchedule", **schedule | wrong).code == "InvalidParameterValue"


def test_a_requested_report_goes_through_its_states(emulator):
    """It tells again, in their newest form, orders that scheduled reports have told before."""
    acme = emulator.account("acme")
    asked = call(emulator, acme, "RequestReport", ReportType=NEW_ORDERS, ReportOptions="ShowSalesChannel=true")
    assert (asked.one("ReportProcessingStatus"), asked.one("Scheduled")) == ("_SUBMITTED_", "false")
    by_id = {"ReportRequestIdList__Id__1": asked.one("ReportRequestId")}
    states = [asked.one("ReportProcessingStatus")]
    for _ in range(62):
        emulator.post("/_emulator/advance", {"seconds": 1})
        emulator.post(
            "/_emulator/quota", {"operation": "GetReportRequestList", "max": 9, "restore_seconds": 1, "hourly": 99}
        )
        answer = call(emulator, acme, "GetReportRequestList", **by_id)
        states.append(answer.one("ReportProcessingStatus"))
    assert list(dict.fromkeys(states)) == ["_SUBMITTED_", "_IN_PROGRESS_", "_DONE_"]
    report = call(emulator, acme, "GetReport", ReportId=answer.one("GeneratedReportId"))
    lines = rows(report.body, "cp1252")
    assert {line["sales-channel"] for line in lines} == {"Amazon.com"}
    truth = emulator.get("/_emulator/truth")
    told = {line["order_id"] for line in truth["families"]["new_orders"] if line["account"] == "acme"}
    assert {line["order-id"] for line in lines} == told


def test_a_request_without_data_or_with_a_wrong_window_says_so(emulator):
    """No data is an end of its own; a window into the future or another seller's marketplace is refused."""
    acme = emulator.account("acme")
    now = datetime.fromisoformat(emulator.get("/_emulator/clock")["now"])
    old = {"StartDate": (now - timedelta(days=50)).isoformat(), "EndDate": (now - timedelta(days=49)).isoformat()}
    ids = [
        call(emulator, acme, "RequestReport", ReportType=NEW_ORDERS, **old).one("ReportRequestId"),
        call(emulator, acme, "RequestReport", ReportType="_GET_AMAZON_FULFILLED_SHIPMENTS_DATA_").one(
            "ReportRequestId"
        ),
    ]
    emulator.post("/_emulator/advance", {"seconds": 61})
    by_id = {f"ReportRequestIdList__Id__{n}": request_id for n, request_id in enumerate(ids, start=1)}
    answer = call(emulator, acme, "GetReportRequestList", **by_id)
    assert answer.all("ReportProcessingStatus") == ["_DONE_NO_DATA_"] * 2
    assert not answer.all("GeneratedReportId")
    assert len(answer.all("CompletedDate")) == 2
    wrong = [
        {"EndDate": (now + timedelta(hours=1)).isoformat()},
        {"StartDate": old["EndDate"], "EndDate": old["StartDate"]},
        {"MarketplaceIdList__Id__1": "ATVPDKIKX0DER", "MarketplaceIdList__Id__2": "A1PA6795UKMFR9"},
        {"ReportType": "_GET_ORDERS_DATA_"},
        {"ReportType": "_GET_PENDING_ORDERS_DATA_"},
    ]
    for changed in wrong:
        answer = call(emulator, acme, "RequestReport", **{"ReportType": NEW_ORDERS} | changed)
        assert (answer.status, answer.code) == (400, "InvalidParameterValue"), changed


def test_only_what_has_not_begun_is_cancelled(emulator):
    """A cancelled request makes no report."""
    acme = emulator.account("acme")
    asked = call(emulator, acme, "RequestReport", ReportType=NEW_ORDERS)
    cancelled = call(emulator, acme, "CancelReportRequests", ReportTypeList__Type__1=NEW_ORDERS)
    assert (cancelled.one("Count"), cancelled.one("ReportProcessingStatus")) == ("1", "_CANCELLED_")
    emulator.post("/_emulator/advance", {"seconds": 61})
    by_id = {"ReportRequestIdList__Id__1": asked.one("ReportRequestId")}
    assert call(emulator, acme, "GetReportRequestList", **by_id).one("ReportProcessingStatus") == "_CANCELLED_"
    assert call(emulator, acme, "CancelReportRequests").one("Count") == "0"


def test_reports_are_gone_after_ninety_days(emulator):
    """What was not drained in time is lost at Amazon."""
    acme = emulator.account("acme")
    emulator.post("/_emulator/stop-selling", {})
    known = call(emulator, acme, "GetReportList").all("ReportId")[-1]
    assert call(emulator, acme, "GetReport", ReportId=known).status == 200
    emulator.post("/_emulator/advance", {"seconds": 91 * 86400})
    assert call(emulator, acme, "GetReportCount", ReportTypeList__Type__1=NEW_ORDERS).one("Count") in {"0", "1"}
    assert call(emulator, acme, "GetReport", ReportId=known).code == "InvalidParameterValue"


def test_the_files_tell_exactly_what_the_truth_says(emulator):
    """The judge must be right: the newest telling of each line, read from the very bytes, is the truth's."""
    emulator.post("/_emulator/quota", {"operation": "GetReport", "max": 99, "restore_seconds": 1, "hourly": 99})
    types, seen = set(), {}
    for name, encoding in (("acme", "cp1252"), ("bravo", "cp1252"), ("cedar", "cp932")):
        account = emulator.account(name)
        answer = call(emulator, account, "GetReportList", ReportTypeList__Type__1=NEW_ORDERS, MaxCount=100)
        for report_id in reversed(answer.all("ReportId")):
            report = call(emulator, account, "GetReport", ReportId=report_id)
            assert report.headers["Content-MD5"] == base64.b64encode(hashlib.md5(report.body).digest()).decode()
            types.add((name, report.headers["Content-Type"]))
            for line in rows(report.body, encoding):
                seen[name, line["order-id"], line["order-item-id"]] = (report_id, line)
    truth = emulator.get("/_emulator/truth")["families"]["new_orders"]
    told = {(line["account"], line["order_id"], line["order_item_id"]): line for line in truth}
    assert len(told) == len(truth) == len(seen)
    assert {key: (line["report_id"], line["cells"]) for key, line in told.items()} == seen
    assert types == {
        ("acme", "text/plain;charset=windows-1252"),
        ("bravo", "text/plain;charset=windows-1252"),
        ("cedar", "text/plain;charset=windows-31j"),
    } | {(name, "application/octet-stream") for name in ("acme", "bravo", "cedar")}


def raw_answer(emulator, report_id):
    """All bytes of GetReport's answer until the connection ends, and whether the server ended it first."""
    try:
        return call(emulator, emulator.account("acme"), "GetReport", ReportId=report_id)
    except (http.client.HTTPException, ConnectionError) as error:
        return error


def test_faults_come_exactly_when_they_are_ordered(emulator):
    """A scenario must be able to say: the next call of GetReport goes wrong in this way, and then no more."""
    (report_id,) = emulator.post("/_emulator/reports", {"account": "acme"})["report_ids"]
    right = raw_answer(emulator, report_id).body
    emulator.post("/_emulator/faults", {"stall_seconds": 0.2})

    def spoiled(fault):
        emulator.post("/_emulator/faults", {"operation": "GetReport", "fault": fault, "account": "acme"})
        return raw_answer(emulator, report_id)

    assert (spoiled("throttle").code, spoiled("quota_exceeded").code) == ("RequestThrottled", "QuotaExceeded")
    assert (spoiled("internal_error").status, spoiled("unavailable").status) == (500, 503)
    page = spoiled("html")
    assert (page.status, page.headers["Content-Type"]) == (502, "text/html")
    assert isinstance(spoiled("no_answer"), http.client.RemoteDisconnected)
    assert isinstance(spoiled("late_answer"), http.client.RemoteDisconnected)
    assert spoiled("cut_body").partial == right[: int(len(right) * 0.6)]
    assert spoiled("stalled_body").partial == right[: len(right) // 2]
    unannounced = spoiled("cut_without_length")
    assert (unannounced.headers["Content-Length"], unannounced.body) == (None, right[: int(len(right) * 0.6)])
    wrong = spoiled("wrong_md5")
    assert len(wrong.body) == len(right)
    assert base64.b64encode(hashlib.md5(wrong.body).digest()).decode() != wrong.headers["Content-MD5"]
    assert raw_answer(emulator, report_id).body == right
    assert set(emulator.get("/_emulator/calls")["totals"]["faults"].values()) == {1}


def test_listings_can_repeat_an_id_be_empty_and_lose_their_token(emulator):
    """Scenario of a listing under change: each of these has been seen."""
    acme = emulator.account("acme")
    right = listed(emulator, acme, MaxCount=8)
    for operation, fault in (
        ("GetReportList", "duplicate_listing"),
        ("GetReportListByNextToken", "empty_page"),
    ):
        emulator.post("/_emulator/faults", {"operation": operation, "fault": fault})
    assert listed(emulator, acme, MaxCount=8) == [right[0], [], [right[0][-1], *right[1]]]
    emulator.post("/_emulator/faults", {"operation": "GetReportListByNextToken", "fault": "token_corrupted"})
    token = call(emulator, acme, "GetReportList").one("NextToken")
    assert call(emulator, acme, "GetReportListByNextToken", NextToken=token).code == "NextTokenCorrupted"


def test_a_late_answer_has_had_its_effect(emulator):
    """The answer to an acknowledgement may be lost after Amazon applied it: asking again must be harmless."""
    acme = emulator.account("acme")
    report_id = call(emulator, acme, "GetReportList").all("ReportId")[0]
    emulator.post("/_emulator/faults", {"operation": "UpdateReportAcknowledgements", "fault": "late_answer"})
    with pytest.raises(http.client.RemoteDisconnected):
        call(emulator, acme, "UpdateReportAcknowledgements", ReportIdList__Id__1=report_id)
    assert call(emulator, acme, "GetReportList", Acknowledged="true").all("ReportId") == [report_id]
    (record,) = emulator.calls("UpdateReportAcknowledgements")
    assert (record["status"], record["applied"], record["report_ids"]) == (None, True, [report_id])


def test_the_harness_is_asked_before_an_acknowledgement_is_applied():
    """So it can look for the rows at the one moment that matters."""
    asked, answers = threading.Event(), threading.Event()
    questions = []

    class Harness(BaseHTTPRequestHandler):
        def do_POST(self):
            questions.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            asked.set()
            answers.wait(10)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    harness = HTTPServer(("127.0.0.1", 0), Harness)
    threading.Thread(target=harness.serve_forever, daemon=True).start()
    with harness, Emulator.start(on_acknowledge=f"http://127.0.0.1:{harness.server_port}/") as emulator:
        acme = emulator.account("acme")
        report_id = call(emulator, acme, "GetReportList").all("ReportId")[0]
        arguments = {"ReportIdList__Id__1": report_id}
        caller = threading.Thread(target=call, args=(emulator, acme, "UpdateReportAcknowledgements"), kwargs=arguments)
        caller.start()
        assert asked.wait(10)
        assert call(emulator, acme, "GetReportCount", Acknowledged="true").one("Count") == "0"
        answers.set()
        caller.join()
        assert call(emulator, acme, "GetReportCount", Acknowledged="true").one("Count") == "1"
        harness.shutdown()
    assert questions == [{"account": "acme", "seller_id": acme["seller_id"], "report_ids": [report_id]}]


def test_with_a_control_token_only_its_bearer_drives_the_emulator():
    """Beyond loopback everybody could sell and acknowledge; the time alone is told to all."""
    with Emulator.start(control_token="sesame", backlog=1) as emulator:
        assert emulator.post("/_emulator/advance", {"seconds": 1})["emulator"] == "orderdrain"
        connection = http.client.HTTPConnection(urlsplit(emulator.url).netloc, timeout=20)
        statuses = []
        for path in ("/_emulator/truth", "/_emulator/", "/_emulator/clock"):
            connection.request("GET", path, headers={"Authorization": "Bearer other"})
            response = connection.getresponse()
            response.read()
            statuses.append(response.status)
        connection.close()
        assert statuses == [401, 401, 200]
        assert emulator.stop() == 0


def test_an_idle_connection_does_not_keep_others_waiting(emulator):
    """Clients keep connections open; one thread must not serve one connection at a time."""
    address = urlsplit(emulator.url)
    with socket.create_connection((address.hostname, address.port)):
        assert call(emulator, emulator.account("acme"), "GetReportCount").status == 200
