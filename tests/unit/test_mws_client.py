"""The calls that MwsReports makes, and what it makes of Amazon's answers. Over a real socket."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from structlog.testing import capture_logs

from orderdrain.amazon.mws import QUOTAS
from orderdrain.amazon.signature import sign
from orderdrain.errors import (
    GiveUp,
    NextTokenLost,
    OperatorNeeded,
    RetryLater,
    ServiceFault,
    Throttled,
)
from tests.scripted_mws import NOW, Answer, QuotaNotes, answer, client, refusal, scripted_mws

ORDERS = "_GET_FLAT_FILE_ORDERS_DATA_"
COMMON = {
    "AWSAccessKeyId",
    "Action",
    "MWSAuthToken",
    "SellerId",
    "Signature",
    "SignatureMethod",
    "SignatureVersion",
} | {
    "Timestamp",
    "Version",
}
EMPTY = "<HasNext>false</HasNext>"
INFO = (
    "<ReportRequestInfo><ReportRequestId>22913</ReportRequestId><ReportType>_T_</ReportType><Scheduled>false</Scheduled>"
    "<SubmittedDate>2018-04-27T13:05:00+00:00</SubmittedDate><ReportProcessingStatus>_SUBMITTED_</ReportProcessingStatus>"
    "</ReportRequestInfo>"
)


@pytest.fixture
def mws():
    with scripted_mws() as server:
        yield server


def _own(form: dict[str, str]) -> dict[str, str]:
    """What a call says besides what every call says."""
    return {name: value for name, value in form.items() if name not in COMMON}


def test_a_listing_asks_for_full_pages_of_the_wanted_types_only(mws):
    """Ten a page is Amazon's default, and without types it lists 80 feed summaries for each order report."""
    mws.will_answer(answer("GetReportList", EMPTY))
    api = client(mws.url)
    since = datetime(2018, 4, 1, 2, 0, tzinfo=timezone(timedelta(hours=2)))
    api.list_reports(report_types=[ORDERS, "_GET_ORDERS_DATA_"], acknowledged=False, since=since)
    (asked,) = mws.asked
    assert asked.form["Action"] == "GetReportList"
    assert _own(asked.form) == {
        "MaxCount": "100",
        "Acknowledged": "false",
        "ReportTypeList.Type.1": ORDERS,
        "ReportTypeList.Type.2": "_GET_ORDERS_DATA_",
        "AvailableFromDate": "2018-04-01T00:00:00Z",
    }


def test_a_listing_without_the_filter_does_not_name_it(mws):
    """The daily complete listing must also see what another program acknowledged."""
    mws.will_answer(answer("GetReportList", EMPTY))
    client(mws.url).list_reports(report_types=[ORDERS], acknowledged=None)
    assert "Acknowledged" not in mws.asked[0].form


def test_the_next_page_is_asked_for_by_its_token_alone(mws):
    """Amazon refuses any other parameter beside NextToken; the token's + / = survive the way."""
    mws.will_answer(answer("GetReportListByNextToken", "<HasNext>true</HasNext><NextToken>x+/=</NextToken>"))
    page = client(mws.url).list_reports(report_types=[ORDERS], acknowledged=False, next_token="a+b/c==")
    assert mws.asked[0].form["Action"] == "GetReportListByNextToken"
    assert _own(mws.asked[0].form) == {"NextToken": "a+b/c=="}
    assert "NextToken=a%2Bb%2Fc%3D%3D" in mws.asked[0].body
    assert (page.next_token, page.request_id) == ("x+/=", "req-1")


@pytest.mark.parametrize("path", ["/Reports/2009-01-01", "/"])
def test_the_path_that_is_used_is_the_path_that_is_signed(mws, path):
    """Amazon took both; the other one in the signature is a 403."""
    mws.will_answer(answer("GetReportScheduleList", EMPTY))
    client(mws.url, path=path).list_schedules()
    (asked,) = mws.asked
    assert (asked.method, asked.path) == ("POST", path)
    signed = {name: value for name, value in asked.form.items() if name != "Signature"}
    host = asked.headers["Host"]
    assert asked.form["Signature"] == sign("the-secret", method="POST", host=host, path=path, parameters=signed)
    assert asked.form["Timestamp"] == "2018-04-27T14:50:16Z"


