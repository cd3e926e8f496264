"""The benchmark's measure: what is called the best must be allowed by Amazon's quotas, and nothing better may be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from benchmarks.arrivals import plan
from benchmarks.best import best_commits
from emulator.quota import Quotas

OPERATIONS = ("getReport", "createRestrictedDataToken", "getReportDocument")


def test_fifteen_at_once_take_seconds_and_the_next_a_minute_each():
    """Ten restricted tokens at once, then one a second; fifteen documents at once, then one in 59.88 s."""
    commits = best_commits([(100, 90)] * 17)

    assert commits[:15] == pytest.approx([100] * 10 + [101, 102, 103, 104, 105])
    assert commits[15:] == pytest.approx([100 + 1 / 0.0167, 100 + 2 / 0.0167])


def test_nothing_is_committed_before_it_can_be_known_and_the_newest_goes_first():
    """As the product does it: which document waits for which is the same on both sides."""
    late, old, new = (2000, 1990), (1000, 100), (1000, 900)
    filling = [(990, 0)] * 15
    commits = best_commits([late, old, new, *filling])

    assert commits[2] < commits[1] < commits[0] == 2000


@pytest.mark.parametrize("seed", range(5))
def test_the_best_is_never_over_quota_and_nothing_can_be_sooner(seed):
    """By the emulator's own buckets, call by call: each is let through, and a tenth of a second earlier one is not."""
    random, begin = Random(seed), datetime(2026, 11, 24, tzinfo=UTC)
    known = sorted(random.randrange(7200) for _ in range(8) for _ in range(random.choice([1, 20])))
    quotas = Quotas()
    free = 0.0
    for at, commit in zip(known, best_commits([(at, 0) for at in known]), strict=True):
        if commit - max(at, free) > 0.2:
            sooner = begin + timedelta(seconds=commit - 0.1)
            bucket = {operation: quotas._bucket("acme", operation, sooner).tokens for operation in OPERATIONS}
            assert min(bucket.values()) < 1
        now = begin + timedelta(seconds=commit, microseconds=1)
        assert {quotas.take("acme", operation, now) for operation in OPERATIONS} == {None}
        free = commit


def test_a_day_is_the_same_each_time_and_as_full_as_it_says():
    """Twenty thousand over five hundred accounts, a third of them many at once."""
    accounts = [f"seller-{number}" for number in range(500)]
    day = plan(accounts, hours=24)

    assert day == plan(accounts, hours=24) == sorted(day, key=lambda arrival: arrival.at)
    assert sum(arrival.count for arrival in day) == 20_000
    assert 0.2 < sum(arrival.count for arrival in day if arrival.count > 1) / 20_000 < 0.5
