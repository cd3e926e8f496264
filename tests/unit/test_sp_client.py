"""The calls that SpApiReports makes, and what it makes of Amazon's answers. Over a real socket."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import parse_qs, urlsplit

import pytest
from structlog.testing import capture_logs

from orderdrain.amazon import RequestInfo, ScheduleInfo
from orderdrain.amazon.sp_api import QUOTAS
from orderdrain.errors import GiveUp, NextTokenLost, OperatorNeeded, ServiceFault, Snooze, Throttled
from orderdrain.families import REPORT_TYPES, api_of
from tests.scripted_mws import NOW, Answer, QuotaNotes
from tests.scripted_sp_api import GENERAL, SHIPPING, NumberedTokens, answer, client, refusal, report

EMPTY = {"reports": []}
NO_SCHEDULES = {"reportSchedules": []}
SCHEDULE = {"reportScheduleId": "ID/1", "reportType": SHIPPING, "period": "PT15M"}


def _query(asked) -> dict[str, list[str]]:
    return parse_qs(urlsplit(asked.path).query, keep_blank_values=True)


# ------------------------------------------------------------------------------------------------------ what is asked


def test_a_listing_asks_for_full_pages_of_what_has_ended_of_the_wanted_types(amazon):
    """Ten a page is Amazon's default; since is a moment, whatever zone it is told in."""
    amazon.will_answer(answer(EMPTY))
    since = datetime(2018, 4, 1, 9, 0, tzinfo=timezone(timedelta(hours=9)))
    client(amazon.url).list_reports(report_types=[SHIPPING, GENERAL], acknowledged=False, since=since)
    (asked,) = amazon.asked
    assert (asked.method, asked.path.partition("?")[0]) == ("GET", "/reports/2021-06-30/reports")
    assert _query(asked) == {
        "reportTypes": [f"{SHIPPING},{GENERAL}"],
        "processingStatuses": ["DONE,CANCELLED,FATAL"],
        "createdSince": ["2018-04-01T00:00:00Z"],
        "pageSize": ["100"],
    }


def test_the_next_page_is_asked_for_by_its_token_alone(amazon):
    """Amazon refuses any other parameter beside nextToken; the token's + / = survive the way."""
    amazon.will_answer(answer({"reports": [report()], "nextToken": "x+/="}))
    api = client(amazon.url)
    page = api.list_reports(report_types=[SHIPPING], acknowledged=False, since=NOW, next_token="a+b/c==")
    assert _query(amazon.asked[0]) == {"nextToken": ["a+b/c=="]}
    assert (page.next_token, page.request_id) == ("x+/=", "req-1")
    api.list_requests(next_token="a+b/c==")
    assert _query(amazon.asked[1]) == {"nextToken": ["a+b/c=="]}


def test_only_what_is_done_is_listed_and_its_time_is_when_it_was_finished(amazon):
    """The filter is Amazon's, and it may change between two pages; one without an end was finished when it began."""
    others = [report(processingStatus=word) for word in ("FATAL", "CANCELLED", "IN_QUEUE", "NEW")]
    amazon.will_answer(answer({"reports": [*others, report(), report(processingEndTime=None)]}))
    page = client(amazon.url).list_reports(report_types=[GENERAL], acknowledged=None)
    assert [one.available_at.time().isoformat() for one in page.reports] == ["14:00:14", "14:00:00"]
    assert {(one.report_id, one.acknowledged) for one in page.reports} == {("292248019978", False)}
    assert page.next_token is None


def test_the_first_listing_asks_only_for_what_is_done(amazon):
    """What came to nothing in the ninety days before anybody listed is missed by nobody, and fills pages."""
    amazon.will_answer(answer(EMPTY))
    client(amazon.url).list_reports(report_types=[GENERAL], acknowledged=None)
    assert _query(amazon.asked[0])["processingStatuses"] == ["DONE"]


