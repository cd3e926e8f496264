"""The sizes that a documented quota is turned into, before any Redis is asked."""

from __future__ import annotations

import pytest

from orderdrain.quota import FORGET_SECONDS, LATE_SECONDS, QuotaRule


@pytest.mark.parametrize(
    ("rule", "at_once"),
    [
        (QuotaRule(15, 60, 60), 14),  # GetReport, RequestReport
        (QuotaRule(10, 60, 60), 9),  # GetReportList
        (QuotaRule(10, 45, 80), 9),  # UpdateReportAcknowledgements and most others
        (QuotaRule(30, 2, 1800), 25),  # GetReportListByNextToken
    ],
)
def test_a_full_bucket_keeps_back_what_late_calls_may_cost(rule, at_once):
    """Amazon counts a call when it arrives: calls that arrive late by turns must not look like too many at once."""
    assert rule.room_milliseconds // rule.pace_milliseconds == at_once
    assert rule.pace_milliseconds == 1000 * rule.restore_seconds
    assert rule.room_milliseconds + 1000 * LATE_SECONDS == rule.burst * rule.pace_milliseconds


@pytest.mark.parametrize(
    ("rule", "at_once", "pace"),
    [
        (QuotaRule(15, 0.5, None), 7, 1236),  # getReport
        (QuotaRule(10, 1, None), 5, 1834),  # createRestrictedDataToken
    ],
)
def test_of_a_bucket_that_fills_in_seconds_half_is_kept_back_and_the_rest_gained_more_slowly(rule, at_once, pace):
    """All of it kept back, fifteen reports that came at once would go one by one, a sweep apart."""
    assert rule.room_milliseconds // rule.pace_milliseconds == at_once
    assert rule.pace_milliseconds == pace


def test_even_the_smallest_bucket_holds_one_token():
    """A bucket that could never hold one would wait for ever."""
    rule = QuotaRule(1, 5, None)
    assert rule.room_milliseconds == rule.pace_milliseconds == 1000 * (5 + LATE_SECONDS)


def test_a_bucket_is_forgotten_only_after_all_that_it_remembers_is_past():
    """Redis forgets by real time, which application time outruns but never lags behind."""
    longest_memory = 3600 + LATE_SECONDS
    slowest_to_fill = QuotaRule(15, 60, 60).room_milliseconds / 1000

    assert max(longest_memory, slowest_to_fill) < FORGET_SECONDS


def test_a_bucket_that_is_used_once_a_day_is_not_forgotten():
    """A seller whose fifteen reports come each night would wait for them one by one."""
    assert 24 * 3600 + QuotaRule(15, 60, 60).room_milliseconds / 1000 < FORGET_SECONDS


@pytest.mark.parametrize(
    ("seconds", "text"), [(60, "1/min"), (45, "1 per 45 s"), (2, "1 per 2 s"), (59.88, "1 per 59.88 s")]
)
def test_a_restore_rate_reads_as_amazon_writes_it(seconds, text):
    """It stands in the line that says why a report waits."""
    assert QuotaRule(10, seconds, None).restores == text
