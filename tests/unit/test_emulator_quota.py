"""The emulated quotas: burst, restore rate and the fixed hour, as the MWS documentation gives them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from emulator.quota import LIMITS, Limit, Quotas

NOW = datetime(2026, 5, 8, 12, 0, tzinfo=UTC)


def test_a_full_bucket_gives_its_burst_and_then_one_for_each_restore():
    """GetReport: fifteen at once, then one a minute."""
    quotas = Quotas()
    assert [quotas.take("acme", "GetReport", NOW) for _ in range(16)] == [None] * 15 + ["RequestThrottled"]
    assert quotas.take("acme", "GetReport", NOW + timedelta(seconds=59.9)) == "RequestThrottled"
    assert quotas.take("acme", "GetReport", NOW + timedelta(seconds=60)) is None
    assert quotas.take("acme", "GetReport", NOW + timedelta(seconds=60)) == "RequestThrottled"


def test_many_small_refills_add_up_to_a_whole_one():
    """Being asked often must not cost a client its quota."""
    quotas = Quotas()
    for _ in range(15):
        quotas.take("acme", "GetReport", NOW)
    refused = [quotas.take("acme", "GetReport", NOW + timedelta(seconds=n / 10)) for n in range(1, 601)]
    assert refused == ["RequestThrottled"] * 599 + [None]


def test_a_report_type_with_a_limit_of_its_own_has_it_beside_that_of_all():
    """Users saw createReport throttled for single types."""
    quotas = Quotas()
    quotas.change(["acme"], "createReport:SLOW", Limit(1, 600))
    asked = ["SLOW", "SLOW", *["QUICK"] * 15]
    refused = [quotas.take("acme", "createReport", NOW, report_type) for report_type in asked]
    assert refused == [None, "RequestThrottled", *[None] * 14, "RequestThrottled"]
    assert quotas.rate("acme", "createReport", "SLOW") == 1 / 600
    assert quotas.rate("acme", "createReport", "QUICK") == 0.0167
    assert quotas.take("bravo", "createReport", NOW, "SLOW") is None


def test_accounts_and_operations_do_not_share():
    """One seller's haste is not another's wait."""
    quotas = Quotas()
    for _ in range(10):
        quotas.take("acme", "GetReportList", NOW)
    assert quotas.take("acme", "GetReportList", NOW) == "RequestThrottled"
    assert quotas.take("acme", "GetReportListByNextToken", NOW) is None
    assert quotas.take("bravo", "GetReportList", NOW) is None


def test_the_hour_is_counted_in_fixed_windows_and_refused_calls_are_free():
    """Within the window its own code; with the next one all is there again."""
    quotas = Quotas()
    quotas.change(["acme"], "GetReport", Limit(10, 1, 3))
    assert [quotas.take("acme", "GetReport", NOW) for _ in range(5)] == [None] * 3 + ["QuotaExceeded"] * 2
    most, left, resets_on = quotas.hour("acme", "GetReport", NOW)
    assert (most, left) == (3, 0)
    assert NOW < resets_on <= NOW + timedelta(hours=1)
    assert quotas.take("acme", "GetReport", resets_on - timedelta(microseconds=1)) == "QuotaExceeded"
    assert [quotas.take("acme", "GetReport", resets_on) for _ in range(3)] == [None] * 3


def test_callers_hours_begin_at_different_minutes():
    """The documentation: the start of the hour varies between callers, so nobody may count on the full hour."""
    quotas = Quotas()
    minutes = {quotas.hour(f"seller-{n}", "GetReport", NOW)[2].minute for n in range(20)}
    assert len(minutes) > 5


def test_all_fourteen_operations_have_a_quota():
    """An operation without one would never be throttled."""
    assert len(LIMITS) == 14