def test_what_a_schedule_did_not_deliver_is_told_beside_what_is_done(amazon):
    """Of the others who may ask, only they know what they missed."""
    window = {"dataStartTime": "2018-04-27T13:45:00Z", "dataEndTime": "2018-04-27T14:00:00Z"}
    told = [
        report(reportId="1", processingStatus="CANCELLED", reportScheduleId="ID1", **window),
        report(reportId="2", processingStatus="FATAL", reportScheduleId="ID1"),
        report(reportId="3", processingStatus="FATAL"),
        report(reportId="4"),
    ]
    amazon.will_answer(answer({"reports": told}))
    page = client(amazon.url).list_reports(report_types=[GENERAL], acknowledged=None, since=NOW)
    assert [one.report_id for one in page.reports] == ["4"]
    cancelled, fatal = page.came_to_nothing
    assert (cancelled.request_id_at_amazon, cancelled.status, fatal.status) == ("1", "CANCELLED", "FATAL")
    assert cancelled.window_end - cancelled.window_start == timedelta(minutes=15)
    assert (fatal.window_start, fatal.window_end) == (None, None)


def test_more_than_ten_types_are_listed_group_by_group_each_to_its_end(amazon):
    """Amazon takes ten in one call; the place in the listing outlives the worker, so it says which group it is in."""
    types = [f"GET_TYPE_{number:02}" for number in range(21)]
    amazon.will_answer(
        answer({"reports": [], "nextToken": "a+b=="}),
        answer(EMPTY),
        answer({"reports": [], "nextToken": "c+d=="}),
        answer(EMPTY),
        answer(EMPTY),
    )
    places, place = [], None
    while place is not None or not places:
        place = client(amazon.url).list_reports(report_types=types, acknowledged=None, next_token=place).next_token
        places.append(place)
    asked = [_query(one) for one in amazon.asked]
    assert [one.get("reportTypes") for one in asked if "reportTypes" in one] == [
        [",".join(types[:10])],
        [",".join(types[10:20])],
        [",".join(types[20:])],
    ]
    assert [one["nextToken"] for one in asked if "nextToken" in one] == [["a+b=="], ["c+d=="]]
    assert len(set(places)) == len(places) == 5


def test_every_call_says_who_we_are_and_carries_the_token_and_the_time(amazon):
    """In headers, never in the url: urls end up in the logs of everything that they pass."""
    amazon.will_answer(answer(EMPTY))
    client(amazon.url + "/").list_reports(report_types=[GENERAL], acknowledged=None)
    headers = {name.lower(): value for name, value in amazon.asked[0].headers.items()}
    assert headers["x-amz-access-token"] == "token-1"
    assert headers["x-amz-date"] == "20180427T145016Z"
    assert headers["user-agent"].startswith("orderdrain/")
    assert "authorization" not in headers
    assert "token-1" not in amazon.asked[0].path
    assert amazon.asked[0].path.startswith("/reports/")


def test_each_call_leaves_one_line_with_amazons_id_of_it(amazon):
    """Amazon's support asks for it. Also of the call that was refused before it was made again."""
    amazon.will_answer(refusal(403, "Unauthorized"), answer(EMPTY))
    with capture_logs() as lines:
        client(amazon.url).list_reports(report_types=[GENERAL], acknowledged=None)
    told = [(one["operation"], one["status"], one["request_id"]) for one in lines]
    assert told == [("getReports", 403, "req-2"), ("getReports", 200, "req-1")]


def test_a_request_names_the_accounts_marketplaces_its_window_and_its_options(amazon):
    """Amazon answers with an id; the rest is what we asked for."""
    amazon.will_answer(answer({"reportId": "292248019978"}, 202))
    start, end = NOW - timedelta(hours=2), NOW - timedelta(hours=1)
    info = client(amazon.url).request_report(GENERAL, start=start, end=end, options={"ShowSalesChannel": "true"})
    asked = amazon.asked[0]
    assert (asked.method, asked.path) == ("POST", "/reports/2021-06-30/reports")
    assert asked.headers["Content-Type"] == "application/json"
    assert json.loads(asked.body) == {
        "reportType": GENERAL,
        "marketplaceIds": ["ATVPDKIKX0DER", "A2EUQ1WTGCTBG2"],
        "dataStartTime": "2018-04-27T12:50:16Z",
        "dataEndTime": "2018-04-27T13:50:16Z",
        "reportOptions": {"ShowSalesChannel": "true"},
    }
    assert info == RequestInfo("292248019978", GENERAL, "SUBMITTED", NOW, start, end)


