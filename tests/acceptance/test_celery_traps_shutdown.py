"""Workers told to end with work in hand: what can end does, the rest is given back, and goes on elsewhere at once."""

from __future__ import annotations

import signal
import time
from datetime import timedelta

import pytest

from orderdrain.amazon.mws import QUOTAS
from tests.acceptance.held import AT_ONCE, LONG_LEASE, held, pool_of
from tests.acceptance.live import wait_for
from tests.building import API, add_account, enter
from tests.scripted_mws import Answer, report, scripted_mws
from tests.services import scratch_folder

BODY = b"order-id\torder-item-id\tsku\tquantity-purchased\n111-0000001-0000001\t1\tTEAPOT\t1\n"
SILENCE = Answer(status=0, stall=True)


@pytest.fixture(scope="module")
def works(postgres_server, database_template):
    """Servers for all tests of this file, and a worker to which work can go."""
    with scratch_folder() as folder, held(postgres_server, database_template, folder) as running:
        yield running


@pytest.fixture(scope="module")
def amazon(works):
    """Answers what a test says; its account's GetReport bucket is full."""
    with scripted_mws() as mws:
        connection = add_account(works.s, "bravo", application="other")
        works.s.db.query("UPDATE connections SET endpoint = %s WHERE account = 'bravo'", (mws.url,))
        works.s.quota.bound_to(f"other:{connection.account.seller_id}", QUOTAS).take("GetReport")
        works.s.clock.advance(timedelta(hours=1))
        yield mws


def test_a_step_that_ends_in_time_is_waited_for(works):
    """A deployment ends workers all day: what is nearly done is not done twice."""
    worker = works.start_worker()
    (key,) = works.downloaded_reports(1)
    with works.holding():
        works.send_parse(key)
        works.wait_held(1)
        works.stack.kill(worker.name, signal.SIGTERM)
        wait_for(lambda: "soft shutdown" in worker.log.read_text("utf-8").lower(), "the worker to begin its end")
        assert worker.ended is None
    wait_for(lambda: worker.ended, "the worker to end")

    assert worker.ended == "exit 0"
    assert works.row(key).state == "parsed"
    assert works.starts(key) == 1
    assert works.queued("parse") + works.in_hand() == 0


@pytest.mark.parametrize("signals", [1, 2], ids=["after the time it gets", "told twice"])
def test_a_step_that_does_not_end_is_given_back_and_goes_on_elsewhere_at_once(works, amazon, signals):
    """Not when its lease runs out, nor when its message becomes visible again: an hour would be lost."""
    seconds = 1 if signals == 1 else 600
    ending = works.start_worker(worker_soft_shutdown_timeout=seconds)
    amazon.asked.clear()
    amazon.will_answer(SILENCE, report(BODY))
    (key,) = enter(works.s, f"6012345600{signals}", account="bravo")
    works.send("download", account="bravo", api=API, report_id=key.report_id)
    wait_for(lambda: amazon.asked, "the download to be asked for")
    (at_work,) = works.at_work()
    assert at_work in pool_of(ending)
    other = works.start_worker()

    told = time.monotonic()
    for _ in range(signals):
        works.stack.kill(ending.name, signal.SIGTERM)
        wait_for(lambda: "soft shutdown" in ending.log.read_text("utf-8").lower(), "the worker to begin its end")

    def swept():
        works.send("sweep")
        return works.row(key).state != "listed"

    wait_for(swept, "the download by the other worker", AT_ONCE)
    assert time.monotonic() - told < AT_ONCE < LONG_LEASE
    wait_for(lambda: ending.ended, "the worker to end")
    assert ending.ended == "exit 0"
    events = works.events(key)
    assert "given back" in events
    assert "lease ran out" not in events
    (downloaded,) = [entry for entry in works.s.ledger.history(key) if entry.event == "downloaded"]
    assert downloaded.attempt == 1, "to be stopped is no attempt"
    works.kill(other)