def test_a_port_that_is_not_standard_is_part_of_the_signed_host(mws):
    """And the host is sent as it was signed: in lower case."""
    mws.will_answer(answer("GetReportScheduleList", EMPTY))
    client(mws.url.replace("127.0.0.1", "LocalHost")).list_schedules()
    assert mws.asked[0].headers["Host"] == f"localhost:{mws.server.server_address[1]}"


@pytest.mark.parametrize(
    ("endpoint", "host"),
    [
        ("https://MWS-eu.amazonservices.com", "mws-eu.amazonservices.com"),
        ("https://mws.amazonservices.jp:443/", "mws.amazonservices.jp"),
        ("http://127.0.0.1:80", "127.0.0.1"),
        ("https://127.0.0.1:8443", "127.0.0.1:8443"),
        ("http://[::1]:8400", "[::1]:8400"),
    ],
)
def test_a_standard_port_is_no_part_of_the_signed_host(endpoint, host):
    """Amazon signs what a browser would send."""
    assert client(endpoint)._host == host


def test_nothing_secret_is_in_the_address(mws):
    """Addresses are logged by everything that they pass, bodies are not."""
    mws.will_answer(answer("GetReportScheduleList", EMPTY))
    client(mws.url).list_schedules()
    (asked,) = mws.asked
    assert "?" not in asked.path
    assert "the-secret" not in asked.body
    assert asked.headers["Content-Type"].startswith("application/x-www-form-urlencoded")


def test_the_user_agent_has_the_form_that_amazon_asks_for(mws):
    """Without it Amazon answers UserAgentHeaderMalformed."""
    mws.will_answer(answer("GetReportScheduleList", EMPTY))
    client(mws.url).list_schedules()
    assert re.fullmatch(r"orderdrain/\d+\.\d+\.\d+ \(Language=Python/3\.\d+\)", mws.asked[0].headers["User-Agent"])


def test_each_call_leaves_one_line_with_amazons_id_of_it(mws):
    """Amazon's support asks for it up to 30 days later."""
    mws.will_answer(answer("GetReportScheduleList", EMPTY, **{"x-mws-request-id": "req-8"}))
    with capture_logs() as lines:
        client(mws.url).list_schedules()
    ((operation, status, request_id),) = [(one["operation"], one["status"], one["request_id"]) for one in lines]
    assert (operation, status, request_id) == ("GetReportScheduleList", 200, "req-8")


def test_a_seller_who_is_the_developer_sends_no_token(mws):
    """MWSAuthToken is only for sellers who authorized somebody else."""
    mws.will_answer(answer("GetReportScheduleList", EMPTY))
    client(mws.url, auth_token=None).list_schedules()
    assert "MWSAuthToken" not in mws.asked[0].form


def test_an_acknowledgement_names_its_reports_and_believes_the_answer_only(mws):
    """What the answer does not name as acknowledged is asked again."""
    named = "<ReportInfo><ReportId>{}</ReportId><ReportType>t</ReportType><AvailableDate>2018-04-27</AvailableDate><Acknowledged>{}</Acknowledged></ReportInfo>"
    mws.will_answer(answer("UpdateReportAcknowledgements", named.format("1", "true") + named.format("2", "false")))
    done = client(mws.url).acknowledge(["1", "2", "3"])
    assert _own(mws.asked[0].form) == {
        "Acknowledged": "true",
        "ReportIdList.Id.1": "1",
        "ReportIdList.Id.2": "2",
        "ReportIdList.Id.3": "3",
    }
    assert (done.report_ids, done.request_id) == (frozenset({"1"}), "req-1")


def test_a_proxys_page_acknowledges_nothing(mws):
    """A 200 alone proves nothing."""
    mws.will_answer(Answer(body=b"<html><body>welcome</body></html>", headers={"Content-Type": "text/html"}))
    with pytest.raises(ServiceFault):
        client(mws.url).acknowledge(["1"])


