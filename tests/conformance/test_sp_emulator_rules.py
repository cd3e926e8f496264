"""The emulated SP-API over raw HTTP: its rules, each from the models, the documentation or recorded traffic.

Every JSON answer that a test gets is held against Amazon's official models on the way, where they are at hand.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.client
import json
import re
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest

from emulator.quota import SP_LIMITS
from tests.emulator_process import Emulator

SHIPPING = "GET_FLAT_FILE_ORDER_REPORT_DATA_SHIPPING"
GENERAL = "GET_FLAT_FILE_ALL_ORDERS_DATA_BY_LAST_UPDATE_GENERAL"
US, DE, FR = "ATVPDKIKX0DER", "A1PA6795UKMFR9", "A13V1IB3VIYZZH"

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "samples"
MODELS = SAMPLES / "amzn-selling-partner-api-models" / "models"
WIRE = SAMPLES / "lineofflight-peddler" / "sp-api-wire"
model = pytest.mark.skipif(not MODELS.is_dir(), reason="official SP-API models absent: ../shared/samples")
recorded = pytest.mark.skipif(not WIRE.is_dir(), reason="recorded SP-API answers absent: ../shared/samples")


@pytest.fixture
def emulator():
    # At this speed the emulated clock stands still but for /advance: no test hangs on how fast the machine is.
    with Emulator.start(backlog=12, orders_per_minute=1, speed=0.001, sp_api_sellers="acme,bravo") as running:
        yield running


@pytest.fixture
def acme(emulator):
    return Client(emulator, "acme")


class Answer:
    """What came: status, headers, bytes, and the JSON in them."""

    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        (error,) = self.json["errors"]
        return error["code"]


class Client:
    """One seller's: logs in when it is first asked to call."""

    def __init__(self, emulator, name):
        self.emulator, self.account = emulator, emulator.account(name)
        self._token = None

    def log_in(self, **changed):
        keys = {name: self.account[name] for name in ("client_id", "client_secret", "refresh_token")}
        return self.send("POST", "/auth/o2/token", {"grant_type": "refresh_token"} | keys | changed, form=True)

    @property
    def token(self):
        self._token = self._token or self.log_in().json["access_token"]
        return self._token

    def forget(self):
        self._token = None

    def send(self, verb, path, body=None, *, headers=(), form=False):
        connection = http.client.HTTPConnection(urlsplit(self.emulator.url).netloc, timeout=20)
        kind = "application/x-www-form-urlencoded" if form else "application/json"
        content = urlencode(body) if form else json.dumps(body) if isinstance(body, (dict, list)) else body
        connection.request(verb, path, content, {"Content-Type": kind} | dict(headers))
        answer = Answer(connection.getresponse())
        connection.close()
        return answer

    def call(self, verb, path, body=None, *, token=None, **query):
        if query:
            path += "?" + urlencode({name: ",".join(v) if isinstance(v, list) else v for name, v in query.items()})
        headers = {"x-amz-access-token": self.token if token is None else token}
        answer = self.send(verb, path, body, headers=headers)
        check_shape(verb, path, answer)
        return answer

    def reports(self, **query):
        query = {"reportTypes": SHIPPING} | query if "nextToken" not in query else query
        return self.call("GET", "/reports/2021-06-30/reports", **query)

    def report(self, report_id):
        return self.call("GET", f"/reports/2021-06-30/reports/{report_id}")

    def create(self, **body):
        wanted = {"reportType": SHIPPING, "marketplaceIds": self.account["marketplaces"]}
        return self.call("POST", "/reports/2021-06-30/reports", wanted | body)

    def schedule(self, **body):
        wanted = {"reportType": SHIPPING, "marketplaceIds": self.account["marketplaces"], "period": "PT15M"}
        return self.call("POST", "/reports/2021-06-30/schedules", wanted | body)

    def schedules(self, report_type=SHIPPING):
        return self.call("GET", "/reports/2021-06-30/schedules", reportTypes=report_type).json["reportSchedules"]

    def restricted(self, *document_ids):
        resources = [{"method": "GET", "path": document_path(document_id)} for document_id in document_ids]
        return self.call("POST", "/tokens/2021-03-01/restrictedDataToken", {"restrictedResources": resources})

    def document(self, document_id):
        token = self.restricted(document_id).json["restrictedDataToken"]
        return self.call("GET", document_path(document_id), token=token)

    def fetch(self, url, **headers):
        return self.send("GET", url.removeprefix(self.emulator.url), headers=headers)

    def newest(self):
        return self.reports(processingStatuses="DONE").json["reports"][0]


def document_path(document_id):
    return f"/reports/2021-06-30/documents/{document_id}"


def now(emulator):
    return datetime.fromisoformat(emulator.get("/_emulator/clock")["now"])


def advance(emulator, **span):
    emulator.post("/_emulator/advance", {"seconds": timedelta(**span).total_seconds()})


def many(emulator, operation):
    """No quota in the way."""
    emulator.post("/_emulator/quota", {"operation": operation, "max": 1000, "restore_seconds": 1})


# --- the official models -------------------------------------------------------------------------------------------


def check_shape(verb, path, answer):
    """The answer is of a documented status, and its body exactly of the model's shape."""
    if not MODELS.is_dir() or "json" not in answer.headers.get("Content-Type", ""):
        return
    for file in ("reports-api-model/reports_2021-06-30.json", "tokens-api-model/tokens_2021-03-01.json"):
        definition = json.loads((MODELS / file).read_text())
        for pattern, verbs in definition["paths"].items():
            if re.fullmatch(re.sub(r"{\w+}", "[^/]+", pattern), path.partition("?")[0]) and verb.lower() in verbs:
                response = verbs[verb.lower()]["responses"][str(answer.status)]
                schema = response.get("schema", {"type": "object"})
                fits(answer.json, schema, definition["definitions"])
                return