def test_a_request_without_window_and_options_does_not_name_them(amazon):
    """Amazon refuses null, and an empty window is its own default."""
    amazon.will_answer(answer({"reportId": "1"}, 202))
    client(amazon.url).request_report(GENERAL, start=None, end=None, options={})
    assert json.loads(amazon.asked[0].body).keys() == {"reportType", "marketplaceIds"}


def test_requests_are_found_by_type_in_whatever_state(amazon):
    """Also the scheduled ones that came to nothing: no listing shows them."""
    told = [
        report(reportId="1", processingStatus="IN_QUEUE", processingEndTime=None),
        report(reportId="2", processingStatus="CANCELLED", reportScheduleId="ID1"),
        report(reportId="3", dataStartTime="2018-04-27T10:00:00Z", dataEndTime="2018-04-27T11:00:00.5Z"),
        report(reportId="4", processingStatus="SOMETHING_NEW"),
    ]
    amazon.will_answer(answer({"reports": told, "nextToken": "t"}))
    page = client(amazon.url).list_requests(report_types=[GENERAL], since=NOW)
    assert "processingStatuses" not in _query(amazon.asked[0])
    said = [(one.request_id_at_amazon, one.status, one.scheduled, one.report_id) for one in page.requests]
    assert said == [
        ("1", "SUBMITTED", False, None),
        ("2", "CANCELLED", True, None),
        ("3", "DONE", False, "3"),
        ("4", "SOMETHING_NEW", False, None),
    ]
    assert page.requests[2].window_start == datetime(2018, 4, 27, 10, tzinfo=UTC)
    assert page.requests[0].completed_at is None
    assert page.next_token == "t"


def test_requests_are_looked_at_one_by_one_and_an_unknown_one_is_left_out(amazon):
    """It must not hide what became of the others."""
    amazon.will_answer(answer(report(reportId="1")), refusal(404, "NotFound"), answer(report(reportId="3")))
    page = client(amazon.url).list_requests(request_ids=["1", "2", "3"])
    assert [asked.path.rpartition("/")[2] for asked in amazon.asked] == ["1", "2", "3"]
    assert [one.request_id_at_amazon for one in page.requests] == ["1", "3"]


class TwoThenNone(QuotaNotes):
    """Two calls may go."""

    def take(self, operation):
        if len(self.taken) == 2:
            raise Throttled("no more", until=NOW)
        super().take(operation)


def test_what_quota_lets_us_look_at_is_handed_on(amazon):
    """Begun anew from the first one each time, a long list would never come to its end."""
    amazon.will_answer(answer(report(reportId="1")), answer(report(reportId="2")))
    api = client(amazon.url, quota=TwoThenNone())
    assert len(api.list_requests(request_ids=["1", "2", "3"]).requests) == 2
    with pytest.raises(Throttled):
        api.list_requests(request_ids=["3"])


def test_schedules_are_asked_for_by_every_type_that_can_have_one(amazon):
    """SP-API wants them named, ten a call; what is not asked for looks as if it were not scheduled."""
    amazon.will_answer(answer({"reportSchedules": [SCHEDULE]}))
    found = client(amazon.url).list_schedules()
    asked = [_query(one)["reportTypes"][0].split(",") for one in amazon.asked]
    assert {name for names in asked for name in names} == {
        name for name, known in REPORT_TYPES.items() if known.schedulable and api_of(name) == "sp-api"
    }
    assert max(map(len, asked)) <= 10
    assert found[0] == ScheduleInfo(SHIPPING, "PT15M")


def test_a_schedule_is_set_for_the_accounts_marketplaces(amazon):
    """One for other marketplaces would stand beside it."""
    amazon.will_answer(answer({"reportScheduleId": "ID1"}, 201))
    assert client(amazon.url).set_schedule(SHIPPING, "PT15M") == "req-1"
    asked = amazon.asked[0]
    assert (asked.method, asked.path) == ("POST", "/reports/2021-06-30/schedules")
    assert json.loads(asked.body) == {
        "reportType": SHIPPING,
        "marketplaceIds": ["ATVPDKIKX0DER", "A2EUQ1WTGCTBG2"],
        "period": "PT15M",
    }


