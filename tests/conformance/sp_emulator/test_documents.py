"""Documents of the emulated SP-API: who is told where they lie, and what lies there."""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from urllib.parse import parse_qs, urlsplit

from tests.raw_sp_api import GENERAL, Client, advance, document_path, many
from tests.sp_models import WIRE, recorded


def test_a_restricted_document_needs_a_token_made_for_its_very_path(emulator, acme):
    """A plain token, and a restricted one of another document, are denied; so is a restricted one elsewhere."""
    mine, other = [r["reportDocumentId"] for r in acme.reports(processingStatuses="DONE").json["reports"]][:2]
    made = acme.restricted(mine)
    assert (made.status, made.json["expiresIn"]) == (200, 3600)
    token = made.json["restrictedDataToken"]
    assert token.startswith("Atz.sprdt|")
    assert acme.call("GET", document_path(mine), token=token).status == 200
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
