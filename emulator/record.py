"""The record of every MWS call: what the demo and the tests are judged by."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any


class Record:
    """An append-only list of calls, numbered from 1, with totals."""

    def __init__(self) -> None:
        self._calls: list[dict[str, Any]] = []
        self._by_operation: Counter[str] = Counter()
        self._by_outcome: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._over_quota = 0
        self._lock = threading.Lock()

    def add(self, call: dict[str, Any]) -> None:
        """Records one call; its number is given here."""
        with self._lock:
            self._calls.append({"n": len(self._calls) + 1} | call)
            self._by_operation[call["operation"]] += 1
            self._by_outcome[call["code"] or ("ok" if call["status"] == 200 else str(call["status"]))] += 1
            self._over_quota += call["over_quota"]
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
                    "faults": dict(self._faults),
                },
                "calls": self._calls[max(since, 0) :],
            }