@pytest.mark.parametrize("body", [b"", b"{}"])
def test_a_schedule_is_removed_by_amazons_id_of_it_and_that_of_other_marketplaces_stays(amazon, body):
    """There may be one for each set of marketplaces: those are another's. The model has no body for that answer."""
    ours = {**SCHEDULE, "marketplaceIds": ["A2EUQ1WTGCTBG2", "ATVPDKIKX0DER"]}
    others = {**SCHEDULE, "reportScheduleId": "ID2", "marketplaceIds": ["ATVPDKIKX0DER"]}
    amazon.will_answer(answer({"reportSchedules": [others, ours]}), Answer(200, body, {"x-amzn-RequestId": "req-5"}))
    assert client(amazon.url).set_schedule(SHIPPING, "_NEVER_") == "req-5"
    assert _query(amazon.asked[0]) == {"reportTypes": [SHIPPING]}
    assert [(one.method, one.path) for one in amazon.asked[1:]] == [("DELETE", "/reports/2021-06-30/schedules/ID%2F1")]


def test_removing_a_schedule_that_is_not_there_changes_nothing(amazon):
    """It is as it should be."""
    amazon.will_answer(answer(NO_SCHEDULES))
    assert client(amazon.url).set_schedule(SHIPPING, "_NEVER_") is None
    assert len(amazon.asked) == 1


def test_nobody_is_told_that_a_report_was_received(amazon):
    """SP-API has no acknowledging: the ledger remembers."""
    api = client(amazon.url)
    assert api.acknowledge(["1", "2"]).report_ids == frozenset({"1", "2"})
    assert not api.acknowledges
    assert amazon.asked == []


# ------------------------------------------------------------------------------------------------------------- quota


def test_every_operation_has_its_quota_and_it_is_taken_before_the_call(amazon):
    """Figures of the SP-API models: none has an hourly quota."""
    quota = QuotaNotes()
    api = client(amazon.url, quota=quota)
    amazon.will_answer(
        answer(EMPTY), answer({"reportId": "1"}, 202), answer({"reportScheduleId": "1"}, 201),
        answer({"reportSchedules": [SCHEDULE]}), answer({}), answer(report()),
    )  # fmt: skip
    api.list_reports(report_types=[GENERAL], acknowledged=None)
    api.request_report(GENERAL, start=None, end=None, options={})
    api.set_schedule(SHIPPING, "PT15M")
    api.set_schedule(SHIPPING, "_NEVER_")
    api.list_requests(request_ids=["1"])
    assert quota.taken == [
        *("getReports", f"createReport:{GENERAL}", "createReport", "createReportSchedule"),
        *("getReportSchedules", "cancelReportSchedule", "getReport"),
    ]
    assert {name.partition(":")[0] for name in quota.taken} < QUOTAS.keys()
    assert all(rule.hourly is None for rule in QUOTAS.values())


def test_what_is_told_of_createreports_rate_is_meant_for_its_report_type(amazon):
    """Users saw it throttled for single types: the others must not be asked for as rarely."""
    quota = QuotaNotes()
    api = client(amazon.url, quota=quota)
    amazon.will_answer(answer({"reportId": "1"}, 202), refusal(429, "QuotaExceeded"))
    api.request_report(GENERAL, start=None, end=None, options={})
    with pytest.raises(Throttled, match=r"^throttled by createReport, quota restores 1 per 59.88"):
        api.request_report(SHIPPING, start=None, end=None, options={})
    assert quota.rates == [(f"createReport:{GENERAL}", 0.0222)]
    assert quota.refusals == [(f"createReport:{SHIPPING}", False, None)]


