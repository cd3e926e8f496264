"""Our client against what Amazon really answered (recorded 2014 to 2020), and against the examples that it printed.

A local server gives each recording back byte for byte, with its recorded status and headers.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orderdrain.amazon import ListingPage, RequestInfo, RequestPage
from orderdrain.errors import BadBody, GiveUp, OperatorNeeded, OrderdrainError, ServiceFault
from tests.scripted_mws import Answer, QuotaNotes, client, scripted_mws

SHARED = Path(__file__).resolve().parents[3] / "shared" / "samples"
WIRE = SHARED / "hakanensari-peddler" / "mws-wire"
EXPECTED = Path(__file__).resolve().parents[1] / "data" / "mws_recorded_answers.txt"
# The server frames the answers anew; all other recorded headers are sent as they were.
FRAMING = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}

pytestmark = pytest.mark.skipif(not WIRE.is_dir(), reason="recorded MWS answers absent: ../shared/samples")


@pytest.fixture
def mws():
    with scripted_mws() as server:
        yield server


def _recorded(exchange: Path) -> Answer:
    response = json.loads(exchange.read_text())["response"]
    headers = {name: value for name, value in response["headers"].items() if name.lower() not in FRAMING}
    body = (exchange.parent / response["body_file"]).read_bytes()
    announced = response["body_bytes"] if response["body_truncated_here"] else None
    return Answer(int(response["status"]["code"]), body, headers, announced=announced)


def _ask(api, operation: str):
    """The call of ours whose answer `operation` is."""
    return {
        "GetReportList": lambda: api.list_reports(report_types=[], acknowledged=None),
        "GetReportListByNextToken": lambda: api.list_reports(report_types=[], acknowledged=None, next_token="t"),
        "GetReportRequestList": api.list_requests,
        "GetReportRequestListByNextToken": lambda: api.list_requests(next_token="t"),
        "GetReportScheduleList": api.list_schedules,
        "ManageReportSchedule": lambda: api.set_schedule("_T_", "_1_DAY_"),
        "UpdateReportAcknowledgements": lambda: api.acknowledge(["841997483"]),
        "RequestReport": lambda: api.request_report("_T_", start=None, end=None, options={}),
    }[operation]()


def test_every_recorded_answer_says_what_it_says(mws):
    """Two namespaces, six orders of elements, tokens of 152 to 536 characters, ids of 9 to 17 digits."""
    lines = []
    for exchange in sorted((WIRE / "reports").glob("*.exchange.json")):
        name = exchange.name.removesuffix(".exchange.json")
        operation = name.split("_")[0]
        if operation == "GetReport" or operation.endswith("Count"):
            continue
        mws.will_answer(_recorded(exchange))
        lines += _told(name, _ask(client(mws.url), operation))
    expected = [line for line in EXPECTED.read_text().splitlines() if not line.startswith("#")]
    assert lines == expected


def _told(name: str, said) -> list[str]:
    """What our client made of an answer, in the lines of mws_recorded_answers.txt."""
    if isinstance(said, str):  # the request id of ManageReportSchedule
        return [f"{name} request={said} next=-"]
    if isinstance(said, ListingPage):
        rows = [(r.report_id, r.report_request_id, r.report_type, r.available_at, r.acknowledged) for r in said.reports]
    elif isinstance(said, RequestPage):
        rows = [_request_row(info) for info in said.requests]
    else:
        rows = [(schedule.report_type, schedule.every) for schedule in said]
    token = getattr(said, "next_token", None)
    shown = f"{len(token)}:{token[:8]}..{token[-8:]}" if token else "-"
    head = f"{name} request={getattr(said, 'request_id', '-')} next={shown}"
    return [head, *("  " + " ".join(map(_cell, row)) for row in rows)]


def _request_row(info: RequestInfo) -> tuple[object, ...]:
    return (
        *(info.request_id_at_amazon, info.report_type, info.status, info.submitted_at, info.window_start),
        *(info.window_end, info.completed_at, info.report_id, info.scheduled),
    )


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "-" if value is None else f"{value:%Y-%m-%dT%H:%M:%SZ}" if isinstance(value, datetime) else str(value)


@pytest.mark.parametrize(
    ("name", "maximum", "remaining", "resets_at"),
    [
        ("GetReportList_ca_2014_page1", 60.0, 59.0, datetime(2014, 2, 4, 12, 3, tzinfo=UTC)),
        ("GetReportListByNextToken_jp_2014_page2", 1800.0, 1800.0, datetime(2014, 2, 4, 11, 47, tzinfo=UTC)),
        ("GetReportRequestList_ca_2014_page1", 80.0, 72.0, datetime(2014, 2, 4, 12, 3, tzinfo=UTC)),
        ("GetReportList_eu_max1_2018", 60.0, 60.0, datetime(2018, 4, 27, 14, 54, tzinfo=UTC)),
        ("GetReportList_au_max1_2020", 60.0, 60.0, datetime(2020, 10, 12, 11, 36, tzinfo=UTC)),
    ],
)
def test_recorded_quota_headers_reach_the_quota(mws, name, maximum, remaining, resets_at):
    """2014 wrote the date without a space after the comma, 2018 in ISO form."""
    mws.will_answer(_recorded(WIRE / "reports" / f"{name}.exchange.json"))
    quota = QuotaNotes()
    _ask(client(mws.url, quota=quota), name.split("_")[0])
    assert [told[1:] for told in quota.told] == [(maximum, remaining, resets_at)]


@pytest.mark.parametrize(
    ("name", "size", "content_type", "request_id"),
    [
        ("au_textplain_nocharset_2020", 959, "text/plain", "4c801052-63ab-47a5-baf3-ac911e2c8c6a"),
        ("ca_octetstream_2014", 97, "application/octet-stream", "a3d92b96-f63c-4a3e-a38d-f688967d6693"),
        ("eu_octetstream_2014", 95, "application/octet-stream", "94dc0dd7-2c65-483c-a037-619ec258526e"),
        ("eu_cp1252_2018", 91, "text/plain;charset=windows-1252", "b89a74ec-1c64-4dd7-a8c2-dbb6c166148e"),
        ("fe_utf8_2020", 91, "text/plain;charset=UTF-8", "49316e5d-49fe-4c8d-8373-29d6a8d4a4cc"),
        ("jp_windows31j_2018", 56, "text/plain;charset=windows-31j", "cf6a6f95-70f8-4038-a884-b58e650b10a5"),
    ],
)
def test_recorded_reports_arrive_as_they_were_announced(mws, name, size, content_type, request_id):
    """Their Content-MD5 is that of the raw bytes, whatever the charset."""
    exchange = WIRE / "reports" / f"GetReport_{name}.exchange.json"
    answer = _recorded(exchange)
    mws.will_answer(answer)
    got = bytearray()
    came = client(mws.url).download("1", got.extend)
    assert got == answer.body
    assert (len(got), came.content_type, came.request_id) == (size, content_type, request_id)
    assert base64.b64encode(hashlib.md5(answer.body).digest()).decode() == answer.headers["Content-MD5"]


@pytest.mark.parametrize("name", ["na_large_2018", "jp_octetstream_2014_truncated"])
def test_a_recorded_report_that_is_kept_only_in_part_is_not_taken_for_one(mws, name):
    """The sample files hold its beginning; its recorded length says that there was more."""
    mws.will_answer(_recorded(WIRE / "reports" / f"GetReport_{name}.exchange.json"))
    with pytest.raises(BadBody, match="broke off"):
        client(mws.url).download("1", lambda _block: None)


def test_every_recorded_error_pauses_the_application_it_speaks_of(mws):
    """All three say InvalidAccessKeyId, in the namespace of another section."""
    exchanges = sorted((WIRE / "errors").glob("*.exchange.json"))
    for exchange in exchanges:
        mws.will_answer(_recorded(exchange))
        with pytest.raises(OperatorNeeded) as caught:
            client(mws.url).list_schedules()
        evidence = caught.value.evidence
        assert (caught.value.scope, evidence.status, evidence.code) == ("application", 403, "InvalidAccessKeyId")
        assert evidence.request_id in exchange.with_name(exchange.name.replace(".exchange.json", ".xml")).read_text()
    assert len(exchanges) == 3


def test_every_printed_example_is_read(mws):
    """Documentation and other clients' fixtures: padded values, broken wrappers, dates without zone, `none` as token."""
    seen = 0
    for folder in ("hakanensari-peddler/mws-doc-fixtures", "bizon-mws-api-doc", "CPIGroup-phpAmazonMWS"):
        for file in sorted((SHARED / folder).glob("*.xml")):
            body = file.read_bytes()
            operation = re.search(rb"<(\w+)Response\b", body)
            if not operation or operation[1].decode() not in _PRINTED:
                continue
            mws.will_answer(Answer(body=body))
            assert _essence(mws, operation[1].decode()) in _PRINTED[operation[1].decode()], file
            seen += 1
    assert seen == 25


