"""Amazon SP-API, Reports API 2021-06-30: the ReportsApi of one seller, over one application's keys.

A call goes: take from the quota, send with the access token, then either what Amazon said (sp_json.py) or the error
that tells the caller what to do (`_failure`). Only a refused token is answered here, by one more try with a newer one.
Nobody is told that a report was received: SP-API has no acknowledging, and the ledger remembers.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import zlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import quote, urlencode

from orderdrain.amazon import Acknowledged, Downloaded, RequestInfo, RequestPage, sp_json
from orderdrain.amazon.http import BLOCK_BYTES, BodyCut, NoAnswer
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
from orderdrain.families import REPORT_TYPES, api_of
from orderdrain.quota import QuotaRule
from orderdrain.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from orderdrain.amazon import ListingPage, ScheduleInfo
    from orderdrain.amazon.http import Http, Response
    from orderdrain.clock import Clock
    from orderdrain.errors import OrderdrainError
    from orderdrain.quota import BoundQuota

log = logger(__name__)

Said = TypeVar("Said")

#: Per seller and application (SP-API models: 0.0222, 0.0167, 2 and 1 calls a second). No hour is counted.
_SLOW, _SLOWER = 1 / 0.0222, 1 / 0.0167
QUOTAS: dict[str, QuotaRule] = {
    "getReports": QuotaRule(burst=10, restore_seconds=_SLOW, hourly=None),
    "createReport": QuotaRule(burst=15, restore_seconds=_SLOWER, hourly=None),
    "getReport": QuotaRule(burst=15, restore_seconds=0.5, hourly=None),
    "getReportDocument": QuotaRule(burst=15, restore_seconds=_SLOWER, hourly=None),
    "createReportSchedule": QuotaRule(burst=10, restore_seconds=_SLOW, hourly=None),
    "getReportSchedules": QuotaRule(burst=10, restore_seconds=_SLOW, hourly=None),
    "cancelReportSchedule": QuotaRule(burst=10, restore_seconds=_SLOW, hourly=None),
    "createRestrictedDataToken": QuotaRule(burst=10, restore_seconds=1, hourly=None),
}

#: What one page may hold; Amazon's default is 10 (SP-API model, getReports).
PAGE_SIZE = 100
#: As many report types fit one call (SP-API model).
TYPES_A_CALL = 10
MAX_ANSWER_BYTES = 8 * 1024 * 1024
#: Far above any order report: a body without end must not fill the archive.
MAX_REPORT_BYTES = 2 * 1024 * 1024 * 1024

_REPORTS = "/reports/2021-06-30"
_TOKENS = "/tokens/2021-03-01/restrictedDataToken"
_USER_AGENT = f"orderdrain/{version('orderdrain')} (Language=Python)"
_NEVER = "_NEVER_"

#: Reports with buyers' data, whose documents need tokens of their own (SP-API documentation, "Restricted Data Token").
_RESTRICTED = re.compile(
    r"GET_(FLAT_FILE_)?ORDER_REPORT_DATA_(SHIPPING|INVOICING|TAX)"
    r"|GET_FLAT_FILE_ACTIONABLE_ORDER_DATA_SHIPPING|GET_AMAZON_FULFILLED_SHIPMENTS_DATA_(INVOICING|TAX)"
)
_SCHEDULABLE = sorted(name for name, t in REPORT_TYPES.items() if t.schedulable and api_of(name) == "sp-api")


class Tokens(Protocol):
    """Where access tokens come from (orderdrain/tokens.py)."""

    def access_token(self, *, instead_of: str | None = None) -> str:
        """One that is good now; `instead_of` is the one that Amazon has just refused."""


class _UrlExpired(Exception):
    """A document's url is good for five minutes (recorded 2025 traffic)."""


