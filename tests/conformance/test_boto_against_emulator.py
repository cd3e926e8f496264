"""boto 2.49, a client that nobody here wrote, drives the emulated MWS through its five steps and more."""

from __future__ import annotations

import sys
import warnings
from urllib.parse import urlsplit

import pytest

from tests.emulator_process import Emulator

if sys.version_info >= (3, 12):
    pytest.skip("boto 2.49 (2018) does not import on Python 3.12 and later", allow_module_level=True)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # boto's own source, older than the rules it now breaks
    from boto.mws.connection import MWSConnection
    from boto.mws.exception import ResponseError

NEW_ORDERS = "_GET_FLAT_FILE_ORDERS_DATA_"


@pytest.fixture(scope="module")
def emulator():
    with Emulator.start(backlog=24, orders_per_minute=0.2) as running:
        yield running


def connect(emulator, name, **changed):
    account = emulator.account(name) | changed
    address = urlsplit(emulator.url)
    return MWSConnection(
        account["access_key"],
        account["secret_key"],
        host=address.hostname,
        port=address.port,
        is_secure=False,
        SellerId=account["seller_id"],
    )


def test_boto_lists_pages_and_acknowledges(emulator):
    """List by Acknowledged=false, follow the token, acknowledge: then nothing is left to list."""
    boto = connect(emulator, "acme")
    page = boto.get_report_list(ReportTypeList=[NEW_ORDERS], Acknowledged="false", MaxCount=10)._result
    ids = [report.ReportId for report in page.ReportInfo]
    while page.HasNext == "true":
        page = boto.get_report_list_by_next_token(NextToken=page.NextToken)._result
        ids += [report.ReportId for report in page.ReportInfo]
    assert len(set(ids)) == len(ids) == 24
    told = boto.update_report_acknowledgements(ReportIdList=ids, Acknowledged="true")._result
    assert told.Count == "24"
    assert all(report.AcknowledgedDate for report in told.ReportInfo)
    left = boto.get_report_list(ReportTypeList=[NEW_ORDERS], Acknowledged="false")._result
    assert left.ReportInfo == []
    assert boto.get_report_count(ReportTypeList=[NEW_ORDERS], Acknowledged="true")._result.Count == "24"


def test_boto_refuses_every_report_with_a_right_digest(emulator):
    """The fault is boto's own: on Python 3 it compares the header's text with bytes, so only a wrong header could pass."""
    boto = connect(emulator, "bravo")
    report = boto.get_report_list(ReportTypeList=[NEW_ORDERS])._result.ReportInfo[0]
    with pytest.raises(AssertionError) as refused:
        boto.get_report(ReportId=report.ReportId)
    assert str(refused.value) == ""
    call = emulator.calls("GetReport")[-1]
    assert (call["status"], call["report_ids"], call["fault"]) == (200, [report.ReportId], None)


def test_boto_schedules_and_sees_the_schedule(emulator):
    """An account with the manners of 2014 and one with those of 2018."""
    for name in ("bravo", "cedar"):
        boto = connect(emulator, name)
        made = boto.manage_report_schedule(ReportType=NEW_ORDERS, Schedule="_4_HOURS_")._result
        assert made.ReportSchedule.Schedule == "_4_HOURS_"
        (schedule,) = [boto.get_report_schedule_list(ReportTypeList=[NEW_ORDERS])._result.ReportSchedule]
        assert (schedule.ReportType, schedule.Schedule) == (NEW_ORDERS, "_4_HOURS_")
        assert boto.get_report_schedule_count()._result.Count == "1"
        boto.manage_report_schedule(ReportType=NEW_ORDERS, Schedule="_NEVER_")
        assert boto.get_report_schedule_count()._result.Count == "0"


def test_boto_requests_and_follows_a_report(emulator):
    """A requested report names the report that it became."""
    boto = connect(emulator, "cedar")
    asked = boto.request_report(ReportType=NEW_ORDERS)._result.ReportRequestInfo
    assert asked.ReportProcessingStatus == "_SUBMITTED_"
    emulator.post("/_emulator/advance", {"seconds": 61})
    by_id = boto.get_report_request_list(ReportRequestIdList=[asked.ReportRequestId])._result
    (done,) = by_id.ReportRequestInfo
    assert done.ReportProcessingStatus == "_DONE_"
    reports = boto.get_report_list(ReportRequestIdList=[asked.ReportRequestId])._result.ReportInfo
    assert [report.ReportId for report in reports] == [done.GeneratedReportId]


def test_boto_understands_the_refusals(emulator):
    """Codes and messages are where a strict client looks for them."""
    for changed, code in (
        ({"access_key": "AKIAUNKNOWN"}, "InvalidAccessKeyId"),
        ({"secret_key": "x"}, "SignatureDoesNotMatch"),
    ):
        with pytest.raises(ResponseError) as refused:
            connect(emulator, "acme", **changed).get_report_count()
        assert (refused.value.status, refused.value.error_code) == (403, code)
