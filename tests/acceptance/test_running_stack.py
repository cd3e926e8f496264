"""Real worker, beat, Flower and emulator: what is killed, flushed, restarted or doubled, everything is drained once."""

from __future__ import annotations

import signal
from datetime import timedelta

import pytest
from redis import Redis

from tests.acceptance.live import APIS, LEASE, living, wait_for
from tests.building import DECLARED
from tests.services import scratch_folder
from workers.judge import ask

ACCOUNTS = tuple(APIS)
NOTICE_FAULTS = ("lost_notice", "doubled_notice", "forged_notice")


@pytest.fixture(scope="module")
def live():
    """One stack for all tests of this file: each leaves it drained, with one worker and one beat."""
    with scratch_folder() as folder, living(folder / "stack", push=True, flower=False) as running:
        yield running


def make_reports(live, count, *accounts):
    made = {account: live.make_reports(account, count) for account in accounts}
    return made if len(accounts) > 1 else made[accounts[0]]


def stall_a_download(live, account="acme", *, seconds):
    """Amazon stops in the middle of the account's next report; returns what tells whether it has."""
    operation = {"mws": "GetReport", "sp-api": "document"}[APIS[account]]
    live.amazon("faults", stall_seconds=seconds)
    live.amazon("faults", operation=operation, fault="stalled_body", account=account)

    def count():
        return len([call for call in live.calls(operation) if call["fault"] == "stalled_body"])

    before = count()
    return lambda: count() > before


def assert_parsed_once(live, made):
    of_each = [live.events(report_id, account) for account, ids in made.items() for report_id in ids]
    assert {events.count("parsed") for events in of_each} == {1}


def test_what_is_sold_and_scheduled_ends_in_postgres_and_acknowledged(live):
    """The main job, with nothing but beat and a worker: nobody types anything. Of each seller's first notices one is
    lost, one comes twice, and one has a forged one beside it."""
    for account in ACCOUNTS:
        for fault in NOTICE_FAULTS:
            live.amazon("faults", operation="notification", fault=fault, account=account)
        live.amazon("orders", account=account, count=6)
    live.make_reports("bravo", 3)

    def scheduled():
        return {report["account"] for report in live.told_reports() if not report["requested"]}

    wait_for(lambda: scheduled() == set(ACCOUNTS), "the scheduled reports")

    for account in ("bravo", "cedar"):
        (report_type,) = DECLARED[APIS[account]]
        now = live.s.clock.now().replace(microsecond=0) - timedelta(minutes=1)
        window = {"start": now - timedelta(hours=1), "end": now}
        live.s.requests.enter(account, APIS[account], report_type, **window, options={})
        wait_for(lambda a=account: [row.status for row in live.s.requests.table(a)] == ["done"], "the requested report")

    live.wait_judged()
    announced = ask(live.stack.emulator["mws"], "/_emulator/notifications")
    assert announced["faults"].keys() == set(NOTICE_FAULTS)
    wait_for(lambda: "doubled" in live.s.notices.counts(timedelta(days=1)), "the copy of a notice to be heard")
    known = {row.report_id for row in live.s.db.query("SELECT report_id FROM reports")}
    assert known <= {report["report_id"] for report in live.told_reports()}, "what was forged is no report"
    live.assert_no_buyer_in(live.log(live.workers[0]) + live.log("beat"))
    assert "Traceback" not in live.log(live.workers[0])


def test_a_worker_killed_between_commit_and_acknowledgement_loses_and_doubles_nothing(live):
    """The worst moment: the rows are in, Amazon is being told, and nobody is left to hear its answer."""
    (victim,) = live.workers
    look = live.seen.look

    def kill_first(account, report_ids):
        live.seen.look = look
        live.kill(victim, signal.SIGKILL)
        look(account, report_ids)

    live.seen.look = kill_first
    (report_id,) = make_reports(live, 1, "acme")
    wait_for(lambda: live.workers == [], "the worker to be killed")
    assert live.state(report_id) == "parsed"

    live.add_worker()

    wait_for(lambda: live.state(report_id) == "acknowledged", "the acknowledgement")
    assert live.events(report_id).count("parsed") == 1
    told = [call for call in live.calls("UpdateReportAcknowledgements") if report_id in call["report_ids"]]
    assert len(told) == 2, "once by the dead, once by the living"
    live.wait_judged()