def test_a_report_is_requested_with_its_window_options_and_marketplaces(mws):
    """Options travel as name=value in one parameter."""
    mws.will_answer(answer("RequestReport", INFO))
    api = client(mws.url, marketplaces=["ATVPDKIKX0DER", "A2EUQ1WTGCTBG2"])
    info = api.request_report(
        "_T_",
        start=datetime(2018, 4, 1, tzinfo=UTC),
        end=datetime(2018, 4, 2, 12, 30, 1, 999, tzinfo=UTC),
        options={"ShowSalesChannel": "true", "Other": "x"},
    )
    assert _own(mws.asked[0].form) == {
        "ReportType": "_T_",
        "StartDate": "2018-04-01T00:00:00Z",
        "EndDate": "2018-04-02T12:30:01Z",
        "ReportOptions": "ShowSalesChannel=true;Other=x",
        "MarketplaceIdList.Id.1": "ATVPDKIKX0DER",
        "MarketplaceIdList.Id.2": "A2EUQ1WTGCTBG2",
    }
    assert (info.request_id_at_amazon, info.status) == ("22913", "SUBMITTED")


@pytest.mark.parametrize(
    ("of_account", "sent"), [("A1PA6795UKMFR9", ["A1PA6795UKMFR9"]), ("A1VC38T7YXB528", []), ("A39IBJ37TRP1C6", [])]
)
def test_a_request_is_for_the_accounts_marketplaces_where_amazon_takes_them(mws, of_account, sent):
    """In Japan and Australia the parameter does not exist, and the request would be refused."""
    mws.will_answer(answer("RequestReport", INFO))
    client(mws.url, marketplaces=[of_account]).request_report("_T_", start=None, end=None, options={})
    assert [v for name, v in mws.asked[0].form.items() if name.startswith("MarketplaceIdList")] == sent


def test_requests_are_listed_by_id_by_type_and_time_and_by_token(mws):
    """The three ways to follow a requested report."""
    mws.will_answer(answer("GetReportRequestList", EMPTY + INFO))
    api = client(mws.url)
    assert [info.request_id_at_amazon for info in api.list_requests(request_ids=["22913"]).requests] == ["22913"]
    api.list_requests(report_types=["_T_"], since=datetime(2018, 4, 1, tzinfo=UTC))
    api.list_requests(next_token="t")
    assert [asked.form["Action"] for asked in mws.asked] == [
        "GetReportRequestList",
        "GetReportRequestList",
        "GetReportRequestListByNextToken",
    ]
    assert [_own(asked.form) for asked in mws.asked] == [
        {"MaxCount": "100", "ReportRequestIdList.Id.1": "22913"},
        {"MaxCount": "100", "ReportTypeList.Type.1": "_T_", "RequestedFromDate": "2018-04-01T00:00:00Z"},
        {"NextToken": "t"},
    ]


def test_a_schedule_is_set_and_amazons_id_of_the_call_returned(mws):
    """The id goes to the history."""
    mws.will_answer(answer("ManageReportSchedule", "<Count>1</Count>"))
    assert client(mws.url).set_schedule(ORDERS, "_15_MINUTES_") == "req-1"
    assert _own(mws.asked[0].form) == {"ReportType": ORDERS, "Schedule": "_15_MINUTES_"}


def test_each_call_asks_the_quota_first_under_a_name_that_has_a_rule(mws):
    """An operation without a rule would be a call that nobody counts."""
    mws.will_answer(answer("Any", EMPTY + INFO))
    quota = QuotaNotes()
    api = client(mws.url, quota=quota)
    api.list_reports(report_types=[], acknowledged=None)
    api.list_reports(report_types=[], acknowledged=None, next_token="t")
    api.acknowledge(["1"])
    api.request_report("_T_", start=None, end=None, options={})
    api.list_requests()
    api.list_requests(next_token="t")
    api.list_schedules()
    api.set_schedule("_T_", "_NEVER_")
    mws.will_answer(Answer(headers={}))
    api.download("1", lambda _block: None)
    assert quota.taken == [asked.form["Action"] for asked in mws.asked]
    assert set(quota.taken) == set(QUOTAS)


