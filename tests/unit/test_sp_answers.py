"""What SP-API answers say, and that half of one is never taken for a whole one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from orderdrain.amazon import sp_json
from tests.scripted_sp_api import report


@pytest.mark.parametrize("missing", ["reportId", "reportType", "processingStatus", "createdTime"])
def test_a_report_that_lacks_what_the_model_promises_spoils_the_page_loudly(missing):
    """Skipped in silence, its orders would be lost."""
    page = {"reports": [report(**{missing: None}, processingEndTime=None)]}
    for read in (sp_json.listing_page, sp_json.request_page):
        with pytest.raises(ValueError, match=f"no {missing}"):
            read(page)


@pytest.mark.parametrize("wrong", [292248019978, 1.5, True, ["1"], {"id": "1"}])
def test_an_id_that_is_no_text_is_refused(wrong):
    """Ids exceed 2**53: a number may have lost its last digits on the way."""
    with pytest.raises(ValueError, match="reportId is no text"):
        sp_json.listing_page({"reports": [report(reportId=wrong)]})


@pytest.mark.parametrize("told", [{}, {"reports": None}, {"reports": {}}, {"reports": "x"}, {"reports": ["1", None]}])
def test_an_answer_without_its_list_is_not_an_empty_one(told):
    """A listing that found nothing and one that was something else must differ."""
    for read in (sp_json.listing_page, sp_json.request_page):
        with pytest.raises(ValueError, match="no list of reports"):
            read(told)


def test_the_marketplaces_of_a_report_are_told_in_one_order_by_a_listing_and_by_a_look():
    """They say which pictures of what waits to be shipped show the same: whoever enters the report must say the same."""
    for told, known in ((["B", "A"], ("A", "B")), (None, ()), ([], ())):
        page = {"reports": [report(marketplaceIds=told)]}
        (listed,), _ = sp_json.listing_page(page)
        (requested,), _ = sp_json.request_page(page)
        assert (listed.marketplaces, requested.marketplaces) == (known, known)
    for wrong in ("ATVPDKIKX0DER", [1], {"A": 1}):
        with pytest.raises(ValueError, match="marketplaceIds is no list of texts"):
            sp_json.listing_page({"reports": [report(marketplaceIds=wrong)]})


@pytest.mark.parametrize("last", [{}, {"nextToken": None}, {"nextToken": ""}])
def test_a_listing_ends_where_no_token_is_given(last):
    """Absent is what the model says; an empty one leads nowhere."""
    assert sp_json.listing_page({"reports": [], **last})[1] is None
    with pytest.raises(ValueError, match="nextToken is no text"):
        sp_json.listing_page({"reports": [], "nextToken": 5})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2018-04-27T14:00:14+00:00", 14),
        ("2018-04-27T14:00:14Z", 14),
        ("2018-04-27T14:00:14.250Z", 14.25),
        ("2018-04-27T23:00:14+09:00", 14),
        ("2018-04-27T14:00:14", 14),
    ],
)
def test_a_date_is_a_moment_in_utc_however_it_is_written(text, seconds):
    """Production writes an offset, the sandbox Z and milliseconds."""
    (one,), _ = sp_json.listing_page({"reports": [report(processingEndTime=text)]})
    assert one.available_at == datetime(2018, 4, 27, 14, tzinfo=UTC) + timedelta(seconds=seconds)
    assert one.available_at.utcoffset() == timedelta(0)


@pytest.mark.parametrize("text", ["soon", "2018-13-45T99:99:99Z", 1524837614])
def test_what_is_no_date_is_said_so(text):
    """Taken for now, it would hide how late a report is."""
    with pytest.raises(ValueError, match="processingEndTime is no"):
        sp_json.request_info(report(processingEndTime=text))


@pytest.mark.parametrize(
    ("told", "code", "message"),
    [
        ({"errors": [{"code": "NotFound", "message": "Not\n found.", "details": ""}]}, "NotFound", "Not found."),
        ({"errors": [{"message": "m"}, {"code": "Second"}]}, None, "m"),
        ({"errors": [{"code": 5, "message": ["m"]}]}, None, ""),
        ({"errors": ["no"]}, None, ""),
    ],
)
def test_a_refusal_is_read_as_far_as_it_makes_sense(told, code, message):
    """Codes are open text, and details are absent, empty or a sentence (recorded 2024 traffic)."""
    assert sp_json.refusal_in(told) == sp_json.Refusal(code, message)


@pytest.mark.parametrize("told", [{}, {"errors": []}, {"errors": None}, {"errors": "x"}, {"error": "invalid_grant"}])
def test_an_answer_without_errors_refuses_nothing(told):
    """Some gateways add an empty list."""
    assert sp_json.refusal_in(told) is None


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b'"x"', b"5", b"\xff", b'{"reports": [', b"[" * 100_000, b"<a/>"]
)
def test_what_is_no_json_object_is_no_answer(body):
    """A proxy's page, or half a document."""
    assert sp_json.read_answer(body) is None


def test_fields_that_we_do_not_know_are_passed_over():
    """Amazon adds fields without notice."""
    told = {"reports": [report(somethingNew={"a": [1]})], "alsoNew": 1, "nextToken": "t"}
    assert sp_json.listing_page(told)[1] == "t"


@pytest.mark.parametrize("url", [None, "", "nowhere", "file:///etc/passwd", "ftp://x/", 5])
def test_a_document_must_lie_at_an_address(url):
    """And at no file of ours."""
    with pytest.raises(ValueError, match="url"):
        sp_json.document_url({"reportDocumentId": "1", "url": url})


def test_a_documents_token_that_tells_no_life_is_good_for_one_use():
    """The model does not promise expiresIn."""
    assert sp_json.restricted_token({"restrictedDataToken": "Atz.sprdt|1"}) == ("Atz.sprdt|1", 0)
    with pytest.raises(ValueError, match="restrictedDataToken"):
        sp_json.restricted_token({"expiresIn": 3600})


@pytest.mark.parametrize("missing", ["reportScheduleId", "reportType", "period"])
def test_a_schedule_that_lacks_what_the_model_promises_is_refused(missing):
    """Passed over, it would look as if nothing were scheduled."""
    told = {"reportScheduleId": "1", "reportType": "T", "period": "PT15M"}
    del told[missing]
    with pytest.raises(ValueError, match=missing):
        sp_json.schedules({"reportSchedules": [told]}, ["ATVPDKIKX0DER"])
