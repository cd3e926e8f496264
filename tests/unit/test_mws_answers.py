"""What MWS answers say, in every shape that was recorded or printed in the documentation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from orderdrain.amazon import mws_xml

REPORT = (
    "<ReportInfo><ReportId>10516502317017648</ReportId><ReportType>_GET_FLAT_FILE_ORDERS_DATA_</ReportType>"
    "<ReportRequestId>281605017648</ReportRequestId><AvailableDate>2018-04-27T14:49:29+00:00</AvailableDate>"
    "<Acknowledged>false</Acknowledged></ReportInfo>"
)


def _page(inner: str, *, root: str = "GetReportListResponse") -> mws_xml.ListingPage:
    return mws_xml.listing_page(mws_xml.read_answer(f"<{root}>{inner}</{root}>".encode()))


def test_a_report_id_is_kept_as_text():
    """Ids exceed 2**53: a number would come back as another id from anything that uses floats."""
    (report,) = _page(f"<HasNext>false</HasNext>{REPORT}").reports
    assert report.report_id == "10516502317017648"
    assert report.available_at == datetime(2018, 4, 27, 14, 49, 29, tzinfo=UTC)
    assert report.report_request_id == "281605017648"


@pytest.mark.parametrize("token", ["", "<NextToken/>", "<NextToken></NextToken>", "<NextToken>none</NextToken>"])
def test_a_listing_ends_by_has_next_alone(token):
    """Without a next page the token was absent, empty, or the word none."""
    assert _page(f"{token}<HasNext>false</HasNext>{REPORT}").next_token is None


@pytest.mark.parametrize("left_over", ["abc+/=", "string"])
def test_a_token_beside_has_next_false_is_not_followed(left_over):
    """A token alone is no promise of a page."""
    assert _page(f"<NextToken>{left_over}</NextToken><HasNext>false</HasNext>").next_token is None


@pytest.mark.parametrize("token", ["", "<NextToken/>", "<NextToken> </NextToken>", "<NextToken>none</NextToken>"])
def test_has_next_without_a_token_is_no_end(token):
    """Taken as the end, the rest of the listing would never be seen, and reports be acknowledged too early."""
    with pytest.raises(ValueError, match="NextToken"):
        _page(f"<HasNext>true</HasNext>{token}{REPORT}")


def test_a_listing_without_has_next_is_no_listing():
    """Half an answer must never look like a finished listing."""
    with pytest.raises(ValueError, match="HasNext"):
        _page(REPORT)


@pytest.mark.parametrize("missing", ["ReportId", "ReportType", "AvailableDate"])
def test_a_report_that_lacks_what_we_need_spoils_the_page_loudly(missing):
    """Skipped in silence, its orders would be lost."""
    with pytest.raises(ValueError, match=missing):
        _page("<HasNext>false</HasNext>" + REPORT.replace(f"<{missing}>", "<X>").replace(f"</{missing}>", "</X>"))


def test_order_namespace_padding_and_unknown_elements_do_not_matter():
    """2014, 2018 and the documentation differ in all four."""
    shuffled = (
        '<a:Other xmlns:a="urn:x">1</a:Other><ReportInfo xmlns="http://mws.amazonservices.com/\ndoc/2009-01-01/">'
        "<AvailableDate>\n  2018-04-27T14:49:29+00:00\n</AvailableDate><New>x</New><ReportId> 1 </ReportId>"
        "<Acknowledged> TRUE </Acknowledged><ReportType>_T_</ReportType></ReportInfo>"
        "<!-- note --><HasNext>\ntrue </HasNext><NextToken>\n2YgYW55=\n</NextToken>"
    )
    page = _page(shuffled)
    (report,) = page.reports
    assert (report.report_id, report.report_type, report.acknowledged) == ("1", "_T_", True)
    assert report.available_at == datetime(2018, 4, 27, 14, 49, 29, tzinfo=UTC)
    assert page.next_token == "2YgYW55="


def test_wrappers_whose_tags_do_not_match_are_read_all_the_same():
    """Amazon's documentation prints `...ByNextTokentResult` opened and `...ByNextTokenResult` closed."""
    body = b"<R1Response><AResult><HasNext>false</HasNext>%s</BResult></R1Response>" % REPORT.encode()
    assert len(mws_xml.listing_page(mws_xml.read_answer(body)).reports) == 1


