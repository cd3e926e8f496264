"""Report schedules: what is declared beside what Amazon has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orderdrain.amazon import NEVER
from orderdrain.errors import UsageError
from orderdrain.families import REPORT_TYPES, api_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from orderdrain.amazon import ScheduleInfo
    from orderdrain.families import ReportType

#: Each API's words for "every so often" (MWS documentation, Schedule enumeration; SP-API model, `period`); NEVER
#: removes a schedule.
INTERVALS = {
    "mws": (
        "_15_MINUTES_",
        "_30_MINUTES_",
        "_1_HOUR_",
        "_2_HOURS_",
        "_4_HOURS_",
        "_8_HOURS_",
        "_12_HOURS_",
        "_1_DAY_",
        "_2_DAYS_",
        "_72_HOURS_",
        "_1_WEEK_",
        "_14_DAYS_",
        "_15_DAYS_",
        "_30_DAYS_",
        NEVER,
    ),
    "sp-api": (
        *("PT5M", "PT15M", "PT30M", "PT1H", "PT2H", "PT4H", "PT8H", "PT12H", "P1D", "P2D", "P3D", "PT84H"),
        *("P7D", "P14D", "P15D", "P18D", "P30D", "P1M"),
        NEVER,
    ),
}


@dataclass(frozen=True)
class Change:
    """What must change at Amazon for one report type. `blocked`: why it must not, since it would touch another's."""

    report_type: str
    at_amazon: str
    declared: str
    blocked: str | None = None

    def __str__(self) -> str:
        told = f"{self.report_type} {self.at_amazon} > {self.declared}"
        return f"{told} (not changed: {self.blocked})" if self.blocked else told


def check_declaration(report_types: Mapping[str, str], api: str) -> None:
    """Refuses what cannot be drained or scheduled at this API. Raises UsageError with what would do."""
    if not report_types:
        raise UsageError("an account must declare at least one report type, such as _GET_FLAT_FILE_ORDERS_DATA_")
    for name, every in report_types.items():
        known = drained(name)
        if api_of(name) != api:
            raise UsageError(f"{name} is a report type of {api_of(name)}, and this connection is to {api}")
        if every not in INTERVALS[api]:
            raise UsageError(f"{every} is no interval of Amazon's for {name}. One of: {', '.join(INTERVALS[api])}")
        if every != NEVER and not known.schedulable:
            raise UsageError(
                f"{name} cannot be scheduled: Amazon makes it on request only. Declare {name}={NEVER}, and ask for it"
                " with: orderdrain request"
            )
        for twin in known.twins:
            if every != NEVER and report_types.get(twin, NEVER) != NEVER:
                raise UsageError(
                    f"{name} and {twin} cannot both be scheduled: scheduling the second makes Amazon cancel the first"
                    " without a word. Declare one of them"
                )


def check_request(report_type: str, start: datetime | None, end: datetime | None, now: datetime) -> None:
    """Refuses what Amazon would refuse, or what we could not drain. Raises UsageError with what would do."""
    if not drained(report_type).requestable:
        raise UsageError(f"{report_type} cannot be requested: Amazon makes it by a schedule only")
    if (start is None) != (end is None):
        raise UsageError("a window has a begin and an end: say both --from and --to, or neither")
    if start is None and api_of(report_type) == "sp-api":
        # Where none is named, both are now (SP-API model, dataStartTime and dataEndTime): it would always be CANCELLED.
        raise UsageError(f"{report_type} needs a window at SP-API: say --from and --to")
    if start and end and not start < end <= now:
        raise UsageError(f"the window must begin before it ends, and end by now ({now:%Y-%m-%dT%H:%M:%SZ})")


def drained(name: str) -> ReportType:
    """The report type of that name. Raises UsageError with those that there are."""
    known = REPORT_TYPES.get(name)
    if known is None:
        able = ", ".join(sorted(REPORT_TYPES))
        raise UsageError(f"{name} is no report type that this version drains. It drains: {able}")
    return known


def compare(declared: Mapping[str, str], at_amazon: Iterable[ScheduleInfo]) -> list[Change]:
    """The changes that would make Amazon's side agree with what is declared; nothing for what is not declared."""
    at_amazon = list(at_amazon)
    there = {info.report_type: info.every for info in at_amazon if info.ours}
    scheduled = {info.report_type for info in at_amazon if info.every != NEVER}
    changes = []
    for report_type, every in sorted(declared.items()):
        now = there.get(report_type, NEVER)
        if now == every:
            continue
        cancelled = [twin for twin in REPORT_TYPES[report_type].twins if twin in scheduled and twin not in declared]
        blocked = None
        if every != NEVER and cancelled:
            blocked = f"Amazon would cancel {cancelled[0]}, which is scheduled there and not declared here"
        changes.append(Change(report_type, now, every, blocked))
    return changes
