"""Amazon SP-API, Reports API 2021-06-30: the ReportsApi of one seller, over one application's login.

A call goes: take from the quota, send with a token, learn the rate that Amazon tells, then either what Amazon said
(sp_json.py) or the error that tells the caller what to do (`_failure`). Only a refused token is answered here, by one
more try with a newer one; trying again is for the ledger. Documents are fetched from where they lie (sp_documents.py).
Nobody is told that a report was received: SP-API has no acknowledging, and the ledger remembers.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import quote, urlencode

from orderdrain.amazon import NEVER, Acknowledged, ListingPage, RequestInfo, RequestPage, sp_json
from orderdrain.amazon.http import BodyCut, NoAnswer
from orderdrain.amazon.lwa import AccessToken
from orderdrain.amazon.sp_documents import UrlExpired, fetch, stated_reason
from orderdrain.amazon.wire import MAX_ANSWER_BYTES, USER_AGENT, Refusal, moments, number
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

    from orderdrain.amazon import Downloaded, ListedReport, ScheduleInfo
    from orderdrain.amazon.http import Http
    from orderdrain.clock import Clock
    from orderdrain.errors import OrderdrainError
    from orderdrain.quota import BoundQuota

log = logger(__name__)

Said = TypeVar("Said")

#: Amazon's quotas per seller and application (SP-API models; in the model's own digits, since Amazon counts by them
#: and not by the minute that they are meant to be). No hour is counted.
QUOTAS: dict[str, QuotaRule] = {
    "getReports": QuotaRule(burst=10, restore_seconds=1 / 0.0222, hourly=None),
    "createReport": QuotaRule(burst=15, restore_seconds=1 / 0.0167, hourly=None),
    "getReport": QuotaRule(burst=15, restore_seconds=1 / 2, hourly=None),
    "getReportDocument": QuotaRule(burst=15, restore_seconds=1 / 0.0167, hourly=None),
    "createReportSchedule": QuotaRule(burst=10, restore_seconds=1 / 0.0222, hourly=None),
    "getReportSchedules": QuotaRule(burst=10, restore_seconds=1 / 0.0222, hourly=None),
    "cancelReportSchedule": QuotaRule(burst=10, restore_seconds=1 / 0.0222, hourly=None),
    "createRestrictedDataToken": QuotaRule(burst=10, restore_seconds=1, hourly=None),
}

#: What one page may hold; Amazon's default is 10 (SP-API model, getReports).
PAGE_SIZE = 100
#: As many report types fit one call (SP-API model).
TYPES_A_CALL = 10
#: A restricted data token is not used for the last seconds of its hour, so that none ends on its way.
UNUSED_AT_END = timedelta(seconds=30)

_REPORTS = "/reports/2021-06-30"
_RESTRICTIONS = "/tokens/2021-03-01/restrictedDataToken"
_SCHEDULABLE = sorted(name for name, t in REPORT_TYPES.items() if t.schedulable and api_of(name) == "sp-api")

# Order reports whose names end so hold buyers' data: their documents need tokens of their own, and the application a
# role (SP-API documentation, "Restricted Data Token" and "Report type values").
_ROLES = {"SHIPPING": "Direct-to-Consumer Shipping", "INVOICING": "Tax Invoicing", "TAX": "Tax Remittance"}


class Tokens(Protocol):
    """Where access tokens come from (orderdrain/tokens.py)."""

    def access_token(self, *, instead_of: str | None = None) -> str:
        """One that is good now; `instead_of` is the one that Amazon has just refused."""

    def was_renewed(self, operation: str, *, refused: str, renewed: str) -> bool:
        """Whether `refused` was got because that operation had refused the one before; quota has kept back its trial,
        as now that of `renewed`."""

    def worked(self, operation: str, token: str) -> None:
        """Amazon took it for that operation."""


@dataclass(frozen=True)
class _Answer:
    """`told` is None for what is no SP-API answer."""

    told: sp_json.Told | None
    refusal: Refusal | None
    evidence: Evidence
    bucket: str

    @property
    def token_refused(self) -> bool:
        """Whether a newer token may help. A proxy's 403 says nothing of ours."""
        return self.refusal is not None and self.evidence.status in {401, 403}


