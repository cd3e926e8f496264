"""`python-amazon-sp-api`, a client that nobody here wrote, drives the emulated SP-API from login to the last document.

It adds parameters to most calls that the models do not have, sends a JSON Content-Type on GETs, reads JSON from every
answer, and decodes documents by their Content-Type: what it gets must be right in all of it.
"""

from __future__ import annotations

import base64
import gzip
import io
import ssl
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

import httpx
import pytest
from sp_api.api import Reports, Tokens
from sp_api.auth import AccessTokenClient, access_token_client
from sp_api.auth.exceptions import AuthorizationError
from sp_api.base.exceptions import (
    SellingApiBadRequestException,
    SellingApiForbiddenException,
    SellingApiNotFoundException,
    SellingApiRequestThrottledException,
    SellingApiServerException,
    SellingApiTemporarilyUnavailableException,
)
from sp_api.util import load_all_pages

from tests.emulator_process import Emulator
from tests.raw_sp_api import GENERAL, SHIPPING, advance, now, truth


@dataclass(frozen=True)
class Marketplace:
    """What the package reads of a marketplace. It takes the Host header from the ninth character on: https only."""

    endpoint: str
    marketplace_id: str
    region: str = "us-east-1"


class Seller:
    """One account's clients, made by the package's own constructors, which ask for a token when they first call."""

    def __init__(self, emulator, certificate, name):
        self.account = emulator.account(name)
        self._url = emulator.url
        self._trust = ssl.create_default_context(cafile=certificate[0])
        self._login = type("Login", (AccessTokenClient,), {"host": urlsplit(emulator.url).netloc})

    def client(self, kind=Reports, **changed):
        account = self.account | changed
        return kind(
            Marketplace(self._url, account["marketplaces"][0]),
            credentials={"lwa_app_id": account["client_id"], "lwa_client_secret": account["client_secret"]},
            refresh_token=account["refresh_token"],
            restricted_data_token=changed.get("restricted_data_token"),
            verify=self._trust,
            auth_token_client_class=self._login,
        )

    def opened(self, document_id):
        """A client whose token is made for that document alone."""
        resources = [{"method": "GET", "path": f"/reports/2021-06-30/documents/{document_id}"}]
        made = self.client(Tokens).create_restricted_data_token(restrictedResources=resources).payload
        return self.client(restricted_data_token=made["restrictedDataToken"])


@pytest.fixture
def emulator(certificate):
    # At this speed the emulated clock stands still but for /advance: no test hangs on how fast the machine is.
    options = {"orders_per_minute": 1, "speed": 0.001, "sp_api_sellers": "acme,bravo,cedar"}
    with Emulator.start(backlog=12, tls=certificate, **options) as running:
        yield running


