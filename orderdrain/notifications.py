"""Notifications over SQS: what one says, and the queue that it comes from.

Amazon announces each report that has ended (ReportProcessingFinished), MWS in XML and SP-API in JSON. A notice is never
trusted: anybody who may write to the queue can have written it, and it comes late, twice, or not at all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from orderdrain import aws
from orderdrain.amazon import mws_xml, sp_json
from orderdrain.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lxml import etree


@dataclass(frozen=True)
class Notice:
    """A report that has ended, as Amazon announces it. `status`: DONE, NO_DATA, CANCELLED or FATAL.

    At SP-API a request and its report have one id; at MWS a request that brought no report has no `report_id`.
    """

    api: str
    seller_id: str
    request_id: str
    report_id: str | None
    report_type: str
    status: str


def read_notice(body: str) -> Notice | None:
    """What a message says of a report; None when it is a notification of another type.

    Raises ValueError, in words for a log line, when it is none that Amazon sends: never with what the message holds.
    """
    read = _read_xml if body.lstrip()[:1] == "<" else _read_json
    return read(body.encode("utf-8", "replace"))


def _read_xml(body: bytes) -> Notice | None:
    """MWS Subscriptions API 2013-07-01. The type is called by two names: by the documentation, and in recorded ones."""
    root = mws_xml.read_document(body)
    if root is None:
        raise ValueError("neither XML nor JSON that is whole")
    kind = _text(root, "NotificationType")
    if kind not in {"ReportProcessingFinished", "ReportProcessingFinishedNotification"}:
        return None
    said = next(root.iter("{*}ReportProcessingFinishedNotification"), None)
    if said is None:
        raise ValueError("a notification without its ReportProcessingFinishedNotification")
    # Recorded once as DONE_NO_DATA, and documented as _DONE_NO_DATA_.
    status = _text(said, "ReportProcessingStatus").strip("_")
    report_id = said.findtext("{*}ReportId")
    return _checked(
        Notice(
            api="mws",
            seller_id=_text(said, "SellerId"),
            request_id=_text(said, "ReportRequestId"),
            report_id=report_id.strip() if report_id and report_id.strip() else None,
            report_type=_text(said, "ReportType"),
            status="NO_DATA" if status == "DONE_NO_DATA" else status,
        )
    )


def _read_json(body: bytes) -> Notice | None:
    """SP-API model. Types that are older than this one spell the names with a capital."""
    told = sp_json.read_answer(body)
    if told is None:
        raise ValueError("neither XML nor JSON that is whole")
    if _field(told, "notificationType" if "notificationType" in told else "NotificationType") != _FINISHED:
        return None
    payload = told.get("payload")
    said = payload.get("reportProcessingFinishedNotification") if isinstance(payload, dict) else None
    if not isinstance(said, dict) or not said:
        raise ValueError("a notification without its reportProcessingFinishedNotification")
    report_id = _field(said, "reportId")
    # Without a seller (a vendor group's) the account stands alone; a seller's account is named after the seller.
    seller_id = said.get("sellerId") or _field(said, "accountId").removeprefix("amzn1.merchant.o.")
    return _checked(
        Notice(
            api="sp-api",
            seller_id=str(seller_id),
            request_id=report_id,
            report_id=report_id,
            report_type=_field(said, "reportType"),
            status=_field(said, "processingStatus"),
        )
    )


#: SP-API's name of the only type that we read.
_FINISHED = "REPORT_PROCESSING_FINISHED"


def _checked(notice: Notice) -> Notice:
    if not all(re.fullmatch("[0-9]{1,30}", number) for number in (notice.request_id, notice.report_id or "0")):
        raise ValueError("an id that is no number")
    if not all(re.fullmatch("[A-Za-z0-9._-]{1,200}", w) for w in (notice.seller_id, notice.report_type, notice.status)):
        raise ValueError("a word that is none of Amazon's")
    if notice.status == "DONE" and notice.report_id is None:
        raise ValueError("a finished report without its id")
    return notice


def _text(node: etree._Element, name: str) -> str:
    found = next(node.iter(f"{{*}}{name}"), None)
    text = "" if found is None else (found.text or "").strip()
    if not text:
        raise ValueError(f"a notification without {name}")
    return text


def _field(told: dict[str, Any], name: str) -> str:
    found = told.get(name)
    if not isinstance(found, str) or not found:
        raise ValueError(f"a notification without {name}")
    return found


# ------------------------------------------------------------------------------------------------------ the queue


@dataclass(frozen=True)
class Message:
    """One message of a queue. `receives`: how often it was given out, this time included."""

    message_id: str
    receives: int
    body: str = field(repr=False)
    handle: str = field(repr=False)


def open_queues(setting: str) -> tuple[Queue, ...]:
    """The queues that a setting names, by their URLs. Touches no network. Raises SettingsError."""
    urls = [url.strip() for url in setting.split(",") if url.strip()]
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme not in {"https", "http"} or not parts.hostname or parts.path.count("/") < 2:
            raise SettingsError(
                "ORDERDRAIN_NOTIFICATIONS is malformed: no URL of a queue."
                " Example: https://sqs.us-east-1.amazonaws.com/123456789012/orderdrain"
            )
    return tuple(map(Queue, dict.fromkeys(urls)))


class Queue:
    """One standard queue of SQS. Credentials come as for every AWS client (AWS_*); raises DependencyDown."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = _client_of(url)

    def receive(self, *, wait_seconds: int, hidden_seconds: int) -> list[Message]:
        """Up to ten messages, waited for. Nobody gets them for `hidden_seconds`; those not deleted then come again."""
        with aws.reaching(f"the queue {self.url}"):
            answer = self._sqs().receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=10,
                WaitTimeSeconds=wait_seconds,
                VisibilityTimeout=hidden_seconds,
                MessageSystemAttributeNames=["ApproximateReceiveCount"],
            )
        return [
            Message(m["MessageId"], int(m["Attributes"]["ApproximateReceiveCount"]), m["Body"], m["ReceiptHandle"])
            for m in answer.get("Messages", [])
        ]

    def delete(self, messages: Sequence[Message]) -> None:
        """Removes up to ten messages for good. One that cannot be removed comes again."""
        if messages:
            entries = [{"Id": str(n), "ReceiptHandle": message.handle} for n, message in enumerate(messages)]
            with aws.reaching(f"the queue {self.url}"):
                self._sqs().delete_message_batch(QueueUrl=self.url, Entries=entries)

    def ask(self) -> None:
        """Whether it is there and we may look at it."""
        with aws.reaching(f"the queue {self.url}"):
            self._sqs().get_queue_attributes(QueueUrl=self.url, AttributeNames=["ApproximateNumberOfMessages"])

    def _sqs(self) -> Any:
        return self._client()


#: Hosts of the real SQS. Without a region in it (queue.amazonaws.com) it is us-east-1's, or what AWS_REGION says.
_AMAZONS = re.compile(
    r"(?:sqs(?:-fips)?\.(?P<region>[a-z0-9-]+)|(?:[a-z0-9-]+\.)?queue|.*\.vpce)\.amazonaws\.com(?:\.cn)?"
)


def _client_of(url: str) -> aws.Client:
    parts = urlsplit(url)
    if known := _AMAZONS.fullmatch(parts.hostname or ""):
        return aws.Client("sqs", region_name=known["region"])
    # Amazon announces to its own SQS alone: this one is emulated, on this machine, and gets nobody's keys.
    return aws.Client(
        "sqs",
        settings={"proxies": {}},
        endpoint_url=f"{parts.scheme}://{parts.netloc}",
        region_name="us-east-1",
        aws_access_key_id="emulated",
        aws_secret_access_key="emulated",  # noqa: S106 - said to an emulator
    )