@pytest.mark.parametrize(
    "resets_on", ["2018-04-27T14:54:00.000Z", "Fri,27 Apr 2018 14:54:00 UTC", "Fri, 27 Apr 2018 14:54:00 GMT"]
)
def test_the_quota_learns_from_the_headers_in_all_three_forms(mws, resets_on):
    """Recorded since 2017, recorded in 2014, and printed in the documentation."""
    headers = {"x-mws-quota-max": "60.0", "x-mws-quota-remaining": "59.0", "x-mws-quota-resetsOn": resets_on}
    mws.will_answer(answer("GetReportScheduleList", EMPTY, **headers))
    quota = QuotaNotes()
    client(mws.url, quota=quota).list_schedules()
    assert quota.told == [("GetReportScheduleList", 60.0, 59.0, datetime(2018, 4, 27, 14, 54, tzinfo=UTC))]


@pytest.mark.parametrize("strange", ["", "soon", "NaN", "-1", "inf", "2018-13-45T99:99:99Z"])
def test_a_header_that_makes_no_sense_says_nothing(mws, strange):
    """A broken header must not break a call that went well."""
    headers = {"x-mws-quota-max": strange, "x-mws-quota-remaining": strange, "x-mws-quota-resetsOn": strange}
    mws.will_answer(answer("GetReportScheduleList", EMPTY, **headers))
    quota = QuotaNotes()
    client(mws.url, quota=quota).list_schedules()
    assert quota.told == [("GetReportScheduleList", None, None, None)]


def test_a_throttled_call_waits_as_long_as_the_emptied_bucket_says(mws):
    """Waiting costs no attempt, and every worker learns of it."""
    mws.will_answer(refusal(503, "RequestThrottled"))
    quota = QuotaNotes()
    with pytest.raises(Throttled) as caught:
        client(mws.url, quota=quota).list_schedules()
    assert quota.refusals == [("GetReportScheduleList", False, None)]
    assert caught.value.until == NOW + timedelta(minutes=1)
    assert str(caught.value) == (
        "throttled by GetReportScheduleList, quota restores 1 per 45 s "
        "[GetReportScheduleList: 503 RequestThrottled (request id req-2)]"
    )


def test_a_used_up_hour_waits_until_amazon_says_that_it_ends(mws):
    """Both refusals are a 503: only the code tells a minute from an hour."""
    mws.will_answer(refusal(503, "QuotaExceeded", **{"x-mws-quota-resetsOn": "2018-04-27T15:20:00.000Z"}))
    quota = QuotaNotes()
    with pytest.raises(Throttled) as caught:
        client(mws.url, quota=quota).list_schedules()
    ends = datetime(2018, 4, 27, 15, 20, tzinfo=UTC)
    assert quota.refusals == [("GetReportScheduleList", True, ends)]
    assert caught.value.until == ends


@pytest.mark.parametrize(
    ("status", "code", "message", "error"),
    [
        (500, "InternalError", "", ServiceFault),
        (503, "ServiceUnavailable", "", ServiceFault),
        (400, "InputStreamDisconnected", "", ServiceFault),
        (503, "SomethingNew", "", ServiceFault),
        (200, "SomethingNew", "", ServiceFault),
        (400, "InvalidParameterValue", "Value for parameter Schedule is not valid: _X_", GiveUp),
        (200, "InternalError", "", ServiceFault),
        (200, "InvalidParameterValue", "", GiveUp),
        (200, "AccessDenied", "", OperatorNeeded),
        (400, "SomethingNew", "", GiveUp),
        (404, "SomethingNew", "", GiveUp),
        (400, "RequestExpired", "Request has expired.", RetryLater),
        (400, "InvalidParameterValue", "Timestamp 2018-04-27T14:50:16Z is too old", RetryLater),
        (400, "InvalidParameterValue", "The request has expired", RetryLater),
        (401, "AccessDenied", "AuthToken is not valid for SellerId and AWSAccountId.", OperatorNeeded),
        (403, "SomethingNew", "", OperatorNeeded),
        (404, "InvalidAddress", "", OperatorNeeded),
        (403, "InvalidAccessKeyId", "", OperatorNeeded),
        (403, "InvalidClientTokenId", "", OperatorNeeded),
        (403, "SignatureDoesNotMatch", "", OperatorNeeded),
    ],
)
def test_each_refusal_becomes_what_the_caller_must_do(mws, status, code, message, error):
    """And carries the evidence that Amazon's support asks for."""
    mws.will_answer(refusal(status, code, message))
    with pytest.raises(error) as caught:
        client(mws.url).set_schedule("_T_", "_X_")
    assert type(caught.value) is error
    evidence = caught.value.evidence
    assert (evidence.operation, evidence.status, evidence.code) == ("ManageReportSchedule", status, code)
    assert evidence.request_id == "req-2"