@pytest.mark.parametrize("lost", [1, 5, 20, 60, 200, 300])
def test_half_a_document_is_no_answer(lost):
    """However an answer was cut: reading what is left of it would lose the rest."""
    body = f"<GetReportListResponse><HasNext>false</HasNext>{REPORT}{REPORT}</GetReportListResponse>".encode()
    assert mws_xml.read_answer(body) is not None
    assert mws_xml.read_answer(body[:-lost]) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"upstream connect error",
        b"<html><body>502 Bad Gateway<br></body></html>",
        b"<!DOCTYPE html><html><head/></html>",
        b"\x00\x01\x02",
        b"<AmazonEnvelope/>",
        b"<aResponse>\xff</aResponse>",
        b"<aResponse/> and more",
    ],
)
def test_what_is_no_mws_answer_is_none(body):
    """A proxy's page, or nothing, says nothing about reports."""
    assert mws_xml.read_answer(body) is None


def test_an_undeclared_prefix_is_read_as_part_of_the_name():
    """Nothing that Amazon never sent may end in an error that nobody expects."""
    root = mws_xml.read_answer(b"<p:ErrorResponse><p:Code>x</p:Code></p:ErrorResponse>")
    assert mws_xml.refusal_in(root) is None
    with pytest.raises(ValueError, match="HasNext"):
        mws_xml.listing_page(root)


def test_no_document_type_and_no_entity_is_ever_followed(tmp_path):
    """An answer must not be able to read our files, reach our network, or fill our memory."""
    secret = tmp_path / "secret"
    secret.write_text("top secret")
    outside = f'<!DOCTYPE x [<!ENTITY e SYSTEM "{secret.as_uri()}">]>'
    levels = "".join(f'<!ENTITY b{n + 1} "{f"&b{n};" * 10}">' for n in range(12))
    for start, text in ((outside, "&e;"), (f'<!DOCTYPE x [<!ENTITY b0 "ha">{levels}]>', "&b12;"), ("", "&e;")):
        assert mws_xml.read_answer(f"{start}<xResponse><HasNext>{text}</HasNext></xResponse>".encode()) is None


@pytest.mark.parametrize("name", ["RequestID", "RequestId"])
@pytest.mark.parametrize("namespace", ["https://mws.amazonservices.com/Orders/2013-09-01", ""])
def test_an_error_is_read_in_any_namespace_and_either_spelling(name, namespace):
    """All four were seen."""
    body = (
        f'<ErrorResponse xmlns="{namespace}"><Error><Type>Sender</Type><Code> InvalidAccessKeyId\n</Code>'
        f"<Message>\n The key\n does not exist. </Message><Detail><Any/></Detail></Error><{name}>\n 7e83 </{name}></ErrorResponse>"
    )
    root = mws_xml.read_answer(body.encode())
    assert mws_xml.refusal_in(root) == mws_xml.Refusal("InvalidAccessKeyId", "The key does not exist.")
    assert mws_xml.request_id(root) == "7e83"


@pytest.mark.parametrize(
    ("amazons", "ours"),
    [
        ("_SUBMITTED_", "SUBMITTED"),
        ("_IN_PROGRESS_", "IN_PROGRESS"),
        ("_DONE_", "DONE"),
        ("_DONE_NO_DATA_", "NO_DATA"),
        ("_CANCELLED_", "CANCELLED"),
        ("_PAUSED_FOR_REVIEW_", "PAUSED_FOR_REVIEW"),
    ],
)
def test_each_processing_status_has_our_word_and_an_unknown_one_its_bare_name(amazons, ours):
    """A status that Amazon adds one day must not stop the reading of a page."""
    body = (
        "<RequestReportResponse><ReportRequestInfo><ReportRequestId>1</ReportRequestId><ReportType>_T_</ReportType>"
        f"<SubmittedDate>2018-04-27T13:05:00</SubmittedDate><ReportProcessingStatus>{amazons}</ReportProcessingStatus>"
        "</ReportRequestInfo></RequestReportResponse>"
    )
    request = mws_xml.requested(mws_xml.read_answer(body.encode()))
    assert request.status == ours
    assert (request.submitted_at.hour, request.submitted_at.utcoffset()) == (13, timedelta(0))
    assert (request.scheduled, request.report_id, request.window_start) == (False, None, None)


def test_only_ids_that_are_named_as_acknowledged_count():
    """The count says how many, not which; and an entry may say false."""
    other = REPORT.replace("10516502317017648", "2").replace(">false<", ">true<")
    root = mws_xml.read_answer(
        f"<UResponse><Count>2</Count>{REPORT}{other}<RequestId>r</RequestId></UResponse>".encode()
    )
    assert mws_xml.acknowledged(root) == mws_xml.Acknowledged(frozenset({"2"}), "r")