def fits(value, schema, definitions):
    """`value` is of the schema: types, required fields, no unknown ones, enumerations, dates with an offset."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    kind = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}[schema["type"]]
    assert isinstance(value, kind), (value, schema)
    assert "enum" not in schema or value in schema["enum"], value
    if schema.get("format") == "date-time":
        assert datetime.fromisoformat(value).tzinfo, value
    for item in value if kind is list else ():
        fits(item, schema["items"], definitions)
    if kind is dict:
        known, others = schema.get("properties", {}), schema.get("additionalProperties")
        assert value.keys() >= set(schema.get("required", ())), (value, schema["required"])
        assert others or value.keys() <= known.keys(), (value, list(known))
        for name, inner in value.items():
            fits(inner, known.get(name, others), definitions)


@model
def test_every_answer_is_of_the_models_shape_and_the_check_would_notice(emulator, acme):
    """Ten operations, good and bad; and a body that lacks a field, has one too many or a null is no such shape."""
    created = acme.create(dataStartTime=(now(emulator) - timedelta(hours=2)).isoformat()).json["reportId"]
    acme.reports(pageSize=2)
    acme.report(created)
    acme.call("DELETE", f"/reports/2021-06-30/reports/{created}")
    acme.document(acme.newest()["reportDocumentId"])
    schedule_id = acme.schedule(reportOptions={"ShowSalesChannel": "true"}).json["reportScheduleId"]
    acme.schedules()
    acme.call("GET", f"/reports/2021-06-30/schedules/{schedule_id}")
    acme.call("DELETE", f"/reports/2021-06-30/schedules/{schedule_id}")
    acme.create(reportType="GET_NOTHING")
    acme.report("1")
    assert {call["operation"] for call in emulator.calls()} >= {
        "getReports",
        "createReport",
        "getReport",
        "cancelReport",
        "getReportDocument",
        "createReportSchedule",
        "getReportSchedules",
        "getReportSchedule",
        "cancelReportSchedule",
        "createRestrictedDataToken",
    }
    definitions = json.loads((MODELS / "reports-api-model/reports_2021-06-30.json").read_text())["definitions"]
    report = acme.newest()
    for wrong in (
        {name: value for name, value in report.items() if name != "createdTime"},
        report | {"acknowledged": "true"},
        report | {"reportScheduleId": None},
        report | {"processingStatus": "READY"},
        report | {"createdTime": "2026-05-08T12:00:00"},
    ):
        with pytest.raises((AssertionError, TypeError)):
            fits(wrong, definitions["Report"], definitions)


# --- who may call --------------------------------------------------------------------------------------------------


def test_the_first_line_names_each_sellers_keys_of_its_own_api_alone(emulator):
    """Who drains a seller must not need to know where it sells; all keys are shown to who asks for them."""
    assert emulator.first_line["lwa"] == emulator.first_line["sp_api"] + "/auth/o2/token"
    mws, sp_api = {"access_key", "secret_key"}, {"client_id", "client_secret", "refresh_token"}
    assert sp_api <= emulator.account("acme").keys()
    assert not mws & emulator.account("acme").keys()
    assert mws <= emulator.account("cedar").keys()
    assert not sp_api & emulator.account("cedar").keys()
    assert all(account.keys() >= mws | sp_api for account in emulator.get("/_emulator/accounts?keys=all"))
    assert emulator.account("acme")["client_id"] == emulator.account("bravo")["client_id"]


@pytest.mark.parametrize("form", [True, False])
def test_a_token_is_given_for_a_form_and_for_json_and_earlier_ones_stay_good(acme, form):
    """Published clients send either, and each of their objects asks anew."""
    keys = {name: acme.account[name] for name in ("client_id", "client_secret", "refresh_token")}
    first = acme.send("POST", "/auth/o2/token", {"grant_type": "refresh_token"} | keys, form=form)
    second = acme.log_in()
    assert (first.status, first.headers["Content-Type"]) == (200, "application/json;charset=UTF-8")
    assert first.json.keys() == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert (first.json["token_type"], first.json["expires_in"]) == ("bearer", 3600)
    assert first.json["access_token"].startswith("Atza|")
    for answer in (first, second):
        assert acme.call("GET", "/reports/2021-06-30/reports/1", token=answer.json["access_token"]).status == 404


def test_lwa_says_in_oauths_words_what_is_wrong(acme):
    """The developer's secret, the seller's leave and a mistake of the client call for three different people."""
    for changed, status, error in (
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"client_id": "amzn1.application-oa2-client.none"}, 401, "invalid_client"),
        ({"refresh_token": "Atzr|revoked"}, 400, "invalid_grant"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": ""}, 400, "invalid_request"),
    ):
        answer = acme.log_in(**changed)
        assert (answer.status, answer.json["error"]) == (status, error)
        assert answer.json.keys() >= {"error_description", "request_id"}
    assert [call["code"] for call in acme.emulator.calls("LWA")][:3] == ["invalid_client"] * 2 + ["invalid_grant"]


def test_a_grantless_token_opens_no_sellers_reports(acme):
    """It is the application's own, for notifications."""
    grantless = acme.log_in(grant_type="client_credentials", scope="sellingpartnerapi::notifications", refresh_token="")
    assert (grantless.status, grantless.json["scope"]) == (200, "sellingpartnerapi::notifications")
    answer = acme.call("GET", "/reports/2021-06-30/reports/1", token=grantless.json["access_token"])
    assert (answer.status, answer.code) == (403, "Unauthorized")


