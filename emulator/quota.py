"""Amazon's quotas: a bucket for each account and operation, and at MWS beside it a fixed hour.

MWS documentation: a request takes one from the bucket, which refills at the restore rate; apart from that an hourly
quota counts in fixed windows whose start varies between callers. Each has its own error. SP-API knows the bucket alone.
"""

from __future__ import annotations

import sys
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class Limit:
    """`burst` requests at once, one more every `restore_seconds`, no more than `hourly` in an hour."""

    burst: int
    restore_seconds: float
    hourly: int = sys.maxsize


_RARE = Limit(10, 45, 80)
_NEXT_TOKEN = Limit(30, 2, 1800)
#: MWS documentation; the hourly figures also as recorded in x-mws-quota-max.
LIMITS: dict[str, Limit] = {
    "RequestReport": Limit(15, 60, 60),
    "GetReportRequestList": _RARE,
    "GetReportRequestListByNextToken": _NEXT_TOKEN,
    "GetReportRequestCount": _RARE,
    "CancelReportRequests": _RARE,
    "GetReportList": Limit(10, 60, 60),
    "GetReportListByNextToken": _NEXT_TOKEN,
    "GetReportCount": _RARE,
    "GetReport": Limit(15, 60, 60),
    "ManageReportSchedule": _RARE,
    "GetReportScheduleList": _RARE,
    "GetReportScheduleListByNextToken": _NEXT_TOKEN,
    "GetReportScheduleCount": _RARE,
    "UpdateReportAcknowledgements": _RARE,
}

_COMMON = Limit(10, 1 / 0.0222)
_COSTLY = Limit(15, 1 / 0.0167)
#: SP-API model: burst, and the rate in requests a second, of which this is the inverse.
SP_LIMITS: dict[str, Limit] = {
    "getReports": _COMMON,
    "createReport": _COSTLY,
    "getReport": Limit(15, 0.5),
    "cancelReport": _COMMON,
    "getReportDocument": _COSTLY,
    "createReportSchedule": _COMMON,
    "getReportSchedules": _COMMON,
    "getReportSchedule": _COMMON,
    "cancelReportSchedule": _COMMON,
    "createRestrictedDataToken": Limit(10, 1),
}
_ALL_LIMITS = LIMITS | SP_LIMITS


@dataclass
class _Bucket:
    limit: Limit
    tokens: float
    refilled_at: datetime
    window: datetime
    used: int = 0


class Quotas:
    """Every account's buckets. Not thread-safe: World's lock guards it."""

    def __init__(self) -> None:
        self._buckets: dict[tuple[str, str], _Bucket] = {}
        self._limits: dict[tuple[str, str], Limit] = {}

    def change(self, accounts: Iterable[str], operation: str, limit: Limit) -> None:
        """From now on these accounts have another limit for that operation, and a full bucket. `createReport:TYPE` is
        a limit of that report type's own, beside that of all."""
        for account in accounts:
            self._limits[account, operation] = limit
            self._buckets.pop((account, operation), None)

    def take(self, account: str, operation: str, now: datetime, report_type: str = "") -> str | None:
        """Takes one, and one of the report type's own where it has a limit of its own. None, or the code of Amazon's
        refusal; a refused request costs nothing."""
        names = dict.fromkeys((operation, self._own(account, operation, report_type)))
        buckets = [self._bucket(account, name, now) for name in names]
        if any(bucket.used >= bucket.limit.hourly for bucket in buckets):
            return "QuotaExceeded"
        # The tolerance forgives the rounding of many small refills, never a whole microsecond of waiting.
        if any(bucket.tokens < 1 - 1e-9 for bucket in buckets):
            return "RequestThrottled"
        for bucket in buckets:
            bucket.tokens -= 1
            bucket.used += 1
        return None

    def hour(self, account: str, operation: str, now: datetime) -> tuple[int, int, datetime]:
        """The hourly quota, how much of it is left, and when the next hour begins."""
        bucket = self._bucket(account, operation, now)
        return bucket.limit.hourly, bucket.limit.hourly - bucket.used, bucket.window + timedelta(hours=1)

    def rate(self, account: str, operation: str, report_type: str = "") -> float:
        """Requests a second, as restored."""
        return 1 / self._limit(account, self._own(account, operation, report_type)).restore_seconds

    def _own(self, account: str, operation: str, report_type: str) -> str:
        own = f"{operation}:{report_type}"
        return own if (account, own) in self._limits else operation

    def _limit(self, account: str, operation: str) -> Limit:
        return self._limits.get((account, operation)) or _ALL_LIMITS[operation]

    def _bucket(self, account: str, operation: str, now: datetime) -> _Bucket:
        window = _window(account, now)
        bucket = self._buckets.get((account, operation))
        if bucket is None:
            limit = self._limit(account, operation)
            bucket = _Bucket(limit, limit.burst, now, window)
            self._buckets[account, operation] = bucket
        refill = (now - bucket.refilled_at).total_seconds() / bucket.limit.restore_seconds
        bucket.tokens = min(bucket.limit.burst, bucket.tokens + refill)
        bucket.refilled_at = now
        if bucket.window != window:
            bucket.window, bucket.used = window, 0
        return bucket


def _window(account: str, now: datetime) -> datetime:
    """The start of the account's running hour: at a minute of its own."""
    shift = timedelta(minutes=zlib.crc32(account.encode()) % 60)
    epoch = datetime(1970, 1, 1, tzinfo=UTC) + shift
    return epoch + (now - epoch) // timedelta(hours=1) * timedelta(hours=1)
