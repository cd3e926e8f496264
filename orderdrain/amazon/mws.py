"""Amazon MWS, Reports API 2009-01-01: the ReportsApi of one seller, over one application's keys.

A call goes: take from the quota, sign, send, learn from the quota headers, then either what Amazon said (mws_xml.py)
or the error that tells the caller what to do (`_failure`). Nothing is sent twice here: trying again is for the ledger.
"""

from __future__ import annotations

import base64
import hashlib
import re
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from orderdrain.amazon import Downloaded, mws_xml
from orderdrain.amazon.http import BLOCK_BYTES, BodyCut, NoAnswer
from orderdrain.amazon.signature import signed_form
from orderdrain.amazon.wire import MAX_ANSWER_BYTES, MAX_REPORT_BYTES, USER_AGENT, moments, number
from orderdrain.errors import (
    BadBody,
    Evidence,
    GiveUp,
    NextTokenLost,
    OperatorNeeded,
    RetryLater,
    ServiceFault,
    Throttled,
)
from orderdrain.quota import QuotaRule
from orderdrain.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from lxml import etree

    from orderdrain.amazon import Acknowledged, ListingPage, RequestInfo, RequestPage, ScheduleInfo
    from orderdrain.amazon.http import Http, Response
    from orderdrain.clock import Clock
    from orderdrain.errors import OrderdrainError
    from orderdrain.quota import BoundQuota

log = logger(__name__)

Said = TypeVar("Said")

#: Amazon's quotas per seller and application (MWS documentation, Reports API; the hourly figures are those of the
#: x-mws-quota-max headers in recorded 2014-2020 traffic).
QUOTAS: dict[str, QuotaRule] = {
    "RequestReport": QuotaRule(burst=15, restore_seconds=60, hourly=60),
    "GetReportRequestList": QuotaRule(burst=10, restore_seconds=45, hourly=80),
    "GetReportRequestListByNextToken": QuotaRule(burst=30, restore_seconds=2, hourly=1800),
    "GetReportList": QuotaRule(burst=10, restore_seconds=60, hourly=60),
    "GetReportListByNextToken": QuotaRule(burst=30, restore_seconds=2, hourly=1800),
    "GetReport": QuotaRule(burst=15, restore_seconds=60, hourly=60),
    "UpdateReportAcknowledgements": QuotaRule(burst=10, restore_seconds=45, hourly=80),
    "ManageReportSchedule": QuotaRule(burst=10, restore_seconds=45, hourly=80),
    "GetReportScheduleList": QuotaRule(burst=10, restore_seconds=45, hourly=80),
}

#: What one page may hold; Amazon's default is 10 (MWS documentation, GetReportList).
PAGE_SIZE = 100

# Refusals by Amazon's code, whatever status they came with (MWS documentation, "Errors"). Throttling shares its status
# 503 with ServiceUnavailable, so the code decides.
_AMAZONS_TROUBLE = {"InternalError", "ServiceUnavailable", "InputStreamDisconnected"}
_APPLICATION_REFUSED = {"InvalidAccessKeyId", "InvalidClientTokenId", "SignatureDoesNotMatch"}
# The documentation folds an expired request into InvalidParameterValue; its message tells the two apart.
_CLOCK_MESSAGE = re.compile(r"timestamp|request (has )?expired", re.IGNORECASE)

# Singapore, Australia, Japan: MarketplaceIdList is for North America and Europe (MWS documentation, RequestReport).
_WITHOUT_MARKETPLACE_LIST = {"A19VAU5U5O7RUS", "A39IBJ37TRP1C6", "A1VC38T7YXB528"}