def test_a_call_needs_a_token_and_the_token_lives_an_hour_of_the_emulated_clock(emulator, acme):
    """One 403 for all of it; the details alone tell which, as users have seen them."""
    token = acme.token
    advance(emulator, minutes=59)
    assert acme.reports(token=token).status == 200
    advance(emulator, minutes=2)
    for sent, details in ((token, "expired"), ("Atza|none", "malformed"), ("", "")):
        answer = acme.reports(token=sent)
        assert (answer.status, answer.code) == (403, "Unauthorized")
        assert details in answer.json["errors"][0]["details"]
        assert "x-amzn-RateLimit-Limit" not in answer.headers
    (call,) = (call for call in emulator.calls() if call["code"] == "Unauthorized" and call["account"])
    assert (call["account"], call["applied"]) == ("acme", False)  # an expired token still says whose it was
    acme.forget()
    assert acme.reports().status == 200


def test_no_operation_is_denied_as_recorded(acme):
    """Amazon's gateway knows no 404 for a path that it lacks."""
    for verb, path in (("GET", "/reports/2021-06-30/feeds"), ("DELETE", "/reports/2021-06-30/reports")):
        answer = acme.call(verb, path)
        assert (answer.status, answer.code) == (403, "Unauthorized")


# --- listing -------------------------------------------------------------------------------------------------------


def test_a_listing_gives_full_pages_and_next_token_alone(acme):
    """Newest first, none twice; the token needs escaping, belongs to one seller, and stands beside no other parameter."""
    first = acme.reports(pageSize=7)
    token = first.json["nextToken"]
    assert {"+", "/", "="} <= set(token)
    second = acme.reports(nextToken=token)
    found = first.json["reports"] + second.json["reports"]
    assert [len(page.json["reports"]) for page in (first, second)] == [7, 5]
    assert "nextToken" not in second.json
    assert len({report["reportId"] for report in found}) == 12
    assert [report["createdTime"] for report in found] == sorted((r["createdTime"] for r in found), reverse=True)
    for beside in ({"pageSize": 7}, {"reportTypes": SHIPPING}):
        assert acme.reports(nextToken=token, **beside).code == "InvalidInput"
    assert acme.reports(nextToken=token, MarketplaceIds=US).status == 200  # what Amazon does not know, it ignores
    assert Client(acme.emulator, "bravo").reports(nextToken=token).code == "InvalidInput"
    advance(acme.emulator, minutes=15)
    assert acme.reports(nextToken=token).code == "InvalidInput"


def test_each_filter_of_a_listing_filters(emulator, acme):
    """Types, statuses, marketplaces, creation; lists are separated by commas, plain or escaped."""
    many(emulator, "getReports")
    add = lambda **body: emulator.post("/_emulator/reports", {"account": "acme", "api": "sp-api"} | body)  # noqa: E731
    (failed,) = add(status="FATAL")["report_ids"]
    (general,) = add(report_type=GENERAL, body_base64="", requested=True)["report_ids"]
    ids = lambda **query: [report["reportId"] for report in acme.reports(pageSize=100, **query).json["reports"]]  # noqa: E731
    assert len(ids()) == 13
    assert len(ids(reportTypes=[SHIPPING, GENERAL])) == 14
    assert ids(reportTypes=GENERAL) == [general]
    assert ids(processingStatuses=["FATAL", "CANCELLED"]) == [failed]
    assert acme.call("GET", f"/reports/2021-06-30/reports?reportTypes={SHIPPING},{GENERAL}&pageSize=100").status == 200
    assert (len(ids(marketplaceIds=US)), ids(marketplaceIds=DE)) == (13, [])
    ten = sorted(report["createdTime"] for report in acme.reports(pageSize=100).json["reports"])[2:]
    assert len(ids(createdSince=ten[0])) == 11
    assert len(ids(createdUntil=ten[0])) == 3
    for wrong in (
        {"reportTypes": ""},
        {"reportTypes": [f"T{n}" for n in range(11)]},
        {"processingStatuses": "_DONE_"},
        {"pageSize": 0},
        {"pageSize": 101},
        {"createdSince": "yesterday"},
        {"createdSince": "2026-05-02T00:00:00Z", "createdUntil": "2026-05-01T00:00:00Z"},
    ):
        assert (acme.reports(**wrong).status, acme.reports(**wrong).code) == (400, "InvalidInput")


def test_a_report_older_than_ninety_days_is_gone(emulator, acme):
    """Retention, by the API's reference."""
    emulator.post("/_emulator/stop-selling", {})
    report = acme.newest()
    advance(emulator, days=91)
    acme.forget()
    assert all(other["reportId"] != report["reportId"] for other in acme.reports(pageSize=100).json["reports"])
    assert acme.report(report["reportId"]).status == 404
    assert acme.document(report["reportDocumentId"]).status == 404


def test_what_is_created_while_somebody_pages_is_for_the_next_listing(emulator, acme):
    """Else it would push the others back, and one would be listed twice."""
    everything = [report["reportId"] for report in acme.reports(pageSize=100).json["reports"]]
    page = acme.reports(pageSize=5)
    (new,) = emulator.post("/_emulator/reports", {"account": "acme", "api": "sp-api"})["report_ids"]
    rest = acme.reports(nextToken=page.json["nextToken"])
    assert [report["reportId"] for report in rest.json["reports"]] == everything[5:10]
    assert acme.reports().json["reports"][0]["reportId"] == new


# --- asking --------------------------------------------------------------------------------------------------------


