"""SP-API documents: the bytes that reach the sink are whole and as they were sent, or the caller hears of it."""

from __future__ import annotations

import gzip
import json
import logging
import os

import pytest

from orderdrain.amazon import sp_documents
from orderdrain.amazon.http import BLOCK_BYTES
from orderdrain.errors import BadBody, GiveUp, OperatorNeeded, RetryLater, ServiceFault, Throttled
from tests.scripted_mws import Answer, QuotaNotes
from tests.scripted_sp_api import (
    DOCUMENT_ID,
    SHIPPING,
    NumberedTokens,
    answer,
    client,
    document,
    refusal,
    report,
    restricted_token,
    store_refusal,
    stored,
)

BODY = b"order-id\torder-item-id\n" + b"102-1234567-1234567\t12345678901234\n" * 20_000
ZIPPED = gzip.compress(b"order-id\n" + os.urandom(200_000))
EXPIRED = store_refusal("AccessDenied", "Request has expired")


def _will_store(amazon, *answers: Answer) -> None:
    """A report that is done, whose document is `answers`, one after the other."""
    amazon.will_answer(answer(report()), document(amazon.url), *answers)


def _paths(amazon) -> list[str]:
    return [asked.path.partition("?")[0] for asked in amazon.asked]


@pytest.mark.parametrize("body", [BODY, ZIPPED, gzip.compress(ZIPPED), b"", b"\x1f", b"\x1f\x8b", b"<xml/>"])
def test_a_document_goes_to_the_sink_in_blocks_unchanged(amazon, body):
    """Compressed or not, whatever was announced: parse looks at the bytes."""
    _will_store(amazon, stored(body))
    blocks: list[bytes] = []
    came = client(amazon.url).download("292248019978", blocks.append)
    assert b"".join(blocks) == body
    assert max(map(len, blocks), default=0) <= BLOCK_BYTES
    assert (came.content_type, came.request_id) == ("text/plain; charset=Cp1252", "s3-1")


def test_the_url_is_used_whole_and_nothing_of_amazons_goes_with_it(amazon):
    """The store is not the API: a token sent there opens the seller's other data to whoever runs it."""
    _will_store(amazon, stored(BODY))
    client(amazon.url).download("292248019978", lambda _block: None)
    fetched = amazon.asked[-1]
    assert fetched.path == "/store/1?X-Amz-Expires=300&X-Amz-Signature=0a1b2c3d"
    assert {name.lower() for name in fetched.headers} <= {"host", "user-agent", "accept-encoding"}
    assert "token" not in str(fetched.headers)


def test_ids_are_written_into_paths_so_that_they_stay_one_part(amazon):
    """A document id is Amazon's to make: one with a slash must not become another path."""
    _will_store(amazon, stored(BODY))
    client(amazon.url).download("../29/1", lambda _block: None)
    assert _paths(amazon) == [
        "/reports/2021-06-30/reports/..%2F29%2F1",
        "/reports/2021-06-30/documents/amzn1.spdoc.1.4.eu.0005-ab%2Fc.TX%2B5900",
        "/store/1",
    ]


# ------------------------------------------------------------------------------------------------- whole, or not


@pytest.mark.parametrize("came", [0, 1, 100_000, len(BODY) - 1])
def test_a_body_cut_short_of_its_length_is_thrown_away(amazon, came):
    """There is no Content-MD5 any more: the length alone shows it."""
    _will_store(amazon, Answer(body=BODY[:came], headers=stored(b"").headers, announced=len(BODY)))
    with pytest.raises(BadBody, match=f"broke off after {came:,} bytes"):
        client(amazon.url).download("1", lambda _block: None)


