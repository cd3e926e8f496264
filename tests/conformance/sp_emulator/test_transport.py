"""How the emulated SP-API, its token endpoint and its document store speak HTTP: as published clients take for granted."""

from __future__ import annotations

import http.client
import socket
from urllib.parse import quote, urlsplit

import pytest

from tests.raw_sp_api import GENERAL, document_path


def test_one_connection_serves_every_answer_with_its_length(emulator, acme):
    """Whatever is answered, an empty document too: a client that cannot tell where an answer ends waits for ever."""
    made = {"account": "acme", "api": "sp-api", "report_type": GENERAL, "requested": True, "body_base64": ""}
    (report_id,) = emulator.post("/_emulator/reports", made)["report_ids"]
    document_id = acme.report(report_id).json["reportDocumentId"]
    url = acme.call("GET", document_path(document_id)).json["url"].removeprefix(emulator.url)
    token, report = {"x-amz-access-token": acme.token}, f"/reports/2021-06-30/reports/{report_id}"
    connection = http.client.HTTPConnection(urlsplit(emulator.url).netloc, timeout=20)
    connection.connect()
    opened = connection.sock
    for verb, path, headers, status in (
        ("GET", report, token, 200),
        ("GET", report, {}, 403),
        ("DELETE", report, token, 400),
        ("GET", "/reports/2021-06-30/reports/1", token, 404),
        ("GET", url, {}, 200),
        ("GET", url, token, 400),
        ("GET", url.partition("?")[0], {}, 403),
        ("POST", url, {}, 405),
        ("POST", "/auth/o2/token", {}, 400),
        ("GET", "/auth/o2/token", {}, 405),
        ("POST", "/Reports/2009-01-01", {}, 400),
        ("GET", "/Orders/2013-09-01", {}, 404),
        ("GET", "/_emulator/nothing", {}, 404),
    ):
        connection.request(verb, path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        assert (answer.status, answer.headers["Content-Length"]) == (status, str(len(body))), path
        assert connection.sock is opened, path
    assert body
    connection.close()


def test_an_idle_connection_does_not_keep_others_waiting(emulator, acme):
    """Clients keep connections open; one thread must not serve one connection at a time."""
    address = urlsplit(emulator.url)
    with socket.create_connection((address.hostname, address.port)):
        assert acme.reports().status == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "sellingpartnerapi-eu.amazon.com", "api.amazon.com:443"])
def test_any_host_is_answered(acme, host):
    """Clients send the address with its port or without, or Amazon's own name; urls lead to the server all the same."""
    document_id = acme.newest()["reportDocumentId"]
    acme.headers = {"Host": host}
    acme.forget()
    url = acme.document(document_id).json["url"]
    assert url.startswith(acme.emulator.url + "/")
    assert acme.fetch(url).status == 200


@pytest.mark.parametrize("agent", [None, "Boto/2.49.0 Python/3.11.7 Linux/6.1", "@x/1 (a/b/c; d)", "x" * 600])
def test_any_user_agent_is_answered_or_none(acme, agent):
    """Only MWS has a rule for it. Nor is x-amz-date asked for."""
    acme.headers = {"User-Agent": agent} if agent else {}
    assert acme.fetch(acme.document(acme.newest()["reportDocumentId"]).json["url"]).status == 200


def test_nothing_is_compressed_on_its_way(acme):
    """Clients say that they take gzip; who inflates a document by its description must not find it inflated."""
    acme.headers = {"Accept-Encoding": "gzip, deflate"}
    document = acme.document(acme.newest()["reportDocumentId"])
    assert "Content-Encoding" not in document.headers
    stored = acme.fetch(document.json["url"])
    assert stored.headers["Content-Encoding"] == "identity"
    assert stored.body.startswith(b"\x1f\x8b") == (document.json.get("compressionAlgorithm") == "GZIP")
    assert "Content-Encoding" not in acme.log_in().headers


def test_an_id_in_a_path_may_come_escaped(acme):
    """Document ids hold dots; the path that a restricted token was made for is not escaped."""
    report = acme.newest()
    token = acme.restricted(report["reportDocumentId"]).json["restrictedDataToken"]
    escaped = report["reportDocumentId"].replace(".", "%2E")
    assert acme.call("GET", document_path(escaped), token=token).json["reportDocumentId"] == report["reportDocumentId"]
    assert acme.report("%3" + report["reportId"][0] + report["reportId"][1:]).json == report


def test_what_the_model_does_not_have_is_ignored(acme):
    """A published client sends the marketplace under four names with nearly every call; lists come with either comma."""
    more = "MarketplaceId=A1&MarketplaceIds=A1&marketplace_ids=A1&nothing="
    report = acme.newest()
    assert acme.report(f"{report['reportId']}?{more}&marketplaceIds=A1").json == report
    for comma in (",", quote(",")):
        types = comma.join((acme.schedules()[0]["reportType"], GENERAL))
        listed = acme.call("GET", f"/reports/2021-06-30/reports?reportTypes={types}&{more}")
        assert listed.json["reports"][0] == report
    assert acme.create(MarketplaceIds=["A1"], nothing={"a": [1]}).status == 202