class MwsReports:
    """One seller's reports through MWS. Makes no connection until it is asked something."""

    api = "mws"
    acknowledges = True

    def __init__(
        self,
        endpoint: str,
        seller_id: str,
        access_key: str,
        secret_key: str,
        auth_token: str | None,
        marketplaces: Sequence[str],
        *,
        http: Http,
        clock: Clock,
        quota: BoundQuota,
        path: str = "/Reports/2009-01-01",
    ) -> None:
        """`path` is part of what is signed: Amazon took the default (2018 on) and "/" (traffic recorded in 2014)."""
        address = urlsplit(endpoint)
        standard_port = {"http": ":80", "https": ":443"}.get(address.scheme, "")
        self._host = address.netloc.lower().removesuffix(standard_port)
        self._path = address.path.rstrip("/") + path
        self._url = f"{address.scheme}://{self._host}{self._path}"
        self._seller_id = seller_id
        self._access_key = access_key
        self._secret_key = secret_key
        self._auth_token = auth_token
        self._marketplaces = tuple(marketplaces)
        self._http = http
        self._clock = clock
        self._quota = quota

    def list_reports(
        self,
        *,
        report_types: Sequence[str],
        acknowledged: bool | None,
        since: datetime | None = None,
        next_token: str | None = None,
    ) -> ListingPage:
        if next_token is not None:
            return self._ask("GetReportListByNextToken", {"NextToken": next_token}, mws_xml.listing_page)
        wanted = _numbered("ReportTypeList.Type", report_types) | moments(AvailableFromDate=since)
        if acknowledged is not None:
            wanted["Acknowledged"] = str(acknowledged).lower()
        return self._ask("GetReportList", {"MaxCount": str(PAGE_SIZE), **wanted}, mws_xml.listing_page)

    def download(self, report_id: str, sink: Callable[[bytes], object]) -> Downloaded:
        with self._send("GetReport", {"ReportId": report_id}, MAX_REPORT_BYTES) as response:
            if response.status != 200 or _is_no_report(response):
                raise self._failure("GetReport", response, mws_xml.read_answer(response.peek(BLOCK_BYTES)))
            evidence = _evidence("GetReport", response)
            digest, size = hashlib.md5(usedforsecurity=False), 0
            try:
                for block in response.blocks():
                    digest.update(block)
                    size += len(block)
                    sink(block)
            except BodyCut as error:
                raise BadBody(f"the report is not whole: {error}; thrown away", evidence=evidence) from error
        announced = response.headers.get("Content-MD5")
        came = base64.b64encode(digest.digest()).decode()
        if announced is not None and announced.strip() != came:
            raise BadBody(
                f"the report is not the one that Amazon announced: Content-MD5 {announced}, but {size:,} bytes with "
                f"{came} came; thrown away",
                evidence=evidence,
            )
        if announced is None and not response.framed:
            raise BadBody(
                f"nothing shows that the report is whole: {size:,} bytes came with neither Content-MD5 nor a length; "
                "thrown away",
                evidence=evidence,
            )
        return Downloaded(response.headers.get("Content-Type"), evidence.request_id)

    def acknowledge(self, report_ids: Sequence[str]) -> Acknowledged:
        wanted = {"Acknowledged": "true", **_numbered("ReportIdList.Id", report_ids)}
        return self._ask("UpdateReportAcknowledgements", wanted, mws_xml.acknowledged)

    def request_report(
        self,
        report_type: str,
        *,
        start: datetime | None,
        end: datetime | None,
        options: Mapping[str, str],
    ) -> RequestInfo:
        wanted = {"ReportType": report_type, **moments(StartDate=start, EndDate=end)}
        if options:
            wanted["ReportOptions"] = ";".join(f"{name}={value}" for name, value in options.items())
        if _WITHOUT_MARKETPLACE_LIST.isdisjoint(self._marketplaces):
            wanted |= _numbered("MarketplaceIdList.Id", self._marketplaces)
        return self._ask("RequestReport", wanted, mws_xml.requested)

    def list_requests(
        self,
        *,
        request_ids: Sequence[str] = (),
        report_types: Sequence[str] = (),
        since: datetime | None = None,
        next_token: str | None = None,
    ) -> RequestPage:
        if next_token is not None:
            return self._ask("GetReportRequestListByNextToken", {"NextToken": next_token}, mws_xml.request_page)
        wanted = {
            "MaxCount": str(PAGE_SIZE),
            **_numbered("ReportRequestIdList.Id", request_ids),
            **_numbered("ReportTypeList.Type", report_types),
            **moments(RequestedFromDate=since),
        }
        return self._ask("GetReportRequestList", wanted, mws_xml.request_page)

    def list_schedules(self) -> tuple[ScheduleInfo, ...]:
        return self._ask("GetReportScheduleList", {}, mws_xml.schedules)

    def set_schedule(self, report_type: str, every: str) -> str | None:
        return self._ask("ManageReportSchedule", {"ReportType": report_type, "Schedule": every}, mws_xml.request_id)

    def _ask(self, operation: str, wanted: Mapping[str, str], read: Callable[[etree._Element], Said]) -> Said:
        with self._send(operation, wanted, MAX_ANSWER_BYTES) as response:
            try:
                body = response.read()
            except BodyCut as error:
                raise ServiceFault(
                    f"Amazon's answer to {operation} is not whole: {error}", evidence=_evidence(operation, response)
                ) from error
        root = mws_xml.read_answer(body)
        if response.status != 200 or root is None or mws_xml.refusal_in(root):
            raise self._failure(operation, response, root)
        try:
            return read(root)
        except ValueError as error:
            evidence = _evidence(operation, response, root)
            raise ServiceFault(f"Amazon's answer to {operation} lacks something: {error}", evidence=evidence) from None

    @contextmanager
    def _send(self, operation: str, wanted: Mapping[str, str], max_bytes: int) -> Iterator[Response]:
        self._quota.take(operation)
        parameters = {
            "Action": operation,
            "Version": "2009-01-01",
            "SellerId": self._seller_id,
            "AWSAccessKeyId": self._access_key,
            "SignatureMethod": "HmacSHA256",
            "SignatureVersion": "2",
            **moments(Timestamp=self._clock.now()),
            **({"MWSAuthToken": self._auth_token} if self._auth_token is not None else {}),
            **wanted,
        }
        # In the body, never in the URL: URLs end up in the logs of everything that they pass.
        form = signed_form(self._secret_key, method="POST", host=self._host, path=self._path, parameters=parameters)
        headers = {
            "Host": self._host,
            "User-Agent": USER_AGENT,
            "Content-Type": "application/x-www-form-urlencoded; charset=utf-8",
        }
        try:
            with self._http.send("POST", self._url, headers=headers, body=form, max_bytes=max_bytes) as response:
                self._quota.learned(
                    operation,
                    maximum=number(response.headers.get("x-mws-quota-max")),
                    remaining=number(response.headers.get("x-mws-quota-remaining")),
                    resets_at=_resets_at(response),
                )
                # Amazon's support asks for the request id and time of a call, for 30 days back (MWS documentation).
                request_id = response.headers.get("x-mws-request-id")
                log.info("Amazon answered", operation=operation, status=response.status, request_id=request_id)
                yield response
        except NoAnswer as error:
            raise ServiceFault(
                f"Amazon gave no answer to {operation}: {error}", evidence=Evidence(operation)
            ) from error

    def _failure(self, operation: str, response: Response, root: etree._Element | None) -> OrderdrainError:
        """What the caller must do about an answer that is not what was asked for."""
        evidence = _evidence(operation, response, root)
        refusal = None if root is None else mws_xml.refusal_in(root)
        if refusal is None:
            return ServiceFault(f"what came for {operation} is no MWS answer", evidence=evidence)
        code = refusal.code
        if code in {"RequestThrottled", "QuotaExceeded"}:
            return self._throttled(operation, hourly=code == "QuotaExceeded", response=response, evidence=evidence)
        if code in _AMAZONS_TROUBLE:
            return ServiceFault(f"Amazon failed at {operation}", evidence=evidence)
        if code == "RequestExpired" or (code == "InvalidParameterValue" and _CLOCK_MESSAGE.search(refusal.message)):
            return RetryLater(
                f"Amazon finds the time of our {operation} too far from its own: check the Postgres server's clock",
                evidence=evidence,
            )
        # NextToken is all that these calls take: a bad value is a bad (or expired) token.
        if code == "NextTokenCorrupted" or (code == "InvalidParameterValue" and operation.endswith("ByNextToken")):
            return NextTokenLost("Amazon no longer knows this place in the listing: it begins again", evidence=evidence)
        if code in _APPLICATION_REFUSED:
            return OperatorNeeded(
                "Amazon refuses the application's keys: store the right ones (orderdrain application add), then "
                "resume its accounts (orderdrain account resume)",
                scope="application",
                evidence=evidence,
            )
        if code == "InvalidAddress":
            return OperatorNeeded(
                "there is no MWS Reports API at this account's endpoint: correct it, then orderdrain account resume",
                evidence=evidence,
            )
        if response.status in {401, 403} or code == "AccessDenied":
            return OperatorNeeded(
                "Amazon refuses this seller's authorization: check the seller id and MWSAuthToken, then "
                "orderdrain account resume",
                evidence=evidence,
            )
        if code == "InvalidParameterValue" or (code is not None and 400 <= response.status < 500):
            return GiveUp(f"Amazon refuses {operation}: {self._masked(refusal.message)}", evidence=evidence)
        return ServiceFault(f"Amazon failed at {operation}", evidence=evidence)

    def _throttled(self, operation: str, *, hourly: bool, response: Response, evidence: Evidence) -> Throttled:
        until = self._quota.refused(operation, hourly=hourly, resets_at=_resets_at(response))
        rule = QUOTAS[operation]
        quota = f"the {rule.hourly} of this hour are used up" if hourly else f"quota restores {rule.restores}"
        return Throttled(f"throttled by {operation}, {quota}", until=until, evidence=evidence)

    def _masked(self, message: str) -> str:
        # Amazon's messages repeat parameters, and any of these may be the one that it did not like.
        for secret in filter(None, (self._secret_key, self._access_key, self._auth_token)):
            message = message.replace(secret, "***")
        return message[:300]


