"""The `mws` package, a client that nobody here wrote, drives the emulated MWS over TLS, reports' bytes included."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from mws import MWSError, Reports

from tests.emulator_process import Emulator

NEW_ORDERS = "_GET_FLAT_FILE_ORDERS_DATA_"


@pytest.fixture(scope="module")
def emulator(certificate):
    with Emulator.start(backlog=12, orders_per_minute=0.2, tls=certificate) as running:
        yield running


@pytest.fixture
def connect(emulator, certificate, monkeypatch):
    """What makes the package's client of an account. https, for it signs the wrong host over http; it trusts the
    certificate by the environment of `requests`.
    """
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate[0]))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def make(name, **changed):
        account = emulator.account(name) | changed
        return Reports(account["access_key"], account["secret_key"], account["seller_id"], domain=emulator.url)

    return make


@pytest.mark.parametrize(("name", "encoding"), [("acme", "cp1252"), ("bravo", "cp1252"), ("cedar", "cp932")])
def test_the_package_lists_pages_and_downloads(connect, name, encoding):
    """It checks Content-MD5 itself, and takes a text that looks like XML for XML: the bytes must be right in both."""
    client = connect(name)
    page = client.get_report_list(types=[NEW_ORDERS], max_count=8, acknowledged="false").parsed
    reports = list(page["ReportInfo"])
    assert (len(reports), page["HasNext"]) == (8, "true")
    page = client.get_report_list(next_token=page["NextToken"]).parsed
    reports += page["ReportInfo"]
    assert (len(reports), page["HasNext"]) == (12, "false")
    downloaded = client.get_report(reports[0]["ReportId"])
    header, *lines = downloaded.parsed.decode(encoding).splitlines()
    assert header.startswith("order-id\torder-item-id\t")
    assert lines


def test_the_package_requests_and_follows_a_report(connect, emulator):
    """Its dates come as the client writes them."""
    client = connect("acme")
    now = datetime.fromisoformat(emulator.get("/_emulator/clock")["now"])
    asked = client.request_report(NEW_ORDERS, start_date=now - timedelta(hours=5)).parsed
    request_id = asked["ReportRequestInfo"]["ReportRequestId"]
    emulator.post("/_emulator/advance", {"seconds": 61})
    done = client.get_report_request_list(requestids=[request_id]).parsed["ReportRequestInfo"]
    assert done["ReportProcessingStatus"] == "_DONE_"
    assert client.get_report(done["GeneratedReportId"]).parsed.startswith(b"order-id\t")


def test_the_package_sees_the_schedule(connect):
    """Every account begins with the schedule that made its backlog."""
    schedules = connect("bravo").get_report_schedule_list(types=[NEW_ORDERS]).parsed
    assert schedules["ReportSchedule"]["Schedule"] == "_15_MINUTES_"


def test_the_package_is_refused_with_a_wrong_secret(connect):
    """It shows the body of a refusal: Amazon's code is in it."""
    with pytest.raises(MWSError, match="SignatureDoesNotMatch"):
        connect("acme", secret_key="wrong").get_report_count()