@pytest.mark.parametrize("framed", [True, False])
@pytest.mark.parametrize("came", [3, 100, len(ZIPPED) * 6 // 10, len(ZIPPED) - 8, len(ZIPPED) - 1])
def test_a_cut_gzip_is_thrown_away_whatever_length_it_came_with(amazon, came, framed):
    """A file that was cut before it was stored comes with the right length of what is left."""
    cut = stored(ZIPPED[:came])
    cut.framed = framed
    _will_store(amazon, cut)
    with pytest.raises(BadBody, match="not whole: its gzip breaks off") as caught:
        client(amazon.url).download("1", lambda _block: None)
    assert caught.value.evidence.request_id == "s3-1"


@pytest.mark.parametrize("place", [-1, -5, 100_000])
def test_a_gzip_whose_checksum_is_wrong_is_thrown_away(amazon, place):
    """The last eight bytes are the checksum and the size of what it holds."""
    damaged = bytearray(ZIPPED)
    damaged[place] ^= 0xFF
    _will_store(amazon, stored(bytes(damaged)))
    with pytest.raises(BadBody, match="damaged"):
        client(amazon.url).download("1", lambda _block: None)


# Short bodies stand in the tests' names, which must not change with the time.
@pytest.mark.parametrize(
    ("body", "whole"),
    [
        (ZIPPED, True),
        (ZIPPED + ZIPPED, True),
        (ZIPPED + bytes(100_000), True),
        (gzip.compress(bytes(3 * BLOCK_BYTES)), True),
        (gzip.compress(b"", mtime=0), True),
        (ZIPPED + ZIPPED[:-1], False),
        (BODY, False),
        (b"", False),
    ],
)
def test_without_a_length_the_end_of_the_gzip_alone_shows_that_it_is_whole(amazon, body, whole):
    """Files may be padded, and follow each other; plain text just ends."""
    unframed = stored(body)
    unframed.framed = False
    _will_store(amazon, unframed)
    got = bytearray()
    if whole:
        client(amazon.url).download("1", got.extend)
    else:
        with pytest.raises(BadBody, match="whole"):
            client(amazon.url).download("1", got.extend)
    assert got == body


def test_a_gzip_that_comes_byte_by_byte_is_read_all_the_same(amazon):
    """Its first bytes tell what it is, and may come one by one."""
    small = gzip.compress(b"order-id\n")
    _will_store(amazon, Answer(chunks=[small[n : n + 1] for n in range(len(small))], headers={}))
    got = bytearray()
    client(amazon.url).download("1", got.extend)
    assert got == small


# ---------------------------------------------------------------------------------------------- the store refuses


def test_a_url_that_has_expired_is_asked_for_once_more_and_its_quota_paid(amazon):
    """A worker stood still for five minutes: that is no reason to pause an account, nor to fail an attempt."""
    _will_store(amazon, EXPIRED, document(amazon.url), stored(BODY))
    quota, got = QuotaNotes(), bytearray()
    client(amazon.url, quota=quota).download("1", got.extend)
    assert got == BODY
    assert quota.taken == ["getReport", "getReportDocument", "getReportDocument"]


def test_a_url_that_has_always_expired_is_not_asked_for_for_ever(amazon):
    """The third one costs a minute of quota too."""
    _will_store(amazon, EXPIRED, document(amazon.url), EXPIRED)
    with pytest.raises(ServiceFault, match="expired, twice"):
        client(amazon.url).download("1", lambda _block: None)
    assert len(amazon.asked) == 5


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (store_refusal("AccessDenied", "Access Denied"), "AccessDenied"),
        (store_refusal("SignatureDoesNotMatch", "The signature"), "SignatureDoesNotMatch"),
        (store_refusal("NoSuchKey", "The key does not exist", 404), "NoSuchKey"),
        (store_refusal("SlowDown", "Reduce your request rate.", 503), "SlowDown"),
        (Answer(500, b"", {}), None),
        (Answer(403, b"<html>no</html>", {"Content-Type": "text/html"}), None),
        (Answer(200, b"<html>welcome</html>", {"Content-Type": "text/html"}), None),
        (Answer(206, BODY[:100], {}), None),
        (Answer(302, b"", {"Location": "http://127.0.0.1:1/"}), None),
        (Answer(403, b"<Error><Code>Access", {}, announced=400), None),
    ],
)
def test_what_else_the_store_says_is_a_fault_of_the_service_and_never_a_document(amazon, said, code):
    """It knows nothing of sellers and their rights: no account is paused for it."""
    _will_store(amazon, said)
    got = bytearray()
    with pytest.raises(ServiceFault) as caught:
        client(amazon.url).download("1", got.extend)
    assert got == b""
    assert (caught.value.evidence.operation, caught.value.evidence.code) == ("document", code)


