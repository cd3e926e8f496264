"""What goes wrong at the emulated SP-API, and how it is told."""

from __future__ import annotations

import gzip
import http.client
import json
from datetime import timedelta

import pytest

from emulator.quota import SP_LIMITS
from tests.emulator_process import Emulator
from tests.raw_sp_api import Client, advance, many, now


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