def _is_no_report(response: Response) -> bool:
    """Whether a 200 to GetReport is an error, or a page of something between: told before a byte reaches the sink."""
    content_type = response.headers.get("Content-Type", "").lower()
    if "xml" in content_type:
        # An XML report may be called text/xml too: only a whole ErrorResponse is one.
        root = mws_xml.read_answer(response.peek(BLOCK_BYTES))
        return root is not None and mws_xml.refusal_in(root) is not None
    return "html" in content_type and "Content-MD5" not in response.headers


def _evidence(operation: str, response: Response, root: etree._Element | None = None) -> Evidence:
    refusal = None if root is None else mws_xml.refusal_in(root)
    return Evidence(
        operation,
        response.status,
        refusal.code if refusal else None,
        (None if root is None else mws_xml.request_id(root))
        or response.headers.get("x-mws-request-id")
        or response.headers.get("x-amz-request-id"),
    )


def _numbered(name: str, values: Iterable[str]) -> dict[str, str]:
    return {f"{name}.{n}": value for n, value in enumerate(values, start=1)}


def _resets_at(response: Response) -> datetime | None:
    """x-mws-quota-resetsOn in its three forms: `2018-04-27T14:54:00.000Z` (recorded since 2017), `Tue,04 Feb 2014
    12:03:00 UTC` (recorded in 2014), `Wed, 06 Mar 2013 19:07:58 GMT` (documentation). None for anything else."""
    text = response.headers.get("x-mws-quota-resetsOn", "")
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = parse(text)
        except ValueError:
            continue
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return None
