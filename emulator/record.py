"""The record of every call: what the demo and the tests are judged by."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

from emulator.clock import iso

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime


def describe_call(
    api: str,
    operation: str,
    *,
    at: datetime,
    account: str | None,
    status: int | None,
    code: str | None,
    request_id: str,
    report_ids: list[str] | None = None,
    over_quota: bool = False,
    fault: str | None = None,
    applied: bool = False,
    next_token: bool = False,
    token_used: str | None = None,
    token_given: str | None = None,
    parameters: Iterable[str] = (),
) -> dict[str, Any]:
    """A call as `/_emulator/calls` shows it. Of a NextToken, used or given, only a digest is kept; of the parameters of
    an SP-API call their names."""
    return {
        "at": iso(at),
        "api": api,
        "account": account,
        "operation": operation,
        "status": status,
        "code": code,
        "request_id": request_id,
        "report_ids": report_ids or [],
        "over_quota": over_quota,
        "fault": fault,
        "applied": applied,
        "next_token": next_token,
        "token_used": _digest(token_used),
        "token_given": _digest(token_given),
        "parameters": sorted(parameters),
    }


class Record:
    """An append-only list of calls, numbered from 1, with totals."""

    def __init__(self) -> None:
        self._calls: list[dict[str, Any]] = []
        self._by_operation: Counter[str] = Counter()
        self._by_outcome: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._over_quota = 0
        self._leaks = 0
        self._lock = threading.Lock()

    def add(self, call: dict[str, Any]) -> None:
        """Records one call; its number is given here."""
        with self._lock:
            self._calls.append({"n": len(self._calls) + 1} | call)
            self._by_operation[call["operation"]] += 1
            self._by_outcome[call["code"] or ("ok" if call["status"] in {200, 201, 202} else str(call["status"]))] += 1
            self._over_quota += call["over_quota"]
            self._leaks += call.get("leak", False)
            if call["fault"]:
                self._faults[call["fault"]] += 1

    def as_json(self, since: int) -> dict[str, Any]:
        """The totals of all, and the calls after number `since`."""
        with self._lock:
            return {
                "totals": {
                    "calls": len(self._calls),
                    "by_operation": dict(self._by_operation),
                    "by_outcome": dict(self._by_outcome),
                    "over_quota": self._over_quota,
                    "leaks": self._leaks,
                    "faults": dict(self._faults),
                },
                "calls": self._calls[max(since, 0) :],
            }


def _digest(token: str | None) -> str | None:
    return token and hashlib.sha256(token.encode()).hexdigest()[:12]
