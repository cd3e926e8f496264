"""The benchmark's measure: what is called the best must be allowed by Amazon's quotas, and nothing better may be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from benchmarks.arrivals import plan
from benchmarks.best import LISTINGS_APART, best_commits, listed_after
from benchmarks.delays import CEILING, Document, beside_the_best, is_held
from emulator.quota import Quotas


def test_fifteen_go_at_once_and_the_next_a_minute_each():
    """As soon as they are known; then one in 59.88 s."""
    commits = best_commits([(100, 90)] * 17)

    assert commits[:15] == [100] * 15
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
            assert quotas._bucket("acme", "getReportDocument", sooner).tokens < 1
        now = begin + timedelta(seconds=commit, microseconds=1)
        assert quotas.take("acme", "getReportDocument", now) is None
        free = commit


def test_who_hears_of_nothing_lists_as_often_as_amazon_restores():
    """By the emulator's own bucket: for ever so often, and a hundredth more often not."""
    begin = datetime(2026, 11, 24, tzinfo=UTC)
    for every, refused in ((LISTINGS_APART, 0), (LISTINGS_APART * 0.99, 1)):
        quotas = Quotas()
        times = [listed_after(100.0 + n * every, first=40.0, every=every) for n in range(3000)]
        answers = [
            quotas.take("acme", "getReports", begin + timedelta(seconds=at, microseconds=n))
            for n, at in enumerate(times)
        ]
        assert (len([answer for answer in answers if answer]) > 0) == refused


@pytest.mark.parametrize("available", [-50.0, 40.0, 41.0, 85.0])
def test_a_document_is_known_at_the_first_listing_after_it(available):
    """Not before it is available, and within one interval."""
    known = listed_after(available, first=40.0, every=45.0)

    assert available <= known < available + 45
    assert (known - 40) % 45 == 0


@pytest.mark.parametrize(("times_as_late", "held"), [(1.0, True), (CEILING, True), (1.25, False)])
def test_the_ceiling_is_held_by_the_median_of_documents_that_must_wait(times_as_late, held):
    """Those that the best one has at once are told with their delay: nothing is so many times as long as none."""
    at_once = [Document(available=0, committed=8, known=0, best=0)] * 5
    waiting = [Document(available=0, committed=100 * times_as_late, known=0, best=100)] * 3
    told = beside_the_best(at_once + waiting)

    assert told["one_by_one"] | {"documents": 3} == dict.fromkeys(told["one_by_one"], times_as_late) | {"documents": 3}
    assert (told["delay"]["median"], told["best"]["median"], "median" in told["ratio"]) == (8, 0, False)
    assert is_held(told) is held
    assert not is_held(beside_the_best(at_once)), "nothing had to wait, nothing was shown"


def test_a_day_is_the_same_each_time_and_as_full_as_it_says():
    """Twenty thousand over five hundred accounts, a third of them many at once."""
    accounts = [f"seller-{number}" for number in range(500)]
    day = plan(accounts, hours=24)

    assert day == plan(accounts, hours=24) == sorted(day, key=lambda arrival: arrival.at)
    assert sum(arrival.count for arrival in day) == 20_000
    assert 0.2 < sum(arrival.count for arrival in day if arrival.count > 1) / 20_000 < 0.5