def test_a_created_report_waits_is_worked_on_and_done_within_a_minute(emulator, acme):
    """202 at once; what is not known yet is absent."""
    start = now(emulator) - timedelta(hours=2)
    made = acme.create(dataStartTime=start.isoformat(), dataEndTime=now(emulator).isoformat())
    assert made.status == 202
    report_id = made.json["reportId"]
    seen, last = [], {}
    for _ in range(60):
        last = acme.report(report_id).json
        seen += [last["processingStatus"]] if last["processingStatus"] not in seen[-1:] else []
        assert ("reportDocumentId" in last) == (last["processingStatus"] == "DONE")
        advance(emulator, seconds=1)
    assert seen == ["IN_QUEUE", "IN_PROGRESS", "DONE"]
    assert last["dataStartTime"] == start.strftime("%Y-%m-%dT%H:%M:%S+00:00")
    assert last["createdTime"] < last["processingStartTime"] < last["processingEndTime"]
    assert "reportScheduleId" not in last


def test_nothing_to_tell_ends_cancelled(emulator, acme):
    """What MWS called done without data. Without dates the window is now and nothing (SP-API model)."""
    report_id = acme.create().json["reportId"]
    advance(emulator, minutes=1)
    report = acme.report(report_id).json
    assert (report["processingStatus"], "reportDocumentId" in report) == ("CANCELLED", False)


def test_only_what_waits_can_be_cancelled(acme):
    """Then it makes no document; what is under way or done goes on."""
    start = (now(acme.emulator) - timedelta(hours=2)).isoformat()
    report_id = acme.create(dataStartTime=start).json["reportId"]
    cancel = lambda: acme.call("DELETE", f"/reports/2021-06-30/reports/{report_id}", {})  # noqa: E731
    assert (cancel().status, cancel().code) == (200, "InvalidInput")
    advance(acme.emulator, minutes=1)
    assert acme.report(report_id).json["processingStatus"] == "CANCELLED"
    assert acme.call("DELETE", f"/reports/2021-06-30/reports/{acme.newest()['reportId']}").code == "InvalidInput"
    assert acme.call("DELETE", "/reports/2021-06-30/reports/1").status == 404


def test_what_the_model_does_not_allow_is_invalid(emulator, acme):
    """A client with a mistake hears of it, and nothing is asked for."""
    many(emulator, "createReport")
    later = (now(emulator) + timedelta(hours=1)).isoformat()
    for wrong in (
        {"reportType": "_GET_FLAT_FILE_ORDERS_DATA_"},
        {"reportType": "GET_ORDER_REPORT_DATA_SHIPPING"},  # only by schedule
        {"reportType": "GET_PENDING_ORDERS_DATA"},  # only in Japan
        {"marketplaceIds": []},
        {"marketplaceIds": [DE]},
        {"marketplaceIds": US},
        {"dataEndTime": later},
        {"dataStartTime": "yesterday"},
        {"reportOptions": {"ShowSalesChannel": True}},
    ):
        answer = acme.create(**wrong)
        assert (answer.status, answer.code) == (400, "InvalidInput"), wrong
    for body in ("{", "[]"):
        assert acme.call("POST", "/reports/2021-06-30/reports", body).code == "InvalidInput"
    assert len(acme.reports(pageSize=100).json["reports"]) == 12


def test_a_report_of_one_marketplace_tells_that_alone(emulator):
    """A seller in two countries may ask for one of them, and for a column that names it."""
    bravo = Client(emulator, "bravo")
    start = (now(emulator) - timedelta(hours=3)).isoformat()
    report_id = bravo.create(dataStartTime=start, marketplaceIds=[FR], reportOptions={"ShowSalesChannel": "true"}).json[
        "reportId"
    ]
    advance(emulator, minutes=1)
    report = bravo.report(report_id).json
    assert report["marketplaceIds"] == [FR]
    bravo.document(report["reportDocumentId"])
    told = [line for line in truth(emulator) if line["account"] == "bravo"]
    cells = [line["cells"] for line in told if line["report_id"] == report_id]
    assert {line["sales-channel"] for line in cells} == {"Amazon.fr"}


def truth(emulator):
    return emulator.get("/_emulator/truth")["families"]["new_orders"]


# --- schedules -----------------------------------------------------------------------------------------------------


def test_a_schedule_makes_a_report_of_each_interval_and_only_of_it(emulator, acme):
    """Intervals meet; whoever misses one report misses its orders, for no later scheduled one tells them."""
    (schedule,) = acme.schedules()
    assert (schedule["period"], schedule["marketplaceIds"]) == ("PT15M", [US])
    advance(emulator, hours=2)
    acme.forget()
    reports = [r for r in acme.reports(pageSize=100).json["reports"] if "reportScheduleId" in r]
    assert {report["reportScheduleId"] for report in reports} == {schedule["reportScheduleId"]}
    reports.reverse()
    assert len(reports) >= 17
    assert all(a["dataEndTime"] == b["dataStartTime"] for a, b in pairwise(reports))
    assert all(report["createdTime"] == report["dataEndTime"] for report in reports)


def test_an_interval_without_orders_makes_a_cancelled_report():
    """Silence is an answer here: there is a report that says so, and no document."""
    with Emulator.start(backlog=0, orders_per_minute=0, speed=0.001, sp_api_sellers="acme") as emulator:
        acme = Client(emulator, "acme")
        advance(emulator, hours=1)
        reports = acme.reports().json["reports"]
        assert [report["processingStatus"] for report in reports] == ["CANCELLED"] * 4
        assert not any("reportDocumentId" in report for report in reports)