@pytest.mark.parametrize(
    ("told", "rates"),
    [("0.0167", [0.0167]), ("2.0", [2.0]), ("5", [5.0]), ("0.0", []), ("", []), ("NaN", []), ("-1", []), ("soon", [])],
)
def test_the_rate_that_an_answer_tells_reaches_the_quota(amazon, told, rates):
    """Amazon gives some sellers more and some less than it documents. A header that makes no sense says nothing."""
    amazon.will_answer(answer(EMPTY, **{"x-amzn-RateLimit-Limit": told}))
    quota = QuotaNotes()
    client(amazon.url, quota=quota).list_reports(report_types=[GENERAL], acknowledged=None)
    assert quota.rates == [("getReports", rate) for rate in rates]


@pytest.mark.parametrize("body", [None, b"<html>slow down</html>", b""])
def test_a_throttled_call_waits_as_long_as_the_emptied_bucket_says(amazon, body):
    """Waiting costs no attempt, and every worker learns of it; a 429 says neither how long nor how many."""
    said = refusal(429, "QuotaExceeded")
    if body is not None:
        said.body = body
    amazon.will_answer(said)
    quota = QuotaNotes()
    with pytest.raises(Throttled, match=r"throttled by getReports, quota restores 1 per 45\.045 s") as caught:
        client(amazon.url, quota=quota).list_reports(report_types=[GENERAL], acknowledged=None)
    assert quota.refusals == [("getReports", False, None)]
    assert caught.value.until == NOW + timedelta(minutes=1)
    assert (caught.value.evidence.status, caught.value.evidence.request_id) == (429, "req-2")


def test_a_throttled_answer_that_is_cut_off_is_one_all_the_same(amazon):
    """Taken for a failure it would spend an attempt, and the other workers would call on."""
    amazon.will_answer(Answer(429, b'{"errors": [', announced=200))
    quota = QuotaNotes()
    with pytest.raises(Throttled):
        client(amazon.url, quota=quota).list_reports(report_types=[GENERAL], acknowledged=None)
    assert quota.refusals == [("getReports", False, None)]


# ------------------------------------------------------------------------------------------------- tokens and rights


class OneCallAtATime(QuotaNotes):
    """A bucket that never holds two."""

    def take(self, operation):
        super().take(operation)
        if len(self.taken) % 2 == 0:
            raise Throttled("not now", until=NOW + timedelta(seconds=45))


def test_where_quota_keeps_the_second_try_back_the_new_token_tells_at_the_next(amazon):
    """Else it would be refused, renewed and kept back for ever, and nobody would hear of the role that is lacking."""
    amazon.will_answer(refusal(403, "Unauthorized"), refusal(403, "Unauthorized"))
    api = client(amazon.url, quota=OneCallAtATime())
    with pytest.raises(Throttled):
        api.list_reports(report_types=[GENERAL], acknowledged=None)
    with pytest.raises(OperatorNeeded):
        api.list_reports(report_types=[GENERAL], acknowledged=None)
    assert [one.headers["x-amz-access-token"] for one in amazon.asked] == ["token-1", "token-2"]


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_has_ended_costs_one_more_call_and_no_attempt(amazon, status):
    """The refused one is named: whoever is first replaces it, and nobody replaces the new one."""
    amazon.will_answer(refusal(status, "Unauthorized"), answer(EMPTY))
    tokens, quota = NumberedTokens(), QuotaNotes()
    client(amazon.url, tokens=tokens, quota=quota).list_reports(report_types=[GENERAL], acknowledged=None)
    assert [one.headers["x-amz-access-token"] for one in amazon.asked] == ["token-1", "token-2"]
    assert tokens.refused == ["token-1"]
    assert quota.taken == ["getReports", "getReports"]


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("code", ["Unauthorized", "InvalidSignature", "AccessDenied", "SomethingNew"])
def test_a_refusal_to_a_new_token_too_pauses_the_seller_alone(amazon, status, code):
    """Two tries, then a person must act: it will not mend itself."""
    amazon.will_answer(refusal(status, code))
    with pytest.raises(OperatorNeeded, match="roles") as caught:
        client(amazon.url).list_reports(report_types=[GENERAL], acknowledged=None)
    assert len(amazon.asked) == 2
    assert caught.value.scope == "connection"
    assert (caught.value.evidence.code, caught.value.evidence.request_id) == (code, "req-2")


