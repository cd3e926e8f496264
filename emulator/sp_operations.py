"""The ten operations of SP-API that are here: nine of Reports API 2021-06-30, and one that makes restricted tokens.

Each takes an SpCall and returns an SpOutcome, or raises Refusal before anything changes. They run under World's lock.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from emulator.listings import Place, turn_page
from emulator.lwa import LIFE
from emulator.requests import RETENTION
from emulator.sp_call import Denied, Invalid, Missing, SpOutcome
from emulator.sp_report_types import PERIODS, PROCESSING_STATUSES, SP_REPORT_TYPES, rivals

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from emulator.account import Account
    from emulator.sp_call import SpCall
    from emulator.sp_reports import SpReport, SpSchedule

#: What a restricted data token may open here: one document, named.
_DOCUMENT_PATH = re.compile(r"/reports/2021-06-30/documents/[^/{}]+")
_FILTERS = ("reportTypes", "processingStatuses", "marketplaceIds", "pageSize", "createdSince", "createdUntil")


def get_reports(call: SpCall) -> SpOutcome:
    """Reports by type, status, marketplace and creation, newest first; or the page that a nextToken stands for."""
    place = _next_place(call) or Place(
        call.account, "getReports", _report_filter(call), _describe_all, call.page_size()
    )
    shown, token = turn_page(call.world, place, call.now, call.fault)
    answer: dict[str, Any] = {"reports": place.describe(call.account, shown, call.now)}
    if token:
        answer["nextToken"] = token
    return SpOutcome(answer, report_ids=[report.request_id for report in shown])


def create_report(call: SpCall) -> SpOutcome:
    """Asks for a report of a window; both its ends are now where they are not given (SP-API model)."""
    report_type = call.allowed_type("requestable")
    now = call.now.replace(microsecond=0)
    start, end = call.moment("dataStartTime") or now, call.moment("dataEndTime") or now
    if start > end or end > call.now:
        raise Invalid("dataStartTime must not be after dataEndTime, nor either of them after now.")
    report = call.account.sp.request(
        report_type,
        start,
        end,
        call.now,
        marketplace_ids=call.marketplace_ids(),
        sales_channel=call.options().get("ShowSalesChannel", "").lower() == "true",
        fault=call.fault,
    )
    return SpOutcome({"reportId": report.request_id}, 202, [report.request_id])


def get_report(call: SpCall) -> SpOutcome:
    """One report: how it stands."""
    report = _known_report(call)
    return SpOutcome(describe_report(report, call.now), report_ids=[report.request_id])


def cancel_report(call: SpCall) -> SpOutcome:
    """Only what still waits can be cancelled. The model gives the answer no body; clients that read one get `{}`."""
    report = _known_report(call)
    if report.status(call.now) != "IN_QUEUE":
        raise Invalid("The report is not IN_QUEUE and cannot be cancelled.")
    call.account.sp.cancel(report, call.now)
    return SpOutcome({}, report_ids=[report.request_id])


def get_report_document(call: SpCall) -> SpOutcome:
    """Where the bytes lie, for five minutes. A restricted type's document only to a token made for its very path."""
    report = call.account.sp.find_document(call.path_id, call.now)
    if report is None or report.document is None:
        raise Missing("The report document could not be found.")
    kind = SP_REPORT_TYPES.get(report.report_type)
    if kind and kind.restricted and call.grant.paths is None:
        raise Denied
    document = report.document
    compressed, announced = {
        "gzip_announced_plain": (False, True),
        "gzip_unannounced": (True, False),
    }.get(call.fault or "", (document.compressed, document.announced))
    url = call.documents.sign(call.account, document, call.now, compressed=compressed, host=call.host)
    answer = {"reportDocumentId": document.document_id, "url": url}
    if announced:
        answer["compressionAlgorithm"] = "GZIP"
    return SpOutcome(answer, report_ids=[report.request_id])


def create_report_schedule(call: SpCall) -> SpOutcome:
    """Sets a schedule in place of that of the same type and marketplaces, whose interval it goes on with."""
    account = call.account.sp
    report_type, marketplace_ids = call.allowed_type("schedulable"), call.marketplace_ids()
    name = str(call.body.get("period", ""))
    if name not in PERIODS:
        raise Invalid(f"period must be one of {', '.join(PERIODS)}.")
    options = call.options()
    due = max(call.moment("nextReportCreationTime") or call.now, call.now)
    if due > call.now + timedelta(days=366):
        raise Invalid("nextReportCreationTime is more than 366 days ahead.")
    replaced = [s for s in account.schedules.values() if s.report_type in rivals(report_type)]
    same = [
        schedule
        for schedule in account.schedules.values()
        if schedule.report_type == report_type and set(schedule.marketplace_ids) == set(marketplace_ids)
    ]
    for schedule in replaced + same:
        del account.schedules[schedule.schedule_id]
    period = PERIODS[name]
    covered_until = same[0].covered_until if same else due - period
    made = account.schedule(
        report_type,
        name,
        period,
        due,
        covered_until=covered_until,
        marketplace_ids=marketplace_ids,
        options=options,
    )
    return SpOutcome({"reportScheduleId": made.schedule_id}, 201)


def get_report_schedules(call: SpCall) -> SpOutcome:
    """The schedules of some types; always on one page."""
    types = call.report_types()
    found = [_describe_schedule(s) for s in call.account.sp.schedules.values() if s.report_type in types]
    return SpOutcome({"reportSchedules": found})


