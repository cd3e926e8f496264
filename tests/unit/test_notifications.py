"""What a notification says, in both forms; and that nothing in it can do harm."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orderdrain.errors import SettingsError
from orderdrain.notifications import Message, Notice, Queue, open_queues, read_notice

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "samples"
SHIPPING = "GET_FLAT_FILE_ORDER_REPORT_DATA_SHIPPING"


def xml(kind="ReportProcessingFinished", **told):
    said = {
        "SellerId": "A1EXAMPLE",
        "ReportRequestId": "2291326454",
        "ReportId": "10516502317020582",
        "ReportType": "_GET_FLAT_FILE_ORDERS_DATA_",
        "ReportProcessingStatus": "_DONE_",
    } | told
    inner = "".join(f"<{name}>{text}</{name}>" for name, text in said.items() if text is not None)
    return (
        f"<Notification><NotificationMetaData><NotificationType>{kind}</NotificationType><UniqueId>u</UniqueId>"
        "</NotificationMetaData><NotificationPayload><ReportProcessingFinishedNotification>"
        f"{inner}</ReportProcessingFinishedNotification></NotificationPayload></Notification>"
    )


def sp(kind="REPORT_PROCESSING_FINISHED", **told):
    said = {
        "sellerId": "A1EXAMPLE",
        "accountId": "amzn1.merchant.o.A1EXAMPLE",
        "reportId": "54517018502",
        "reportType": SHIPPING,
        "processingStatus": "DONE",
    } | told
    said = {name: value for name, value in said.items() if value is not None}
    return json.dumps({"notificationType": kind, "payload": {"reportProcessingFinishedNotification": said}})


# ---------------------------------------------------------------------------------------------------------- what it says


@pytest.mark.parametrize("kind", ["ReportProcessingFinished", "ReportProcessingFinishedNotification"])
def test_mwss_notice_is_read_under_both_names_of_its_type(kind):
    """The documentation has one, recorded ones the other."""
    assert read_notice(xml(kind)) == Notice(
        "mws", "A1EXAMPLE", "2291326454", "10516502317020582", "_GET_FLAT_FILE_ORDERS_DATA_", "DONE"
    )


def test_padding_namespaces_and_unknown_elements_do_not_matter():
    """As in all of MWS's XML."""
    body = xml(ReportId="\n   10516502317020582  ", Added="1").replace("<Notification>", '<Notification xmlns="urn:x">')
    assert read_notice(body).report_id == "10516502317020582"


@pytest.mark.parametrize("status", ["_DONE_NO_DATA_", "DONE_NO_DATA"])
def test_no_data_has_its_word_with_and_without_underscores(status):
    """Recorded without them, and documented with them; no report came of it."""
    notice = read_notice(xml(ReportProcessingStatus=status, ReportId=None))
    assert (notice.status, notice.report_id) == ("NO_DATA", None)


def test_sp_apis_notice_is_read():
    """Request and report have one id."""
    assert read_notice(sp()) == Notice("sp-api", "A1EXAMPLE", "54517018502", "54517018502", SHIPPING, "DONE")


@pytest.mark.parametrize("status", ["DONE", "CANCELLED", "FATAL"])
def test_every_end_is_told_as_it_is(status):
    """What did not succeed has ended, too."""
    assert read_notice(sp(processingStatus=status)).status == status


@pytest.mark.parametrize(
    ("account", "seller"),
    [("amzn1.merchant.o.A1EXAMPLE", "A1EXAMPLE"), ("amzn1.vg.6213651", "amzn1.vg.6213651")],
)
def test_without_a_seller_the_account_says_whose_it_is(account, seller):
    """Null for a vendor group, says the model; and absent in the recorded one."""
    assert read_notice(sp(sellerId=None, accountId=account)).seller_id == seller


@pytest.mark.parametrize(
    "body",
    [
        xml("AnyOfferChanged"),
        xml("FeedProcessingFinished"),
        sp("ANY_OFFER_CHANGED"),
        json.dumps({"NotificationType": "ANY_OFFER_CHANGED", "Payload": {}}),
    ],
)
def test_a_notification_of_another_type_is_none_of_ours(body):
    """It is no fault of anybody's: a queue may serve for several things. Older types have their names in capitals."""
    assert read_notice(body) is None


