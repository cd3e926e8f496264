"""SP-API's documents come changed, cut or too late: what is archived is what was sent, whole, and its rows are read."""

from __future__ import annotations

import base64
import gzip
import hashlib

import pytest

from orderdrain.reports import ReportKey
from tests.drain import draining_quiet_sellers

BODY = b"order-id\torder-item-id\tsku\tquantity-purchased\n111-0000001-0000001\t1\tTEAPOT\t1\n"


@pytest.fixture
def drain(database_url, redis_url, tmp_path):
    """The path of a report: acme (US) and cedar (JP) sell at SP-API."""
    with draining_quiet_sellers(database_url, redis_url, tmp_path, sp_api_sellers="acme,cedar") as running:
        yield running


def make(drain, account="acme", **told):
    (report_id,) = drain.amazon("reports", account=account, api="sp-api", **told)["report_ids"]
    return report_id


def archived(drain, report_id):
    with drain.s.archive.open(drain.row(report_id).archive_key) as file:
        return file.read()


def fetched(drain):
    """What became of each time that a document's url was used."""
    return [call["fault"] for call in drain.calls("document")]


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_documents_bytes_say_whether_it_is_gzip(drain, announced, zipped):
    """Amazon has announced it wrongly both ways."""
    sent = gzip.compress(BODY) if zipped else BODY
    report_id = make(drain, body_base64=base64.b64encode(sent).decode(), gzip=announced)

    drain.run()

    row = drain.row(report_id)
    assert (row.state, row.rows_new, row.bytes) == ("acknowledged", 1, len(sent))
    assert archived(drain, report_id) == sent


@pytest.mark.parametrize("zipped", [True, False])
def test_a_document_that_is_zipped_once_more_on_its_way_is_read_all_the_same(drain, zipped):
    """Content-Encoding: gzip, on top of a gzip file or of a plain one. The archive holds what came over the wire."""
    sent = gzip.compress(BODY, mtime=0) if zipped else BODY
    drain.fault("document", "gzip_on_gzip")
    report_id = make(drain, body_base64=base64.b64encode(sent).decode(), gzip=zipped)

    drain.run()

    assert (drain.row(report_id).state, drain.row(report_id).rows_new) == ("acknowledged", 1)
    assert archived(drain, report_id) == gzip.compress(sent, mtime=0)
    assert fetched(drain) == ["gzip_on_gzip"]


def test_a_url_that_says_how_the_store_is_to_answer_is_used_whole(drain):
    """`response-content-encoding=identity` is part of what is signed: a client that takes it away is refused."""
    report_id = make(drain, "cedar")

    drain.run()

    assert drain.row(report_id, "cedar").state == "acknowledged"
    assert fetched(drain) == [None]
    drain.assert_judged()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("cut_body", "not whole"),
        ("cut_without_length", "whole"),
        ("stalled_body", "not whole"),
        ("no_answer", "gave no answer"),
        ("unavailable", "gave none"),
    ],
)
def test_what_is_no_whole_document_is_never_seen_under_a_key(drain, fault, said, zipped):
    """There is no Content-MD5. A cut file parsed would lose its last orders without a trace."""
    drain.amazon("faults", stall_seconds=0.2)
    sent = gzip.compress(BODY * 50) if zipped else BODY * 50
    report_id = make(drain, body_base64=base64.b64encode(sent).decode(), gzip=zipped)
    drain.fault("document", fault)

    drain.run()

    history = " ".join(row.detail or "" for row in drain.s.db.query("SELECT detail FROM report_history"))
    assert said in history + str(drain.logs)
    assert fetched(drain) == [fault, None]
    assert drain.row(report_id).state == "acknowledged"
    assert drain.row(report_id).sha256 == hashlib.sha256(sent).hexdigest()
    assert archived(drain, report_id) == sent


def test_a_url_that_is_used_too_late_costs_one_more_call_and_pauses_nobody(drain):
    """It is good for five minutes, and then answers 403, as a missing right does elsewhere."""
    make(drain)
    drain.run()
    drain.advance(minutes=16)
    report_id = make(drain)
    drain.fault("document", "expired_url")

    drain.run()

    assert fetched(drain) == [None, "expired_url", None]
    assert len(drain.calls("getReportDocument")) == 3
    assert not [row for row in drain.s.accounts.table() if row.paused_at]
    assert [line.attempt for line in drain.s.history.of(key(report_id)) if line.attempt] == [1, 1, 1]
    drain.assert_judged()


def key(report_id):
    return ReportKey("acme", "sp-api", report_id)