def get_report_schedule(call: SpCall) -> SpOutcome:
    """One schedule."""
    return SpOutcome(_describe_schedule(_known_schedule(call)))


def cancel_report_schedule(call: SpCall) -> SpOutcome:
    """Ends a schedule; what it made stays."""
    del call.account.sp.schedules[_known_schedule(call).schedule_id]
    return SpOutcome({})


def create_restricted_data_token(call: SpCall) -> SpOutcome:
    """A token for named documents, 50 at the most; a generic path opens no report document (SP-API documentation)."""
    resources = call.body.get("restrictedResources")
    if not isinstance(resources, list) or not 1 <= len(resources) <= 50:
        raise Invalid("restrictedResources must name 1 to 50 resources.")
    for resource in resources:
        if not isinstance(resource, dict) or resource.get("method") != "GET":
            raise Invalid("A restricted report document is read with the method GET.")
        if not _DOCUMENT_PATH.fullmatch(str(resource.get("path", ""))):
            raise Invalid("The path of a restricted resource must be that of one report document.")
    paths = frozenset(str(resource["path"]) for resource in resources)
    token = call.tokens.issue(call.account, call.now, paths)
    return SpOutcome({"restrictedDataToken": token, "expiresIn": int(LIFE.total_seconds())})


SP_OPERATIONS: dict[str, Callable[[SpCall], SpOutcome]] = {
    "getReports": get_reports,
    "createReport": create_report,
    "getReport": get_report,
    "cancelReport": cancel_report,
    "getReportDocument": get_report_document,
    "createReportSchedule": create_report_schedule,
    "getReportSchedules": get_report_schedules,
    "getReportSchedule": get_report_schedule,
    "cancelReportSchedule": cancel_report_schedule,
    "createRestrictedDataToken": create_restricted_data_token,
}


def describe_report(report: SpReport, now: datetime) -> dict[str, Any]:
    """As the model has it: what is not known yet is absent, never null."""
    status = report.status(now)
    started = not report.cancelled and status != "IN_QUEUE"
    ended = report.done_at if status in {"DONE", "FATAL", "CANCELLED"} else None
    known = {
        "reportId": report.request_id,
        "reportType": report.report_type,
        "processingStatus": status,
        "marketplaceIds": list(report.marketplace_ids),
        "dataStartTime": _date(report.start),
        "dataEndTime": _date(report.end),
        "createdTime": _date(report.submitted_at),
        "reportScheduleId": report.schedule_id,
        "processingStartTime": _date(report.started_at) if started else None,
        "processingEndTime": _date(ended) if ended else None,
        "reportDocumentId": report.document.document_id if ended and report.document else None,
    }
    return {name: value for name, value in known.items() if value is not None}


def _describe_all(_account: Account, reports: list[SpReport], now: datetime) -> list[dict[str, Any]]:
    return [describe_report(report, now) for report in reports]


def _describe_schedule(schedule: SpSchedule) -> dict[str, Any]:
    known = {
        "reportScheduleId": schedule.schedule_id,
        "reportType": schedule.report_type,
        "marketplaceIds": list(schedule.marketplace_ids),
        "reportOptions": schedule.options or None,
        "period": schedule.name,
        "nextReportCreationTime": _date(schedule.due),
    }
    return {name: value for name, value in known.items() if value is not None}


def _next_place(call: SpCall) -> Place | None:
    token = call.parameters.text("nextToken")
    if token is None:
        return None
    if beside := [name for name in _FILTERS if call.parameters.text(name)]:
        raise Invalid(f"nextToken must be the only parameter; there is also {', '.join(beside)}.")
    place = call.world.find_place(token, call.now)
    if not isinstance(place, Place) or place.account is not call.account or place.operation != "getReports":
        raise Invalid("nextToken is not valid or has expired.")
    return place


def _report_filter(call: SpCall) -> Callable[[datetime], list[SpReport]]:
    """What matches is bounded by the first call: what is created while somebody pages is for the next listing."""
    reports = call.account.sp.reports
    newest = max(map(int, reports), default=0)
    types, marketplaces = call.report_types(), set(call.several("marketplaceIds"))
    statuses = set(call.several("processingStatuses"))
    if not statuses <= PROCESSING_STATUSES:
        raise Invalid(f"processingStatuses must be among {', '.join(sorted(PROCESSING_STATUSES))}.")
    since = call.moment("createdSince") or call.now - RETENTION
    until = call.moment("createdUntil") or call.now
    if since > until:
        raise Invalid("createdSince is after createdUntil.")

    def matching(now: datetime) -> list[SpReport]:
        found = [
            report
            for report in reports.values()
            if int(report.request_id) <= newest
            and max(since, now - RETENTION) <= report.submitted_at <= until
            and report.report_type in types
            and (not marketplaces or marketplaces & set(report.marketplace_ids))
            and (not statuses or report.status(now) in statuses)
        ]
        return sorted(found, key=lambda report: (report.submitted_at, int(report.request_id)), reverse=True)

    return matching


def _known_report(call: SpCall) -> SpReport:
    report = call.account.sp.find(call.path_id, call.now)
    if report is None:
        raise Missing("One or more of the provided ReportRequestIds could not be found.")  # as recorded
    return report


def _known_schedule(call: SpCall) -> SpSchedule:
    schedule = call.account.sp.schedules.get(call.path_id)
    if schedule is None:
        raise Missing("The report schedule could not be found.")
    return schedule


def _date(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S+00:00")