_PRINTED = {
    "GetReportList": {("898899473", "2YgYW55IPQhvu5hbCBwbGVhc3VyZS4="), ("898899473", None), ("898899473", "Token!")},
    "GetReportListByNextToken": {("898899473", None), ("898899474", None)},
    "GetReportRequestList": {("2291326454", "2YgYW55IPQhcm5hbCBwbGVhc3VyZS4="), ("2291326454", None)},
    "GetReportRequestListByNextToken": {("2291326454", None)},
    "GetReportScheduleList": {("_GET_ORDERS_DATA_", "_30_DAYS_"), "more schedules than Amazon allows"},
    "ManageReportSchedule": {"7ee1bc50-5a13-4db1-afd7-1386e481984e"},
    "RequestReport": {("2291326454", "SUBMITTED")},
    "UpdateReportAcknowledgements": {frozenset({"841997483"})},
}


def _essence(mws, operation: str):
    try:
        said = _ask(client(mws.url), operation)
    except ServiceFault as fault:
        return fault.reason.rpartition(": ")[2]
    if isinstance(said, ListingPage):
        return said.reports[0].report_id, said.next_token
    if isinstance(said, RequestPage):
        return said.requests[0].request_id_at_amazon, said.next_token
    if isinstance(said, RequestInfo):
        return said.request_id_at_amazon, said.status
    if isinstance(said, tuple):
        return said[0].report_type, said[0].every
    return said if isinstance(said, str) else said.report_ids