@pytest.mark.parametrize(
    ("code", "scope"),
    [
        ("AccessDenied", "connection"),
        ("InvalidAccessKeyId", "application"),
        ("InvalidClientTokenId", "application"),
        ("SignatureDoesNotMatch", "application"),
    ],
)
def test_a_sellers_refusal_and_an_applications_are_told_apart(mws, code, scope):
    """A developer's bad key is one alert, not ten thousand."""
    mws.will_answer(refusal(401, code))
    with pytest.raises(OperatorNeeded) as caught:
        client(mws.url).list_schedules()
    assert caught.value.scope == scope


def test_a_wrong_clock_is_named_as_such(mws):
    """Else it looks like bad credentials, and people change keys."""
    mws.will_answer(refusal(400, "RequestExpired"))
    with pytest.raises(RetryLater, match="clock"):
        client(mws.url).list_schedules()


@pytest.mark.parametrize("code", ["NextTokenCorrupted", "InvalidParameterValue"])
def test_a_token_that_amazon_refuses_ends_that_listing_not_the_account(mws, code):
    """Amazon: do not repeat the same token, begin the list anew."""
    mws.will_answer(refusal(400, code))
    with pytest.raises(NextTokenLost):
        client(mws.url).list_reports(report_types=[], acknowledged=False, next_token="old")
    with pytest.raises(NextTokenLost):
        client(mws.url).list_requests(next_token="old")


def test_what_amazon_did_not_like_is_told_without_our_secrets(mws):
    """Its messages repeat parameters, and ours are in them."""
    said = "Values amzn.mws.token,\n AKIAEXAMPLE and  the-secret are not valid"
    mws.will_answer(refusal(400, "InvalidParameterValue", said))
    with pytest.raises(GiveUp) as caught:
        client(mws.url).list_schedules()
    assert "Values ***, *** and *** are not valid" in str(caught.value)


@pytest.mark.parametrize("status", [200, 302, 403, 404, 500, 502, 503])
@pytest.mark.parametrize("body", [b"", b"nope", b"<html><body>Bad Gateway</body></html>", b"<ErrorResponse><Error>"])
def test_what_is_no_mws_answer_is_a_fault_of_the_service_whatever_its_status(mws, status, body):
    """A proxy's 403 must not pause an account, nor its 404 give a report up."""
    headers = {"Content-Type": "text/html", "Location": f"{mws.url}/elsewhere", "x-amz-request-id": "req-9"}
    mws.will_answer(Answer(status, body, headers))
    with pytest.raises(ServiceFault) as caught:
        client(mws.url).list_schedules()
    assert len(mws.asked) == 1
    assert (caught.value.evidence.status, caught.value.evidence.request_id) == (status, "req-9")


def test_a_good_answer_under_a_bad_status_is_not_believed(mws):
    """Something between us and Amazon is confused, and it may be the answer to another call."""
    good = answer("GetReportScheduleList", EMPTY)
    mws.will_answer(Answer(500, good.body, good.headers))
    with pytest.raises(ServiceFault):
        client(mws.url).list_schedules()


@pytest.mark.parametrize("inner", ["", "<HasNext>true</HasNext>", "<HasNext>maybe</HasNext>"])
def test_a_listing_that_lacks_its_end_is_a_fault_of_the_service(mws, inner):
    """Never an end: reports beyond it would be acknowledged over."""
    mws.will_answer(answer("GetReportList", inner))
    with pytest.raises(ServiceFault):
        client(mws.url).list_reports(report_types=[], acknowledged=False)


def test_more_schedules_than_amazon_allows_are_not_taken_for_all(mws):
    """Half a list would look as if the other half were not scheduled."""
    mws.will_answer(answer("GetReportScheduleList", "<HasNext>true</HasNext><NextToken>t</NextToken>"))
    with pytest.raises(ServiceFault):
        client(mws.url).list_schedules()