@pytest.mark.parametrize("stall", [True, False])
def test_a_store_that_is_silent_is_a_fault_of_the_service(amazon, stall):
    """And is not asked again here."""
    _will_store(amazon, Answer(status=0, stall=stall))
    with pytest.raises(ServiceFault, match="the store of documents gave no answer"):
        client(amazon.url).download("1", lambda _block: None)


@pytest.mark.parametrize(
    "last",
    [
        stored(BODY),
        stored(ZIPPED[:-1]),
        EXPIRED,
        store_refusal("AccessDenied", "Access Denied"),
        Answer(status=0),
        Answer(302, b"", {"Location": "/else?X-Amz-Signature=0a1b2c3d"}),
        Answer(body=BODY[:1000], announced=len(BODY)),
        Answer(body=BODY, headers={"Broken Header": "x\x0b"}, framed=False),
    ],
)
def test_a_url_stands_in_no_log_line_and_no_error(amazon, caplog, capsys, last):
    """Whoever has it has the document, and urllib3 writes the urls of all requests to its log."""
    caplog.set_level(logging.DEBUG)
    _will_store(amazon, last)
    said = ""
    try:
        client(amazon.url).download("1", lambda _block: None)
    except RetryLater as error:
        said = f"{error} {error!r} {error.__cause__!r}"
    assert "/store/1" in amazon.asked[2].path
    said += caplog.text + "".join(capsys.readouterr())
    assert "operation=document" in said or not last.status
    assert "Signature" not in said
    assert "/store" not in said


@pytest.mark.parametrize("url", ["", "nowhere", "http://", "http://[", "file:///etc/passwd", "http://256.1.1.1:99999/"])
def test_a_url_that_is_none_is_a_fault_of_the_service(amazon, url):
    """Whatever Amazon sends, no file is read and no bug reported."""
    amazon.will_answer(answer(report()), answer({"reportDocumentId": "d", "url": url}))
    with pytest.raises(ServiceFault):
        client(amazon.url).download("1", lambda _block: None)


# ----------------------------------------------------------------------------------------- reports that are not done


@pytest.mark.parametrize("status", ["IN_QUEUE", "IN_PROGRESS", "SOMETHING_NEW"])
def test_a_report_that_is_not_made_yet_is_tried_later(amazon, status):
    """It is neither lost nor wrong."""
    amazon.will_answer(answer(report(processingStatus=status, reportDocumentId=None)))
    with pytest.raises(RetryLater, match="not made it yet"):
        client(amazon.url).download("1", lambda _block: None)


def test_a_report_that_amazon_does_not_know_is_given_up(amazon):
    """With Amazon's own words, as recorded."""
    amazon.will_answer(refusal(404, "NotFound", "One or more of the provided\nReportRequestIds could not be found."))
    with pytest.raises(GiveUp, match="getReport: One or more of the provided ReportRequestIds could not be found"):
        client(amazon.url).download("1", lambda _block: None)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (json.dumps({"errorDetails": "The dates\n are not valid."}).encode(), "The dates are not valid."),
        (gzip.compress(json.dumps({"errorDetails": "No."}).encode(), mtime=0), "No."),
        (b"Report generation failed.\n", "Report generation failed."),
        (b'{"errorDetails": 5}', "its document states no reason"),
        (b"[" * 20_000, "its document states no reason"),
        (b"", "its document states no reason"),
        (b"buyer-name\tship-city\nJo Doe\tLyon\n", "its document states no reason"),
        (b"x" * 301, "its document states no reason"),
        (b"Jo Doe\nLyon\n", "its document states no reason"),
        (b"Keine Daten f\xfcr diesen Zeitraum", "is no text in UTF-8"),
        (gzip.compress(b"No.", mtime=0)[:-9], "cannot be read"),
        (b"\x1f\x8b\x08\xff\xff\xff" + bytes(40), "cannot be read"),
        (b"x" * 70_000, "cannot be read"),
    ],
)
def test_a_report_that_could_not_be_made_says_why_and_is_no_orders(amazon, body, reason):
    """The reason is all that a person can act on; but rows may be a buyer's data, and stand in no error."""
    amazon.will_answer(answer(report(processingStatus="FATAL")), document(amazon.url), stored(body))
    got = bytearray()
    with pytest.raises(GiveUp) as caught:
        client(amazon.url).download("1", got.extend)
    assert got == b""
    assert reason in caught.value.reason
    assert not {"Jo", "Lyon"} & set(caught.value.reason.split())


