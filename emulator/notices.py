"""What a notification says: ReportProcessingFinished in MWS's XML and SP-API's JSON, and what should not be there."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from emulator.clock import iso
from emulator.reports import NEW_ORDERS
from emulator.sp_report_types import SHIPPING

if TYPE_CHECKING:
    from datetime import datetime
    from random import Random

#: What a notice is about where nobody says otherwise.
WANTED = {"mws": NEW_ORDERS, "sp-api": SHIPPING}
DONE = {"mws": "_DONE_", "sp-api": "DONE"}
_NOBODY = "A0NOBODYHERE0"


@dataclass(frozen=True)
class Notice:
    """What one notice says. At MWS request and report have an id each, and there is none of a report without data."""

    seller_id: str
    api: str
    request_id: str
    report_id: str | None
    report_type: str
    status: str


def forged(notice: Notice, random: Random) -> Notice:
    """Of a seller who is known, about a report that does not exist."""
    number = str(random.randrange(10**14, 10**15))
    return Notice(notice.seller_id, notice.api, number, number, WANTED[notice.api], DONE[notice.api])


def of_nobody(notice: Notice) -> Notice:
    """The same of a seller whom nobody here knows."""
    return replace(notice, seller_id=_NOBODY)


def as_xml(notice: Notice, now: datetime, unique_id: str, *, old_manners: bool) -> str:
    """MWS Subscriptions API 2013-07-01. The type is called by two names: the documentation's and a recorded one."""
    kind = "ReportProcessingFinishedNotification" if old_manners else "ReportProcessingFinished"
    report_id = f"<ReportId>{notice.report_id}</ReportId>" if notice.report_id else ""
    return (
        "<Notification><NotificationMetaData>"
        f"<NotificationType>{kind}</NotificationType><PayloadVersion>1.0</PayloadVersion>"
        f"<UniqueId>{unique_id}</UniqueId><PublishTime>{iso(now)}</PublishTime>"
        f"<SellerId>{escape(notice.seller_id)}</SellerId></NotificationMetaData>"
        "<NotificationPayload><ReportProcessingFinishedNotification>"
        f"<SellerId>{escape(notice.seller_id)}</SellerId><ReportRequestId>{notice.request_id}</ReportRequestId>"
        f"{report_id}<ReportType>{escape(notice.report_type)}</ReportType>"
        f"<ReportProcessingStatus>{notice.status}</ReportProcessingStatus>"
        "</ReportProcessingFinishedNotification></NotificationPayload></Notification>"
    )


def as_json(notice: Notice, now: datetime, notification_id: str) -> str:
    """SP-API model; payloadVersion is 1.0 in messages of 2024, and 2020-09-04 in the model."""
    finished = {
        "sellerId": notice.seller_id,
        "accountId": f"amzn1.merchant.o.{notice.seller_id}",
        "reportId": notice.report_id,
        "reportType": notice.report_type,
        "processingStatus": notice.status,
    }
    return json.dumps(
        {
            "notificationVersion": "2020-09-04",
            "notificationType": "REPORT_PROCESSING_FINISHED",
            "payloadVersion": "1.0",
            "eventTime": iso(now),
            "payload": {"reportProcessingFinishedNotification": finished},
            "notificationMetadata": {
                "applicationId": "amzn1.sellerapps.app.00000000-0000-4000-8000-000000000000",
                "subscriptionId": "00000000-0000-4000-8000-000000000001",
                "publishTime": iso(now),
                "notificationId": notification_id,
            },
        }
    )


def of_other_type(api: str, kind: str, now: datetime, unique_id: str) -> str:
    """Another kind of notification, which nobody here has asked for."""
    if api == "mws":
        return (
            f"<Notification><NotificationMetaData><NotificationType>{escape(kind)}</NotificationType>"
            f"<PayloadVersion>1.0</PayloadVersion><UniqueId>{unique_id}</UniqueId>"
            f"<PublishTime>{iso(now)}</PublishTime><SellerId>{_NOBODY}</SellerId></NotificationMetaData>"
            "<NotificationPayload/></Notification>"
        )
    # Older types spell their names with a capital (SP-API documentation).
    return json.dumps(
        {
            "NotificationVersion": "1.0",
            "NotificationType": kind,
            "PayloadVersion": "1.0",
            "EventTime": iso(now),
            "Payload": {},
            "NotificationMetadata": {"NotificationId": unique_id, "PublishTime": iso(now)},
        }
    )
