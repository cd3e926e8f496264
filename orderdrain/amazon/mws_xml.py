"""What an MWS answer says.

Read by local name, anywhere in the document: recorded traffic has two namespaces, elements in a different order in each
region and year, padded values, and the documentation's own examples have wrappers whose tags do not match.
A function raises ValueError, in words for a log line, when the answer lacks what it must have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lxml import etree

from orderdrain.amazon import Acknowledged, ListedReport, ListingPage, RequestInfo, RequestPage, ScheduleInfo
from orderdrain.amazon.wire import Refusal, moment

if TYPE_CHECKING:
    from datetime import datetime


def read_answer(body: bytes) -> etree._Element | None:
    """The root of an MWS answer; None when `body` is none: a proxy's page, plain text, nothing, half a document."""
    root = read_document(body)
    return root if root is not None and _local(root).endswith("Response") else None


def read_document(body: bytes) -> etree._Element | None:
    """The root of any XML of Amazon's; None when `body` is not whole, or has a DTD: then it may be made to do harm."""
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        remove_comments=True,
        remove_pis=True,
        recover=True,  # only to get past mismatched wrappers: any other fault below refuses the whole document
    )
    try:
        root = etree.fromstring(body, parser)
    except etree.XMLSyntaxError:
        return None
    faults = {fault.type for fault in parser.error_log if fault.level == etree.ErrorLevels.FATAL}
    if root is None or faults - {etree.ErrorTypes.ERR_TAG_NAME_MISMATCH}:
        return None
    return None if root.getroottree().docinfo.internalDTD is not None else root


def refusal_in(root: etree._Element) -> Refusal | None:
    """The error that an answer is, whatever HTTP status it came with."""
    if _local(root) != "ErrorResponse":
        return None
    return Refusal(_first(root, "Code"), " ".join((_first(root, "Message") or "").split()))


def request_id(root: etree._Element) -> str | None:
    """Amazon's id of the call. Errors spell it RequestID as a rule, answers RequestId."""
    return _first(root, "RequestId") or _first(root, "RequestID")


def listing_page(root: etree._Element) -> ListingPage:
    """GetReportList and its pages."""
    return ListingPage(tuple(map(_listed_report, root.iter("{*}ReportInfo"))), _next_token(root), request_id(root))


def acknowledged(root: etree._Element) -> Acknowledged:
    """UpdateReportAcknowledgements: the ids that are acknowledged now."""
    reports = map(_listed_report, root.iter("{*}ReportInfo"))
    return Acknowledged(frozenset(r.report_id for r in reports if r.acknowledged), request_id(root))


def request_page(root: etree._Element) -> RequestPage:
    """GetReportRequestList and its pages."""
    return RequestPage(
        tuple(map(_request_info, root.iter("{*}ReportRequestInfo"))), _next_token(root), request_id(root)
    )


def requested(root: etree._Element) -> RequestInfo:
    """RequestReport: the one request that was made."""
    info = next(root.iter("{*}ReportRequestInfo"), None)
    if info is None:
        raise ValueError("no ReportRequestInfo")
    return _request_info(info)


def schedules(root: etree._Element) -> tuple[ScheduleInfo, ...]:
    """GetReportScheduleList. It has one page: a seller cannot have more than the 100 schedules that fit there."""
    if _next_token(root):
        raise ValueError("more schedules than Amazon allows")
    return tuple(
        ScheduleInfo(_required(node, "ReportType"), _required(node, "Schedule"))
        for node in root.iter("{*}ReportSchedule")
    )


def _next_token(root: etree._Element) -> str | None:
    # HasNext alone decides. Without a next page the token was absent (2018), empty (2014) or "none" (documentation).
    if not _flag(_first(root, "HasNext")):
        return None
    token = _first(root, "NextToken")
    if token in {None, "none"}:
        raise ValueError("HasNext is true, but there is no NextToken")
    return token


def _listed_report(node: etree._Element) -> ListedReport:
    return ListedReport(
        report_id=_required(node, "ReportId"),
        report_type=_required(node, "ReportType"),
        available_at=_required_moment(node, "AvailableDate"),
        acknowledged=_flag(_child(node, "Acknowledged") or "false"),
        report_request_id=_child(node, "ReportRequestId"),
    )


def _request_info(node: etree._Element) -> RequestInfo:
    status = _required(node, "ReportProcessingStatus").strip("_")
    return RequestInfo(
        request_id_at_amazon=_required(node, "ReportRequestId"),
        report_type=_required(node, "ReportType"),
        status="NO_DATA" if status == "DONE_NO_DATA" else status,
        submitted_at=_required_moment(node, "SubmittedDate"),
        window_start=_moment(node, "StartDate"),
        window_end=_moment(node, "EndDate"),
        scheduled=_flag(_child(node, "Scheduled") or "false"),
        report_id=_child(node, "GeneratedReportId"),
        completed_at=_moment(node, "CompletedDate"),
    )


def _local(node: etree._Element) -> str:
    return node.tag.rpartition("}")[2]


def _first(root: etree._Element, name: str) -> str | None:
    node = next(root.iter(f"{{*}}{name}"), None)
    return None if node is None else (node.text or "").strip() or None


def _child(node: etree._Element, name: str) -> str | None:
    return (node.findtext(f"{{*}}{name}") or "").strip() or None


def _required(node: etree._Element, name: str) -> str:
    text = _child(node, name)
    if text is None:
        raise ValueError(f"a {_local(node)} without {name}")
    return text


def _flag(text: str | None) -> bool:
    try:
        return {"true": True, "1": True, "false": False, "0": False}[(text or "").lower()]
    except KeyError:
        raise ValueError("a flag (HasNext, Acknowledged or Scheduled) is neither true nor false") from None


def _required_moment(node: etree._Element, name: str) -> datetime:
    found = _moment(node, name)
    if found is None:
        raise ValueError(f"a {_local(node)} without {name}")
    return found


def _moment(node: etree._Element, name: str) -> datetime | None:
    text = _child(node, name)
    return None if text is None else moment(text, name)
