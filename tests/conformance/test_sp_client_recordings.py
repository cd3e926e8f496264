"""Our SP-API client against what Amazon really answered (recorded 2024 and 2025, production and sandbox), and against
the examples that it published. A local server gives each recording back byte for byte, with its status and headers.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from orderdrain.amazon import RequestInfo, ScheduleInfo, lwa
from orderdrain.amazon.http import Http
from orderdrain.amazon.sp_api import QUOTAS
from orderdrain.errors import BadBody, GiveUp, OperatorNeeded, RetryLater, ServiceFault, Throttled
from orderdrain.families import REPORT_TYPES, api_of
from tests.scripted_mws import NOW, Answer, QuotaNotes, scripted_mws
from tests.scripted_sp_api import GENERAL, answer, client, document, report, restricted_token, stored

SHARED = Path(__file__).resolve().parents[3] / "shared" / "samples"
FOLDERS = [SHARED / name / "sp-api-wire" for name in ("hakanensari-peddler", "lineofflight-peddler")]
PUBLISHED = [
    SHARED / "amzn-selling-partner-api-sdk" / "test" / "res" / "responses",
    SHARED / "amzn-selling-partner-api-samples" / "code-recipes" / "test" / "responses",
]
# The server frames the answers anew; all other recorded headers are sent as they were.
FRAMING = {"connection", "transfer-encoding", "content-length", "date", "server"}

pytestmark = pytest.mark.skipif(not FOLDERS[0].is_dir(), reason="recorded SP-API answers absent: ../shared/samples")


@pytest.fixture
def amazon():
    with scripted_mws() as server:
        yield server


def _exchange(name: str) -> Path:
    return next(path for folder in FOLDERS if (path := folder / f"{name}.exchange.json").exists())


def _recorded(name: str) -> Answer:
    exchange = _exchange(name)
    response = json.loads(exchange.read_text())["response"]
    headers = {name: value for name, value in response["headers"].items() if name.lower() not in FRAMING}
    return Answer(int(response["status"]["code"]), (exchange.parent / response["body_file"]).read_bytes(), headers)


def _request_id(name: str) -> str:
    return json.loads(_exchange(name).read_text())["response"]["headers"]["X-Amzn-Requestid"]


def _login(amazon) -> lwa.AccessToken:
    keys = {"client_id": "c", "client_secret": "s", "refresh_token": "r"}
    return lwa.refresh(Http(), f"{amazon.url}/auth/o2/token", **keys, now=NOW)


def test_every_recording_of_this_api_is_read_here():
    """A new one must not lie about unread. Notifications and the grantless login are not of this client."""
    recorded = {
        path.name.removesuffix(".exchange.json") for folder in FOLDERS for path in folder.glob("*.exchange.json")
    }
    ours = {name for name in recorded if "notifications" not in name and name != "lwa_token_grantless_ok"}
    text = Path(__file__).read_text()
    assert {name for name in ours if f'"{name}"' not in text} == set()
    assert len(ours) == 23


# ------------------------------------------------------------------------------------------------------------ reports


def test_a_recorded_listing_says_what_it_says(amazon):
    """Production: one page without a token, dates with an offset."""
    amazon.will_answer(_recorded("getReports_200"))
    quota = QuotaNotes()
    page = client(amazon.url, quota=quota).list_reports(report_types=["T"], acknowledged=None)
    (one,) = page.reports
    assert (one.report_id, one.report_type) == ("292248019978", "GET_MERCHANTS_LISTINGS_FYP_REPORT")
    assert one.available_at == datetime(2024, 9, 12, 19, 41, 13, tzinfo=UTC)
    assert (page.next_token, page.request_id) == (None, _request_id("getReports_200"))
    assert quota.rates == [("getReports", 0.0222)]


def test_a_recorded_page_of_the_sandbox_is_followed_and_lists_nothing_that_is_not_done(amazon):
    """Its one report is in progress, though it tells when it ended."""
    amazon.will_answer(_recorded("sandbox_getReports_200_nextToken"))
    api = client(amazon.url)
    page = api.list_reports(report_types=["T"], acknowledged=None)
    assert page.reports == ()
    assert page.next_token.startswith("VGhpcyB0b2tlbiBpcyBvcGFxdWUg")
    (one,) = api.list_requests(report_types=["T"]).requests
    assert (one.request_id_at_amazon, one.status, one.report_id) == ("ReportId1", "IN_PROGRESS", None)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "getReport_200",
            RequestInfo(
                "292248019978",
                "GET_MERCHANTS_LISTINGS_FYP_REPORT",
                "DONE",
                datetime(2024, 9, 12, 19, 40, 59, tzinfo=UTC),
                datetime(2024, 9, 12, 19, 40, 59, tzinfo=UTC),
                datetime(2024, 9, 12, 19, 40, 59, tzinfo=UTC),
                report_id="292248019978",
                completed_at=datetime(2024, 9, 12, 19, 41, 13, tzinfo=UTC),
                marketplaces=("A1F83G8C2ARO7P",),
            ),
        ),
        (
            "sandbox_getReport_200",
            RequestInfo(
                "ReportId1",
                "FEE_DISCOUNTS_REPORT",
                "IN_PROGRESS",
                datetime(2024, 3, 10, 13, 47, 20, 677000, tzinfo=UTC),
                datetime(2024, 3, 11, 13, 47, 20, 677000, tzinfo=UTC),
                datetime(2024, 3, 12, 13, 47, 20, 677000, tzinfo=UTC),
                completed_at=datetime(2024, 3, 12, 13, 47, 20, 677000, tzinfo=UTC),
            ),
        ),
    ],
)
def test_a_recorded_report_says_how_far_it_is(amazon, name, expected):
    """Request and report have one id."""
    amazon.will_answer(_recorded(name))
    assert client(amazon.url).list_requests(request_ids=["1"]).requests == (expected,)


@pytest.mark.parametrize(
    ("name", "report_id"), [("createReport_202", "292248019978"), ("sandbox_createReport_202", "ID323")]
)
def test_a_recorded_request_is_followed_by_the_id_that_it_was_given(amazon, name, report_id):
    """Nothing else is answered."""
    amazon.will_answer(_recorded(name))
    info = client(amazon.url).request_report(GENERAL, start=None, end=None, options={})
    assert info == RequestInfo(report_id, GENERAL, "SUBMITTED", NOW)


def test_recorded_schedules_say_what_is_scheduled(amazon):
    """One for a marketplace, one without: the model does not promise it."""
    amazon.will_answer(_recorded("sandbox_getReportSchedules_200"))
    assert client(amazon.url).list_schedules() == (
        ScheduleInfo("FEE_DISCOUNTS_REPORT", "PT5M", ours=False),
        ScheduleInfo("GET_FBA_FULFILLMENT_CUSTOMER_TAXES_DATA", "PT5M"),
    )
    one = json.loads(_recorded("sandbox_getReportSchedule_200").body)
    amazon.will_answer(answer({"reportSchedules": [one]}))
    assert client(amazon.url).list_schedules() == (ScheduleInfo("FEE_DISCOUNTS_REPORT", "PT5M"),)


def test_a_recorded_schedule_is_set(amazon):
    """201, and an id that nobody needs: a schedule is found by its type."""
    amazon.will_answer(_recorded("sandbox_createReportSchedule_201"))
    request_id = client(amazon.url).set_schedule(GENERAL, "PT5M")
    assert request_id == _request_id("sandbox_createReportSchedule_201")


# ---------------------------------------------------------------------------------------------------------- documents


@pytest.mark.parametrize(
    "name", ["getReportDocument_200", "getReportDocument_200_eu_2025", "sandbox_getReportDocument_200"]
)
def test_a_recorded_url_is_fetched_and_shown_to_nobody(amazon, name):
    """Presigned, and longer than many a column. Its host is not reached from here: the silence names no address."""
    recorded = _recorded(name)
    url = json.loads(recorded.body)["url"]
    host = url.split("/")[2]
    here = recorded.body.replace(f"https://{host}".encode(), amazon.url.encode())
    amazon.will_answer(answer(report()), Answer(200, here, recorded.headers), stored(b"order-id\n"))
    got = bytearray()
    client(amazon.url).download("1", got.extend)
    assert got == b"order-id\n"
    assert amazon.asked[2].path == url.removeprefix(f"https://{host}")


@pytest.mark.parametrize(
    ("name", "size", "request_id"),
    [
        ("s3_document_plain_cp1252_200_2025", 1954, "3XVZXX1Z81WVDVES"),
        ("s3_document_gzip_cp1252_200_2025", 565, "WZ2SNA4C1M79PKQX"),
    ],
)
def test_recorded_documents_arrive_as_they_were_sent(amazon, name, size, request_id):
    """A gzip is called text/plain and identity: only its bytes tell."""
    sent = _recorded(name)
    amazon.will_answer(answer(report()), document(amazon.url), sent)
    got = bytearray()
    came = client(amazon.url).download("1", got.extend)
    assert got == sent.body
    assert (len(got), came.content_type, came.request_id) == (size, "text/plain; charset=Cp1252", request_id)


@pytest.mark.parametrize("framed", [True, False])
def test_a_recorded_gzip_that_is_cut_is_thrown_away(amazon, framed):
    """At six tenths, with a length that fits what is left of it and with none."""
    cut = _recorded("s3_document_gzip_cp1252_200_2025")
    cut.body, cut.framed = cut.body[: len(cut.body) * 6 // 10], framed
    amazon.will_answer(answer(report()), document(amazon.url), cut)
    with pytest.raises(BadBody, match="gzip breaks off"):
        client(amazon.url).download("1", lambda _block: None)


def test_a_recorded_refusal_of_an_old_url_leads_to_a_new_one(amazon):
    """403 and AccessDenied, as for a stranger: only the message tells."""
    expired = _recorded("s3_presigned_url_expired_403_2025")
    amazon.will_answer(answer(report()), document(amazon.url), expired, document(amazon.url), stored(b"order-id\n"))
    got = bytearray()
    client(amazon.url).download("1", got.extend)
    assert got == b"order-id\n"


def test_a_recorded_token_for_one_document_is_used_for_it(amazon):
    """The sandbox gives it for an hour."""
    shipping = answer(report(reportType="GET_FLAT_FILE_ORDER_REPORT_DATA_SHIPPING"))
    token = _recorded("sandbox_createRestrictedDataToken_200")
    amazon.will_answer(shipping, token, document(amazon.url), stored(b"order-id\n"))
    client(amazon.url).download("1", lambda _block: None)
    assert amazon.asked[2].headers["x-amz-access-token"] == json.loads(token.body)["restrictedDataToken"]


# ------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("name", "error", "evidence"),
    [
        ("error_404_NotFound", GiveUp, (404, "NotFound")),
        ("error_429_QuotaExceeded", Throttled, (429, "QuotaExceeded")),
        ("error_QuotaExceeded_seq1_429", Throttled, (429, "QuotaExceeded")),
        ("error_403_root", OperatorNeeded, (403, "Unauthorized")),
    ],
)
def test_a_recorded_refusal_becomes_what_the_caller_must_do(amazon, name, error, evidence):
    """The 403 came without a content type and without an id."""
    amazon.will_answer(_recorded(name))
    with pytest.raises(error) as caught:
        client(amazon.url).download("1", lambda _block: None)
    said = caught.value.evidence
    assert (said.status, said.code) == evidence
    assert said.request_id == (None if name == "error_403_root" else _request_id(name))


def test_a_recorded_login_gives_a_token_for_an_hour(amazon):
    """Its text was taken out by whoever recorded it."""
    amazon.will_answer(_recorded("lwa_token_refresh_ok"))
    given = _login(amazon)
    assert (given.token, given.expires_at) == ("FILTERED", NOW + timedelta(hours=1))


@pytest.mark.parametrize("name", ["lwa_token_400", "lwa_token_error_400"])
def test_a_recorded_refusal_of_a_login_is_not_repeated(amazon, name):
    """The same words would get the same answer."""
    amazon.will_answer(_recorded(name))
    with pytest.raises(OperatorNeeded) as caught:
        _login(amazon)
    assert (caught.value.scope, caught.value.evidence.code) == ("connection", "unsupported_grant_type")
    assert caught.value.evidence.request_id == _request_id(name)


# ------------------------------------------------------------------------------------- what Amazon published besides


def _call(api, file: Path):
    """The call of ours whose answer `file` is."""
    return {
        "reports-createReport": lambda: api.request_report("T", start=None, end=None, options={}),
        "reports-createReportSchedule": lambda: api.set_schedule("T", "PT5M"),
        "reports-getReport": lambda: api.list_requests(request_ids=["1"]),
        "reports-getReports": lambda: api.list_requests(report_types=["T"]),
        "reports-getReportSchedules": api.list_schedules,
    }.get(file.stem.removesuffix("Response"))


def test_every_published_example_is_read(amazon):
    """Of the official SDK's tests and code samples; documents and tokens are read in their places on the way."""
    seen = []
    for file in (file for folder in PUBLISHED for file in sorted(folder.glob("*.json"))):
        published = Answer(200, file.read_bytes(), {"Content-Type": "application/json", "x-amzn-RequestId": "r"})
        if call := _call(client(amazon.url), file):
            amazon.will_answer(published)
            assert call(), file
        elif "getReportDocument" in file.stem:
            here = published.body.replace(b"http://localhost:3000", amazon.url.encode())
            here = here.replace(b"https://d34o8swod1owfl.cloudfront.net", amazon.url.encode())
            amazon.will_answer(answer(report()), Answer(200, here, published.headers), stored(b"order-id\n"))
            client(amazon.url).download("1", lambda _block: None)
        elif "createRestrictedDataToken" in file.stem:
            shipping = answer(report(reportType="GET_FLAT_FILE_ORDER_REPORT_DATA_SHIPPING"))
            amazon.will_answer(shipping, published, document(amazon.url), stored(b"order-id\n"))
            client(amazon.url).download("1", lambda _block: None)
        else:
            continue
        seen.append(file.name)
    assert len(seen) == 9


