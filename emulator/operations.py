"""The fourteen operations of the Reports API: what they read, change and answer.

Each takes a Call and returns an Outcome, or raises Refusal before anything is changed. They run under World's lock.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import unquote

from emulator.call import Outcome
from emulator.listings import (
    Place,
    describe_reports,
    describe_requests,
    describe_schedules,
    report_filter,
    request_filter,
    show_page,
)
from emulator.parameters import Refusal
from emulator.report_types import ONE_OF, REPORT_TYPES, SCHEDULES
from emulator.requests import Schedule

if TYPE_CHECKING:
    from collections.abc import Callable

    from emulator.answers import Element
    from emulator.call import Call
    from emulator.reports import Report


def get_report_list(call: Call) -> Outcome:
    """Reports by request, or by type, acknowledgement and date; newest first."""
    matching = report_filter(call)
    return show_page(
        call, Place(call.account, "GetReportList", matching, describe_reports, call.parameters.max_count())
    )


def get_report_count(call: Call) -> Outcome:
    """How many reports GetReportList would list."""
    return Outcome([("Count", str(len(report_filter(call)(call.now))))])


def get_report_request_list(call: Call) -> Outcome:
    """Requests by id, or by type, status and date; newest first. Those of schedules are among them."""
    matching = request_filter(call)
    size = call.parameters.max_count()
    return show_page(call, Place(call.account, "GetReportRequestList", matching, describe_requests, size))


def get_report_request_count(call: Call) -> Outcome:
    """How many requests GetReportRequestList would list."""
    return Outcome([("Count", str(len(request_filter(call)(call.now))))])


def next_page(operation: str) -> Callable[[Call], Outcome]:
    """The ...ByNextToken operation of a listing. A token of another account or listing is corrupted here."""

    def get_next_page(call: Call) -> Outcome:
        place = call.world.find_place(call.parameters.required("NextToken"), call.now)
        if place is None or place.account is not call.account or place.operation != operation:
            raise Refusal("NextTokenCorrupted", "The NextToken is corrupted or has expired.")
        return show_page(call, place)

    return get_next_page


def get_report(call: Call) -> Outcome:
    """One report's bytes."""
    report = _known_report(call, call.parameters.required("ReportId"))
    return Outcome(report=report, report_ids=[report.report_id])


def request_report(call: Call) -> Outcome:
    """Asks for a report of a window. Without dates it is the last 30 days, as recorded in 2018."""
    parameters, seller = call.parameters, call.account.seller
    report_type = _allowed_type(call, "requestable")
    end = parameters.moment("EndDate") or call.now.replace(microsecond=0)
    start = parameters.moment("StartDate") or end - timedelta(days=30)
    if end > call.now or start > end:
        raise Refusal("InvalidParameterValue", "StartDate must not be after EndDate, nor EndDate after now.")
    wanted = parameters.list("MarketplaceIdList.Id")
    countries = {m.marketplace_id: m.country for m in seller.marketplaces}
    if wanted and (seller.home.region == "FE" or not countries.keys() >= set(wanted)):
        raise Refusal("InvalidParameterValue", "MarketplaceIdList holds a marketplace that is not this seller's.")
    options = unquote(parameters.text("ReportOptions") or "").lower()
    request = call.account.request(
        report_type,
        start,
        end,
        call.now,
        countries=frozenset(countries[each] for each in wanted) or None,
        sales_channel="showsaleschannel=true" in options,
        fault=call.fault,
    )
    return Outcome(describe_requests(call.account, [request], call.now))


def cancel_report_requests(call: Call) -> Outcome:
    """Cancels what has not begun; Count is of all, only the first 100 are listed (MWS documentation)."""
    waiting = [r for r in request_filter(call)(call.now) if r.status(call.now) == "_SUBMITTED_" and not r.scheduled]
    for request in waiting:
        call.account.cancel(request)
    return Outcome([("Count", str(len(waiting))), *describe_requests(call.account, waiting[:100], call.now)])