@pytest.mark.parametrize("second", [refusal(404, "NotFound"), refusal(500, "InternalFailure"), EXPIRED])
def test_a_reason_that_cannot_be_had_does_not_keep_a_report_alive(amazon, second):
    """It will not be made, whether or not Amazon still says why."""
    answers = [second] if second is not EXPIRED else [document(amazon.url), second]
    amazon.will_answer(answer(report(processingStatus="FATAL")), *answers)
    with pytest.raises(GiveUp, match="could not make it: the document that states the reason cannot be read"):
        client(amazon.url).download("1", lambda _block: None)


def test_the_reason_waits_for_its_quota_like_any_document(amazon):
    """Given up without it, nobody would ever know."""
    amazon.will_answer(answer(report(processingStatus="FATAL")), refusal(429, "QuotaExceeded"))
    with pytest.raises(Throttled):
        client(amazon.url).download("1", lambda _block: None)


@pytest.mark.parametrize(
    ("status", "said"), [("FATAL", "states no reason"), ("CANCELLED", "on request, or for want of data")]
)
def test_a_report_that_ended_without_a_document_is_given_up(amazon, status, said):
    """Amazon does not tell a report that somebody cancelled from one that would be empty."""
    amazon.will_answer(answer(report(processingStatus=status, reportDocumentId=None)))
    with pytest.raises(GiveUp, match=said):
        client(amazon.url).download("1", lambda _block: None)


# ------------------------------------------------------------------------------------------------------ buyers' data


def _will_restrict(amazon, *answers: Answer) -> None:
    amazon.will_answer(answer(report(reportType=SHIPPING)), *answers)


def _tokens(amazon) -> list[str]:
    return [asked.headers.get("x-amz-access-token", "-") for asked in amazon.asked]


def test_a_document_with_buyers_data_is_asked_for_with_a_token_of_its_own(amazon):
    """For its very path, as it is and not as a url writes it (SP-API documentation)."""
    _will_restrict(amazon, restricted_token(), document(amazon.url), stored(BODY))
    client(amazon.url).download("1", lambda _block: None)
    asked = amazon.asked[1]
    assert (asked.method, asked.path) == ("POST", "/tokens/2021-03-01/restrictedDataToken")
    assert json.loads(asked.body) == {
        "restrictedResources": [{"method": "GET", "path": f"/reports/2021-06-30/documents/{DOCUMENT_ID}"}]
    }
    assert _tokens(amazon) == ["token-1", "token-1", "Atz.sprdt|1", "-"]


def test_a_documents_token_is_used_again_within_its_life(amazon):
    """A body that is thrown away is fetched again by the same worker."""
    api = client(amazon.url)
    again = [answer(report(reportType=SHIPPING)), document(amazon.url), stored(BODY)]
    _will_restrict(amazon, restricted_token(), document(amazon.url), stored(ZIPPED[:-1]), *again)
    with pytest.raises(BadBody):
        api.download("1", lambda _block: None)
    api.download("1", lambda _block: None)
    assert [path for path in _paths(amazon) if "tokens" in path] == ["/tokens/2021-03-01/restrictedDataToken"]
    assert _tokens(amazon)[4:] == ["token-1", "Atz.sprdt|1", "-"]


