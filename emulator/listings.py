"""Listings: what matches, a page of it, the place where the next page begins, and how entries are described."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from emulator.call import Outcome
from emulator.parameters import Refusal
from emulator.report_types import STATUSES
from emulator.requests import RETENTION

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from emulator.account import Account
    from emulator.answers import Element
    from emulator.call import Call
    from emulator.reports import Report
    from emulator.requests import Request, Schedule
    from emulator.world import World


@dataclass(frozen=True)
class Place:
    """A place in a listing: what matches (asked again for every page), how far it was read, entries a page.

    That what matches is asked again is Amazon's behaviour: acknowledge while you page with Acknowledged=false, and
    the entries behind move forward under your feet.
    """

    account: Account
    operation: str
    matching: Callable[[datetime], list[Any]]
    describe: Callable[[Account, list[Any], datetime], list[Any]]
    size: int
    offset: int = 0


def turn_page(world: World, place: Place, now: datetime, fault: str | None) -> tuple[list[Any], str | None]:
    """The entries at that place, and a token where more follow. All pages are full but the last."""
    found = place.matching(now)
    shown = [] if fault == "empty_page" else found[place.offset : place.offset + place.size]
    offset = place.offset + len(shown)
    if fault == "duplicate_listing" and shown:
        offset -= 1  # the last entry of this page is the first of the next
    more = offset < len(found) or fault == "empty_page"
    return shown, world.keep_place(replace(place, offset=offset), now) if more else None


def show_page(call: Call, place: Place) -> Outcome:
    """The page at that place, with a NextToken where more follows."""
    shown, token = turn_page(call.world, place, call.now, call.fault)
    result: list[Element] = [("HasNext", "true" if token else "false")]
    if token:
        result.append(("NextToken", token))
    result += place.describe(call.account, shown, call.now)
    ids = [entry.report_id for entry in shown] if place.operation == "GetReportList" else []
    return Outcome(result, report_ids=ids, next_token=token)


def report_filter(call: Call) -> Callable[[datetime], list[Report]]:
    """What matches is bounded by the first call: what arrives while somebody pages is for the next listing."""
    parameters, account = call.parameters, call.account
    newest = max(map(int, account.reports), default=0)
    request_ids = set(parameters.list("ReportRequestIdList.Id"))
    types = set(parameters.list("ReportTypeList.Type"))
    acknowledged = parameters.flag("Acknowledged")
    start = parameters.moment("AvailableFromDate") or call.now - RETENTION
    end = parameters.moment("AvailableToDate") or call.now
    if start > end:
        raise Refusal("InvalidParameterValue", "AvailableFromDate is after AvailableToDate.")

    def matches(report: Report) -> bool:
        if request_ids:  # overrides all other filters (MWS documentation)
            return report.request_id in request_ids
        return (
            int(report.report_id) <= newest
            and start <= report.available_at <= end
            and (not types or report.report_type in types)
            and (acknowledged is None or (report.report_id in account.acknowledged) is acknowledged)
        )

    def matching(now: datetime) -> list[Report]:
        return sorted(filter(matches, account.available(now)), key=lambda report: report.newness, reverse=True)

    return matching


def request_filter(call: Call) -> Callable[[datetime], list[Request]]:
    """As report_filter, of requests."""
    parameters, account = call.parameters, call.account
    newest = max(map(int, account.requests), default=0)
    request_ids = set(parameters.list("ReportRequestIdList.Id"))
    types = set(parameters.list("ReportTypeList.Type"))
    statuses = set(parameters.list("ReportProcessingStatusList.Status"))
    if not statuses <= STATUSES:
        raise Refusal("InvalidParameterValue", f"Status must be one of {', '.join(sorted(STATUSES))}.")
    start = parameters.moment("RequestedFromDate") or call.now - RETENTION
    end = parameters.moment("RequestedToDate") or call.now
    if start > end:
        raise Refusal("InvalidParameterValue", "RequestedFromDate is after RequestedToDate.")

    def matches(request: Request, now: datetime) -> bool:
        if request_ids:
            return request.request_id in request_ids
        return (
            int(request.request_id) <= newest
            and start <= request.submitted_at <= end
            and (not types or request.report_type in types)
            and (not statuses or request.status(now) in statuses)
        )

    def matching(now: datetime) -> list[Request]:
        found = [request for request in account.requests.values() if matches(request, now)]
        return sorted(found, key=lambda request: (request.submitted_at, int(request.request_id)), reverse=True)

    return matching


def describe_reports(account: Account, reports: list[Report], _now: datetime) -> list[Element]:
    described: list[Element] = []
    for report in reports:
        acknowledged = account.acknowledged.get(report.report_id)
        entry: list[Element] = [
            ("ReportId", report.report_id),
            ("ReportType", report.report_type),
            ("ReportRequestId", report.request_id),
            ("AvailableDate", _date(report.available_at)),
            ("Acknowledged", "true" if acknowledged else "false"),
        ]
        if acknowledged:
            entry.append(("AcknowledgedDate", _date(acknowledged)))
        described.append(("ReportInfo", entry))
    return described


def describe_requests(_account: Account, requests: list[Request], now: datetime) -> list[Element]:
    described: list[Element] = []
    for request in requests:
        status = request.status(now)
        entry: list[Element] = [
            ("ReportType", request.report_type),
            ("ReportProcessingStatus", status),
            ("EndDate", _date(request.end)),
            ("Scheduled", "true" if request.scheduled else "false"),
            ("ReportRequestId", request.request_id),
            ("SubmittedDate", _date(request.submitted_at)),
            ("StartDate", _date(request.start)),
        ]
        if status in {"_IN_PROGRESS_", "_DONE_", "_DONE_NO_DATA_"}:
            entry.append(("StartedProcessingDate", _date(request.started_at)))
        if status in {"_DONE_", "_DONE_NO_DATA_"} and request.done_at:
            entry.append(("CompletedDate", _date(request.done_at)))
        if status == "_DONE_" and request.report_id:
            entry.append(("GeneratedReportId", request.report_id))
        described.append(("ReportRequestInfo", entry))
    return described


def describe_schedules(schedules: list[Schedule]) -> list[Element]:
    return [
        (
            "ReportSchedule",
            [
                ("ReportType", schedule.report_type),
                ("Schedule", schedule.name),
                ("ScheduledDate", _date(schedule.due)),
            ],
        )
        for schedule in schedules
    ]


def _date(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S+00:00")
