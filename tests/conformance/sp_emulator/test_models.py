"""Every operation of the emulated SP-API, in every status that it can give, is what Amazon's official model says.

What is checked of each answer is in tests/sp_models.py; the client of these tests has it done for all that they get.
"""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from emulator.quota import SP_LIMITS
from tests.raw_sp_api import SHIPPING, advance, document_path, many, now
from tests.sp_models import RATE, WIRE, fits, model, operations, recorded

REPORTS, SCHEDULES = "/reports/2021-06-30/reports", "/reports/2021-06-30/schedules"

#: A call of each operation that is well, the status of its answer, and calls with a mistake with theirs.
CALLS = {
    "getReports": (lambda c: c.reports(pageSize=2), 200, [(lambda c: c.reports(pageSize=0), 400)]),
    "createReport": (lambda c: c.create(), 202, [(lambda c: c.create(reportType="GET_NOTHING"), 400)]),
    "getReport": (lambda c: c.report(done(c)), 200, [(lambda c: c.report("1"), 404)]),
    "cancelReport": (
        lambda c: c.call("DELETE", f"{REPORTS}/{c.create().json['reportId']}"),
        200,
        [(lambda c: c.call("DELETE", f"{REPORTS}/{done(c)}"), 400), (lambda c: c.call("DELETE", f"{REPORTS}/1"), 404)],
    ),
    "getReportDocument": (
        lambda c: c.document(c.newest()["reportDocumentId"]),
        200,
        [(lambda c: c.call("GET", document_path("amzn1.spdoc.1")), 404)],
    ),
    "createReportSchedule": (
        lambda c: c.schedule(reportOptions={"ShowSalesChannel": "true"}),
        201,
        [(lambda c: c.schedule(period="PT1M"), 400)],
    ),
    "getReportSchedules": (
        lambda c: c.call("GET", SCHEDULES, reportTypes=SHIPPING),
        200,
        [(lambda c: c.call("GET", SCHEDULES), 400)],
    ),
    "getReportSchedule": (
        lambda c: c.call("GET", f"{SCHEDULES}/{scheduled(c)}"),
        200,
        [(lambda c: c.call("GET", f"{SCHEDULES}/1"), 404)],
    ),
    "cancelReportSchedule": (
        lambda c: c.call("DELETE", f"{SCHEDULES}/{c.schedule().json['reportScheduleId']}"),
        200,
        [(lambda c: c.call("DELETE", f"{SCHEDULES}/1"), 404)],
    ),
    "createRestrictedDataToken": (lambda c: c.restricted("amzn1.spdoc.1"), 200, [(lambda c: c.restricted(), 400)]),
}
#: What befalls every operation, whatever is asked.
REFUSALS = (("throttle", 429), ("internal_error", 500), ("unavailable", 503), ("html", 502), ("missing_role", 403))


@model
@pytest.mark.parametrize("operation", SP_LIMITS)
def test_each_operation_answers_in_every_status_as_its_model_says(emulator, acme, operation):
    """A client may be made from the model alone: what is not in it would break it."""
    for other in SP_LIMITS:
        many(emulator, other)
    well, good, mistakes = CALLS[operation]
    assert well(acme).status == good
    for mistaken, status in mistakes:
        assert mistaken(acme).status == status
    for fault, status in REFUSALS:
        emulator.post("/_emulator/faults", {"operation": operation, "fault": fault, "next": 1})
        assert well(acme).status == status
    (*_, over) = emulator.calls(operation)
    assert (over["fault"], over["applied"]) == ("missing_role", False)
    emulator.post("/_emulator/quota", {"operation": operation, "max": 1, "restore_seconds": 3600, "account": "acme"})
    statuses = [well(acme).status for _ in range(2)]
    assert statuses == [good, 429]


@model
def test_a_report_is_as_the_model_has_it_at_every_stage_and_end(emulator, acme):
    """What is not known yet is absent, and no word for a state is the emulator's own."""
    many(emulator, "createReport")
    start = (now(emulator) - timedelta(hours=2)).isoformat()
    made = [acme.create(dataStartTime=start).json["reportId"], acme.create().json["reportId"]]
    for fault in ("fatal", "fatal_with_reason", "stuck_request"):
        emulator.post("/_emulator/faults", {"operation": "createReport", "fault": fault})
        made.append(acme.create(dataStartTime=start).json["reportId"])
    seen = set()
    for _ in range(4):
        seen |= {acme.report(report_id).json["processingStatus"] for report_id in made}
        advance(emulator, seconds=15)
    assert seen == {"IN_QUEUE", "IN_PROGRESS", "DONE", "CANCELLED", "FATAL"}


@model
def test_the_check_would_notice_what_is_not_of_the_models_shape(acme):
    """A body that lacks a field, has one too many or a null, a word that the model lacks, a date without its offset."""
    definitions, report = operations()["getReport"].definitions, acme.newest()
    for wrong in (
        {name: value for name, value in report.items() if name != "createdTime"},
        report | {"acknowledged": "true"},
        report | {"reportScheduleId": None},
        report | {"reportId": 1},
        report | {"processingStatus": "READY"},
        report | {"createdTime": "2026-05-08T12:00:00"},
    ):
        with pytest.raises(AssertionError):
            fits(wrong, definitions["Report"], definitions)
    with pytest.raises(AssertionError, match="does not know"):
        fits("x", {"type": "string", "pattern": "y"}, definitions)


@recorded
def test_answers_have_the_headers_that_were_recorded(emulator, acme):
    """None that Amazon was not seen to send; of those that clients read, all."""
    document_id = acme.newest()["reportDocumentId"]
    url = acme.document(document_id).json["url"]
    answers = {
        "error_404_NotFound": acme.report("1"),
        "getReportDocument_200_eu_2025": acme.document(document_id),
        "sandbox_createReport_202": acme.create(),
        "sandbox_createRestrictedDataToken_200": acme.restricted(document_id),
        "s3_document_plain_cp1252_200_2025": acme.fetch(url),
        "lwa_token_error_400": acme.log_in(grant_type="password"),
    }
    emulator.post("/_emulator/faults", {"operation": "getReport", "fault": "throttle"})
    answers["error_QuotaExceeded_seq1_429"] = acme.report("1")
    advance(emulator, seconds=301)
    answers["s3_presigned_url_expired_403_2025"] = acme.fetch(url)
    read = {RATE.lower(), "x-amzn-requestid", "x-amz-request-id", "content-type", "content-encoding", "content-md5"}
    for name, answer in answers.items():
        told = json.loads((WIRE / f"{name}.exchange.json").read_text())["response"]
        there = {header.lower(): value for header, value in told["headers"].items()}
        ours = {header.lower(): value for header, value in answer.headers.items()}
        assert str(answer.status) == told["status"]["code"]
        assert ours.keys() - {"content-length"} <= there.keys(), name
        assert ours.keys() & read == there.keys() & read, name
        for header in {"content-type", "content-encoding"} & ours.keys():
            assert ours[header] == there[header]


def done(client):
    return client.newest()["reportId"]


def scheduled(client):
    return client.schedules()[0]["reportScheduleId"]
