"""The whole fleet is down for days while Amazon goes on making reports: what it still has afterwards is drained."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from tests.drain import draining
from tests.emulator_process import Emulator

#: acme sells at MWS, bravo at SP-API.
API = {"acme": "mws", "bravo": "sp-api"}
LISTING = {"GetReportList", "GetReportListByNextToken", "getReports"}
#: The call that gives a report's bytes, or where they lie: one a minute at both APIs.
DOCUMENT = {"acme": "GetReport", "bravo": "getReportDocument"}


@pytest.fixture
def drain(database_url, redis_url, tmp_path):
    """The path of a report; each seller's schedule of 15 minutes makes a report of a few lines each time."""
    with (
        Emulator.start(sellers=2, sp_api_sellers="bravo", orders_per_minute=0.25, backlog=0) as emulator,
        draining(database_url, redis_url, tmp_path, emulator) as running,
    ):
        yield running


@pytest.mark.timeout(300)
def test_after_three_days_all_is_drained_what_is_soon_lost_first_then_the_newest(drain):
    """Hundreds of reports wait, at one a minute: sellers need today's orders, and what Amazon is about to drop must not
    come last. Redis was lost with the rest of the fleet: nobody remembers which quota was used."""
    drain.s.db.query("UPDATE accounts SET list_every = interval '1 hour'")
    made = drain.s.clock.now() - timedelta(days=84)
    soon_lost = {account: make(drain, account, made, count=3) for account in API}
    drain.run(until=lambda: all(listed(drain, account) for account in API))

    drain.restart(flush=True)
    drain.advance(days=3)
    back = drain.s.clock.now()
    drain.amazon("stop-selling")
    drain.run(stride_minutes=5)

    available_at = {
        (report["account"], report["report_id"]): report["available_at"]
        for report in drain.emulator.get("/_emulator/truth")["told_reports"]
    }
    for account in API:
        calls = documents(drain, account)
        assert len(calls) > 250
        assert {call["report_ids"][0] for call in calls[:3]} == set(soon_lost[account])
        for call, named in known_and_waiting(drain, account):
            waiting = {r for r in named if (account, r) in available_at}  # Some were listed that came to nothing.
            newest = sorted(
                waiting.difference(soon_lost[account]), key=lambda r: available_at[account, r], reverse=True
            )
            in_order = [*waiting.intersection(soon_lost[account]), *newest]
            assert call["report_ids"][0] in in_order[: drain.s.settings.account_slots]
        assert at(calls[-1]) - back < timedelta(minutes=1.1 * len(calls)), "one a minute"
    drain.assert_judged()


@pytest.mark.parametrize("account", API)
def test_what_amazon_has_dropped_meanwhile_is_set_aside_and_holds_nobody_up(drain, account):
    """It was listed on its last day. Asked for again and again, it would take the quota of those that can be had."""
    now = drain.s.clock.now()
    (dropped,) = make(drain, account, now - timedelta(days=89))
    drain.run(until=lambda: listed(drain, account))
    drain.restart(flush=True)
    drain.amazon("stop-selling")
    drain.advance(days=3)
    (kept,) = make(drain, account, now)

    drain.run()

    assert drain.row(dropped, account).state == "quarantined"
    assert drain.row(dropped, account).reason
    assert drain.row(kept, account).state == "acknowledged"
    assert drain.verdict().over_quota == 0


def make(drain, account, available_at, **told):
    told = {"account": account, "api": API[account], "available_at": available_at.isoformat(), **told}
    return drain.amazon("reports", **told)["report_ids"]


def listed(drain, account):
    """Whether Amazon has named any report of the account; nothing of it was downloaded yet."""
    return any(call["report_ids"] for call in drain.calls(*LISTING, account=account))


def documents(drain, account):
    """The calls that gave a report of the account, oldest first."""
    return [call for call in drain.calls(DOCUMENT[account], account=account) if call["status"] == 200]


def known_and_waiting(drain, account):
    """Each call that gave a report, with the ids of all that Amazon had named by then and not given yet."""
    named, given = set(), set()
    for call in drain.calls(*LISTING, DOCUMENT[account], account=account):
        if call["operation"] in LISTING:
            named.update(call["report_ids"])
        elif call["status"] == 200:
            yield call, named - given
            given.update(call["report_ids"])


def at(call):
    return datetime.fromisoformat(call["at"])
