"""Redis away, workers away, beat away: nothing hangs, nothing is lost, and nothing is made up for many times over."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from tests.acceptance.held import held, said
from tests.acceptance.live import wait_for
from tests.emulator_process import ROOT
from tests.services import scratch_folder

#: Real seconds for one message. A Redis that refuses is given up at once; one that is frozen, after its timeouts: the
#: first time a connection that was good is tried, then a new one, thrice.
REFUSED, FROZEN = 3, 30

#: Sends what stdin names, a word a line, and tells what became of it, and after how many seconds.
SENDER = """
import json, sys, time
from orderdrain import pipeline
from orderdrain.telemetry import configure_logs
from workers.runtime import send, services, settings
configure_logs(settings)
print(json.dumps("ready"), flush=True)
for word in map(str.strip, sys.stdin):
    began = time.monotonic()
    sent = pipeline.send_due(services()) if word == "all due" else send(word)
    print(json.dumps([sent, time.monotonic() - began]), flush=True)
"""


@pytest.fixture(scope="module")
def works(postgres_server, database_template):
    """Servers for all tests of this file; each leaves no worker and no message behind."""
    with scratch_folder() as folder, held(postgres_server, database_template, folder) as running:
        yield running


def test_a_message_for_a_redis_that_refuses_is_given_up_at_once(works):
    """Each step sends the next one: were this slow, every worker would stand still for as long as Redis is away."""
    nobody_listens = {"ORDERDRAIN_REDIS_URL": "redis://127.0.0.1:1/0"}
    with sender(works, **nobody_listens) as (tell, told):
        tell("sweep", "sweep")
        for sent, seconds in (told(), told()):
            assert not sent
            assert seconds < REFUSED


def test_messages_for_a_frozen_redis_are_given_up_after_its_timeouts_and_sent_by_a_later_sweep(works):
    """It takes connections, and says nothing: without limits of time whoever sends would wait for ever."""
    keys = works.downloaded_reports(5)
    with sender(works) as (tell_connected, told_connected), sender(works) as (tell, told):
        tell_connected("sweep")
        assert told_connected()[0], "it is connected"
        with frozen(works):
            tell_connected("sweep")
            tell("all due")
            sent, seconds = told()
            assert sent == 0
            assert seconds < FROZEN, "the first failure ends the loop, else it were five times as long"
            sent, seconds = told_connected()
            assert not sent
            assert seconds < FROZEN
    assert {works.row(key).sent_at for key in keys} == {None}, "each is due again"

    worker = works.start_worker()
    works.send("sweep")
    works.wait_parsed(*keys)
    assert {works.starts(key) for key in keys} == {1}
    works.kill(worker)
    works.redis.flushdb()


def test_ticks_that_no_worker_took_in_time_are_thrown_away(works):
    """Workers that were down for an hour would else begin with hundreds of sweeps, one after the other."""
    beat = works.start_beat(
        beat_schedule={"sweep": {"task": "reports.sweep", "schedule": 1, "options": {"expires": 5}}}
    )
    wait_for(lambda: works.queued("sweep") >= 4, "four ticks")
    os.kill(beat.pid, signal.SIGSTOP)
    wait_for(lambda: works.expired("sweep") == works.queued("sweep"), "the last tick to be too old")
    ticks = works.queued("sweep")

    worker = works.start_worker()

    works.wait_no_messages()
    wait_for(lambda: said(worker, "Discarding revoked task: reports.sweep") == ticks, "the old ticks to be discarded")
    assert said(worker, "swept:") == 0

    os.kill(beat.pid, signal.SIGCONT)
    wait_for(lambda: said(worker, "swept:") >= 1, "a fresh tick to be worked on")
    works.kill(worker)
    works.kill(beat)
    works.redis.flushdb()


def test_a_fleet_whose_clock_is_ten_minutes_ahead_of_beats_still_works(works):
    """Each tick carries its end as a time of day. Where it is near, all that such workers do is throw ticks away."""
    worker = works.start_worker(clock_ahead=600)
    beat = works.start_beat()

    wait_for(lambda: said(worker, "swept:") >= 1, "a tick to be worked on")
    assert said(worker, "Discarding revoked task") == 0
    works.kill(worker)
    works.kill(beat)
    works.redis.flushdb()


def test_ticks_that_beat_missed_are_made_up_for_by_one(works):
    """A machine that slept must not send at once all that it slept through."""
    beat = works.start_beat(beat_schedule={"sweep": {"task": "reports.sweep", "schedule": 1}})
    wait_for(lambda: said(beat, "Sending due task sweep") >= 1, "the first tick")
    os.kill(beat.pid, signal.SIGSTOP)
    # Redis keeps the time: this key outlasts three of beat's intervals.
    works.redis.set("slept", 1, px=3500)
    wait_for(lambda: not works.redis.exists("slept"), "three ticks to be missed")
    before, began = said(beat, "Sending due task sweep"), time.monotonic()

    os.kill(beat.pid, signal.SIGCONT)

    wait_for(lambda: said(beat, "Sending due task sweep") >= before + 3, "three more ticks")
    assert time.monotonic() - began > 1.5, "one at once, and the others a second apart"
    works.kill(beat)
    works.redis.flushdb()


@contextmanager
def sender(works, **env):
    """A process as a worker's, which sends what it is told to. Yields how to tell it, and how to hear of it."""
    process = subprocess.Popen(
        [sys.executable, "-c", SENDER],
        env={**works.env, **env},
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )

    def tell(*words):
        process.stdin.write("".join(f"{word}\n" for word in words))
        process.stdin.flush()

    def told():
        return json.loads(process.stdout.readline())

    try:
        assert told() == "ready"
        yield tell, told
    finally:
        process.kill()
        process.communicate()


@contextmanager
def frozen(works):
    """Redis stands still, and its address goes on taking connections."""
    pid = works.redis.info("server")["process_id"]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
