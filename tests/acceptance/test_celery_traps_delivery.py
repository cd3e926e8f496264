"""Messages lost, doubled, spoilt, or held back, on a real Redis: each report is parsed once, and none is forgotten."""

from __future__ import annotations

import os
import pickle
import signal
import threading

import pytest

from tests.acceptance.held import AT_ONCE, held, pool_of, said
from tests.acceptance.live import wait_for
from tests.services import scratch_folder
from workers.config import KEY_PREFIX
from workers.processes import StackError

LEASE = 4
PARSE_QUEUE = f"{KEY_PREFIX}reports.parse"


@pytest.fixture(scope="module")
def works(postgres_server, database_template):
    """Servers for all tests of this file; each leaves no message and no held report behind."""
    with scratch_folder() as folder, held(postgres_server, database_template, folder) as running:
        yield running


@pytest.fixture(scope="module")
def worker(works):
    """The worker of all tests that do not end it."""
    return works.start_worker(lease=LEASE)


def test_a_pool_process_killed_in_a_step_is_one_attempt_and_no_loop(works, worker):
    """A report that kills its process would else be started again and again, with no limit."""
    (key,) = works.downloaded_reports(1)
    with works.holding():
        works.send_parse(key)
        (victim,) = works.wait_held(1)
        assert victim in pool_of(worker)

        os.kill(victim, signal.SIGKILL)

        wait_for(lambda: said(worker, "WorkerLostError"), "the worker to see its process lost")
        works.wait_no_messages()
        assert works.starts(key) == 1, "the message was acknowledged, not delivered again"
    wait_for(lambda: len(pool_of(worker)) == 2 and victim not in pool_of(worker), "another process in its place")

    def swept():
        works.send("sweep")
        return "lease ran out" in works.events(key)

    wait_for(swept, "the sweep to take the lease back", LEASE + AT_ONCE)
    works.wait_parsed(key)
    assert works.starts(key) == 2
    (parsed,) = [entry for entry in works.s.history.of(key) if entry.event == "parsed"]
    assert parsed.attempt == 2, "the lost one is counted: a report that kills each worker ends in quarantine"


def test_a_connection_lost_under_a_running_step_doubles_its_message_to_no_effect(works, worker):
    """Redis gives the message back at once, and the same worker takes it a second time while the first still runs.

    Celery may put it behind the running step or beside it: it finds the lock taken, or the report parsed.
    """
    (key,) = works.downloaded_reports(1)
    with works.holding():
        works.send_parse(key)
        at_work = works.wait_held(1)
        received = said(worker, "Task reports.parse[")

        works.redis.client_kill_filter(_type="normal", skipme=True)

        wait_for(lambda: said(worker, "Task reports.parse[") > received, "the message to be delivered again")
        assert works.at_work() == at_work
    works.wait_parsed(key)
    wait_for(lambda: nothing_done(worker, key), "the doubled message to be a no-op")
    works.wait_no_messages()
    assert works.starts(key) == 1
    assert works.events(key).count("parsed") == 1


def test_a_connection_lost_while_nothing_runs_costs_nothing(works, worker):
    """No message is in hand: the worker connects again by itself, and takes the next one."""
    works.wait_no_messages()
    works.redis.client_kill_filter(_type="normal", skipme=True)

    (key,) = works.downloaded_reports(1)
    works.send_parse(key)
    works.wait_parsed(key)
    assert pool_of(worker)


def test_no_result_is_kept_of_a_step_that_another_step_sent(works, worker):
    """Sent by name, a task's own options are not asked: each step left a key in Redis that nobody reads."""
    (key,) = works.downloaded_reports(1)
    works.send_parse(key)
    works.wait_parsed(key)
    works.wait_no_messages()

    assert said(worker, "Task reports.acknowledge["), "it is the parse that sends this one"
    assert works.redis.keys(f"{KEY_PREFIX}celery-task-meta-*") == []


def test_a_message_that_vanished_on_its_way_is_sent_again_by_the_sweep(works, worker):
    """A worker whose connection dies between taking a message and noting it leaves no trace of it in Redis."""
    os.kill(worker.pid, signal.SIGSTOP)
    works.redis.client_kill_filter(_type="normal", skipme=True)
    (key,) = works.downloaded_reports(1)
    assert [sent for sent, _ in works.s.dispatch.send_due()] == [key]
    works.send_parse(key)
    assert works.redis.rpop(PARSE_QUEUE), "taken, and noted nowhere"
    os.kill(worker.pid, signal.SIGCONT)

    def swept():
        works.send("sweep")
        return works.row(key).state == "parsed"

    wait_for(swept, "the report to be sent again", LEASE + AT_ONCE)
    assert works.starts(key) == 1