def test_the_same_type_and_marketplaces_replace_a_schedule(emulator):
    """Without a hole: the new one's first interval begins where the old one's last ended."""
    bravo = Client(emulator, "bravo")
    (old,) = bravo.schedules()
    made = bravo.schedule(marketplaceIds=[FR, DE], period="PT5M")
    assert made.status == 201
    (new,) = bravo.schedules()
    assert new["reportScheduleId"] == made.json["reportScheduleId"] != old["reportScheduleId"]
    assert bravo.call("GET", f"/reports/2021-06-30/schedules/{old['reportScheduleId']}").status == 404
    bravo.schedule(marketplaceIds=[DE], period="P1D")
    assert sorted(schedule["period"] for schedule in bravo.schedules()) == ["P1D", "PT5M"]
    assert bravo.call("DELETE", f"/reports/2021-06-30/schedules/{new['reportScheduleId']}", {}).json == {}
    assert [schedule["period"] for schedule in bravo.schedules()] == ["P1D"]
    advance(emulator, minutes=1)
    told = [r for r in bravo.reports(pageSize=100).json["reports"] if "reportScheduleId" in r]
    (first,) = (r for r in told if r["reportScheduleId"] == new["reportScheduleId"])
    (last, *_) = (r for r in told if r["reportScheduleId"] == old["reportScheduleId"])
    assert first["dataStartTime"] == last["dataEndTime"]


def test_the_xml_schedule_silently_ends_the_flat_files(acme):
    """Of both with the same suffix only one may be scheduled."""
    assert acme.schedule(reportType="GET_ORDER_REPORT_DATA_TAX").status == 201
    assert len(acme.schedules()) == 1
    assert acme.schedule(reportType="GET_ORDER_REPORT_DATA_SHIPPING").status == 201
    assert acme.schedules() == []
    for wrong in (
        {"period": "_15_MINUTES_"},
        {"period": ["PT5M"]},
        {"reportType": GENERAL},
        {"nextReportCreationTime": "2099-01-01T00:00Z"},
    ):
        assert acme.schedule(**wrong).code == "InvalidInput"
    assert acme.call("GET", "/reports/2021-06-30/schedules").code == "InvalidInput"


# --- documents -----------------------------------------------------------------------------------------------------


def test_a_restricted_document_needs_a_token_made_for_its_very_path(emulator, acme):
    """A plain token, and a restricted one of another document, are denied; so is a restricted one elsewhere."""
    mine, other = [r["reportDocumentId"] for r in acme.reports(processingStatuses="DONE").json["reports"]][:2]
    made = acme.restricted(mine)
    assert (made.status, made.json["expiresIn"]) == (200, 3600)
    token = made.json["restrictedDataToken"]
    assert token.startswith("Atz.sprdt|")
    assert acme.call("GET", document_path(quote(mine, safe="")), token=token).status == 200
    denied = [
        acme.call("GET", document_path(mine)),
        acme.call("GET", document_path(other), token=token),
        acme.reports(token=token),
    ]
    advance(emulator, minutes=61)
    denied.append(acme.call("GET", document_path(mine), token=token))
    assert [(answer.status, answer.code) for answer in denied] == [(403, "Unauthorized")] * 4
    assert "expired" in denied[-1].json["errors"][0]["details"]


def test_a_restricted_token_is_made_for_named_documents_alone(acme):
    """A generic path opens no report document; fifty paths are the most."""
    acme.emulator.post("/_emulator/quota", {"operation": "createRestrictedDataToken", "max": 99, "restore_seconds": 1})
    one = {"method": "GET", "path": document_path("amzn1.spdoc.1")}
    for resources in (
        [],
        [one] * 51,
        [one | {"method": "POST"}],
        [one | {"path": document_path("{reportDocumentId}")}],
        [one | {"path": "/orders/v0/orders"}],
    ):
        answer = acme.call("POST", "/tokens/2021-03-01/restrictedDataToken", {"restrictedResources": resources})
        assert (answer.status, answer.code) == (400, "InvalidInput")
    resources = {"restrictedResources": [one] * 50}
    assert acme.call("POST", "/tokens/2021-03-01/restrictedDataToken", resources).status == 200


def test_a_document_of_no_restricted_type_needs_a_plain_token(emulator, acme):
    """All Orders names no buyer."""
    given = {"account": "acme", "api": "sp-api", "report_type": GENERAL, "requested": True}
    content = base64.b64encode(b"amazon-order-id\n").decode()
    (report_id,) = emulator.post("/_emulator/reports", given | {"body_base64": content})["report_ids"]
    document_id = acme.report(report_id).json["reportDocumentId"]
    url = acme.call("GET", document_path(document_id)).json["url"]
    assert acme.fetch(url).body == b"amazon-order-id\n"
    assert Client(emulator, "bravo").call("GET", document_path(document_id)).status == 404


def test_documents_come_compressed_or_plain_and_say_their_charset(emulator, acme):
    """The charset is that of the text within; the body is what `compressionAlgorithm` says, and no more."""
    many(emulator, "getReportDocument")
    emulator.post("/_emulator/quota", {"operation": "createRestrictedDataToken", "max": 99, "restore_seconds": 1})
    kinds = set()
    for report in acme.reports(pageSize=100, processingStatuses="DONE").json["reports"]:
        document = acme.document(report["reportDocumentId"]).json
        answer = acme.fetch(document["url"])
        compressed = document.get("compressionAlgorithm") == "GZIP"
        kinds.add(compressed)
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/plain; charset=Cp1252")
        assert answer.headers["Content-Encoding"] == "identity"
        assert "Content-MD5" not in answer.headers
        assert answer.headers["ETag"].strip('"') != hashlib.md5(answer.body, usedforsecurity=False).hexdigest()
        text = (gzip.decompress(answer.body) if compressed else answer.body).decode("cp1252")
        assert text.startswith("order-id\torder-item-id\t")
    assert kinds == {True, False}


