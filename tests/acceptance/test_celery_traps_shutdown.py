"""Workers told to end with work in hand: what can end does, the rest is given back, and goes on elsewhere at once."""

from __future__ import annotations

import signal
import time
from datetime import timedelta

import pytest

from orderdrain.amazon.mws import QUOTAS
from tests.acceptance.held import AT_ONCE, LONG_LEASE, held, pool_of, said
from tests.acceptance.live import wait_for
from tests.building import API, add_account, enter
from tests.scripted_mws import Answer, report, scripted_mws
from tests.services import scratch_folder

BODY = b"order-id\torder-item-id\tsku\tquantity-purchased\n111-0000001-0000001\t1\tTEAPOT\t1\n"


@pytest.fixture(scope="module")
def servers(postgres_server, database_template):
    """Servers for all tests of this file."""
    with scratch_folder() as folder, held(postgres_server, database_template, folder) as running:
        yield running


@pytest.fixture
def works(servers):
    """The same, with no worker at the begin."""
    yield servers
    servers.kill_workers()


@pytest.fixture(scope="module")
def amazon(servers):
    """Answers what a test says; its account's GetReport bucket is full."""
    with scripted_mws() as mws:
        connection = add_account(servers.s, "bravo", application="other")
        servers.s.db.query("UPDATE connections SET endpoint = %s WHERE account = 'bravo'", (mws.url,))
        servers.s.quota.bound_to(f"other:{connection.account.seller_id}", QUOTAS).take("GetReport")
        servers.s.clock.advance(timedelta(hours=1))
        yield mws


def test_a_step_that_ends_in_time_is_waited_for(works):
    """A deployment ends workers all day: what is nearly done is not done twice."""
    worker = works.start_worker(worker_soft_shutdown_timeout=3)
    (key,) = works.downloaded_reports(1)
    with works.holding():
        works.send_parse(key)
        works.wait_held(1)
        tell_to_end(works, worker)
    wait_for(lambda: worker.ended, "the worker to end")

    assert worker.ended == "exit 0"
    assert works.row(key).state == "parsed"
    assert works.starts(key) == 1
    assert works.queued("parse") + works.in_hand() == 0, "the message was acknowledged before the end"


def test_a_step_that_does_not_end_in_time_is_given_back_and_goes_on_elsewhere_at_once(works, amazon):
    """Not when its lease runs out, nor when its message becomes visible again: an hour would be lost."""
    ending = works.start_worker(worker_soft_shutdown_timeout=1)
    key = stalled_download(works, amazon, "60123456001", ending)
    works.start_worker()

    tell_to_end(works, ending)

    goes_on_at_once(works, key)
    wait_for(lambda: ending.ended, "the worker to end")
    assert ending.ended == "exit 0"


def test_told_a_second_time_a_worker_gives_its_work_back_before_its_time_is_up(works, amazon):
    """Whoever cannot wait for the slowest step need not kill the worker, and need not wait for a lease."""
    ending = works.start_worker(worker_soft_shutdown_timeout=600)
    key = stalled_download(works, amazon, "60123456002", ending)
    works.start_worker()

    tell_to_end(works, ending)
    works.stack.kill(ending.name, signal.SIGTERM)

    goes_on_at_once(works, key)


def stalled_download(works, amazon, report_id, worker):
    """A download that this worker has in hand, and to which Amazon says nothing; asked again, it answers."""
    amazon.asked.clear()
    amazon.will_answer(Answer(status=0, stall=True), report(BODY))
    (key,) = enter(works.s, report_id, account="bravo")
    works.send("download", account="bravo", api=API, report_id=report_id)
    wait_for(lambda: amazon.asked, "the download to be asked for")
    assert works.at_work() <= pool_of(worker)
    return key


def tell_to_end(works, worker):
    works.stack.kill(worker.name, signal.SIGTERM)
    wait_for(lambda: said(worker, "Soft Shutdown"), "the worker to begin its end")


def goes_on_at_once(works, key):
    """The report is downloaded long before its lease would run out, with no attempt spent."""
    began = time.monotonic()

    def swept():
        works.send("sweep")
        return works.row(key).state != "listed"

    wait_for(swept, "the download by another worker", AT_ONCE)
    assert time.monotonic() - began < AT_ONCE < LONG_LEASE
    assert "given back" in works.events(key)
    (downloaded,) = [entry for entry in works.s.history.of(key) if entry.event == "downloaded"]
    assert downloaded.attempt == 1