def test_dates_without_a_zone_are_utc(mws):
    """As the fixtures have them that were made from Amazon's schema."""
    folder = SHARED / "MountainWarehouse-EasyMWS"
    mws.will_answer(Answer(body=(folder / "GetReportListResponse.xml").read_bytes()))
    (report,) = client(mws.url).list_reports(report_types=[], acknowledged=None).reports
    assert report.available_at == datetime(2007, 10, 25, 23, 36, 28, tzinfo=UTC)
    mws.will_answer(Answer(body=(folder / "GetReportRequestListResponse.xml").read_bytes()))
    (request,) = client(mws.url).list_requests().requests
    assert request.submitted_at == datetime(2018, 11, 1, 5, 36, 46, tzinfo=UTC)


@pytest.mark.parametrize(
    ("file", "status", "error", "code"),
    [
        ("bizon-mws-api-doc/guide_ResponseFormat_2.xml", 403, OperatorNeeded, "InvalidClientTokenId"),
        ("bizon-mws-api-doc/guide_Errors_ClientExamples_1.xml", 400, GiveUp, "UserAgentHeaderMalformed"),
        ("svvu-gomws/ErrorResponse.xml", 400, GiveUp, "InvalidParameterValue"),
        ("svvu-gomws/GetLowestPricedOffersForSKU_ServerError.xml", 200, ServiceFault, None),
        ("MountainWarehouse-EasyMWS/ErrorResponse.xml", 400, GiveUp, "string"),
    ],
)
def test_every_printed_error_is_understood(mws, file, status, error, code):
    """RequestID and RequestId, four namespaces, a Detail with anything in it, an unescaped <EOF> in a message."""
    body = (SHARED / file).read_bytes()
    mws.will_answer(Answer(status, body))
    with pytest.raises(OrderdrainError) as caught:
        client(mws.url).list_schedules()
    assert type(caught.value) is error
    assert caught.value.evidence.code == code
    assert caught.value.evidence.request_id in body.decode()
