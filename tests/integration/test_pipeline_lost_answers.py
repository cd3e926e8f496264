"""Amazon did what it was asked, and its answer was lost: for every operation the end is the same as without."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.building import ORDERS

OPERATIONS = (
    "GetReportScheduleList",
    "GetReportList",
    "GetReportListByNextToken",
    "GetReport",
    "UpdateReportAcknowledgements",
    "RequestReport",
    "GetReportRequestList",
)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_lost_answer_changes_nothing_about_the_end(drain, operation):
    """The call had its effect and we cannot know: whatever it was, asking again must be harmless."""
    drain.fault(operation, "late_answer")
    drain.amazon("reports", account="acme", count=101 if "NextToken" in operation else 2)
    drain.advance(minutes=1)
    now = drain.s.clock.now().replace(microsecond=0)
    start, end = now - timedelta(hours=2), now - timedelta(seconds=1)
    drain.s.requests.enter("acme", "mws", ORDERS, start=start, end=end, options={})

    drain.run(stride_minutes=14)

    (lost,) = [call for call in drain.calls() if call["fault"] == "late_answer"]
    assert lost["operation"] == operation
    assert len(drain.calls("RequestReport")) == 1, "one wish, one request"
    assert drain.states().keys() == {"acknowledged"}
    assert [row.status for row in drain.s.requests.table("acme")] == ["done"]
    drain.assert_judged()