def test_a_url_is_good_for_five_minutes_of_the_emulated_clock(emulator, acme):
    """Then the store answers in XML, as recorded; a new url costs a call."""
    document_id = acme.newest()["reportDocumentId"]
    url = acme.document(document_id).json["url"]
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert (query["X-Amz-Expires"], query["X-Amz-Algorithm"]) == ("300", "AWS4-HMAC-SHA256")
    assert len(urlsplit(url).query) > 512
    body = acme.fetch(url).body
    advance(emulator, seconds=301)
    expired = acme.fetch(url)
    assert (expired.status, expired.headers["Content-Type"]) == (403, "application/xml")
    assert b"<Code>AccessDenied</Code><Message>Request has expired</Message>" in expired.body
    assert acme.fetch(acme.document(document_id).json["url"]).body == body
    (first, *_) = emulator.calls("document")
    assert first["report_ids"] == [acme.newest()["reportId"]]


@recorded
def test_the_expired_urls_answer_has_the_recorded_elements(emulator, acme):
    """All of them but the host's id, in their order."""
    url = acme.document(acme.newest()["reportDocumentId"]).json["url"]
    advance(emulator, seconds=301)
    names = re.findall(r"<([\w-]+)>", (WIRE / "s3_presigned_url_expired_403_2025.xml").read_text())
    assert re.findall(r"<([\w-]+)>", acme.fetch(url).body.decode()) == [name for name in names if name != "HostId"]


def test_a_url_that_was_tampered_with_opens_nothing(acme):
    """Neither another date, nor another object, nor no signature."""
    url = acme.document(acme.newest()["reportDocumentId"]).json["url"]
    for wrong in (re.sub(r"X-Amz-Date=\d", "X-Amz-Date=3", url), url.partition("?")[0], url.replace(".amzn1.", ".x.")):
        answer = acme.fetch(wrong)
        assert (answer.status, b"<Code>SignatureDoesNotMatch</Code>" in answer.body) == (403, True)


def test_a_token_sent_to_the_store_is_a_leak_and_recorded(emulator, acme):
    """The store is not Amazon's API: a client that sends it the seller's token has a fault."""
    url = acme.document(acme.newest()["reportDocumentId"]).json["url"]
    answers = [acme.fetch(url, **{"x-amz-access-token": acme.token}), acme.fetch(url, Authorization="Bearer x")]
    assert [answer.status for answer in answers] == [400, 400]
    assert [call.get("leak") for call in emulator.calls("document")] == [True, True]
    assert emulator.get("/_emulator/calls")["totals"]["leaks"] == 2


# --- rates ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "burst", "rate"),
    [
        (f"/reports/2021-06-30/reports?reportTypes={SHIPPING}", 10, "0.0222"),
        ("/reports/2021-06-30/reports/1", 15, "2.0"),
        ("/reports/2021-06-30/documents/1", 15, "0.0167"),
    ],
)
def test_each_operation_has_its_documented_burst_and_rate(emulator, acme, path, burst, rate):
    """One more than the burst is refused as recorded: no rate told, no Retry-After; another seller is not."""
    get = lambda client=acme: client.call("GET", path)  # noqa: E731
    answers = [get() for _ in range(burst + 1)]
    assert {answer.status for answer in answers[:-1]} <= {200, 404}
    assert {answer.headers["x-amzn-RateLimit-Limit"] for answer in answers[:-1]} == {rate}
    refused = answers[-1]
    assert (refused.status, refused.code) == (429, "QuotaExceeded")
    assert refused.headers["X-Amzn-ErrorType"] == "TooManyRequestsException"
    assert not {"x-amzn-RateLimit-Limit", "Retry-After"} & set(refused.headers.keys())
    assert get(Client(emulator, "bravo")).status != 429
    over = [call for call in emulator.calls() if call["over_quota"]]
    assert [(call["account"], call["code"], call["status"]) for call in over] == [("acme", "QuotaExceeded", 429)]
    assert emulator.get("/_emulator/calls")["totals"]["over_quota"] == 1