def test_what_is_no_message_of_ours_is_thrown_away_and_the_next_one_is_done(works, worker):
    """An older release's task, a pickle, an object without a body: none ends the worker, nothing in them runs."""
    os.kill(worker.pid, signal.SIGSTOP)
    (key,) = works.downloaded_reports(1)
    works.app.send_task("reports.of_another_release", queue="reports.parse", ignore_result=True)
    marker = works.folder / "unpickled"
    with works.app.connection_for_write() as broker, broker.Producer(routing_key="reports.parse") as producer:
        kind = {"content_type": "application/x-python-serialize", "content_encoding": "binary"}
        producer.publish(pickle.dumps(_Opens(marker)), headers={"task": "reports.parse", "id": "pickled"}, **kind)
    works.redis.lpush(PARSE_QUEUE, '{"body": "e30="}')
    works.send_parse(key)
    os.kill(worker.pid, signal.SIGCONT)

    works.wait_parsed(key)
    works.wait_no_messages()
    assert worker.ended is None
    assert not marker.exists()
    assert said(worker, "reports.of_another_release")


def test_a_busy_worker_holds_no_more_messages_than_it_has_processes(works, worker):
    """What it held beyond that would wait behind its work while another worker has nothing to do."""
    keys = works.downloaded_reports(6)
    with works.holding():
        works.send_parse(*keys)
        assert works.wait_held(2) <= pool_of(worker)
        assert (works.in_hand(), works.queued("parse")) == (2, 4)

        peer = works.start_worker(lease=LEASE)

        at_work = works.wait_held(4)
        assert len(at_work & pool_of(peer)) == 2
        assert (works.in_hand(), works.queued("parse")) == (4, 2)
    works.wait_parsed(*keys)
    assert {works.starts(key) for key in keys} == {1}
    # What a killed worker had in hand would stay in Redis for an hour.
    works.wait_no_messages()
    works.kill(peer)


def test_a_message_redelivered_after_the_visibility_timeout_does_nothing(works, worker):
    """A step that outlives the timeout is delivered again while it runs; each copy would be, for ever."""
    works.wait_no_messages()
    works.kill(worker)
    impatient = {"broker_transport_options": {**works.app.conf.broker_transport_options, "visibility_timeout": 1}}
    first = works.start_worker(**impatient)
    (key,) = works.downloaded_reports(1)
    with works.holding():
        works.send_parse(key)
        at_work = works.wait_held(1)

        # A worker that starts gives back what is overdue at once; those that run look for it every 100 s.
        wait_for(lambda: works.overdue(1), "the message to be overdue")
        second = works.start_worker(**impatient)

        wait_for(lambda: nothing_done(first, key) + nothing_done(second, key), "the copy to be delivered")
        assert works.at_work() == at_work
        assert works.starts(key) == 1
    works.wait_parsed(key)
    works.wait_no_messages()
    assert works.starts(key) == 1
    works.kill(first)
    works.kill(second)


def test_an_item_that_is_no_message_at_all_ends_a_worker_and_the_next_takes_over(works):
    """Celery cannot read it, and ends. Whoever watches starts another, and the message behind it is not lost."""
    works.stack.add_worker(concurrency=1)
    errors = []

    def watch():
        try:
            works.stack.watch()
        except StackError as error:
            errors.append(str(error))

    (key,) = works.downloaded_reports(1)
    supervisor = threading.Thread(target=watch)
    supervisor.start()
    try:
        works.redis.lpush(PARSE_QUEUE, "not even JSON")
        works.send_parse(key)
        works.wait_parsed(key, seconds=60)
        assert [process.name for process in works.stack.processes] == ["worker-2"]
    finally:
        works.start_something_that_ends()
        supervisor.join()
    assert "something ended (exit 0)" in errors[0], "of what is no worker, a supervisor only tells"


def nothing_done(worker, key):
    """How often a message of this report found that there was nothing to do."""
    return said(worker, f"{key}: another worker is at it") + said(worker, f"{key}: already parsed, nothing done")


class _Opens:
    """Unpickled, it leaves a file behind."""

    def __init__(self, path):
        self._path = path

    def __reduce__(self):
        return open, (str(self._path), "w")