class SpApiReports:
    """One seller's reports through SP-API. Makes no connection until it is asked something."""

    api = "sp-api"
    acknowledges = False

    def __init__(
        self, endpoint: str, marketplaces: Sequence[str], *, tokens: Tokens, http: Http, clock: Clock, quota: BoundQuota
    ) -> None:
        self._endpoint = endpoint
        self._marketplaces = list(marketplaces)
        self._tokens = tokens
        self._http = http
        self._clock = clock
        self._quota = quota

    def list_reports(
        self,
        *,
        report_types: Sequence[str],
        acknowledged: bool | None,  # noqa: ARG002 - SP-API knows no such filter
        since: datetime | None = None,
        next_token: str | None = None,
    ) -> ListingPage:
        """`since` is compared with the time at which a report was asked for; without it: 90 days back."""
        wanted = {"reportTypes": ",".join(report_types), "processingStatuses": "DONE", **_moments(createdSince=since)}
        told, evidence = self._get_reports(wanted, next_token)
        return self._read("getReports", evidence, lambda: sp_json.listing_page(told, evidence.request_id))

    def download(self, report_id: str, sink: Callable[[bytes], object]) -> Downloaded:
        """The report, its document, the document's url, and what lies there; the url is used at once and kept nowhere.

        A report that could not be made says why in its document: GiveUp tells it.
        """
        report, evidence = self._ask("getReport", "GET", f"{_REPORTS}/reports/{quote(report_id, safe='')}")
        status, document_id = report.get("processingStatus"), report.get("reportDocumentId")
        if status == "FATAL":
            raise GiveUp(f"Amazon could not make it: {self._stated(report, document_id)}", evidence=evidence)
        if status == "CANCELLED":
            raise GiveUp("Amazon cancelled it: on request, or for want of data", evidence=evidence)
        if status != "DONE" or not isinstance(document_id, str):
            raise RetryLater("Amazon has not made it yet", evidence=evidence)
        try:
            return self._fetch(self._url_of(report, document_id), sink)
        except _UrlExpired:
            # It was good for five minutes: this worker stood still for longer. Another one costs quota.
            pass
        try:
            return self._fetch(self._url_of(report, document_id), sink)
        except _UrlExpired:
            raise BadBody("the document's url had expired, twice: is this machine's clock right?") from None

    def acknowledge(self, report_ids: Sequence[str]) -> Acknowledged:
        return Acknowledged(frozenset(report_ids), None)

    def request_report(
        self,
        report_type: str,
        *,
        start: datetime | None,
        end: datetime | None,
        marketplaces: Sequence[str],
        options: Mapping[str, str],
    ) -> RequestInfo:
        """Without `marketplaces`: for those of the account."""
        wanted: dict[str, Any] = {
            "reportType": report_type,
            "marketplaceIds": list(marketplaces) or self._marketplaces,
            **_moments(dataStartTime=start, dataEndTime=end),
        }
        if options:
            wanted["reportOptions"] = dict(options)
        told, evidence = self._ask("createReport", "POST", f"{_REPORTS}/reports", body=wanted)
        report_id = self._read("createReport", evidence, lambda: str(told["reportId"]))
        return RequestInfo(report_id, report_type, "SUBMITTED", self._clock.now(), start, end)

    def list_requests(
        self,
        *,
        request_ids: Sequence[str] = (),
        report_types: Sequence[str] = (),
        since: datetime | None = None,
        next_token: str | None = None,
    ) -> RequestPage:
        """By their ids one call each, of which two go a second."""
        if request_ids:
            return RequestPage(tuple(map(self._request_info, request_ids)), None, None)
        wanted = {"reportTypes": ",".join(report_types), **_moments(createdSince=since)}
        told, evidence = self._get_reports(wanted, next_token)
        return self._read("getReports", evidence, lambda: sp_json.request_page(told, evidence.request_id))

    def list_schedules(self) -> tuple[ScheduleInfo, ...]:
        """Of all types that can be scheduled: SP-API wants them named."""
        groups = [_SCHEDULABLE[n : n + TYPES_A_CALL] for n in range(0, len(_SCHEDULABLE), TYPES_A_CALL)]
        return tuple(info for group in groups for info in self._schedules(group).values())

    def set_schedule(self, report_type: str, every: str) -> str | None:
        """A new schedule of the same type and marketplaces replaces the old one (SP-API documentation)."""
        if every != _NEVER:
            wanted = {"reportType": report_type, "marketplaceIds": self._marketplaces, "period": every}
            _, evidence = self._ask("createReportSchedule", "POST", f"{_REPORTS}/schedules", body=wanted)
            return evidence.request_id
        request_id = None
        for schedule_id in self._schedules([report_type]):
            path = f"{_REPORTS}/schedules/{quote(schedule_id, safe='')}"
            _, evidence = self._ask("cancelReportSchedule", "DELETE", path)
            request_id = evidence.request_id
        return request_id

    # ------------------------------------------------------------------------------------------------- documents

    def _url_of(self, report: dict[str, Any], document_id: str) -> str:
        path = f"{_REPORTS}/documents/{quote(document_id, safe='')}"
        token = None
        if _RESTRICTED.fullmatch(str(report.get("reportType"))):
            # For this one document, and for an hour: it is made anew for each, one call a second.
            wanted = {"restrictedResources": [{"method": "GET", "path": path}]}
            told, evidence = self._ask("createRestrictedDataToken", "POST", _TOKENS, body=wanted)
            token = self._read("createRestrictedDataToken", evidence, lambda: str(told["restrictedDataToken"]))
        document, evidence = self._ask("getReportDocument", "GET", path, token=token)
        return self._read("getReportDocument", evidence, lambda: str(document["url"]))

    def _fetch(self, url: str, sink: Callable[[bytes], object]) -> Downloaded:
        """Nothing of ours goes to the store but a name: the url alone opens it, and it is told to nobody."""
        try:
            with self._http.send(
                "GET", url, headers={"User-Agent": _USER_AGENT}, max_bytes=MAX_REPORT_BYTES
            ) as response:
                request_id = response.headers.get("x-amz-request-id")
                evidence = Evidence("document", response.status, None, request_id)
                log.info("Amazon answered", operation="document", status=response.status, request_id=request_id)
                if response.status == 403 and b"expired" in response.peek(BLOCK_BYTES).lower():
                    raise _UrlExpired
                if response.status != 200:
                    raise ServiceFault("the store of documents gave none", evidence=evidence)
                return _streamed(response, sink, evidence)
        except NoAnswer as error:
            raise ServiceFault(
                f"the store of documents gave no answer: {error}", evidence=Evidence("document")
            ) from None

    def _stated(self, report: dict[str, Any], document_id: object) -> str:
        """Why a report is FATAL, in Amazon's words, where its document tells them."""
        if not isinstance(document_id, str):
            return "it states no reason"
        body = bytearray()
        try:
            self._fetch(self._url_of(report, document_id), body.extend)
            told = json.loads(gzip.decompress(body) if body.startswith(b"\x1f\x8b") else bytes(body))
            return str(told["errorDetails"])[:300]
        except (ServiceFault, BadBody, _UrlExpired, OSError, EOFError, zlib.error, ValueError, KeyError, TypeError):
            return "the document that states the reason cannot be read"

    # ----------------------------------------------------------------------------------------------------- calls

    def _request_info(self, request_id: str) -> RequestInfo:
        report, evidence = self._ask("getReport", "GET", f"{_REPORTS}/reports/{quote(request_id, safe='')}")
        return self._read("getReport", evidence, lambda: sp_json.request_info(report))

    def _get_reports(self, wanted: dict[str, str], next_token: str | None) -> tuple[dict[str, Any], Evidence]:
        query = {"nextToken": next_token} if next_token is not None else {**wanted, "pageSize": str(PAGE_SIZE)}
        return self._ask("getReports", "GET", f"{_REPORTS}/reports?{urlencode(query)}")

    def _schedules(self, report_types: Sequence[str]) -> dict[str, ScheduleInfo]:
        path = f"{_REPORTS}/schedules?{urlencode({'reportTypes': ','.join(report_types)})}"
        told, evidence = self._ask("getReportSchedules", "GET", path)
        return self._read("getReportSchedules", evidence, lambda: sp_json.schedules(told))

    def _ask(
        self, operation: str, method: str, path: str, *, body: object = None, token: str | None = None
    ) -> tuple[dict[str, Any], Evidence]:
        """One call; with the access token, or with `token`. Where the access token has ended, one more with a newer."""
        access_token = token or self._tokens.access_token()
        status, told, evidence = self._send(operation, method, path, body, access_token)
        if status == 403 and token is None:
            # One 403 stands for an expired token, a missing role and more: a newer token tells them apart.
            newer = self._tokens.access_token(instead_of=access_token)
            status, told, evidence = self._send(operation, method, path, body, newer)
        if 200 <= status < 300 and told is not None:
            return told, evidence
        raise self._failure(operation, told, evidence, next_page="nextToken=" in path, restricted=token is not None)

    def _send(
        self, operation: str, method: str, path: str, body: object, token: str
    ) -> tuple[int, dict[str, Any] | None, Evidence]:
        self._quota.take(operation)
        headers = {
            "User-Agent": _USER_AGENT,
            "x-amz-access-token": token,
            "x-amz-date": f"{self._clock.now():%Y%m%dT%H%M%SZ}",
        }
        text = None if body is None else json.dumps(body)
        if text is not None:
            headers["Content-Type"] = "application/json"
        try:
            with self._http.send(
                method, self._endpoint + path, headers=headers, body=text, max_bytes=MAX_ANSWER_BYTES
            ) as response:
                request_id = response.headers.get("x-amzn-RequestId")
                log.info("Amazon answered", operation=operation, status=response.status, request_id=request_id)
                told = _object(response.read())
                code = sp_json.code_of(told) if told else None
                return response.status, told, Evidence(operation, response.status, code, request_id)
        except NoAnswer as error:
            raise ServiceFault(f"Amazon gave no answer to {operation}: {error}", evidence=Evidence(operation)) from None
        except BodyCut as error:
            raise ServiceFault(
                f"Amazon's answer to {operation} is not whole: {error}", evidence=Evidence(operation)
            ) from None

    def _read(self, operation: str, evidence: Evidence, read: Callable[[], Said]) -> Said:
        try:
            return read()
        except (KeyError, TypeError, ValueError):
            raise ServiceFault(f"Amazon's answer to {operation} lacks something", evidence=evidence) from None

    def _failure(
        self, operation: str, told: dict[str, Any] | None, evidence: Evidence, *, next_page: bool, restricted: bool
    ) -> OrderdrainError:
        """What the caller must do about an answer that is not what was asked for."""
        status = evidence.status or 0
        if status == 429:
            until = self._quota.refused(operation, hourly=False, resets_at=None)
            restores = QUOTAS[operation].restores
            return Throttled(f"throttled by {operation}, quota restores {restores}", until=until, evidence=evidence)
        if told is None or status >= 500:
            return ServiceFault(f"Amazon failed at {operation}", evidence=evidence)
        if status == 400 and next_page:
            return NextTokenLost("Amazon no longer knows this place in the listing: it begins again", evidence=evidence)
        if status == 403 and restricted:
            return RetryLater("Amazon refuses the token of this one document", evidence=evidence)
        if status == 403 and operation == "createRestrictedDataToken":
            return OperatorNeeded(
                "Amazon gives no token for buyers' data: the application lacks the role Direct-to-Consumer Shipping (or"
                " Tax Invoicing, Tax Remittance), or the seller authorised before it was granted",
                evidence=evidence,
            )
        if status in {401, 403}:
            return OperatorNeeded(
                f"Amazon refuses {operation} to this seller's token: check the application's roles, and the seller's"
                " authorization",
                evidence=evidence,
            )
        return GiveUp(f"Amazon refuses {operation}", evidence=evidence)


