"""The whole procedure for three sellers of three regions: schedule, list, download, parse, acknowledge; and schedules."""

from __future__ import annotations

from datetime import timedelta

import pytest

from orderdrain import requesting
from orderdrain.declarations import declare
from tests.building import ORDERS
from tests.drain import draining
from tests.emulator_process import Emulator

TWIN = "_GET_ORDERS_DATA_"
UNDECLARED = "_GET_FLAT_FILE_ACTIONABLE_ORDER_DATA_"


def redeclare(drain, account, every, *, manage):
    """The same account with another schedule declared."""
    told = drain.emulator.account(account)
    keys = {
        "application": f"emulator-{account}",
        "seller_id": told["seller_id"],
        "endpoint": drain.emulator.url,
        "marketplaces": told["marketplaces"],
        "report_types": {ORDERS: every},
        "manage_schedules": manage,
    }
    declare(drain.s, account, keys, token=None)


def schedules_at_amazon(drain, account):
    drain.advance(minutes=1)  # for the quota
    connection = drain.s.accounts.connection(account, "mws")
    return {info.report_type: info.every for info in drain.s.amazon(connection).list_schedules()}


def set_by_another(drain, account, report_type):
    """What another program, or a person, has scheduled at Amazon."""
    drain.s.amazon(drain.s.accounts.connection(account, "mws")).set_schedule(report_type, "_1_DAY_")
    drain.advance(minutes=2)


def test_what_is_sold_is_told_by_schedule_and_request_and_ends_acknowledged(drain):
    """The main job: every way by which a report comes into being ends in the same place, without a person."""
    for account in ("acme", "bravo", "cedar"):
        drain.amazon("orders", account=account, count=5)
    drain.amazon("reports", account="bravo", count=3)
    drain.advance(minutes=16)
    drain.s.requests.enter("acme", "mws", ORDERS, start=None, end=None, options={})

    drain.run()

    assert drain.states("acme") == {"acknowledged": 2}
    assert drain.states("bravo") == {"acknowledged": 3}
    assert drain.states("cedar") == {"acknowledged": 1}
    drain.assert_judged()


def test_a_backlog_with_amazons_usual_faults_is_drained_to_the_last_line(database_url, redis_url, tmp_path):
    """Amazon misbehaves a little all the time: cut bodies, wrong digests, lost answers and tokens must cost nothing."""
    with (
        Emulator.start(faults="default", orders_per_minute=1, backlog=6, sellers=5) as emulator,
        draining(database_url, redis_url, tmp_path, emulator) as drain,
    ):
        drain.pass_time(hours=2, every_minutes=8)
        drain.amazon("stop-selling")
        drain.advance(minutes=16)
        drain.run(stride_minutes=3)

        assert drain.states().keys() == {"acknowledged"}
        drain.assert_judged()


def test_without_a_sale_there_is_no_report_and_nothing_to_do(drain):
    """A quiet night is the commonest case: nothing may be asked for that is not there."""
    drain.pass_time(hours=3, every_minutes=15)

    assert drain.states() == {}
    assert {call["operation"] for call in drain.calls()} == {"GetReportScheduleList", "GetReportList"}


@pytest.mark.parametrize(("manage", "calls"), [(True, 1), (False, 0)])
def test_schedules_are_changed_only_where_we_are_told_to_manage_them(drain, manage, calls):
    """Somebody else may have set them: without `manage_schedules` a difference is told, and left."""
    redeclare(drain, "acme", "_30_MINUTES_", manage=manage)

    drain.pass_time(hours=30, every_minutes=180)

    assert len(drain.calls("ManageReportSchedule")) == calls
    assert schedules_at_amazon(drain, "acme") == {ORDERS: "_30_MINUTES_" if manage else "_15_MINUTES_"}
    (first, *later) = [said for step, ids, said in drain.said if (step, ids) == ("schedule", {"account": "acme"})]
    change = f"{ORDERS} _15_MINUTES_ > _30_MINUTES_"
    assert first == f"schedules of acme: {'changed' if manage else 'differs'}: {change}"
    assert later, "compared once more a day later"
    assert set(later) == {"schedules of acme: as declared" if manage else first}


def test_a_schedule_that_we_did_not_declare_is_never_touched(drain):
    """It is another program's: removing it would take that program's reports away."""
    set_by_another(drain, "acme", UNDECLARED)
    redeclare(drain, "acme", "_1_HOUR_", manage=True)

    requesting.schedule(drain.s, "acme")

    assert schedules_at_amazon(drain, "acme") == {ORDERS: "_1_HOUR_", UNDECLARED: "_1_DAY_"}


def test_a_schedule_is_not_set_where_amazon_would_cancel_anothers_for_it(drain):
    """Of the flat and the XML report only one may be scheduled, and Amazon cancels the other without a word."""
    set_by_another(drain, "acme", TWIN)
    before = len(drain.calls("ManageReportSchedule"))

    said = requesting.schedule(drain.s, "acme")

    assert TWIN in said
    assert "not changed" in said
    assert len(drain.calls("ManageReportSchedule")) == before
    assert schedules_at_amazon(drain, "acme") == {TWIN: "_1_DAY_"}


def test_never_removes_a_schedule_and_what_was_made_before_is_drained(drain):
    """Declared as `_NEVER_` it must go from Amazon; the reports that it made are still ours to drain."""
    drain.amazon("reports", account="acme")
    redeclare(drain, "acme", "_NEVER_", manage=True)

    drain.run()

    assert schedules_at_amazon(drain, "acme") == {}
    drain.amazon("orders", account="acme")
    drain.advance(hours=2)
    drain.run()
    assert drain.states() == {"acknowledged": 1}
    drain.assert_judged()


def test_listings_are_spread_and_not_repeated_before_they_are_due(drain):
    """Each account is listed once an interval, at a time of its own: ten thousand must not be listed together."""
    drain.pass_time(hours=2, every_minutes=1)

    for account in ("acme", "bravo", "cedar"):
        listings = len(drain.calls("GetReportList", account=account))
        assert 23 <= listings <= 26, "one each five minutes"
    assert timedelta(0) < max(next_lists(drain)) - min(next_lists(drain)) < timedelta(minutes=10)


def next_lists(drain):
    return [row.next_list_at for row in drain.s.db.query("SELECT next_list_at FROM accounts")]
