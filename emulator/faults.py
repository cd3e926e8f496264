"""What goes wrong on purpose, how often, and exactly when a test says so."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from random import Random
from typing import Any

from emulator.quota import LIMITS, SP_LIMITS

_LISTINGS = frozenset(
    ("GetReportList", "GetReportListByNextToken", "GetReportRequestList", "GetReportRequestListByNextToken")
)
_NEXT_PAGES = frozenset(("GetReportListByNextToken", "GetReportRequestListByNextToken"))
_FILES = frozenset(("GetReport",))
_ALL = frozenset(LIMITS)

_SP_LISTING = frozenset(("getReports",))
_SP_REQUEST = frozenset(("createReport",))
_SP_DOCUMENT = frozenset(("getReportDocument",))
_SP_ALL = frozenset(SP_LIMITS)
#: The token endpoint and the document store: calls that are no operations of an API.
_LWA = frozenset(("LWA",))
_STORE = frozenset(("document",))
#: A call to the queue service, and a report that is announced: no call at all.
_QUEUE = frozenset(("SQS",))
_NOTICE = frozenset(("notification",))
#: A report schedule of SP-API makes its next report: no call at all.
_SCHEDULE = frozenset(("schedule",))

_CALLS = _ALL | _SP_ALL | _LWA | _STORE | _QUEUE

#: Every kind, with the operations that it can befall.
KINDS: dict[str, frozenset[str]] = {
    "throttle": _ALL | _SP_ALL,  # 503 RequestThrottled or 429 although the quota was kept
    "quota_exceeded": _ALL,  # 503 QuotaExceeded likewise
    "internal_error": _ALL | _SP_ALL | _STORE,  # 500 InternalError
    "unavailable": _ALL | _SP_ALL | _STORE | _QUEUE,  # 503 ServiceUnavailable
    "html": _ALL | _SP_ALL,  # 502, the page of a proxy
    "no_answer": _CALLS,  # the connection is closed without a byte, nothing was done
    "late_answer": _ALL | _SP_ALL,  # the same, but the call had its effect
    "cut_body": _FILES | _STORE,  # closed after 60 % of the announced length
    "cut_without_length": _FILES | _STORE,  # no length announced, and closed after 60 %
    "stalled_body": _FILES | _STORE,  # half of it, then nothing
    "wrong_md5": _FILES,  # a whole body, one byte of it wrong
    "duplicate_listing": _LISTINGS | _SP_LISTING,  # the next page begins with the last entry of this one
    "empty_page": _LISTINGS | _SP_LISTING,  # more pages follow, no entries
    "token_corrupted": _NEXT_PAGES | _SP_LISTING,  # 400 for a good token
    "slow_request": frozenset(("RequestReport",)) | _SP_REQUEST,  # waits two hours, is worked on for six, then done
    "stuck_request": frozenset(("RequestReport",)) | _SP_REQUEST,  # is worked on for ever
    "cancelled": frozenset(("RequestReport",)) | _SP_REQUEST | _SCHEDULE,  # ends CANCELLED whatever there is to tell
    "fatal": _SP_REQUEST | _SCHEDULE,  # ends FATAL without a document
    "fatal_with_reason": _SP_REQUEST | _SCHEDULE,  # ends FATAL with a document that says why
    "gzip_announced_plain": _SP_DOCUMENT,  # GZIP, says the answer; the body is not compressed
    "gzip_unannounced": _SP_DOCUMENT,  # nothing said; the body is a gzip file
    "gzip_on_gzip": _STORE,  # Content-Encoding: gzip, on top of whatever the document is
    "expired_url": _STORE,  # 403 Request has expired for a fresh url
    "expired_access_token": _SP_ALL,  # 403 for a token that should live on; it no longer does
    "missing_role": _SP_ALL,  # 403 for a good token; once ordered it lasts until it is ended
    "invalid_grant": _LWA,  # 400 for a good refresh token
    "invalid_client": _LWA,  # 401 for a good client secret
    "lost_notice": _NOTICE,  # it is announced to nobody
    "doubled_notice": _NOTICE,  # the same notice twice
    "early_notice": _NOTICE,  # before the report is made, where it has an id by then
    "forged_notice": _NOTICE,  # and another of the same seller, about a report that does not exist
    "malformed_notice": _NOTICE,  # and half of it once more
    "foreign_type_notice": _NOTICE,  # and a notification of another type
    "foreign_seller_notice": _NOTICE,  # and the same of a seller whom nobody knows
}
#: What a person has to put right: it does not pass by itself after so many calls.
_LASTING = {"missing_role"}

#: A run of sixty reports sees most of these once or more, and still ends.
DEFAULT: dict[str, Any] = {
    "stall_seconds": 2,
    "rates": {
        "throttle": 0.02,
        "internal_error": 0.025,
        "unavailable": 0.025,
        "html": 0.02,
        "no_answer": 0.025,
        "empty_page": 0.05,
        "duplicate_listing": 0.05,
        "token_corrupted": 0.05,
        "cut_body": 0.04,
        "cut_without_length": 0.02,
        "stalled_body": 0.015,
        "wrong_md5": 0.04,
        "UpdateReportAcknowledgements": {"late_answer": 0.08},
        "RequestReport": {"late_answer": 0.05, "stuck_request": 0.02},
        "ManageReportSchedule": {"late_answer": 0.05},
        "gzip_announced_plain": 0.02,
        "gzip_unannounced": 0.02,
        "expired_url": 0.02,
        "expired_access_token": 0.005,
        "createReport": {
            "late_answer": 0.05,
            "stuck_request": 0.02,
            "cancelled": 0.02,
            "fatal": 0.01,
            "fatal_with_reason": 0.01,
        },
        "createReportSchedule": {"late_answer": 0.05},
        "lost_notice": 0.05,
        "doubled_notice": 0.05,
        "early_notice": 0.05,
        "forged_notice": 0.02,
        "malformed_notice": 0.02,
        "foreign_type_notice": 0.02,
        "foreign_seller_notice": 0.02,
    },
}

#: By chance nothing fails more often than this in a row: a client that tries again gets through.
_IN_A_ROW = 2


@dataclass
class _Order:
    operation: str
    account: str | None
    fault: str
    left: float


class Faults:
    """Draws the fault of each call. Each account and operation has a sequence of its own, so the seed decides it."""

    def __init__(self, seed: int) -> None:
        self.stall_seconds = 30.0
        self._seed = seed
        self._rates: dict[str, dict[str, float]] = {}
        self._orders: list[_Order] = []
        self._randoms: dict[tuple[str, str], Random] = {}
        self._in_a_row: dict[tuple[str, str, str], int] = {}
        self._lock = threading.Lock()

    def load(self, settings: dict[str, Any]) -> None:
        """`rates` (by kind, or by operation and kind) and `stall_seconds`. ValueError names what it does not know."""
        if unknown := settings.keys() - {"rates", "stall_seconds"}:
            raise ValueError(f"unknown fault settings: {', '.join(sorted(unknown))}; known are rates, stall_seconds")
        rates = _by_operation(settings.get("rates", {}))
        with self._lock:
            self._rates = rates
            self.stall_seconds = float(settings.get("stall_seconds", self.stall_seconds))

    def order(self, operation: str, fault: str, count: int | None, account: str | None) -> None:
        """The next `count` calls of that operation have that fault, of one account or of any; 0 ends what was ordered.

        Without a count it is one call, or every call where the fault is one that does not pass by itself.
        """
        if operation not in KINDS.get(fault, ()):
            raise ValueError(f"no fault {fault!r} for operation {operation!r}")
        left = count if count is not None else math.inf if fault in _LASTING else 1
        with self._lock:
            if left == 0:
                same = (operation, fault, account)
                self._orders = [o for o in self._orders if (o.operation, o.fault, o.account) != same]
            else:
                self._orders.append(_Order(operation, account, fault, left))

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        with self._lock:
            self._rates, self._orders = {}, []

    def draw(self, account: str, operation: str, subject: str, *, unfit: frozenset[str] = frozenset()) -> str | None:
        """The fault of this call, if any. `subject` is what it is about: a report id, or nothing.

        `unfit` are kinds that befall the operation but not this call: a first page has no token.
        """
        with self._lock:
            for order in self._orders:
                fits = order.operation == operation and order.fault not in unfit
                if fits and order.account in {None, account}:
                    order.left -= 1
                    self._orders = [other for other in self._orders if other.left > 0]
                    return order.fault
            return self._draw_by_chance(account, operation, subject, unfit)

    def _draw_by_chance(self, account: str, operation: str, subject: str, unfit: frozenset[str]) -> str | None:
        rates = self._rates.get(operation)
        if not rates:
            return None
        random = self._randoms.setdefault((account, operation), Random(f"{self._seed}/faults/{account}/{operation}"))
        point = random.random()
        key = (account, operation, subject)
        for kind, rate in rates.items():
            point -= rate
            if point < 0 and kind not in unfit and self._in_a_row.get(key, 0) < _IN_A_ROW:
                self._in_a_row[key] = self._in_a_row.get(key, 0) + 1
                return kind
        self._in_a_row.pop(key, None)
        return None


def _by_operation(rates: dict[str, Any]) -> dict[str, dict[str, float]]:
    sorted_out: dict[str, dict[str, float]] = {operation: {} for operation in _CALLS | _SCHEDULE | _NOTICE}
    for name, value in rates.items():
        kinds = {name: value} if name in KINDS else value
        operations = KINDS.get(name, frozenset((name,)))
        if not isinstance(kinds, dict) or not operations <= sorted_out.keys():
            raise ValueError(f"{name!r} is neither a kind of fault nor an operation")
        for kind, rate in kinds.items():
            if kind not in KINDS or not 0 <= float(rate) <= 1:
                raise ValueError(f"{kind!r}: {rate!r} is not a kind of fault with a rate from 0 to 1")
            if not operations & KINDS[kind]:
                raise ValueError(f"no fault {kind!r} for operation {name!r}")
            for operation in operations & KINDS[kind]:
                sorted_out[operation][kind] = float(rate)
    return sorted_out