def test_a_token_that_is_being_refreshed_elsewhere_is_waited_for(amazon):
    """That is the business of whoever gives them."""

    class Busy:
        def access_token(self, *, instead_of=None):
            raise Snooze(f"instead of {instead_of}", until=NOW)

    with pytest.raises(Snooze):
        client(amazon.url, tokens=Busy()).list_schedules()
    assert amazon.asked == []


# ------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (400, "InvalidInput", GiveUp),
        (404, "NotFound", GiveUp),
        (413, "RequestTooLarge", GiveUp),
        (415, "UnsupportedMediaType", GiveUp),
        (500, "InternalFailure", ServiceFault),
        (503, "ServiceUnavailable", ServiceFault),
        (504, "SomethingNew", ServiceFault),
        (200, "InternalFailure", ServiceFault),
        (302, "SomethingNew", ServiceFault),
        (200, "QuotaExceeded", Throttled),
        (503, "QuotaExceeded", Throttled),
    ],
)
def test_each_refusal_becomes_what_the_caller_must_do(amazon, status, code, error):
    """And carries the evidence that Amazon's support asks for."""
    amazon.will_answer(refusal(status, code))
    with pytest.raises(error) as caught:
        client(amazon.url).set_schedule(SHIPPING, "PT7M")
    assert type(caught.value) is error
    evidence = caught.value.evidence
    assert (evidence.operation, evidence.status, evidence.code) == ("createReportSchedule", status, code)
    assert evidence.request_id == "req-2"
    assert len(amazon.asked) == 1


@pytest.mark.parametrize("code", ["InvalidInput", "InvalidNextToken"])
def test_a_token_that_amazon_refuses_ends_that_listing_not_the_account(amazon, code):
    """The same token would be refused for ever: the list begins anew."""
    amazon.will_answer(refusal(400, code))
    with pytest.raises(NextTokenLost):
        client(amazon.url).list_reports(report_types=[GENERAL], acknowledged=False, next_token="old")
    with pytest.raises(NextTokenLost):
        client(amazon.url).list_requests(next_token="old")
    with pytest.raises(GiveUp):
        client(amazon.url).list_reports(report_types=[GENERAL], acknowledged=False)


def test_what_amazon_did_not_like_is_told_in_one_line_without_our_token(amazon):
    """Its messages repeat parameters."""
    amazon.will_answer(refusal(400, "InvalidInput", "Invalid\n token-1 in " + "x" * 500))
    with pytest.raises(GiveUp, match=r"createReportSchedule: Invalid [*]{3} in xxx") as caught:
        client(amazon.url).set_schedule(SHIPPING, "PT7M")
    assert "token-1" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 500, 502, 503])
@pytest.mark.parametrize(
    "body", [b"", b"nope", b"<html>Bad Gateway</html>", b'{"errors": [', b"[]", b"{}", b"[" * 9999]
)
def test_what_is_no_sp_api_answer_is_a_fault_of_the_service_whatever_its_status(amazon, status, body):
    """A proxy's 403 must not pause an account or cost a token, nor its 404 give a report up."""
    headers = {"Content-Type": "text/html", "Location": f"{amazon.url}/elsewhere", "x-amzn-RequestId": "req-9"}
    amazon.will_answer(Answer(status, body, headers))
    tokens = NumberedTokens()
    with pytest.raises(ServiceFault) as caught:
        client(amazon.url, tokens=tokens).list_reports(report_types=[GENERAL], acknowledged=None)
    assert len(amazon.asked) == 1
    assert tokens.refused == []
    assert (caught.value.evidence.status, caught.value.evidence.request_id) == (status, "req-9")


def test_neither_token_is_shown_in_what_goes_wrong(amazon, capsys):
    """Not in an error, not in a log line."""
    amazon.will_answer(refusal(403, "Unauthorized", "The access token token-2 is no good"))
    with pytest.raises(OperatorNeeded) as caught:
        client(amazon.url).list_schedules()
    assert "token-2" not in f"{caught.value} {caught.value!r}" + "".join(capsys.readouterr())