def test_a_bucket_refills_at_its_rate(emulator, acme):
    """Forty-five seconds for a listing; a quota can be changed for one operation."""
    for _ in range(10):
        acme.reports()
    advance(emulator, seconds=44)
    assert acme.reports().status == 429
    advance(emulator, seconds=2)
    assert (acme.reports().status, acme.reports().status) == (200, 429)
    emulator.post("/_emulator/quota", {"account": "acme", "operation": "getReports", "max": 2, "restore_seconds": 180})
    answers = [acme.reports() for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert answers[0].headers["x-amzn-RateLimit-Limit"] == "0.0056"


@model
def test_the_quotas_are_the_models(emulator):
    """Its text gives rate and burst of each operation in a table."""
    found = {}
    for file in ("reports-api-model/reports_2021-06-30.json", "tokens-api-model/tokens_2021-03-01.json"):
        for verbs in json.loads((MODELS / file).read_text())["paths"].values():
            for operation in verbs.values():
                if "operationId" in operation:
                    rate, burst = re.search(r"\| ([\d.]+) \| (\d+) \|", operation["description"]).groups()
                    found[operation["operationId"]] = (float(rate), int(burst))
    assert {name: (round(1 / limit.restore_seconds, 4), limit.burst) for name, limit in SP_LIMITS.items()} == found


# --- what the judge sees -------------------------------------------------------------------------------------------


def test_the_two_apis_tell_the_same_orders_in_reports_of_their_own(emulator):
    """Each told line says by which; a report of one is unknown to the other, though it is the same seller's."""
    emulator.post("/_emulator/stop-selling", {})
    line = {"order_id": "111-0000001-0000001", "lines": [{"sku": "A"}]}
    emulator.post("/_emulator/orders", {"account": "acme", "orders": [line]})
    named = {"account": "acme", "order_ids": ["111-0000001-0000001"]}
    told = lambda: next(line for line in truth(emulator) if line["order_id"] == "111-0000001-0000001")  # noqa: E731
    (old,) = emulator.post("/_emulator/reports", named)["report_ids"]
    assert (told()["api"], told()["report_id"]) == ("mws", old)
    advance(emulator, seconds=5)
    (new,) = emulator.post("/_emulator/reports", named | {"api": "sp-api"})["report_ids"]
    assert (told()["api"], told()["report_id"]) == ("sp-api", new)
    acme = Client(emulator, "acme")
    assert acme.report(old).status == 404
    assert acme.report(new).json["processingStatus"] == "DONE"
    reports = {(r["api"], r["report_id"]) for r in emulator.get("/_emulator/truth")["told_reports"]}
    assert {("mws", old), ("sp-api", new)} <= reports


def test_an_mws_seller_begins_at_sp_api_with_nothing_and_may_move_there():
    """One that moves gets a second connection: same orders, other reports."""
    with Emulator.start(backlog=4, orders_per_minute=6, speed=0.001) as emulator:
        emulator.accounts = emulator.get("/_emulator/accounts?keys=all")
        acme = Client(emulator, "acme")
        assert (acme.reports().json["reports"], acme.schedules()) == ([], [])
        acme.schedule(period="PT5M", nextReportCreationTime=(now(emulator) + timedelta(minutes=5)).isoformat())
        advance(emulator, minutes=6)
        (report,) = acme.reports().json["reports"]
        assert report["processingStatus"] == "DONE"
        apis = {line["api"] for line in truth(emulator) if line["account"] == "acme"}
        assert apis == {"mws", "sp-api"}


# --- what goes wrong -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("throttle", 429, "QuotaExceeded"),
        ("internal_error", 500, "InternalFailure"),
        ("unavailable", 503, "ServiceUnavailable"),
        ("expired_access_token", 403, "Unauthorized"),
        ("missing_role", 403, "Unauthorized"),
    ],
)
def test_an_ordered_fault_is_answered_in_amazons_words_and_changes_nothing(emulator, acme, fault, status, code):
    """The record tells it from a call that was over quota."""
    emulator.post("/_emulator/faults", {"operation": "createReport", "fault": fault})
    answer = acme.create()
    assert (answer.status, answer.code) == (status, code)
    (call,) = emulator.calls("createReport")
    assert (call["fault"], call["over_quota"], call["applied"]) == (fault, False, False)
    assert len(acme.reports(pageSize=100, token=acme.log_in().json["access_token"]).json["reports"]) == 12


def test_an_expired_token_stays_expired_and_a_missing_role_lasts_until_it_is_given(emulator, acme):
    """The first is mended by one refresh, the second by nobody but a person."""
    emulator.post("/_emulator/faults", {"operation": "getReports", "fault": "expired_access_token"})
    assert [acme.reports().status for _ in range(2)] == [403, 403]
    acme.forget()
    assert acme.reports().status == 200
    role = {"operation": "getReports", "fault": "missing_role", "account": "acme"}
    emulator.post("/_emulator/faults", role)
    assert [acme.reports().status for _ in range(3)] == [403] * 3
    assert Client(emulator, "bravo").reports().status == 200
    emulator.post("/_emulator/faults", role | {"next": 0})
    assert acme.reports().status == 200


@pytest.mark.parametrize(("fault", "applied"), [("no_answer", False), ("late_answer", True)])
def test_an_answer_that_does_not_come_may_have_had_its_effect(emulator, acme, fault, applied):
    """Who repeats a createReport must look first."""
    assert acme.token
    emulator.post("/_emulator/faults", {"operation": "createReport", "fault": fault})
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        acme.create()
    assert len(acme.reports(pageSize=100).json["reports"]) == 12 + applied
    (call,) = emulator.calls("createReport")
    assert (call["status"], call["code"], call["applied"]) == (None, "no answer", applied)


def test_listings_go_wrong_as_at_mws(emulator, acme):
    """An empty page with more to come, an entry on two pages, a good token refused once."""
    many(emulator, "getReports")
    order = lambda fault: emulator.post("/_emulator/faults", {"operation": "getReports", "fault": fault})  # noqa: E731
    order("token_corrupted")
    first = acme.reports(pageSize=5)
    refused = acme.reports(nextToken=first.json["nextToken"])
    assert (first.status, refused.status, refused.code) == (200, 400, "InvalidInput")
    order("empty_page")
    empty = acme.reports(pageSize=5).json
    assert empty["reports"] == []
    assert acme.reports(nextToken=empty["nextToken"]).json["reports"] == first.json["reports"]
    order("duplicate_listing")
    twice = acme.reports(pageSize=5).json
    assert acme.reports(nextToken=twice["nextToken"]).json["reports"][0] == twice["reports"][-1]


def test_a_created_report_may_be_slow_stuck_cancelled_or_fatal(emulator, acme):
    """The first ends after eight hours, the second never; a reason is a document and no orders."""
    start = (now(emulator) - timedelta(hours=2)).isoformat()
    made = {}
    for fault in ("slow_request", "stuck_request", "cancelled", "fatal", "fatal_with_reason"):
        emulator.post("/_emulator/faults", {"operation": "createReport", "fault": fault})
        made[fault] = acme.create(dataStartTime=start).json["reportId"]
    statuses = lambda: {fault: acme.report(report_id).json["processingStatus"] for fault, report_id in made.items()}  # noqa: E731
    advance(emulator, minutes=1)
    assert statuses() == {
        "slow_request": "IN_QUEUE",
        "stuck_request": "IN_PROGRESS",
        "cancelled": "CANCELLED",
        "fatal": "FATAL",
        "fatal_with_reason": "FATAL",
    }
    assert "reportDocumentId" not in acme.report(made["fatal"]).json
    reason = acme.document(acme.report(made["fatal_with_reason"]).json["reportDocumentId"]).json
    assert "errorDetails" in json.loads(acme.fetch(reason["url"]).body)
    told = {report["report_id"] for report in emulator.get("/_emulator/truth")["told_reports"]}
    assert not told & set(made.values())
    for hours, slow in ((4, "IN_PROGRESS"), (5, "DONE")):
        advance(emulator, hours=hours)
        acme.forget()
        assert (statuses()["slow_request"], statuses()["stuck_request"]) == (slow, "IN_PROGRESS")


