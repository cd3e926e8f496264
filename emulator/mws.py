"""The way of one MWS call: who calls, may they now, what goes wrong, what is done, what is answered."""

from __future__ import annotations

import hashlib
import json
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from emulator.answers import ResetsOn, error_body, format_resets_on, proxy_page, result_body
from emulator.call import Call, Outcome, Reply
from emulator.operations import OPERATIONS, reports_to_acknowledge
from emulator.parameters import Refusal
from emulator.record import describe_call
from emulator.reports import content_md5
from emulator.signature import authenticate

if TYPE_CHECKING:
    from datetime import datetime

    from emulator.account import Account
    from emulator.faults import Faults
    from emulator.parameters import Parameters
    from emulator.quota import Quotas
    from emulator.record import Record
    from emulator.signature import HttpRequest
    from emulator.world import World

#: The documentation and traffic since 2018 use the second; older clients and recordings the first.
PATHS = {"/", "/Reports/2009-01-01"}

#: Real seconds that the harness has to look for the rows, before the acknowledgement goes on without it.
_PATIENCE = 10

#: No proxy of the environment stands between the emulator and the harness.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))

_REFUSED_BY_FAULT = {
    "throttle": Refusal("RequestThrottled", "Request is throttled.", status=503),
    "quota_exceeded": Refusal("QuotaExceeded", "You exceeded your quota for this hour.", status=503),
    "internal_error": Refusal("InternalError", "There was an unexpected problem. Try again.", status=500),
    "unavailable": Refusal("ServiceUnavailable", "Service is temporarily unavailable.", status=503),
    "token_corrupted": Refusal("NextTokenCorrupted", "The NextToken is corrupted or has expired."),
}
#: Faults that strike before anything is done.
_NOTHING_DONE = _REFUSED_BY_FAULT.keys() | {"html", "no_answer"}


@dataclass
class _Progress:
    """What is known of a call so far: it becomes its record."""

    now: datetime
    request_id: str
    operation: str
    account: Account | None = None
    fault: str | None = None
    over_quota: bool = False
    applied: bool = False
    unanswered: bool = False
    token: str | None = None
    outcome: Outcome = field(default_factory=Outcome)


