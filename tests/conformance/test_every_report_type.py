"""Every order report type is made at both APIs, on request and by schedule, and its bytes are what its answers say."""

from __future__ import annotations

import gzip
from datetime import timedelta

import pytest

from emulator.report_types import REPORT_TYPES
from emulator.reports import content_md5
from emulator.sp_report_types import SP_REPORT_TYPES
from tests.conformance.test_emulator_rules import call
from tests.emulator_process import Emulator
from tests.raw_sp_api import Client, advance, many, now
from tests.sp_models import model

#: It has every type: some are only in Japan.
SELLER = "cedar"
CHARSET = "windows-31j"


@pytest.fixture
def emulator(request):
    sells = {"families": "all", "backlog": 14, "orders_per_minute": 1, "speed": 0.001}
    with Emulator.start(sp_api_sellers=request.param, **sells) as running:
        yield running


def heads(kind, body):
    """Whether a file begins as its type does."""
    return body.startswith(b"<?xml" if kind.leaves_out else kind.key[0].encode()) or b"order-id" in body[:200]


@model
@pytest.mark.parametrize("emulator", [SELLER], indirect=True)
def test_sp_api_makes_every_report_type_on_request_and_answers_as_the_model_says(emulator):
    """Each answer on the way is held against Amazon's models; a restricted type's document needs its own token."""
    client = Client(emulator, SELLER)
    for operation in ("createReport", "getReport", "getReportDocument", "createRestrictedDataToken"):
        many(emulator, operation)
    start = (now(emulator) - timedelta(days=2)).isoformat()
    wanted = {name: known for name, known in SP_REPORT_TYPES.items() if known.requestable}
    ids = {name: client.create(reportType=name, dataStartTime=start).json["reportId"] for name in wanted}
    advance(emulator, minutes=1)

    for name, known in wanted.items():
        report = client.report(ids[name]).json
        assert report["processingStatus"] == "DONE", name
        plain = client.call("GET", f"/reports/2021-06-30/documents/{report['reportDocumentId']}")
        assert plain.status == (403 if known.restricted else 200), name
        document = client.document(report["reportDocumentId"]).json
        answer = client.fetch(document["url"])
        body = gzip.decompress(answer.body) if "compressionAlgorithm" in document else answer.body
        assert heads(known.kind, body), name
        assert answer.headers["Content-Type"] == f"text/plain; charset={CHARSET}"
        assert body.decode("cp932")


@pytest.mark.parametrize("emulator", [""], indirect=True)
def test_mws_makes_every_report_type_on_request_with_its_charset_and_digest(emulator):
    """What GetReport sends is what the listing said, whole and labelled."""
    cedar = emulator.account(SELLER)
    for operation in ("RequestReport", "GetReportRequestList", "GetReport"):
        limit = {"operation": operation, "max": 1000, "restore_seconds": 1, "hourly": 1000}
        emulator.post("/_emulator/quota", limit)
    start = (now(emulator) - timedelta(days=2)).isoformat()
    wanted = {name: known for name, known in REPORT_TYPES.items() if known.requestable}
    ids = {
        name: call(emulator, cedar, "RequestReport", ReportType=name, StartDate=start).one("ReportRequestId")
        for name in wanted
    }
    advance(emulator, minutes=1)

    labels = set()
    for name, known in wanted.items():
        answer = call(emulator, cedar, "GetReportRequestList", ReportRequestIdList__Id__1=ids[name])
        assert answer.one("ReportProcessingStatus") == "_DONE_", name
        file = call(emulator, cedar, "GetReport", ReportId=answer.one("GeneratedReportId"))
        assert heads(known.kind, file.body), name
        assert file.headers["Content-MD5"] == content_md5(file.body)
        labels.add(file.headers["Content-Type"])
        assert file.body.decode("cp932")
    assert labels <= {f"text/plain;charset={CHARSET}", "application/octet-stream"}


@pytest.mark.parametrize("emulator", [""], indirect=True)
def test_mws_makes_by_schedule_what_may_be_scheduled_and_of_rivals_one(emulator):
    """A picture comes at every turn, New Orders when something is new; XML and flat file of them exclude each other."""
    cedar = emulator.account(SELLER)
    emulator.post(
        "/_emulator/quota", {"operation": "ManageReportSchedule", "max": 99, "restore_seconds": 1, "hourly": 99}
    )
    wanted = [name for name, known in REPORT_TYPES.items() if known.schedulable]
    before = {r["report_id"] for r in emulator.get("/_emulator/truth")["told_reports"]}
    for name in wanted:
        call(emulator, cedar, "ManageReportSchedule", ReportType=name, Schedule="_15_MINUTES_")
    advance(emulator, minutes=61)

    made = [r for r in emulator.get("/_emulator/truth")["told_reports"] if r["report_id"] not in before]
    counts = {name: sum(r["report_type"] == name for r in made if r["account"] == SELLER) for name in wanted}
    *rivals, last = [name for name in wanted if REPORT_TYPES[name].kind.family == "new_orders"]
    left = call(emulator, cedar, "GetReportScheduleList").all("ReportType")
    assert set(left) == {*wanted} - {*rivals}
    assert all(counts[name] >= 3 for name in {*wanted} - {*rivals}), counts
    assert last in left
