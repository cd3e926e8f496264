"""Amazon gives less than it documents, or refuses all the same: everything is drained, and nobody else is slowed."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from emulator.quota import _window as hour_of
from orderdrain.accounts import Account
from orderdrain.errors import Throttled

FORMS = ("doc", "2014", "2018")


def at(call):
    return datetime.fromisoformat(call["at"])


def attempts_counted(drain):
    return drain.s.db.query("SELECT event, attempt FROM report_history WHERE event = 'failed' OR attempt > 1")


def test_two_accounts_of_one_seller_and_application_share_one_quota(drain):
    """Amazon counts by seller and application, whatever we call them: each by itself would be a call too many."""
    acme = drain.s.accounts.connection("acme", "mws")
    again = Account("again", acme.account.seller_id, acme.account.marketplaces, acme.account.report_types, False)
    drain.s.accounts.add(
        again,
        api="mws",
        application=acme.application,
        endpoint=acme.endpoint,
        token=acme.token,
        list_every=timedelta(minutes=15),
    )

    drain.s.amazon(acme).list_schedules()

    with pytest.raises(Throttled):
        drain.s.amazon(drain.s.accounts.connection("again", "mws")).list_schedules()
    assert len(drain.calls("GetReportScheduleList")) == 1


@pytest.mark.parametrize("resets_on", FORMS)
def test_a_used_up_hour_is_waited_for_to_its_end_in_each_form_of_its_header(drain, resets_on):
    """Three forms of one date were recorded: one that is not understood would cost an hour, or refusals."""
    drain.amazon("headers", resets_on=resets_on)
    drain.amazon("reports", account="acme", count=3)
    drain.amazon("reports", account="bravo", count=3)
    drain.fault("GetReport", "quota_exceeded", account="acme")

    drain.run()

    refused, *later = drain.calls("GetReport", account="acme")
    assert (refused["code"], len(later)) == ("QuotaExceeded", 3)
    ends = hour_of("acme", at(refused)) + timedelta(hours=1)
    assert ends <= at(later[0]) < ends + timedelta(minutes=1)
    assert len(drain.calls("GetReport", account="bravo")) == 3
    assert attempts_counted(drain) == []
    drain.assert_judged()


def test_a_smaller_hour_than_documented_is_kept_without_a_refusal(drain):
    """Amazon tells the size of its hour in every answer: what it told need not be tried."""
    drain.amazon("quota", account="acme", operation="GetReport", max=6, restore_seconds=60, hourly=6)
    drain.amazon("reports", account="acme", count=14)

    drain.run(stride_minutes=5)

    assert [call["code"] for call in drain.calls("GetReport")] == [None] * 14
    drain.assert_judged()


@pytest.mark.parametrize("fault", ["throttle", "quota_exceeded"])
@pytest.mark.parametrize("operation", ["GetReportList", "GetReport", "UpdateReportAcknowledgements"])
def test_a_refusal_is_waited_out_and_spends_no_attempt(drain, operation, fault):
    """Throttled is not broken: counted as failures, a bad hour at Amazon would quarantine everything."""
    drain.fault(operation, fault)
    drain.amazon("reports", account="acme", count=2)

    drain.run()

    assert [call["fault"] for call in drain.calls() if call["fault"]] == [fault]
    assert attempts_counted(drain) == []
    drain.assert_judged()