def manage_report_schedule(call: Call) -> Outcome:
    """Sets, replaces or (`_NEVER_`) ends the schedule of a report type."""
    parameters, account = call.parameters, call.account
    report_type = _allowed_type(call, "schedulable")
    name = parameters.required("Schedule")
    if name not in SCHEDULES:
        raise Refusal("InvalidParameterValue", f"Schedule must be one of {', '.join(SCHEDULES)}.")
    due = max(parameters.moment("ScheduleDate") or call.now, call.now)
    if due > call.now + timedelta(days=366):
        raise Refusal("InvalidParameterValue", "ScheduleDate is more than 366 days ahead.")
    for cancelled in ONE_OF if report_type in ONE_OF else {report_type}:
        account.schedules.pop(cancelled, None)
    period = SCHEDULES[name]
    if period is None:
        ended = Schedule(report_type, name, timedelta(0), call.now)
        return Outcome([("Count", "1"), *describe_schedules([ended])])
    account.schedule(report_type, name, period, due)
    return Outcome([("Count", "1"), *describe_schedules([account.schedules[report_type]])])


def get_report_schedule_list(call: Call) -> Outcome:
    """All schedules, or those of some types; always on one page."""
    return Outcome([("HasNext", "false"), *describe_schedules(_schedules(call))])


def get_report_schedule_count(call: Call) -> Outcome:
    """How many schedules GetReportScheduleList would list."""
    return Outcome([("Count", str(len(_schedules(call))))])


def update_report_acknowledgements(call: Call) -> Outcome:
    """Marks (without `Acknowledged`: true) up to 100 reports; one unknown id and nothing is marked."""
    reports = reports_to_acknowledge(call)
    acknowledged = call.parameters.flag("Acknowledged") is not False
    ids = [report.report_id for report in reports]
    call.account.acknowledge(ids, call.now, acknowledged=acknowledged)
    result: list[Element] = [("Count", str(len(reports))), *describe_reports(call.account, reports, call.now)]
    return Outcome(result, report_ids=ids)


def reports_to_acknowledge(call: Call) -> list[Report]:
    """The reports that an UpdateReportAcknowledgements names, each once."""
    ids = call.parameters.list("ReportIdList.Id")
    if not ids:
        raise Refusal("InvalidParameterValue", "ReportIdList.Id.1 is missing.")
    return [_known_report(call, report_id) for report_id in dict.fromkeys(ids)]


OPERATIONS: dict[str, Callable[[Call], Outcome]] = {
    "RequestReport": request_report,
    "GetReportRequestList": get_report_request_list,
    "GetReportRequestListByNextToken": next_page("GetReportRequestList"),
    "GetReportRequestCount": get_report_request_count,
    "CancelReportRequests": cancel_report_requests,
    "GetReportList": get_report_list,
    "GetReportListByNextToken": next_page("GetReportList"),
    "GetReportCount": get_report_count,
    "GetReport": get_report,
    "ManageReportSchedule": manage_report_schedule,
    "GetReportScheduleList": get_report_schedule_list,
    "GetReportScheduleListByNextToken": next_page("GetReportScheduleList"),
    "GetReportScheduleCount": get_report_schedule_count,
    "UpdateReportAcknowledgements": update_report_acknowledgements,
}


def _schedules(call: Call) -> list[Schedule]:
    types = call.parameters.list("ReportTypeList.Type")
    return [schedule for schedule in call.account.schedules.values() if not types or schedule.report_type in types]


def _known_report(call: Call, report_id: str) -> Report:
    report = call.account.find(report_id, call.now)
    if report is None:
        raise Refusal("InvalidParameterValue", f"There is no report with the ReportId {report_id}.")
    return report


def _allowed_type(call: Call, what: str) -> str:
    name = call.parameters.required("ReportType")
    kind = REPORT_TYPES.get(name)
    if kind is None or kind.country not in {None, call.account.seller.home.country}:
        raise Refusal("InvalidParameterValue", f"{name} is not a valid report type for this seller.")
    if not getattr(kind, what):
        raise Refusal("InvalidParameterValue", f"{name} is not {what}.")
    return name