@pytest.fixture
def sell(emulator, certificate, monkeypatch):
    """What makes a Seller; nothing is left of tokens of another emulator, and no proxy stands between."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    access_token_client.cache.clear()
    yield lambda name: Seller(emulator, certificate, name)
    access_token_client.cache.clear()


@pytest.mark.parametrize(("name", "encoding"), [("acme", "cp1252"), ("bravo", "cp1252"), ("cedar", "cp932")])
def test_the_package_creates_a_report_follows_it_and_reads_its_document(emulator, sell, name, encoding):
    """The whole way of one report, in each charset: its cells come out as they were sold."""
    seller = sell(name)
    reports = seller.client()
    start = now(emulator) - timedelta(hours=2)
    made = reports.create_report(
        reportType=SHIPPING, dataStartTime=start, marketplaceIds=seller.account["marketplaces"]
    )
    report_id = made.payload["reportId"]
    seen = []
    while not seen or seen[-1] != "DONE":
        report = reports.get_report(report_id).payload
        seen += [report["processingStatus"]] if report["processingStatus"] not in seen[-1:] else []
        advance(emulator, seconds=5)
    assert seen == ["IN_QUEUE", "IN_PROGRESS", "DONE"]
    document_id = report["reportDocumentId"]
    answer = seller.opened(document_id).get_report_document(document_id, download=True)
    assert answer.character_code == encoding
    header, *lines = answer.payload["document"].splitlines()
    found = [dict(zip(header.split("\t"), line.split("\t"), strict=True)) for line in lines]
    told = [line["cells"] for line in truth(emulator) if line["report_id"] == report_id]
    assert sorted(map(str, found)) == sorted(map(str, told)) != []


def test_the_package_reads_gzip_and_plain_documents_alike(emulator, sell):
    """It inflates where compressionAlgorithm says so, at once or while it streams, and must find a gzip file there."""
    seller, texts = sell("acme"), {}
    for compressed in (True, False):
        made = {"account": "acme", "api": "sp-api", "gzip": compressed}
        (report_id,) = emulator.post("/_emulator/reports", made)["report_ids"]
        document_id = seller.client().get_report(report_id).payload["reportDocumentId"]
        reports, streamed = seller.opened(document_id), io.BytesIO()
        answer = reports.get_report_document(document_id, download=True)
        assert answer.payload.get("compressionAlgorithm") == ("GZIP" if compressed else None)
        reports.get_report_document(document_id, file=streamed, stream=True)
        texts[compressed] = answer.payload["document"]
        assert texts[compressed] == streamed.getvalue().decode("cp1252")
        with httpx.Client(verify=seller.client().verify) as store:
            raw = store.get(answer.payload["url"]).content
        assert (gzip.decompress(raw) if compressed else raw) == streamed.getvalue()
    assert all(text.startswith("order-id\torder-item-id\t") for text in texts.values())
    assert not any(call.get("leak") for call in emulator.calls("document"))


@pytest.mark.parametrize("charset", ["Cp1252", "ISO-8859-1", "UTF-8", "windows-31j", None])
def test_the_package_knows_every_charset_that_amazon_names(emulator, sell, charset):
    """A name that Python did not know would hand it bytes for text. Where none is named it takes latin-1."""
    text = "\u6ce8\u6587\n" if charset == "windows-31j" else "B\xf6tt\n"
    encoding = {"windows-31j": "cp932", None: "iso-8859-1"}.get(charset, charset)
    content = {"report_type": GENERAL, "body_base64": base64.b64encode(text.encode(encoding)).decode()}
    content["content_type"] = f"text/plain; charset={charset}" if charset else "text/plain"
    made = {"account": "acme", "api": "sp-api", "requested": True} | content
    (report_id,) = emulator.post("/_emulator/reports", made)["report_ids"]
    reports = sell("acme").client()
    document_id = reports.get_report(report_id).payload["reportDocumentId"]
    answer = reports.get_report_document(document_id, download=True)
    assert (answer.character_code, answer.payload["document"]) == (encoding.lower(), text)


def test_the_package_pages_through_a_listing(sell):
    """It keeps the rule that nextToken is the only parameter, and then sends no marketplace of its own accord either."""
    reports = sell("bravo").client()
    pages = load_all_pages(throttle_by_seconds=0, next_token_param="nextToken", next_token_only=True)(
        reports.get_reports
    )
    found = [page.payload["reports"] for page in pages(reportTypes=[SHIPPING], pageSize=5)]
    assert [len(page) for page in found] == [5, 5, 2]
    assert len({report["reportId"] for page in found for report in page}) == 12
    done = reports.get_reports(reportTypes=[SHIPPING, GENERAL], processingStatuses=["DONE", "FATAL"])
    assert {report["processingStatus"] for report in done.payload["reports"]} == {"DONE"}
    assert done.rate_limit == "0.0222"


def test_the_package_manages_schedules(sell):
    """Each account begins with the schedule that made its backlog; the same type and marketplaces replace it."""
    seller = sell("bravo")
    reports, marketplaces = seller.client(), seller.account["marketplaces"]
    listed = lambda: reports.get_report_schedules(reportTypes=[SHIPPING]).payload["reportSchedules"]  # noqa: E731
    (first,) = listed()
    made = reports.create_report_schedule(reportType=SHIPPING, period="PT5M", marketplaceIds=marketplaces).payload
    assert [schedule["reportScheduleId"] for schedule in listed()] == [made["reportScheduleId"]]
    assert first["reportScheduleId"] != made["reportScheduleId"]
    found = reports.get_report_schedule(made["reportScheduleId"]).payload
    assert (found["period"], found["reportType"]) == ("PT5M", SHIPPING)
    assert reports.cancel_report_schedule(made["reportScheduleId"]).payload == {}
    assert listed() == []


def test_the_package_cancels_a_report_that_waits(emulator, sell):
    """It reads JSON from the answer, though the model gives it no body."""
    reports = sell("acme").client()
    start = now(emulator) - timedelta(hours=2)
    report_id = reports.create_report(reportType=SHIPPING, dataStartTime=start).payload["reportId"]
    assert reports.cancel_report(report_id).payload == {}
    assert reports.get_report(report_id).payload["processingStatus"] == "CANCELLED"
    with pytest.raises(SellingApiBadRequestException):
        reports.cancel_report(report_id)


def test_the_package_tells_the_refusals_apart(emulator, sell):
    """By the status, with Amazon's code and message where it looks for them."""
    reports = sell("acme").client()
    restricted = reports.get_reports(reportTypes=[SHIPPING]).payload["reports"][0]["reportDocumentId"]
    refused = []
    for kind, call in (
        (SellingApiNotFoundException, lambda: reports.get_report("1")),
        (SellingApiBadRequestException, lambda: reports.create_report(reportType="GET_NOTHING")),
        (SellingApiForbiddenException, lambda: reports.get_report_document(restricted)),
    ):
        with pytest.raises(kind) as caught:
            call()
        assert caught.value.message
        refused.append(caught.value.amzn_code)
    assert refused == ["NotFound", "InvalidInput", "Unauthorized"]
    for fault, kind, code in (
        ("internal_error", SellingApiServerException, "InternalFailure"),
        ("unavailable", SellingApiTemporarilyUnavailableException, "ServiceUnavailable"),
        ("missing_role", SellingApiForbiddenException, "Unauthorized"),
    ):
        emulator.post("/_emulator/faults", {"operation": "getReport", "fault": fault, "next": 1})
        with pytest.raises(kind) as caught:
            reports.get_report("1")
        assert caught.value.amzn_code == code