@pytest.mark.parametrize("gzipped", [True, False])
def test_what_is_announced_and_what_the_bytes_are_may_differ(emulator, acme, gzipped):
    """Users have met it both ways: only the bytes can be believed."""
    made = {"account": "acme", "api": "sp-api", "gzip": gzipped}
    (report_id,) = emulator.post("/_emulator/reports", made)["report_ids"]
    document_id = acme.report(report_id).json["reportDocumentId"]

    def looked_at(fault=None):
        if fault:
            emulator.post("/_emulator/faults", {"operation": "getReportDocument", "fault": fault})
        document = acme.document(document_id).json
        body = acme.fetch(document["url"]).body
        is_gzip = body.startswith(b"\x1f\x8b")
        return "compressionAlgorithm" in document, is_gzip, gzip.decompress(body) if is_gzip else body

    announced, is_gzip, text = looked_at()
    assert (announced, is_gzip) == (gzipped, gzipped)
    assert looked_at("gzip_announced_plain") == (True, False, text)
    assert looked_at("gzip_unannounced") == (False, True, text)
    url = acme.document(document_id).json["url"]
    emulator.post("/_emulator/faults", {"operation": "document", "fault": "gzip_on_gzip"})
    twice = acme.fetch(url)
    assert twice.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(twice.body) == acme.fetch(url).body


def test_a_document_may_be_cut_stalled_or_its_url_expired(emulator, acme):
    """A cut body must not pass for a whole one; an expired url is no bad token."""
    emulator.post("/_emulator/faults", {"stall_seconds": 0.2})
    url = acme.document(acme.newest()["reportDocumentId"]).json["url"]
    whole = acme.fetch(url).body
    order = lambda fault: emulator.post("/_emulator/faults", {"operation": "document", "fault": fault})  # noqa: E731
    for fault in ("cut_body", "stalled_body"):
        order(fault)
        with pytest.raises(http.client.IncompleteRead):
            acme.fetch(url)
    order("cut_without_length")
    assert acme.fetch(url).body == whole[: int(len(whole) * 0.6)]
    for fault, status, code in (
        ("expired_url", 403, b"<Code>AccessDenied</Code><Message>Request has expired"),
        ("unavailable", 503, b"<Code>SlowDown</Code>"),
        ("internal_error", 500, b"<Code>InternalError</Code>"),
    ):
        order(fault)
        answer = acme.fetch(url)
        assert (answer.status, code in answer.body) == (status, True)
    assert acme.fetch(url).body == whole


def test_lwa_refuses_when_told_to(emulator, acme):
    """A revoked leave of one seller, a rotated secret, a silence: the others go on."""
    order = lambda fault, **more: emulator.post("/_emulator/faults", {"operation": "LWA", "fault": fault} | more)  # noqa: E731
    order("invalid_grant", account="acme", next=2)
    assert [acme.log_in().json.get("error") for _ in range(3)] == ["invalid_grant", "invalid_grant", None]
    order("invalid_client")
    assert (acme.log_in().status, acme.log_in().status) == (401, 200)
    order("no_answer", account="acme")
    assert Client(emulator, "bravo").log_in().status == 200
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        acme.log_in()
    calls = emulator.calls("LWA")
    assert {call["account"] for call in calls} == {"acme", "bravo"}
    assert calls[-1]["code"] == "no answer"


def test_whoever_tries_again_drains_everything_through_the_default_faults():
    """Faults by chance hinder and spoil, and leave no report out of reach."""
    with Emulator.start(backlog=20, speed=0.001, faults="default", sp_api_sellers="acme") as emulator:
        acme = Client(emulator, "acme")
        for operation in SP_LIMITS:
            many(emulator, operation)

        def insist(step, *arguments):
            """The good answer that came at last; each further try begins with a new token."""
            for _ in range(12):
                try:
                    if (answer := step(*arguments)).status == 200:
                        return answer
                except (http.client.HTTPException, ConnectionError, ValueError, KeyError):
                    pass  # cut, not answered, or an error where a token was awaited
                acme.forget()
            raise AssertionError("twelve tries were not enough")

        def download(document_id):
            document = acme.document(document_id)
            return acme.fetch(document.json["url"]) if document.status == 200 else document

        query, found = {"processingStatuses": "DONE"}, {}
        while query:
            page = insist(lambda: acme.reports(**query)).json  # noqa: B023  called at once
            found |= {report["reportId"]: report["reportDocumentId"] for report in page["reports"]}
            query = {"nextToken": page["nextToken"]} if "nextToken" in page else None
        assert len(found) == 20
        for document_id in found.values():
            assert insist(download, document_id).body
        totals = emulator.get("/_emulator/calls")["totals"]
        assert (totals["over_quota"], totals["leaks"]) == (0, 0)
        assert len(totals["faults"]) > 4


def test_no_secret_and_no_url_is_in_the_record(emulator, acme):
    """The record is printed, kept and compared."""
    document = acme.document(acme.newest()["reportDocumentId"]).json
    acme.fetch(document["url"])
    text = json.dumps(emulator.get("/_emulator/calls"))
    for secret in ("Atza", "Atzr", "sprdt", "X-Amz-Signature", acme.account["client_secret"]):
        assert secret not in text
