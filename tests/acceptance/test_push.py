"""Real worker, beat, emulated Amazon and its queue: what is announced is in Postgres long before a listing is due."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.acceptance.live import APIS, living, wait_for
from tests.services import scratch_folder

DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def live():
    """A stack that listens. Its accounts are listed once in ten days, which is four hours here."""
    with scratch_folder() as folder, living(folder / "stack", push=True, flower=False) as running:
        wait_for(lambda: listed(running) == set(APIS), "every account's first listing")
        running.s.db.query("UPDATE accounts SET list_every = '10 days', next_list_at = app_now() + interval '10 days'")
        yield running


def listed(live):
    return {row.account for row in live.s.db.query("SELECT account FROM connections WHERE listed_at IS NOT NULL")}


@pytest.mark.parametrize("account", ["acme", "cedar"], ids=APIS.get)
def test_an_announced_report_is_committed_while_no_listing_is_due(live, account):
    """Ten days before its time: nothing but the notice can have made it due."""
    (report_id,) = live.make_reports(account)

    wait_for(lambda: live.state(report_id, account) == "acknowledged", "the announced report")

    live.wait_judged()
    assert live.s.notices.push()[account]


def test_forged_and_foreign_notices_leave_the_queue_and_no_trace(live):
    """Whoever may write to the queue can make us look, and nothing more."""
    reports = live.s.db.query("SELECT count(*) FROM reports")
    live.amazon("notifications", account="acme", report_ids=["404040404040"])
    live.amazon("notifications", notification_type="AnyOfferChanged", count=50)
    live.amazon("notifications", body="no notification at all")

    def told():
        return live.s.notices.counts(DAY)

    wait_for(lambda: told().get("foreign_type") == 50 and told().get("malformed") == 1, "the queue to be read")
    wait_for(lambda: told().get("given_up") == 1, "the forged one to be given up", 60)
    assert live.s.db.query("SELECT count(*) FROM reports") == reports
    assert "Traceback" not in live.log(live.workers[0])
    live.wait_judged()
