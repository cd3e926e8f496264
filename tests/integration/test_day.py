"""The benchmark of a whole day (benchmarks/day.py) in short: delays held against the least that quotas allow."""

from __future__ import annotations

import pytest

from benchmarks.arrivals import Arrival, plan
from benchmarks.day import SPEED, WAYS, Day, summary
from benchmarks.delays import CEILING
from emulator.sellers import make_sellers
from tests.emulator_process import Emulator
from workers.judge import judge

SELLERS = 3


@pytest.mark.parametrize("how", sorted(WAYS))
def test_reports_are_hardly_later_than_amazons_quotas_allow(database_url, redis_url, tmp_path, how):
    """Half an hour of a day, in which one seller has twice as many documents at once as a bucket holds: at the true
    rates no call is over quota, and the median report is at most 1.2 times as late as the best could have it."""
    names = ",".join(seller.account for seller in make_sellers(1, SELLERS))
    with Emulator.start(sellers=SELLERS, sp_api_sellers=names, speed=SPEED, orders_per_minute=0, backlog=0) as emulator:
        day = Day(environment(database_url, redis_url, tmp_path, emulator, how), emulator.first_line, WAYS[how])
        arrivals = [*plan(day.accounts, hours=0.5), Arrival(300, "bravo", 30)]
        day.run(sorted(arrivals, key=lambda arrival: arrival.at), told=print)
        verdict = judge(emulator.url, database_url)
        result = summary(WAYS[how], [day.drained(verdict)])

    assert verdict.ok, verdict
    assert result["over_quota"] == 0
    assert result["all"]["documents"] == sum(arrival.count for arrival in arrivals)
    assert result["quota_binds"]["documents"] >= 15
    assert result["held"]
    assert result["quota_binds"]["one_by_one"]["median"] <= CEILING or how == "default"


def environment(database_url, redis_url, folder, emulator, how):
    told = {
        "ORDERDRAIN_DATABASE_URL": database_url,
        "ORDERDRAIN_REDIS_URL": redis_url,
        "ORDERDRAIN_ARCHIVE": str(folder / "archive"),
        "ORDERDRAIN_LOG_LEVEL": "error",
    }
    return told | ({"ORDERDRAIN_NOTIFICATIONS": emulator.first_line["sqs"]} if WAYS[how].push else {})