class Mws:
    """The MWS side of the emulated Amazon."""

    def __init__(
        self, world: World, quotas: Quotas, faults: Faults, record: Record, *, seed: int, on_acknowledge: str | None
    ) -> None:
        self.resets_on: ResetsOn = "2018"
        self._world = world
        self._quotas = quotas
        self._faults = faults
        self._record = record
        self._on_acknowledge = on_acknowledge
        self._random = Random(f"{seed}/request-ids")

    def now(self) -> datetime:
        """The emulated time."""
        return self._world.clock.now()

    def handle(self, request: HttpRequest) -> Reply:
        """Answers one request and records it."""
        parameters = request.parameters()
        progress = _Progress(self.now(), self._new_request_id(), parameters.text("Action") or "")
        code: str | None = None
        try:
            if request.path not in PATHS:
                raise Refusal("InvalidAddress", f"There is no {request.path} here.", status=404)
            self._perform(request, parameters, progress)
            status, headers, body = self._answer(progress)
        except Refusal as refusal:
            code, status = refusal.code, refusal.status
            headers, body = {"Content-Type": "text/xml"}, error_body(refusal, progress.request_id)
        if progress.fault == "html":
            code, status, headers, body = None, 502, {"Content-Type": "text/html"}, proxy_page()
        else:
            headers |= self._common_headers(progress)
        if progress.fault in {"no_answer", "late_answer"}:
            code = "no answer"
        self._note(progress, None if code == "no answer" else status, code)
        return Reply(status, headers, body, progress.fault)

    def _perform(self, request: HttpRequest, parameters: Parameters, progress: _Progress) -> None:
        world = self._world
        with world.lock:
            progress.now = world.clock.now()  # in the order in which calls are let in, so that time never runs back
            progress.account = account = authenticate(request, parameters, world, progress.now)
            operation = progress.operation
            if operation not in OPERATIONS:
                raise Refusal("InvalidAddress", f"Operation {operation!r} is not available here.", status=404)
            progress.token = parameters.text("NextToken")
            subject = parameters.text("ReportId") or ""
            refused = self._quotas.take(account.seller.account, operation, progress.now)
            if refused:
                progress.over_quota = True
                raise Refusal(refused, f"The quota of {operation} is used up.", status=503)
            progress.fault = self._faults.draw(account.seller.account, operation, subject)
            if progress.fault in _NOTHING_DONE:
                if refusal := _REFUSED_BY_FAULT.get(progress.fault):
                    raise refusal
                return
            account.catch_up(progress.now)
            call = Call(world, account, parameters, progress.now, progress.fault)
            to_acknowledge = reports_to_acknowledge(call) if operation == "UpdateReportAcknowledgements" else []
        if to_acknowledge and self._on_acknowledge and parameters.flag("Acknowledged") is not False:
            progress.unanswered = not _ask(self._on_acknowledge, account, [each.report_id for each in to_acknowledge])
        with world.lock:
            progress.outcome = OPERATIONS[operation](call)
            progress.applied = True

    def _answer(self, progress: _Progress) -> tuple[int, dict[str, str], bytes]:
        report, account = progress.outcome.report, progress.account
        if report is None:
            old_manners = account is not None and account.seller.old_manners
            body = result_body(
                progress.operation, progress.outcome.result, progress.request_id, old_manners=old_manners
            )
            return 200, {"Content-Type": "text/xml"}, body
        # A report never changes once made, so it is rendered outside the lock.
        body = report.render()
        headers = {"Content-Type": report.content_type, "Content-MD5": content_md5(body)}
        return 200, headers, _spoil(body) if progress.fault == "wrong_md5" else body

    def _common_headers(self, progress: _Progress) -> dict[str, str]:
        stamp = progress.now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{progress.now.microsecond // 1000:03}Z"
        headers = {
            "x-mws-request-id": progress.request_id,
            "x-amz-request-id": progress.request_id,
            "x-mws-timestamp": stamp,
            "x-mws-response-context": hashlib.sha256(progress.request_id.encode()).hexdigest(),
        }
        if progress.account is not None and progress.operation in OPERATIONS:
            with self._world.lock:
                name = progress.account.seller.account
                most, left, resets_on = self._quotas.hour(name, progress.operation, progress.now)
            # As recorded, the figure lags: the answer to the first call still says that all is left.
            lagging = left if progress.over_quota else min(left + 1, most)
            headers |= {
                "x-mws-quota-max": f"{most}.0",
                "x-mws-quota-remaining": f"{lagging}.0",
                "x-mws-quota-resetsOn": format_resets_on(resets_on, self.resets_on),
            }
        return headers

    def _note(self, progress: _Progress, status: int | None, code: str | None) -> None:
        call = describe_call(
            "mws",
            progress.operation,
            at=progress.now,
            account=progress.account.seller.account if progress.account else None,
            status=status,
            code=code,
            request_id=progress.request_id,
            report_ids=progress.outcome.report_ids,
            over_quota=progress.over_quota,
            fault=progress.fault,
            applied=progress.applied,
            next_token=progress.outcome.next_token is not None,
            token_used=progress.token,
            token_given=progress.outcome.next_token,
        )
        if progress.unanswered:
            call["on_acknowledge"] = "no answer"
        self._record.add(call)

    def _new_request_id(self) -> str:
        with self._world.lock:
            return str(uuid.UUID(bytes=self._random.randbytes(16), version=4))


def _ask(url: str, account: Account, report_ids: list[str]) -> bool:
    """Tells the harness what is about to be acknowledged, and waits: it looks for the rows over its own connection."""
    question = {
        "account": account.seller.account,
        "seller_id": account.seller.seller_id,
        "report_ids": report_ids,
    }
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(question).encode(), headers)  # noqa: S310  the operator's own url
    try:
        with _DIRECT.open(request, timeout=_PATIENCE) as answer:
            answer.read()
    except (urllib.error.URLError, OSError, ValueError):
        return False
    return True


def _spoil(body: bytes) -> bytes:
    """One bit of the middle byte turned: only the digest can tell."""
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
