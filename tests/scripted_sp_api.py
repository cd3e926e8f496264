"""What a scripted SP-API answers, over the server of scripted_mws.py; and what an SpApiReports needs besides."""

from __future__ import annotations

import json

from orderdrain.amazon.http import Http
from orderdrain.amazon.sp_api import SpApiReports
from tests.scripted_mws import Answer, QuotaNotes, StoppedClock

SHIPPING = "GET_FLAT_FILE_ORDER_REPORT_DATA_SHIPPING"
GENERAL = "GET_FLAT_FILE_ALL_ORDERS_DATA_BY_LAST_UPDATE_GENERAL"
DOCUMENT_ID = "amzn1.spdoc.1.4.eu.0005-ab/c.TX+5900"


class NumberedTokens:
    """token-1, and a newer one each time that the newest is refused."""

    def __init__(self) -> None:
        self.given = 1
        self.refused: list[str] = []

    def access_token(self, *, instead_of: str | None = None) -> str:
        if instead_of is not None:
            self.refused.append(instead_of)
            self.given += instead_of == f"token-{self.given}"
        return f"token-{self.given}"

    def was_renewed(self, operation: str, *, refused: str, renewed: str) -> bool:
        """All but the first were got because one was refused."""
        return refused != "token-1"

    def worked(self, operation: str, token: str) -> None:
        """Nothing is noted of any."""


def client(endpoint: str, **changed) -> SpApiReports:
    """An SpApiReports with invented tokens and short limits of time."""
    http = Http(connect_seconds=2, read_seconds=changed.pop("read_seconds", 2), total_seconds=10)
    wanted = {"tokens": NumberedTokens(), "http": http, "clock": StoppedClock(), "quota": QuotaNotes()}
    return SpApiReports(endpoint, ("ATVPDKIKX0DER", "A2EUQ1WTGCTBG2"), **(wanted | changed))


def answer(told: object, status: int = 200, **headers: str) -> Answer:
    """A JSON answer as Amazon sends it."""
    named = {"Content-Type": "application/json", "x-amzn-RequestId": "req-1", "x-amzn-RateLimit-Limit": "0.0222"}
    return Answer(status, json.dumps(told).encode(), {**named, **headers})


def refusal(status: int, code: str, message: str = "No.") -> Answer:
    """An ErrorList as Amazon writes it."""
    told = {"errors": [{"code": code, "message": message, "details": ""}]}
    return Answer(status, json.dumps(told).encode(), {"Content-Type": "application/json", "x-amzn-RequestId": "req-2"})


def report(**changed: object) -> dict[str, object]:
    """A report that is done, as getReport tells it; a None leaves the field out."""
    told = {
        "reportId": "292248019978",
        "reportType": GENERAL,
        "processingStatus": "DONE",
        "createdTime": "2018-04-27T14:00:00+00:00",
        "processingEndTime": "2018-04-27T14:00:14+00:00",
        "reportDocumentId": DOCUMENT_ID,
        "marketplaceIds": ["ATVPDKIKX0DER"],
    } | changed
    return {name: value for name, value in told.items() if value is not None}


def document(url: str) -> Answer:
    """A getReportDocument answer: a presigned url at the same server."""
    signed = "?X-Amz-Expires=300&X-Amz-Signature=0a1b2c3d"
    return answer({"reportDocumentId": DOCUMENT_ID, "url": f"{url}/store/1{signed}"}, **{"x-amzn-RequestId": "req-3"})


def restricted_token(number: int = 1, seconds: int = 3600) -> Answer:
    """A createRestrictedDataToken answer."""
    return answer({"restrictedDataToken": f"Atz.sprdt|{number}", "expiresIn": seconds})


def stored(body: bytes, *, content_type: str = "text/plain; charset=Cp1252") -> Answer:
    """A document as S3 sends it."""
    headers = {"Content-Type": content_type, "Content-Encoding": "identity", "x-amz-request-id": "s3-1"}
    return Answer(body=body, headers=headers)


def store_refusal(code: str, message: str, status: int = 403) -> Answer:
    """An error of S3."""
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return Answer(status, text.encode(), {"Content-Type": "application/xml", "x-amz-request-id": "s3-2"})