class SpApiReports:
    """One seller's reports through SP-API. Makes no connection until it is asked something."""

    api = "sp-api"
    acknowledges = False

    def __init__(
        self, endpoint: str, marketplaces: Sequence[str], *, tokens: Tokens, http: Http, clock: Clock, quota: BoundQuota
    ) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._marketplaces = list(marketplaces)
        self._tokens = tokens
        self._given: str | None = None  # by a login that was asked for
        self._restricted: dict[str, AccessToken] = {}  # by document
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
        """Those that are done, and those that came to nothing. `since` is compared with the time at which a report was
        asked for (SP-API model, createdSince); without it: 90 days back, and only what is done: what came to nothing
        before anybody listed is not missed, and a quiet seller has eighty pages of it.

        One group of 10 types is paged to its end after the other: before Amazon's token stands the group's number.
        """
        group, token = _place(next_token)
        wanted = {
            "reportTypes": ",".join(report_types[group * TYPES_A_CALL : (group + 1) * TYPES_A_CALL]),
            "processingStatuses": "DONE" if since is None else "DONE,CANCELLED,FATAL",
            **moments(createdSince=since),
        }
        ((reports, following), came_to_nothing), evidence = self._get_reports(wanted, token, _listed)
        if following is not None and group:
            following = f"{group} {following}"
        elif following is None and len(report_types) > (group + 1) * TYPES_A_CALL:
            following = f"{group + 1} "
        return ListingPage(reports, following, evidence.request_id, came_to_nothing)

    def download(self, report_id: str, sink: Callable[[bytes], object]) -> Downloaded:
        """The report, its document, the document's url, and what lies there. Nothing but the length of the body and
        the end of its gzip shows that it is whole: there is no Content-MD5.

        A report that could not be made says why in its document: GiveUp tells it.
        """
        # Of this call quota gives least: without a token for it, those before it would be made for nothing.
        self._quota.check("getReportDocument")
        report, evidence = self._ask("getReport", "GET", _report_path(report_id), sp_json.report)
        if report.status == "FATAL":
            raise GiveUp(f"Amazon could not make it: {self._stated(report)}", evidence=evidence)
        if report.status == "CANCELLED":
            raise GiveUp("Amazon cancelled it: on request, or for want of data", evidence=evidence)
        if report.status != "DONE" or report.document_id is None:
            raise RetryLater("Amazon has not made it yet", evidence=evidence)
        for last in (False, True):
            try:
                return fetch(self._http, self._url_of(report, report.document_id), sink)
            except UrlExpired:
                # It was good for five minutes: this worker stood still for longer. Another one costs quota.
                if last:
                    evidence = Evidence("document", status=403)
                    raise ServiceFault("the document's url had expired, twice", evidence=evidence) from None
                log.info("document url had expired", report_id=report_id)
        raise AssertionError("the last download returns or raises")

    def acknowledge(self, report_ids: Sequence[str]) -> Acknowledged:
        return Acknowledged(frozenset(report_ids), None)

    def request_report(
        self,
        report_type: str,
        *,
        start: datetime | None,
        end: datetime | None,
        options: Mapping[str, str],
    ) -> RequestInfo:
        """Amazon answers with an id and nothing else."""
        wanted: dict[str, Any] = {
            "reportType": report_type,
            "marketplaceIds": self._marketplaces,
            **moments(dataStartTime=start, dataEndTime=end),
        }
        if options:
            wanted["reportOptions"] = dict(options)
        path = f"{_REPORTS}/reports"
        report_id, _ = self._ask("createReport", "POST", path, sp_json.new_report_id, body=wanted)
        return RequestInfo(report_id, report_type, "SUBMITTED", self._clock.now(), start, end)

    def list_requests(
        self,
        *,
        request_ids: Sequence[str] = (),
        report_types: Sequence[str] = (),
        since: datetime | None = None,
        next_token: str | None = None,
    ) -> RequestPage:
        """By their ids one call each: of as many of the first ones as quota allows now, without those that Amazon does
        not know. One that is FATAL costs a document's quota too, for its reason."""
        if request_ids:
            return self._requests(request_ids)
        wanted = {"reportTypes": ",".join(report_types), **moments(createdSince=since)}
        (requests, token), evidence = self._get_reports(wanted, next_token, sp_json.request_page)
        return RequestPage(requests, token, evidence.request_id)

    def list_schedules(self) -> tuple[ScheduleInfo, ...]:
        """Of all types that we know as schedulable: SP-API wants them named."""
        groups = [_SCHEDULABLE[n : n + TYPES_A_CALL] for n in range(0, len(_SCHEDULABLE), TYPES_A_CALL)]
        return tuple(info for group in groups for info in self._schedules(group).values())

    def set_schedule(self, report_type: str, every: str) -> str | None:
        """A new schedule of the same type and marketplaces replaces the old one (SP-API documentation); one of that
        type for other marketplaces is another's, and stays."""
        if every != NEVER:
            wanted = {"reportType": report_type, "marketplaceIds": self._marketplaces, "period": every}
            _, evidence = self._ask("createReportSchedule", "POST", f"{_REPORTS}/schedules", _anything, body=wanted)
            return evidence.request_id
        request_id = None
        for schedule_id, info in self._schedules([report_type]).items():
            if not info.ours:
                continue
            path = f"{_REPORTS}/schedules/{quote(schedule_id, safe='')}"
            _, evidence = self._ask("cancelReportSchedule", "DELETE", path, _anything)
            request_id = evidence.request_id
        return request_id

    # ------------------------------------------------------------------------------------------ what may be done

    def login(self) -> None:
        """Proves the application's keys and the seller's authorization, whatever token is kept."""
        self._given = self._tokens.access_token(instead_of=self._tokens.access_token())

    def role_for(self, report_type: str) -> str | None:
        """The role without which Amazon gives no document of that type; None where it holds no buyers' data."""
        return _ROLES.get(report_type.rpartition("_")[2])

    def ask_for_document(self, report_id: str) -> None:
        """Asks for all that a download of it needs, but for the document. Raises what a download does."""
        report, _ = self._ask("getReport", "GET", _report_path(report_id), sp_json.report)
        if report.document_id is not None and (role := self.role_for(report.report_type)):
            self._restricted_token(report.document_id, role)

    # ------------------------------------------------------------------------------------------------- documents

    def _url_of(self, report: sp_json.Report, document_id: str) -> str:
        role = self.role_for(report.report_type)
        token = partial(self._restricted_token, document_id, role) if role else None
        path = f"{_REPORTS}/documents/{quote(document_id, safe='')}"
        url, _ = self._ask("getReportDocument", "GET", path, sp_json.document_url, token=token, role=role)
        return url

    def _restricted_token(self, document_id: str, role: str, *, instead_of: str | None = None) -> str:
        """The token of this very document, good for an hour: made once, and once more where Amazon refuses it."""
        now = self._clock.now()
        self._restricted = {
            name: held for name, held in self._restricted.items() if held.expires_at > now + UNUSED_AT_END
        }
        held = self._restricted.get(document_id)
        if held is None or held.token == instead_of:
            # The path as it is, not as it is written in a url (SP-API documentation).
            wanted = {"restrictedResources": [{"method": "GET", "path": f"{_REPORTS}/documents/{document_id}"}]}
            (token, seconds), _ = self._ask(
                "createRestrictedDataToken", "POST", _RESTRICTIONS, sp_json.restricted_token, body=wanted, role=role
            )
            held = self._restricted[document_id] = AccessToken(token, now + timedelta(seconds=seconds))
        return held.token

    def _stated(self, report: sp_json.Report) -> str:
        """Why a report is FATAL, in Amazon's words, where its document tells them. Waits for quota like a download."""
        if report.document_id is None:
            return "it states no reason"
        try:
            url = self._url_of(report, report.document_id)
            return stated_reason(self._http, url) or "its document states no reason"
        except (GiveUp, ServiceFault, BadBody, UrlExpired, zlib.error):
            return "the document that states the reason cannot be read"

    # ----------------------------------------------------------------------------------------------------- calls

    def _requests(self, request_ids: Sequence[str]) -> RequestPage:
        found: list[RequestInfo] = []
        request_id = None
        for asked in request_ids:
            try:
                (info, report), evidence = self._ask("getReport", "GET", _report_path(asked), _looked_at)
                if info.status == "FATAL":
                    info = replace(info, reason=self._stated(report))
            except GiveUp as error:
                if error.evidence is None or error.evidence.status != 404:
                    raise
            except Throttled:
                # Two go a second. What is known by now is handed on: begun anew with the first one each time, a long
                # list would never come to its end.
                if not found:
                    raise
                break
            else:
                found.append(info)
                request_id = evidence.request_id
        return RequestPage(tuple(found), None, request_id)

    def _get_reports(
        self, wanted: dict[str, str], next_token: str | None, read: Callable[[sp_json.Told], Said]
    ) -> tuple[Said, Evidence]:
        # With anything beside it a nextToken is refused (SP-API model).
        query = {"nextToken": next_token} if next_token is not None else {**wanted, "pageSize": str(PAGE_SIZE)}
        return self._ask("getReports", "GET", f"{_REPORTS}/reports?{urlencode(query)}", read)

    def _schedules(self, report_types: Sequence[str]) -> dict[str, ScheduleInfo]:
        query = urlencode({"reportTypes": ",".join(report_types)})
        read = partial(sp_json.schedules, marketplaces=self._marketplaces)
        found, _ = self._ask("getReportSchedules", "GET", f"{_REPORTS}/schedules?{query}", read)
        return found

    def _ask(
        self,
        operation: str,
        method: str,
        path: str,
        read: Callable[[sp_json.Told], Said],
        *,
        body: Mapping[str, Any] | None = None,
        token: Callable[..., str] | None = None,
        role: str | None = None,
    ) -> tuple[Said, Evidence]:
        """One call, with the access token or with what `token` gives; where that has ended, one more with a newer one.
        `role`: the one without which Amazon refuses it."""
        give = token or self._tokens.access_token

        def known_as(used: str) -> str:
            # Each download makes its document's token anew: what is noted of one is noted of the role.
            return role if token and role else used

        used = give()
        answer = self._send(operation, method, path, used, body)
        if answer.token_refused:
            # One 403 stands for a token that has ended, for a role that is lacking and more: a newer token tells.
            refused, used = used, give(instead_of=used)
            try:
                answer = self._send(operation, method, path, used, body)
            except Throttled:
                # With quota for one call each time, the second would never be made: then the next call's first tells.
                if refused != self._given and not self._tokens.was_renewed(
                    operation, refused=known_as(refused), renewed=known_as(used)
                ):
                    raise
        evidence = answer.evidence
        if answer.told is None or answer.refusal is not None or evidence.status not in range(200, 300):
            raise self._failure(answer, used, role, next_page="?nextToken=" in path)
        self._tokens.worked(operation, known_as(used))
        try:
            return read(answer.told), evidence
        except ValueError as error:
            raise ServiceFault(f"Amazon's answer to {operation} lacks something: {error}", evidence=evidence) from None

    def _send(self, operation: str, method: str, path: str, token: str, body: Mapping[str, Any] | None) -> _Answer:
        bucket = _own_bucket(operation, body)
        for name in dict.fromkeys((bucket, operation)):
            self._quota.take(name)
        headers = {
            "User-Agent": USER_AGENT,
            "x-amz-access-token": token,
            "x-amz-date": f"{self._clock.now():%Y%m%dT%H%M%SZ}",
            **({"Content-Type": "application/json"} if body is not None else {}),
        }
        text, url = None if body is None else json.dumps(body), self._endpoint + path
        try:
            with self._http.send(method, url, headers=headers, body=text, max_bytes=MAX_ANSWER_BYTES) as response:
                status, request_id = response.status, response.headers.get("x-amzn-RequestId")
                if rate := number(response.headers.get("x-amzn-RateLimit-Limit")):
                    self._quota.learned_rate(bucket, per_second=rate)
                # Amazon's support asks for the request id and time of a call (SP-API documentation).
                log.info("Amazon answered", operation=operation, status=status, request_id=request_id)
                came = response.read()
        except NoAnswer as error:
            raise ServiceFault(
                f"Amazon gave no answer to {operation}: {error}", evidence=Evidence(operation)
            ) from error
        except BodyCut as error:
            if status != 429:
                raise ServiceFault(
                    f"Amazon's answer to {operation} is not whole: {error}",
                    evidence=Evidence(operation, status, None, request_id),
                ) from error
            came = b""  # the status says all: to take it for a failure would spend an attempt, and call on
        # The model knows no body for what was cancelled.
        told = sp_json.read_answer(b"{}" if method == "DELETE" and status == 200 and not came else came)
        refusal = None if told is None else sp_json.refusal_in(told)
        evidence = Evidence(operation, status, refusal.code if refusal else None, request_id)
        return _Answer(told, refusal, evidence, bucket)

    def _failure(self, answer: _Answer, token: str, role: str | None, *, next_page: bool) -> OrderdrainError:
        """What the caller must do about an answer that is not what was asked for."""
        refusal, evidence = answer.refusal, answer.evidence
        operation, status = evidence.operation, evidence.status or 0
        if status == 429 or evidence.code == "QuotaExceeded":
            until = self._quota.refused(answer.bucket, hourly=False, resets_at=None)
            restores = QUOTAS[operation].restores
            return Throttled(f"throttled by {operation}, quota restores {restores}", until=until, evidence=evidence)
        if refusal is None:
            return ServiceFault(f"what came for {operation} is no SP-API answer", evidence=evidence)
        if not 400 <= status < 500:
            return ServiceFault(f"Amazon failed at {operation}", evidence=evidence)
        # A nextToken is all that such a call takes: what is bad is the token, or it has expired.
        if status == 400 and next_page:
            return NextTokenLost("Amazon no longer knows this place in the listing: it begins again", evidence=evidence)
        if status in {401, 403} and role is not None:
            return OperatorNeeded(
                f"Amazon gives no buyers' data: the application lacks the role {role}, or the seller authorised it"
                " before it had that role. Mend that, then orderdrain account resume",
                evidence=evidence,
            )
        if status in {401, 403}:
            return OperatorNeeded(
                f"Amazon refuses {operation} to this seller's token: check the application's roles, and the seller's"
                " authorization, then orderdrain account resume",
                evidence=evidence,
            )
        # Amazon's messages repeat parameters.
        message = refusal.message.replace(token, "***")[:300]
        return GiveUp(f"Amazon refuses {operation}: {message}", evidence=evidence)


def _own_bucket(operation: str, body: Mapping[str, Any] | None) -> str:
    """Whose rate an answer tells and a refusal means: users saw createReport throttled for single report types."""
    return f"{operation}:{body['reportType']}" if operation == "createReport" and body else operation


def _report_path(report_id: str) -> str:
    return f"{_REPORTS}/reports/{quote(report_id, safe='')}"


def _place(next_token: str | None) -> tuple[int, str | None]:
    """Which group of report types, and Amazon's own token in it: None at its begin."""
    group, space, token = (next_token or "").partition(" ")
    return (int(group), token or None) if space else (0, next_token)


def _listed(told: sp_json.Told) -> tuple[tuple[tuple[ListedReport, ...], str | None], tuple[RequestInfo, ...]]:
    return sp_json.listing_page(told), sp_json.came_to_nothing(told)


def _looked_at(told: sp_json.Told) -> tuple[RequestInfo, sp_json.Report]:
    return sp_json.request_info(told), sp_json.report(told)


def _anything(_told: sp_json.Told) -> None:
    """For answers of which only that they came matters."""
