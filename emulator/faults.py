"""What goes wrong on purpose, how often, and exactly when a test says so."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from random import Random
from typing import Any

from emulator.quota import LIMITS

_LISTINGS = frozenset(
    ("GetReportList", "GetReportListByNextToken", "GetReportRequestList", "GetReportRequestListByNextToken")
)
_NEXT_PAGES = frozenset(("GetReportListByNextToken", "GetReportRequestListByNextToken"))
_FILES = frozenset(("GetReport",))
_ALL = frozenset(LIMITS)

#: Every kind, with the operations that it can befall.
KINDS: dict[str, frozenset[str]] = {
    "throttle": _ALL,  # 503 RequestThrottled although the quota was kept
    "quota_exceeded": _ALL,  # 503 QuotaExceeded likewise
    "internal_error": _ALL,  # 500 InternalError
    "unavailable": _ALL,  # 503 ServiceUnavailable
    "html": _ALL,  # 502, the page of a proxy
    "no_answer": _ALL,  # the connection is closed without a byte, nothing was done
    "late_answer": _ALL,  # the same, but the call had its effect
    "cut_body": _FILES,  # closed after 60 % of the announced length
    "cut_without_length": _FILES,  # no length announced, and closed after 60 %
    "stalled_body": _FILES,  # half of it, then nothing
    "wrong_md5": _FILES,  # a whole body, one byte of it wrong
    "duplicate_listing": _LISTINGS,  # the next page begins with the last entry of this one
    "empty_page": _LISTINGS,  # HasNext true, no entries
    "token_corrupted": _NEXT_PAGES,  # 400 NextTokenCorrupted for a good token
    "slow_request": frozenset(("RequestReport",)),  # _SUBMITTED_ for two hours, _IN_PROGRESS_ for six, then done
    "stuck_request": frozenset(("RequestReport",)),  # stays _IN_PROGRESS_
}

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
    },
}

#: By chance nothing fails more often than this in a row: a client that tries again gets through.
_IN_A_ROW = 2


@dataclass
class _Order:
    operation: str
    account: str | None
    fault: str
    left: int


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

    def order(self, operation: str, fault: str, count: int, account: str | None) -> None:
        """The next `count` calls of that operation have that fault, of one account or of any."""
        if operation not in KINDS.get(fault, ()):
            raise ValueError(f"no fault {fault!r} for operation {operation!r}")
        with self._lock:
            self._orders.append(_Order(operation, account, fault, count))

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        with self._lock:
            self._rates, self._orders = {}, []

    def draw(self, account: str, operation: str, subject: str) -> str | None:
        """The fault of this call, if any. `subject` is what it is about: a report id, or nothing."""
        with self._lock:
            for order in self._orders:
                if order.operation == operation and order.account in {None, account}:
                    order.left -= 1
                    self._orders = [other for other in self._orders if other.left > 0]
                    return order.fault
            return self._draw_by_chance(account, operation, subject)

    def _draw_by_chance(self, account: str, operation: str, subject: str) -> str | None:
        rates = self._rates.get(operation)
        if not rates:
            return None
        random = self._randoms.setdefault((account, operation), Random(f"{self._seed}/faults/{account}/{operation}"))
        point = random.random()
        key = (account, operation, subject)
        for kind, rate in rates.items():
            point -= rate
            if point < 0 and self._in_a_row.get(key, 0) < _IN_A_ROW:
                self._in_a_row[key] = self._in_a_row.get(key, 0) + 1
                return kind
        self._in_a_row.pop(key, None)
        return None


def _by_operation(rates: dict[str, Any]) -> dict[str, dict[str, float]]:
    sorted_out: dict[str, dict[str, float]] = {operation: {} for operation in LIMITS}
    for name, value in rates.items():
        kinds = {name: value} if name in KINDS else value
        operations = KINDS.get(name, frozenset((name,)))
        if not isinstance(kinds, dict) or not operations <= LIMITS.keys():
            raise ValueError(f"{name!r} is neither a kind of fault nor an operation")
        for kind, rate in kinds.items():
            if kind not in KINDS or not 0 <= float(rate) <= 1:
                raise ValueError(f"{kind!r}: {rate!r} is not a kind of fault with a rate from 0 to 1")
            for operation in operations & KINDS[kind]:
                sorted_out[operation][kind] = float(rate)
    return sorted_out
