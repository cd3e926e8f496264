"""Real workers, and reports whose parse is held: what Celery's traps are set with. No Amazon, no beat, no sleep.

A parse begins by waiting for its account's advisory lock in Postgres. Whoever has that lock holds the step in the middle of
its work, leased and locked, for exactly as long as the test needs:

    with held(postgres_server, database_template, folder) as works:
        works.start_worker()
        key, = works.downloaded_reports(1)
        with works.holding():
            works.send_parse(key)
            works.wait_held(1)          # ... and now something happens to the worker
        works.wait_parsed(key)
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

import psutil
import psycopg2
from celery import Celery
from redis import Redis

from orderdrain.archive import key_for
from orderdrain.reports import State
from tests import services as servers
from tests.acceptance.live import wait_for
from tests.building import WORKER, add_account, enter, open_services
from tests.chaos.system import SHIMS
from tests.emulator_process import ROOT
from workers.config import KEY_PREFIX, STEPS, configuration
from workers.local import RunningStack
from workers.processes import Janitor, Processes

#: Real seconds, of which no test waits for one: what goes on sooner does not go on because a lease ran out.
LONG_LEASE = 120
#: Real seconds within which work goes on that waits for no timeout, on a busy machine with two cores.
AT_ONCE = 15


@contextmanager
def held(postgres_server, database_template, folder):
    """A database and a Redis of its own, and no worker yet."""
    with (
        servers.fresh_database(postgres_server, database_template) as database_url,
        servers.own_redis() as redis_url,
        Janitor() as janitor,
        Processes(janitor, folder) as programs,
    ):
        works = Works(database_url, redis_url, folder, programs)
        try:
            yield works
        finally:
            # Asked to end, a worker would first wait for what it has at hand.
            works.kill_workers()
            works.s.db.close()


class Works:
    """What runs, how to drive it, and how to look at it."""

    def __init__(self, database_url, redis_url, folder, programs):
        self.s = open_services(database_url, redis_url, folder, lease_seconds=LONG_LEASE)
        add_account(self.s)
        self.env = {
            **os.environ,
            "ORDERDRAIN_DATABASE_URL": database_url,
            "ORDERDRAIN_REDIS_URL": redis_url,
            "ORDERDRAIN_ARCHIVE": str(folder / "archive"),
            "ORDERDRAIN_LEASE_SECONDS": str(LONG_LEASE),
            "ORDERDRAIN_LOG_FORMAT": "text",
            "REMAP_SIGTERM": "SIGQUIT",
        }
        self.stack = RunningStack(folder, self.env, programs)
        self.redis = Redis.from_url(redis_url)
        self.app = Celery("held", set_as_current=False)
        self.app.conf.update(configuration(self.s.settings))
        self._database_url = database_url
        self._programs = programs
        self.folder = folder
        self._numbers = itertools.count(1)

    # ------------------------------------------------------------------------------------------------ driving

    def start_worker(self, *, lease=LONG_LEASE, clock_ahead=0, **altered):
        """A worker of two processes, ready to work; `altered` are settings of Celery's. Returns its process.

        `clock_ahead`: seconds by which its clock is off.
        """
        name = f"worker-held-{next(self._numbers)}"
        app = ["-A", "tests.acceptance.altered_app", "worker", "-n", f"{name}@%h", "-c", "2"]
        queues = ["-Q", ",".join(f"reports.{step}" for step in STEPS), "--without-gossip", "--without-mingle"]
        env = {**self.env, "ORDERDRAIN_LEASE_SECONDS": str(lease), "ALTERED_SETTINGS": json.dumps(altered)}
        if clock_ahead:
            env |= {"PYTHONPATH": f"{SHIMS}{os.pathsep}{ROOT}", "CHAOS_CLOCK_SECONDS": str(clock_ahead)}
        return self._programs.spawn_telling(name, [sys.executable, "-m", "celery", *app, *queues], env=env, cwd=ROOT)

    def start_beat(self, **altered):
        """A beat with a schedule file of its own, ready to tick; `altered` are settings of Celery's."""
        name = f"beat-{next(self._numbers)}"
        app = ["-A", "tests.acceptance.altered_app", "beat", "-s", str(self.folder / f"{name}-schedule")]
        env = {**self.env, "ALTERED_SETTINGS": json.dumps(altered)}
        return self._programs.spawn_telling(name, [sys.executable, "-m", "celery", *app], env=env, cwd=ROOT)

    def start_something_that_ends(self):
        """A part of the stack that is no worker; it ends by itself."""
        self._programs.spawn("something", ["sleep", "0.2"], env=self.env, ready=lambda _: True)

    def kill(self, process):
        self._programs.kill(process.name, signal.SIGKILL)

    def kill_workers(self):
        for process in self._programs:
            if process.name.startswith("worker-"):
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                self.kill(process)

    def downloaded_reports(self, count):
        """So many reports of one order each, their bytes archived and no message on its way."""
        keys = []
        for number in itertools.islice(self._numbers, count):
            (key,) = enter(self.s, str(50_123_456_000 + number))
            lease = self.s.ledger.lease(key, State.LISTED, WORKER)
            place = key_for(key.account, key.api, key.report_id, lease.fence, lease.report.available_at)
            line = (f"111-{number:07}-0000000", f"{number:014}", "TEAPOT", "1")
            header = ("order-id", "order-item-id", "sku", "quantity-purchased")
            with self.s.archive.writer(place) as writer:
                writer.write("\n".join(["\t".join(header), "\t".join(line), ""]).encode())
                stored = writer.commit()
            self.s.ledger.downloaded(
                lease,
                archive_key=stored.key,
                size=stored.size,
                sha256=stored.sha256,
                content_type="text/plain;charset=UTF-8",
                request_id=None,
            )
            self.s.dispatch.not_sent([key])
            keys.append(key)
        return keys

    def send(self, step, **ids):
        self.app.send_task(f"reports.{step}", kwargs=ids, ignore_result=True)

    def send_parse(self, *keys):
        for key in keys:
            self.send("parse", account=key.account, api=key.api, report_id=key.report_id)

    @contextmanager
    def holding(self, account="acme"):
        """Every parse of the account stands still until the block ends."""
        connection = psycopg2.connect(self._database_url)
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (account,))
            yield
        finally:
            connection.close()

    # ------------------------------------------------------------------------------------------------ looking

    def wait_held(self, count):
        """Until so many parses stand still; returns the ids of the processes that they run in."""
        wait_for(lambda: self._standing() == count, f"{count} parses to be held")
        return self.at_work()

    def at_work(self):
        rows = self.s.db.query("SELECT lease_owner FROM reports WHERE lease_owner IS NOT NULL")
        return {int(row.lease_owner.rpartition(":")[2]) for row in rows}

    def wait_parsed(self, *keys, seconds=30):
        wait_for(lambda: all(self.row(key).state == "parsed" for key in keys), "the reports to be parsed", seconds)

    def row(self, key):
        (row,) = self.s.ledger.find(key.report_id, key.account)
        return row

    def events(self, key):
        return [entry.event for entry in self.s.history.of(key)]

    def starts(self, key):
        """How often a parse of it began: each lease raises the fence, and the first was the download's."""
        return self.row(key).fence - 1

    def queued(self, step):
        """Messages that no worker has."""
        return self.redis.llen(f"{KEY_PREFIX}reports.{step}")

    def expired(self, step):
        """How many of them are too old by now to be worked on."""
        messages = map(json.loads, self.redis.lrange(f"{KEY_PREFIX}reports.{step}", 0, -1))
        ends = [datetime.fromisoformat(message["headers"]["expires"]) for message in messages]
        return sum(end < datetime.now(UTC) for end in ends)

    def overdue(self, seconds):
        """How many messages were taken that long ago, and are not acknowledged."""
        return self.redis.zcount(f"{KEY_PREFIX}unacked_index", 0, time.time() - seconds)

    def in_hand(self):
        """Messages that workers have, and have not acknowledged."""
        return self.redis.hlen(f"{KEY_PREFIX}unacked")

    def wait_no_messages(self):
        wait_for(lambda: not (self.in_hand() or any(map(self.queued, STEPS))), "every message to be done with")

    def _standing(self):
        ((count,),) = self.s.db.query(
            "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database"
            " WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()"
        )
        return count


def pool_of(process):
    """The ids of a worker's pool processes."""
    return {child.pid for child in psutil.Process(process.pid).children()}


def said(process, words):
    """How many lines of its log hold these words."""
    return sum(words in line for line in process.log.read_text("utf-8").splitlines())
