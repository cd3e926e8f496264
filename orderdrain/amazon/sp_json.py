"""What an SP-API answer says (Reports API 2021-06-30, Tokens API 2021-03-01).

A function raises ValueError, in words for a log line, when the answer lacks what the model promises. What the model
does not know is passed over: Amazon adds fields without notice.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orderdrain.amazon import ListedReport, RequestInfo, ScheduleInfo
from orderdrain.amazon.wire import Refusal, moment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

#: An answer as it was read: a JSON object.
Told = dict[str, Any]

#: Amazon's words for the states of a report (SP-API model, processingStatus). CANCELLED says both that somebody
#: cancelled it and that there was nothing to tell: no field tells which, so it is not called NO_DATA here. A word that
#: is not among these is Amazon's new one, and is handed on.
_OURS = {"IN_QUEUE": "SUBMITTED"}


@dataclass(frozen=True)
class Report:
    """What getReport says, as far as a download needs it. `document_id`: also of a FATAL one that states a reason."""

    report_type: str
    status: str
    document_id: str | None


def read_answer(body: bytes) -> Told | None:
    """The JSON object that an answer is; None when `body` is none: a proxy's page, nothing, half a document."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None


def refusal_in(told: Told) -> Refusal | None:
    """The first error that an answer names, whatever HTTP status it came with."""
    errors = told.get("errors")
    if not isinstance(errors, list) or not errors:
        return None
    first = errors[0] if isinstance(errors[0], dict) else {}
    code, message = first.get("code"), first.get("message")
    return Refusal(
        code if isinstance(code, str) and code else None,
        " ".join(message.split()) if isinstance(message, str) else "",
    )


def listing_page(told: Told) -> tuple[tuple[ListedReport, ...], str | None]:
    """getReports: those that are done, and the token of the next page."""
    made = (report for report in _objects(told, "reports") if _required(report, "processingStatus") == "DONE")
    return tuple(map(_listed_report, made)), _optional(told, "nextToken")


def came_to_nothing(told: Told) -> tuple[RequestInfo, ...]:
    """getReports: those of a schedule that ended without a file."""
    ended = (report for report in _objects(told, "reports") if report["processingStatus"] in {"CANCELLED", "FATAL"})
    return tuple(info for info in map(request_info, ended) if info.scheduled)


def request_page(told: Told) -> tuple[tuple[RequestInfo, ...], str | None]:
    """getReports: those in whatever state, and the token of the next page."""
    return tuple(map(request_info, _objects(told, "reports"))), _optional(told, "nextToken")


def request_info(told: Told) -> RequestInfo:
    """getReport, of a report that was asked for or scheduled. Request and report have one id."""
    report_id, status = _required(told, "reportId"), _required(told, "processingStatus")
    return RequestInfo(
        request_id_at_amazon=report_id,
        report_type=_required(told, "reportType"),
        status=_OURS.get(status, status),
        submitted_at=_required_moment(told, "createdTime"),
        window_start=_moment(told, "dataStartTime"),
        window_end=_moment(told, "dataEndTime"),
        scheduled=_optional(told, "reportScheduleId") is not None,
        report_id=report_id if status == "DONE" else None,
        completed_at=_moment(told, "processingEndTime"),
        marketplaces=_texts(told, "marketplaceIds"),
    )


def report(told: Told) -> Report:
    """getReport, of a report that is to be downloaded."""
    return Report(
        _required(told, "reportType"), _required(told, "processingStatus"), _optional(told, "reportDocumentId")
    )


def new_report_id(told: Told) -> str:
    """createReport: the id of the one report that was asked for."""
    return _required(told, "reportId")


def document_url(told: Told) -> str:
    """getReportDocument: where the document lies. Whoever has the url has the document."""
    url = _required(told, "url")
    if not url.startswith(("https://", "http://")):
        raise ValueError("url is no address")
    return url


def restricted_token(told: Told) -> tuple[str, int]:
    """createRestrictedDataToken: the token, and for how many seconds it is good; 0 where Amazon does not say."""
    seconds = told.get("expiresIn")
    return _required(told, "restrictedDataToken"), seconds if isinstance(seconds, int) else 0


def schedules(told: Told, marketplaces: Sequence[str]) -> dict[str, ScheduleInfo]:
    """getReportSchedules, by Amazon's id of each; those for these very `marketplaces` are ours. It has one page."""
    return {
        _required(schedule, "reportScheduleId"): ScheduleInfo(
            _required(schedule, "reportType"),
            _required(schedule, "period"),
            ours=sorted(schedule.get("marketplaceIds") or marketplaces) == sorted(marketplaces),
        )
        for schedule in _objects(told, "reportSchedules")
    }


def _listed_report(told: Told) -> ListedReport:
    return ListedReport(
        report_id=_required(told, "reportId"),
        report_type=_required(told, "reportType"),
        available_at=_moment(told, "processingEndTime") or _required_moment(told, "createdTime"),
        acknowledged=False,
        marketplaces=_texts(told, "marketplaceIds"),
    )


def _objects(told: Told, name: str) -> list[Told]:
    found = told.get(name)
    # Without the list there is no telling an answer that is empty from one that is something else.
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ValueError(f"no list of {name}")
    return found


def _required(told: Told, name: str) -> str:
    text = _optional(told, name)
    if text is None:
        raise ValueError(f"no {name}")
    return text


def _optional(told: Told, name: str) -> str | None:
    value = told.get(name)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{name} is no text")
    return value or None


def _texts(told: Told, name: str) -> tuple[str, ...]:
    """A list of texts, in one order; none where it is not told."""
    found = told.get(name) or []
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise ValueError(f"{name} is no list of texts")
    return tuple(sorted(found))


def _required_moment(told: Told, name: str) -> datetime:
    found = _moment(told, name)
    if found is None:
        raise ValueError(f"no {name}")
    return found


def _moment(told: Told, name: str) -> datetime | None:
    text = _optional(told, name)
    return None if text is None else moment(text, name)
