"""The way of one SP-API call: whose token, may they now, what goes wrong, what is done, what is answered."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

from emulator.answers import proxy_page
from emulator.call import Reply
from emulator.parameters import Refusal
from emulator.record import describe_call
from emulator.sp_call import Denied, Invalid, SpCall, SpOutcome
from emulator.sp_operations import SP_OPERATIONS

if TYPE_CHECKING:
    from datetime import datetime

    from emulator.account import Account
    from emulator.documents import Documents
    from emulator.faults import Faults
    from emulator.lwa import Grant, Tokens
    from emulator.parameters import Parameters
    from emulator.quota import Quotas
    from emulator.record import Record
    from emulator.signature import HttpRequest
    from emulator.world import World

SP_PATHS = ("/reports/2021-06-30/", "/tokens/2021-03-01/")

#: SP-API models: verb, path and name of each operation.
_ROUTES = [
    (verb, re.compile(path.replace("{id}", "([^/]+)")), operation)
    for verb, path, operation in (
        ("GET", "/reports/2021-06-30/reports", "getReports"),
        ("POST", "/reports/2021-06-30/reports", "createReport"),
        ("GET", "/reports/2021-06-30/reports/{id}", "getReport"),
        ("DELETE", "/reports/2021-06-30/reports/{id}", "cancelReport"),
        ("GET", "/reports/2021-06-30/documents/{id}", "getReportDocument"),
        ("POST", "/reports/2021-06-30/schedules", "createReportSchedule"),
        ("GET", "/reports/2021-06-30/schedules", "getReportSchedules"),
        ("GET", "/reports/2021-06-30/schedules/{id}", "getReportSchedule"),
        ("DELETE", "/reports/2021-06-30/schedules/{id}", "cancelReportSchedule"),
        ("POST", "/tokens/2021-03-01/restrictedDataToken", "createRestrictedDataToken"),
    )
]

_UNFIT = "The access token you provided is revoked, malformed or invalid."
_EXPIRED = "The access token you provided has expired."
_OVER_QUOTA = Refusal("QuotaExceeded", "You exceeded your quota for the requested resource.", status=429)
_REFUSED_BY_FAULT = {
    "throttle": _OVER_QUOTA,
    "internal_error": Refusal("InternalFailure", "We encountered an internal error. Please try again.", status=500),
    "unavailable": Refusal("ServiceUnavailable", "Service is temporarily unavailable. Please try again.", status=503),
    "token_corrupted": Invalid("nextToken is not valid or has expired."),
    "expired_access_token": Denied(_EXPIRED),
    "missing_role": Denied(),
}
#: Faults that strike before anything is done.
_NOTHING_DONE = _REFUSED_BY_FAULT.keys() | {"html", "no_answer"}


@dataclass
class _Progress:
    """What is known of a call so far: it becomes its record."""

    now: datetime
    request_id: str
    operation: str = ""
    report_type: str = ""
    account: Account | None = None
    fault: str | None = None
    over_quota: bool = False
    applied: bool = False
    next_token: str | None = None
    outcome: SpOutcome = field(default_factory=SpOutcome)


class SpApi:
    """The SP-API side of the emulated Amazon: Reports API 2021-06-30 and restricted data tokens."""

    def __init__(
        self,
        world: World,
        quotas: Quotas,
        faults: Faults,
        record: Record,
        tokens: Tokens,
        documents: Documents,
        *,
        seed: int,
    ) -> None:
        self._world = world
        self._quotas = quotas
        self._faults = faults
        self._record = record
        self._tokens = tokens
        self._documents = documents
        self._random = Random(f"{seed}/sp-api/request-ids")
        for name, account in world.accounts.items():
            account.sp.draw_fault = partial(faults.draw, name, "schedule", "")

    def handle(self, request: HttpRequest) -> Reply:
        """Answers one request and records it."""
        code: str | None = None
        with self._world.lock:
            request_id = str(uuid.UUID(bytes=self._random.randbytes(16), version=4))
            progress = _Progress(self._world.clock.now(), request_id)
            headers = {"Content-Type": "application/json"}
            try:
                self._perform(request, progress)
                status, body = progress.outcome.status, json.dumps(progress.outcome.answer).encode()
            except Refusal as refusal:
                code, status, body = refusal.code, refusal.status, _error_body(refusal)
            headers |= self._common_headers(progress, status)
        if progress.fault == "html":
            code, status, headers, body = None, 502, {"Content-Type": "text/html"}, proxy_page()
        unanswered = progress.fault in {"no_answer", "late_answer"}
        self._record.add(
            describe_call(
                "sp-api",
                progress.operation,
                at=progress.now,
                account=progress.account.seller.account if progress.account else None,
                status=None if unanswered else status,
                code="no answer" if unanswered else code,
                request_id=request_id,
                report_ids=progress.outcome.report_ids,
                over_quota=progress.over_quota,
                fault=progress.fault,
                applied=progress.applied,
                next_token="nextToken" in progress.outcome.answer,
                token_used=progress.next_token,
                token_given=progress.outcome.answer.get("nextToken"),
                parameters=parse_qs(request.query),
            )
        )
        return Reply(status, headers, body, progress.fault)

    def _perform(self, request: HttpRequest, progress: _Progress) -> None:
        progress.operation, path_id = _route(request)
        token = request.headers.get("x-amz-access-token", "")
        grant = self._tokens.find(token)
        if grant is None:
            raise Denied(_UNFIT if token else "")
        progress.account = account = grant.account
        _check(grant, request, progress.now)
        if account is None or not progress.operation:
            raise Denied
        name = account.seller.account
        progress.report_type = _asked_type(request) if progress.operation == "createReport" else ""
        if self._quotas.take(name, progress.operation, progress.now, progress.report_type):
            progress.over_quota = True
            raise _OVER_QUOTA
        parameters = request.parameters()
        progress.next_token = parameters.text("nextToken")
        unfit = frozenset[str]() if progress.next_token else frozenset(("token_corrupted",))
        progress.fault = self._faults.draw(name, progress.operation, path_id, unfit=unfit)
        if progress.fault in _NOTHING_DONE:
            if progress.fault == "expired_access_token":
                self._tokens.expire(token, progress.now)
            if refusal := _REFUSED_BY_FAULT.get(progress.fault):
                raise refusal
            return
        account.catch_up(progress.now)
        call = self._make_call(request, grant, account, path_id, parameters, progress)
        progress.outcome = SP_OPERATIONS[progress.operation](call)
        progress.applied = True

    def _make_call(
        self,
        request: HttpRequest,
        grant: Grant,
        account: Account,
        path_id: str,
        parameters: Parameters,
        progress: _Progress,
    ) -> SpCall:
        return SpCall(
            world=self._world,
            account=account,
            tokens=self._tokens,
            documents=self._documents,
            grant=grant,
            host=request.host,
            path_id=path_id,
            parameters=parameters,
            body=_json_body(request) if request.verb == "POST" else {},
            now=progress.now,
            fault=progress.fault,
        )

    def _common_headers(self, progress: _Progress, status: int) -> dict[str, str]:
        digits = progress.request_id.replace("-", "")
        headers = {
            "x-amzn-RequestId": progress.request_id,
            "x-amz-rid": digits[:20].upper(),
            "x-amzn-trace-id": f"Root=1-{int(progress.now.timestamp()):08x}-{digits[:24]}",
        }
        if status == 429:
            headers["X-Amzn-ErrorType"] = "TooManyRequestsException"
        # Recorded and documented: only on these, and no Retry-After anywhere.
        if status in {200, 201, 202, 400, 404} and progress.account and progress.operation:
            rate = self._quotas.rate(progress.account.seller.account, progress.operation, progress.report_type)
            headers["x-amzn-RateLimit-Limit"] = str(round(rate, 4))
        return headers


def _route(request: HttpRequest) -> tuple[str, str]:
    """The operation and the id in its path; both empty where there is no such operation."""
    for verb, pattern, operation in _ROUTES:
        if verb == request.verb and (match := pattern.fullmatch(request.path)):
            return operation, unquote(match[1]) if pattern.groups else ""
    return "", ""


def _check(grant: Grant, request: HttpRequest, now: datetime) -> None:
    """The token is good for this call. One 403 for everything, told apart by its details at most."""
    if now >= grant.until:
        raise Denied(_EXPIRED)
    if grant.paths is not None and (request.verb != "GET" or unquote(request.path) not in grant.paths):
        raise Denied


def _asked_type(request: HttpRequest) -> str:
    """The report type of a createReport, read before the call is looked at: quota comes first."""
    try:
        return str(_json_body(request).get("reportType", ""))
    except Invalid:
        return ""


def _json_body(request: HttpRequest) -> dict[str, Any]:
    try:
        body = json.loads(request.form)
    except ValueError:
        raise Invalid("The body is not JSON.") from None
    if not isinstance(body, dict):
        raise Invalid("The body is not a JSON object.")
    return body


def _error_body(refusal: Refusal) -> bytes:
    error = {"code": refusal.code, "message": refusal.message}
    if refusal.status in {403, 429}:  # as recorded; a 404 has no details
        error["details"] = refusal.details if isinstance(refusal, Denied) else ""
    return json.dumps({"errors": [error]}, indent=2).encode()