def test_a_documents_token_is_not_used_at_the_end_of_its_life(amazon):
    """One that ends on its way costs a minute of the document's quota."""
    api = client(amazon.url)
    again = [answer(report(reportType=SHIPPING)), restricted_token(2), document(amazon.url), stored(BODY)]
    _will_restrict(amazon, restricted_token(1, seconds=20), document(amazon.url), stored(BODY), *again)
    api.download("1", lambda _block: None)
    api.download("1", lambda _block: None)
    assert _tokens(amazon)[-2] == "Atz.sprdt|2"


def test_one_documents_token_does_not_open_another(amazon):
    """Amazon would refuse it."""
    api = client(amazon.url)
    other = answer(report(reportType=SHIPPING, reportDocumentId="other"))
    _will_restrict(amazon, restricted_token(), document(amazon.url), stored(BODY), other, restricted_token(2))
    amazon.script += [document(amazon.url), stored(BODY)]
    api.download("1", lambda _block: None)
    api.download("2", lambda _block: None)
    assert _tokens(amazon)[-2] == "Atz.sprdt|2"


def test_a_documents_token_that_has_ended_costs_one_more_call_and_no_attempt(amazon):
    """The seller's own token is as good as before, and is not asked for anew."""
    tokens = NumberedTokens()
    more = [refusal(403, "Unauthorized"), restricted_token(2), document(amazon.url), stored(BODY)]
    _will_restrict(amazon, restricted_token(), *more)
    client(amazon.url, tokens=tokens).download("1", lambda _block: None)
    assert _tokens(amazon) == ["token-1", "token-1", "Atz.sprdt|1", "token-1", "Atz.sprdt|2", "-"]
    assert tokens.refused == []


@pytest.mark.parametrize(
    ("report_type", "role"),
    [
        (SHIPPING, "Direct-to-Consumer Shipping"),
        ("GET_FLAT_FILE_ACTIONABLE_ORDER_DATA_SHIPPING", "Direct-to-Consumer Shipping"),
        ("GET_ORDER_REPORT_DATA_TAX", "Tax Remittance"),
        ("GET_FLAT_FILE_ORDER_REPORT_DATA_INVOICING", "Tax Invoicing"),
    ],
)
@pytest.mark.parametrize("first", [[], [restricted_token()]])
def test_a_role_that_is_lacking_pauses_the_seller_after_two_tries_and_is_named(amazon, report_type, role, first):
    """A 403 for ever: only a person can have the role granted. It is told by the token's making or by its use."""
    amazon.will_answer(answer(report(reportType=report_type)), *first, refusal(403, "Unauthorized"))
    if first:
        amazon.script += [restricted_token(2), refusal(403, "Unauthorized")]
    with pytest.raises(OperatorNeeded, match=role) as caught:
        client(amazon.url).download("1", lambda _block: None)
    assert caught.value.scope == "connection"
    assert len(amazon.asked) == (5 if first else 3)
    assert "sprdt" not in str(caught.value) + repr(caught.value)


def test_a_documents_token_is_shown_nowhere(amazon, caplog, capsys):
    """It opens a buyer's name and address."""
    caplog.set_level(logging.DEBUG)
    api = client(amazon.url)
    _will_restrict(amazon, restricted_token(), document(amazon.url), stored(BODY))
    api.download("1", lambda _block: None)
    assert "sprdt" not in caplog.text + "".join(capsys.readouterr()) + repr(vars(api))


def test_what_lies_in_the_way_is_no_bigger_than_a_block(amazon, monkeypatch):
    """A gzip that inflates a thousandfold is read along in pieces, and none of it is kept."""
    sizes, real = [], sp_documents.zlib.decompressobj

    class Measured:
        def __init__(self, *, wbits):
            self._inflate = real(wbits=wbits)

        def decompress(self, data, limit):
            out = self._inflate.decompress(data, limit)
            sizes.append(len(out))
            return out

        def __getattr__(self, name):
            return getattr(self._inflate, name)

    monkeypatch.setattr(sp_documents.zlib, "decompressobj", Measured)
    _will_store(amazon, stored(gzip.compress(bytes(30_000_000))))
    client(amazon.url).download("1", lambda _block: None)
    assert sum(sizes) == 30_000_000
    assert max(sizes) <= BLOCK_BYTES