def test_the_types_that_we_take_for_restricted_are_those_that_a_public_list_has(amazon):
    """One that is missed is refused for ever; one too many costs a role that nobody needs."""
    listed = json.loads((SHARED / "jlevers-selling-partner-api" / "reports.json").read_text())
    ours = [name for name in REPORT_TYPES if api_of(name) == "sp-api"]
    taken = set()
    for name in ours:
        amazon.asked.clear()
        told = restricted_token(), document(amazon.url), stored(b"order-id\n")
        amazon.will_answer(answer(report(reportType=name)), *told)
        try:
            client(amazon.url).download("1", lambda _block: None)
        except (RetryLater, ServiceFault):
            continue  # the document was asked for at once, and got the answer to another question
        taken.add(name)
    assert taken == {name for name in ours if listed.get(name, {}).get("restricted")}
    assert len(taken) == 9


def test_the_quotas_are_those_of_the_official_models():
    """Printed in the description of each operation."""
    models = SHARED / "amzn-selling-partner-api-models" / "models"
    printed = {}
    for file in ("reports-api-model/reports_2021-06-30.json", "tokens-api-model/tokens_2021-03-01.json"):
        for operations in json.loads((models / file).read_text())["paths"].values():
            for operation in operations.values():
                if isinstance(operation, dict) and "operationId" in operation:
                    cells = [cell.strip() for cell in operation["description"].split("|") if cell.strip()]
                    at = cells.index("Burst")
                    numbers = [float(cell) for cell in cells[at:] if cell.replace(".", "").isdigit()]
                    printed[operation["operationId"]] = tuple(numbers[:2])
    assert {name: (round(1 / rule.restore_seconds, 4), rule.burst) for name, rule in QUOTAS.items()} == {
        name: printed[name] for name in QUOTAS
    }
