"""What SP-API's answers say (Reports API 2021-06-30): JSON in, the seam's own words out.

Every reader raises KeyError, TypeError or ValueError where something that the model promises is missing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from orderdrain.amazon import ListedReport, ListingPage, RequestInfo, RequestPage, ScheduleInfo

#: SP-API model, `processingStatus`. CANCELLED says both that somebody cancelled it and that there was nothing to tell:
#: no field tells which.
_STATUS = {
    "IN_QUEUE": "SUBMITTED",
    "IN_PROGRESS": "IN_PROGRESS",
    "DONE": "DONE",
    "CANCELLED": "CANCELLED",
    "FATAL": "FATAL",
}


def listing_page(told: dict[str, Any], request_id: str | None) -> ListingPage:
    """getReports, of reports that are done."""
    reports = (
        ListedReport(
            report_id=_text(report["reportId"]),
            report_type=_text(report["reportType"]),
            available_at=moment(report.get("processingEndTime") or report["createdTime"]),
            acknowledged=False,
        )
        for report in told["reports"]
        if report["processingStatus"] == "DONE"
    )
    return ListingPage(tuple(reports), told.get("nextToken"), request_id)


def request_page(told: dict[str, Any], request_id: str | None) -> RequestPage:
    """getReports, of reports in whatever state."""
    return RequestPage(tuple(map(request_info, told["reports"])), told.get("nextToken"), request_id)


def request_info(report: dict[str, Any]) -> RequestInfo:
    """One report, as getReport tells it. Request and report have one id."""
    start, end, done = (report.get(name) for name in ("dataStartTime", "dataEndTime", "processingEndTime"))
    report_id = _text(report["reportId"])
    return RequestInfo(
        request_id_at_amazon=report_id,
        report_type=_text(report["reportType"]),
        status=_STATUS[report["processingStatus"]],
        submitted_at=moment(report["createdTime"]),
        window_start=moment(start) if start else None,
        window_end=moment(end) if end else None,
        scheduled="reportScheduleId" in report,
        report_id=report_id if report["processingStatus"] == "DONE" else None,
        completed_at=moment(done) if done else None,
    )


def schedules(told: dict[str, Any]) -> dict[str, ScheduleInfo]:
    """getReportSchedules, by Amazon's id of each."""
    return {
        _text(schedule["reportScheduleId"]): ScheduleInfo(
            _text(schedule["reportType"]),
            _text(schedule["period"]),
            moment(schedule["nextReportCreationTime"]) if schedule.get("nextReportCreationTime") else None,
        )
        for schedule in told["reportSchedules"]
    }


def code_of(told: dict[str, Any]) -> str | None:
    """Amazon's word for what is wrong."""
    errors = told.get("errors")
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    code = first.get("code")
    return code if isinstance(code, str) else None


def moment(text: str) -> datetime:
    """`2024-09-12T19:41:13+00:00`, or with Z and milliseconds. One without an offset is UTC."""
    told = datetime.fromisoformat(text)
    return told.replace(tzinfo=UTC) if told.tzinfo is None else told.astimezone(UTC)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("an id or a name is no text")
    return value