def _streamed(response: Response, sink: Callable[[bytes], object], evidence: Evidence) -> Downloaded:
    """Hands the body on as sent. A whole one is known by its length, or, without one, by the end of its gzip."""
    digest, size, ends = hashlib.md5(usedforsecurity=False), 0, _GzipEnd()
    try:
        for block in response.blocks():
            digest.update(block)
            size += len(block)
            if not response.framed:
                ends.feed(block)
            sink(block)
    except BodyCut as error:
        raise BadBody(f"the report is not whole: {error}; thrown away", evidence=evidence) from error
    if not response.framed and not ends.reached:
        raise BadBody(
            f"nothing shows that the report is whole: {size:,} bytes came without a length; thrown away",
            evidence=evidence,
        )
    return Downloaded(size, digest.digest(), response.headers.get("Content-Type"), evidence.request_id)


class _GzipEnd:
    """Whether what was fed is gzip to its very end, checksum included. Keeps nothing of it."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(31)
        self._damaged = False

    def feed(self, block: bytes) -> None:
        try:
            while block and not self._damaged and not self._inflate.eof:
                self._inflate.decompress(block, BLOCK_BYTES)
                block = self._inflate.unconsumed_tail
        except zlib.error:
            self._damaged = True

    @property
    def reached(self) -> bool:
        return self._inflate.eof and not self._damaged


def _object(body: bytes) -> dict[str, Any] | None:
    """An answer's JSON object; {} for no body at all (cancelReportSchedule), None for anything else."""
    try:
        told = json.loads(body or b"{}")
    except ValueError:
        return None
    return told if isinstance(told, dict) else None


def _moments(**moments: datetime | None) -> dict[str, str]:
    return {name: f"{at:%Y-%m-%dT%H:%M:%SZ}" for name, at in moments.items() if at is not None}