def test_the_package_is_throttled_at_the_eleventh_quick_listing(sell):
    """The refusal tells no rate and no Retry-After, on which an HTTP layer might sleep by itself."""
    reports = sell("acme").client()
    for _ in range(10):
        reports.get_reports(reportTypes=[SHIPPING])
    with pytest.raises(SellingApiRequestThrottledException) as caught:
        reports.get_reports(reportTypes=[SHIPPING])
    assert caught.value.amzn_code == "QuotaExceeded"
    assert not {"x-amzn-ratelimit-limit", "retry-after"} & set(caught.value.headers)


def test_the_package_is_told_what_is_wrong_with_its_keys(emulator, sell):
    """By OAuth's words; and an access token that has ended is one 403 until there is a new one."""
    seller = sell("acme")
    for changed, status, error in (
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"refresh_token": "Atzr|revoked"}, 400, "invalid_grant"),
    ):
        with pytest.raises(AuthorizationError) as caught:
            seller.client(**changed).get_report("1")
        assert (caught.value.status_code, caught.value.error_code) == (status, error)
        assert caught.value.message
    reports = seller.client()
    reports.get_reports(reportTypes=[SHIPPING])
    advance(emulator, minutes=61)
    with pytest.raises(SellingApiForbiddenException):
        reports.get_reports(reportTypes=[SHIPPING])
    access_token_client.cache.clear()
    assert reports.get_reports(reportTypes=[SHIPPING]).payload["reports"]


def test_a_url_of_the_package_ends_after_five_minutes(emulator, sell):
    """Whoever holds it longer gets the store's XML where a document was; another url is another call."""
    seller = sell("acme")
    (report, *_) = seller.client().get_reports(reportTypes=[SHIPPING], processingStatuses=["DONE"]).payload["reports"]
    url = seller.opened(report["reportDocumentId"]).get_report_document(report["reportDocumentId"]).payload["url"]
    assert url.startswith(emulator.url)
    advance(emulator, seconds=301)
    with httpx.Client(verify=seller.client().verify) as store:
        refused = store.get(url)
    assert (refused.status_code, refused.headers["content-type"]) == (403, "application/xml")
    assert "<Code>AccessDenied</Code><Message>Request has expired</Message>" in refused.text
