"""GetReport: the bytes that reach the sink are those that Amazon announced, or the caller hears of it."""

from __future__ import annotations

import hashlib

import pytest

from orderdrain.amazon.http import BLOCK_BYTES, Http
from orderdrain.errors import BadBody, GiveUp, ServiceFault, Throttled
from tests.scripted_mws import Answer, client, refusal, report, scripted_mws

BODY = b"order-id\torder-item-id\n" + b"102-1234567-1234567\t12345678901234\n" * 20_000


@pytest.fixture
def mws():
    with scripted_mws() as server:
        yield server


def test_a_report_goes_to_the_sink_in_blocks_unchanged(mws):
    """Never whole in memory, and never decoded."""
    mws.will_answer(report(BODY))
    blocks: list[bytes] = []
    came = client(mws.url).download("14827889873", blocks.append)
    assert mws.asked[0].form["ReportId"] == "14827889873"
    assert b"".join(blocks) == BODY
    assert len(BODY) > 10 * BLOCK_BYTES >= max(map(len, blocks)) * 10
    assert (came.content_type, came.request_id) == ("text/plain;charset=windows-1252", "req-3")


@pytest.mark.parametrize("body", [b"", b"order-id\n", b"x" * BLOCK_BYTES, b"\x8b\x1f\x00\xff" * 5])
def test_any_body_that_was_announced_is_a_download(mws, body):
    """What the bytes mean is not for the client to say: an empty report is a report."""
    mws.will_answer(report(body))
    got = bytearray()
    client(mws.url).download("1", got.extend)
    assert got == body


def test_a_wrong_md5_is_never_taken_for_a_report(mws):
    """Amazon's rule: on a mismatch throw the body away."""
    mws.will_answer(report(BODY, md5=b"\0" * 16))
    with pytest.raises(BadBody, match="Content-MD5") as caught:
        client(mws.url).download("1", lambda _block: None)
    assert caught.value.evidence.request_id == "req-3"


def test_an_md5_in_another_writing_is_wrong(mws):
    """Base64 of the 16 bytes is what Amazon sends; taking hex as well would hide a broken proxy."""
    right = report(BODY)
    right.headers["Content-MD5"] = hashlib.md5(BODY).hexdigest()
    mws.will_answer(right)
    with pytest.raises(BadBody):
        client(mws.url).download("1", lambda _block: None)


@pytest.mark.parametrize("came", [0, 1, 100_000, len(BODY) - 1])
@pytest.mark.parametrize("md5", [True, False])
def test_a_body_cut_short_of_its_length_is_thrown_away(mws, came, md5):
    """With Content-MD5 or without: the length alone shows it."""
    cut = report(BODY[:came])
    cut.announced = len(BODY)
    if not md5:
        del cut.headers["Content-MD5"]
    mws.will_answer(cut)
    with pytest.raises(BadBody, match=f"broke off after {came:,} bytes"):
        client(mws.url).download("1", lambda _block: None)


def test_a_missing_md5_is_accepted_where_the_length_proves_the_body(mws):
    """Old answers lacked it."""
    without = report(BODY)
    del without.headers["Content-MD5"]
    mws.will_answer(without)
    got = bytearray()
    client(mws.url).download("1", got.extend)
    assert got == BODY


@pytest.mark.parametrize("md5", [True, False])
def test_a_body_that_ends_with_its_connection_is_taken_only_with_its_md5(mws, md5):
    """Without length, chunks and MD5 a cut body looks like a whole one."""
    unframed = report(BODY)
    unframed.framed = False
    if not md5:
        del unframed.headers["Content-MD5"]
    mws.will_answer(unframed)
    got = bytearray()
    if md5:
        client(mws.url).download("1", got.extend)
    else:
        with pytest.raises(BadBody, match="nothing shows"):
            client(mws.url).download("1", got.extend)
    assert got == BODY


def test_a_body_is_given_up_at_its_deadline_however_steadily_it_trickles(mws):
    """Each piece comes in time, the whole never does."""
    mws.will_answer(report(BODY))
    http = Http(total_seconds=0)
    with pytest.raises(BadBody, match="not complete in time"):
        client(mws.url, http=http).download("1", lambda _block: None)


def test_a_body_beyond_its_limit_is_cut_off(mws, monkeypatch):
    """A body without end must not fill the archive."""
    monkeypatch.setattr("orderdrain.amazon.mws.MAX_REPORT_BYTES", 100_000)
    mws.will_answer(report(BODY))
    got = bytearray()
    with pytest.raises(BadBody, match="larger than 100,000 bytes"):
        client(mws.url).download("1", got.extend)
    assert len(got) <= 100_000


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (refusal(503, "RequestThrottled"), Throttled),
        (refusal(200, "RequestThrottled"), Throttled),
        (refusal(400, "InvalidParameterValue"), GiveUp),
        (refusal(200, "InvalidParameterValue"), GiveUp),
        (refusal(500, "InternalError"), ServiceFault),
        (Answer(503, b"<html>busy</html>", {"Content-Type": "text/html"}), ServiceFault),
        (Answer(200, b"<html>welcome</html>", {"Content-Type": "text/html; charset=utf-8"}), ServiceFault),
        (Answer(204, b"", {}), ServiceFault),
        (Answer(503, b"<ErrorRes", {"Content-Type": "text/xml"}, announced=400), ServiceFault),
        (Answer(500, b"x" * 300_000, {"Content-Type": "text/plain"}), ServiceFault),
    ],
)
def test_no_byte_of_an_error_reaches_the_sink(mws, said, error):
    """An error stored as a report would be parsed as one."""
    mws.will_answer(said)
    got = bytearray()
    with pytest.raises(error):
        client(mws.url).download("1", got.extend)
    assert got == b""


@pytest.mark.parametrize("size", [1, 3 * BLOCK_BYTES])
def test_an_xml_report_is_a_report_whatever_its_content_type(mws, size):
    """Only an ErrorResponse is an error; the XML order reports are none."""
    body = b"<AmazonEnvelope>" + b" " * size + b"</AmazonEnvelope>"
    mws.will_answer(report(body, content_type="text/xml"))
    got = bytearray()
    client(mws.url).download("1", got.extend)
    assert got == body


def test_an_xml_report_that_breaks_off_while_it_is_looked_at_is_thrown_away(mws):
    """The look at its beginning must not swallow the fault."""
    cut = report(b"<AmazonEnvelope>", content_type="text/xml")
    cut.announced = 1000
    del cut.headers["Content-MD5"]
    mws.will_answer(cut)
    with pytest.raises(BadBody):
        client(mws.url).download("1", lambda _block: None)