@pytest.mark.parametrize("account", ["acme", "cedar"], ids=APIS.get)
def test_a_worker_killed_in_mid_download_costs_its_report_one_attempt_and_a_lease(live, account):
    """Nobody gives its lease back: it runs out, and the sweep sends the report again."""
    stalled = stall_a_download(live, account, seconds=20)
    (victim,) = live.workers
    (report_id,) = make_reports(live, 1, account)
    wait_for(stalled, "the download to stall")

    live.kill(victim, signal.SIGKILL)
    live.add_worker()

    wait_for(lambda: live.state(report_id, account) not in {None, "listed"}, "the download by another", LEASE + 8)
    assert "lease ran out" in live.events(report_id, account)
    (downloaded,) = [entry for entry in live.history(report_id, account) if entry.event == "downloaded"]
    assert downloaded.attempt == 2
    live.wait_judged()


def test_a_flushed_redis_costs_a_delay_and_nothing_else(live):
    """Messages, locks and quotas are gone in the middle of the work: the ledger knows what is left to do."""
    made = make_reports(live, 6, *ACCOUNTS)
    wait_for(lambda: live.state(made["acme"][-1]), "the listing")

    Redis.from_url(live.stack.redis_url).flushall()

    live.wait_judged()
    assert_parsed_once(live, made)


def test_a_redis_restarted_under_a_running_task_is_survived(live):
    """A worker that ends when its broker blinks takes all its running steps with it."""
    stalled = stall_a_download(live, seconds=2)
    made = make_reports(live, 2, *ACCOUNTS)
    wait_for(stalled, "a download to stall")

    live.restart_redis()

    live.wait_judged(60)
    assert [process.ended for process in live.stack.processes if process.name == live.workers[0]] == [None]
    assert_parsed_once(live, made)


def test_two_beats_at_once_list_each_account_once_an_interval(live):
    """Each deployment has two for a moment: Amazon's quota must not pay for it."""
    # Where push is trusted, an account is listed too rarely for this to show anything.
    live.s.db.query("UPDATE connections SET push_streak = 0")
    live.s.db.query("UPDATE accounts SET next_list_at = least(next_list_at, app_now() + list_every)")
    live.stack.start_beat("beat-2")
    before = len(live.calls("GetReportList", "getReports"))
    began = live.s.clock.now()
    make_reports(live, 2, *ACCOUNTS)

    wait_for(lambda: (live.s.clock.now() - began).total_seconds() > 10 * 60, "two intervals to pass")

    listings = len(live.calls("GetReportList", "getReports")) - before
    assert 6 <= listings <= 12, "three accounts, each every five minutes, and once for what is announced"
    live.wait_judged()
    live.kill("beat-2", signal.SIGKILL)


def test_an_applications_new_keys_are_used_without_a_restart(live):
    """Secrets end, and are rotated by day: what was paused for the old ones goes on in the very processes that run."""
    told = next(account for account in live.stack.emulator["accounts"] if account["account"] == "acme")
    before = list(live.workers)

    def store(secret):
        live.s.accounts.add_application("emulator-acme", key_id=told["access_key"], secret=secret)

    def paused():
        return [row.account for row in live.s.accounts.table() if row.paused_at]

    store("one-that-has-ended")
    (report_id,) = make_reports(live, 1, "acme")
    wait_for(lambda: paused() == ["acme"], "the application to be paused")
    store(told["secret_key"])

    wait_for(lambda: live.state(report_id) == "acknowledged", "the report")
    assert (paused(), live.workers) == ([], before)
    live.wait_judged()


def test_two_workers_share_the_work_and_one_that_is_told_to_end_leaves_its_work_to_the_other(live):
    """Scaling is starting one more; a deployment ends them one by one, and costs no report an attempt."""
    second = live.add_worker()
    pools = {worker: live.pool_of(worker) for worker in live.workers}
    made = make_reports(live, 8, *ACCOUNTS)

    def shares():
        owners = {entry.worker.split(":")[-1] for r in made["acme"] for entry in live.history(r) if entry.worker}
        return all(pool & owners for pool in pools.values())

    wait_for(shares, "both workers to take part")
    live.kill(second, signal.SIGTERM)

    live.wait_judged(30)
    (ending,) = [process for process in live.stack.processes if process.name == second]
    assert ending.ended in {None, "exit 0"}, "still in the 40 s that running steps are given, or done"
    events = [event for account, ids in made.items() for report_id in ids for event in live.events(report_id, account)]
    assert "lease ran out" not in events
    assert "failed" not in events