def test_every_recorded_notification_says_what_it_says():
    """Others kept these."""
    if not SAMPLES.is_dir():
        pytest.skip(f"the samples are not at {SAMPLES}")
    told = {
        path.name: read_notice(path.read_text("utf-8"))
        for pattern in ("*/Notification_*.xml", "*/notification_report*.json", "*/sqs_notification_example.xml")
        for path in SAMPLES.glob(pattern)
    }
    assert told == {
        "Notification_AnyOfferChanged.xml": None,
        "Notification_FeedProcessingFinished.xml": None,
        "Notification_Test.xml": None,
        "sqs_notification_example.xml": None,
        "Notification_ReportProcessingFinished.xml": Notice(
            "mws", "XXXXXXXXXXTest", "1234", "1234", "_GET_FBA_FULFILLMENT_REMOVAL_ORDER_DETAIL_DATA_", "NO_DATA"
        ),
        "notification_report_processing_finished.json": Notice(
            "sp-api",
            "amzn1.vg.6213651",
            "54517018502",
            "54517018502",
            "GET_FLAT_FILE_ACTIONABLE_ORDER_DATA",
            "CANCELLED",
        ),
    }


# ------------------------------------------------------------------------------------------------------------ what is none


BOMB = '<!DOCTYPE n [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'


@pytest.mark.parametrize(
    "body",
    [
        "",
        "hello",
        "[]",
        "null",
        "[" * 100_000,
        sp()[:40],
        xml()[:120],
        json.dumps({"payload": {}}),
        json.dumps({"notificationType": "REPORT_PROCESSING_FINISHED"}),
        json.dumps({"notificationType": "REPORT_PROCESSING_FINISHED", "payload": []}),
        json.dumps({"notificationType": "REPORT_PROCESSING_FINISHED", "payload": {"x": 1}}),
        json.dumps({"notificationType": 7}),
        sp(reportId="../../etc"),
        sp(reportId=54517018502),
        sp(reportId="5" * 31),
        sp(reportType="GET\x00"),
        sp(reportType="x" * 201),
        sp(sellerId=["A1EXAMPLE"]),
        sp(processingStatus=None),
        sp(sellerId=None, accountId=None),
        "<Notification/>",
        xml(ReportRequestId="one"),
        xml(ReportId=None),
        xml(SellerId=""),
        "<Notification><NotificationType>ReportProcessingFinished</NotificationType></Notification>",
        BOMB + xml(SellerId="&b;"),
        '<!DOCTYPE n [<!ENTITY f SYSTEM "file:///etc/hostname">]>' + xml(SellerId="&f;"),
        '{"notificationType": "REPORT_PROCESSING_FINISHED", "payload": "\ud800"}',
    ],
    ids=lambda body: repr(body[:30]),
)
def test_what_amazon_never_sends_is_refused_without_being_quoted(body):
    """Anybody who may write to the queue can put in what he likes: it must neither be believed nor stand in a log."""
    with pytest.raises(ValueError, match=r"^(a notification without \w+|[\w' ]+)( that is whole)?$") as refused:
        read_notice(body)
    assert len(str(refused.value)) < 80
    assert not isinstance(refused.value, UnicodeError)


def test_a_message_shows_no_content_where_it_is_printed():
    """A stack trace that shows variables would show it."""
    assert repr(Message("m-1", 2, "a body", "a handle")) == "Message(message_id='m-1', receives=2)"


# --------------------------------------------------------------------------------------------------------- which queues


def test_one_queue_or_several_are_named_by_their_urls():
    """By commas; one that is named twice is read once."""
    one, two = "https://sqs.eu-west-1.amazonaws.com/123456789012/a", "http://127.0.0.1:8400/000000000000/notifications"
    assert [queue.url for queue in open_queues(f"{one}, {two},{one}")] == [one, two]
    assert open_queues("") == ()


@pytest.mark.parametrize(
    "setting", ["arn:aws:sqs:us-east-1:123456789012:q", "https://sqs.us-east-1.amazonaws.com/", "q", "ftp://host/1/q"]
)
def test_what_is_no_queues_url_is_refused(setting):
    """An ARN is what Amazon's consoles show first."""
    with pytest.raises(SettingsError, match=r"^ORDERDRAIN_NOTIFICATIONS is malformed: no URL of a queue\. Example: "):
        open_queues(setting)


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("sqs.eu-west-1.amazonaws.com", "eu-west-1"),
        ("sqs.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("sqs-fips.us-west-2.amazonaws.com", "us-west-2"),
    ],
)
def test_a_real_queues_region_stands_in_its_url_and_the_keys_are_the_machines(host, region, monkeypatch):
    """Three regions of Amazon may each have a queue, and a process has one AWS_REGION."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-this-machine")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "an-invented-secret")
    client = Queue(f"https://{host}/123456789012/q")._sqs()
    assert client.meta.region_name == region
    assert client.meta.endpoint_url.startswith(f"https://sqs.{region}.amazonaws.com")
    assert client._request_signer._credentials.access_key == "of-this-machine"


def test_an_emulated_queue_gets_nobodys_keys(monkeypatch):
    """What answers there is not Amazon."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-this-machine")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "an-invented-secret")
    client = Queue("http://127.0.0.1:8400/000000000000/notifications")._sqs()
    assert client.meta.endpoint_url == "http://127.0.0.1:8400"
    assert client._request_signer._credentials.access_key == "emulated"
