"""A small world in which a process may die: a database, a Redis, an Amazon with three sellers, and an archive.

Everything is made anew for each death and costs little: the database is a copy, Amazon and the application are forks of
one parent that has imported everything and connected to nothing. Both clocks stand almost still and jump when told to,
so that one run sees the same moments as the next.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import sys
import tempfile
import threading
import traceback
import urllib.request
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import boto3  # noqa: F401 - so that no fork must load it
from structlog.testing import capture_logs

import emulator.__main__
from orderdrain.redis_client import connect
from orderdrain.vault import new_key
from tests import services
from tests.drain import Drain
from tests.emulator_process import Emulator
from workers.judge import witness

#: Application and emulated seconds in a real one, the least that the emulator takes.
STILL = 0.001
#: Children that share the worlds: a day waits for Postgres and for the disk as much as it computes.
SHARES = 2
#: Real seconds after which a process counts as hanging.
PATIENCE = 60
#: Of every lease in these worlds, in real seconds.
LEASE_SECONDS = 120


# ------------------------------------------------------------------------------------------------------- processes


class Died(Exception):
    """A forked process was ended by SIGKILL."""


class Fork:
    """A child of this process that does one thing. What it returns comes back as JSON; what it raises, as text."""

    def __init__(self, function, *told, patience=PATIENCE):
        reading, writing = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(reading)
            signal.alarm(patience)
            _do(function, told, writing)
        os.close(writing)
        self._pipe = os.fdopen(reading)

    def returned(self):
        """Waits for its end. Raises Died, and RuntimeError with what it raised."""
        with self._pipe:
            said = self._pipe.read()
        _, status = os.waitpid(self._pid, 0)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            raise Died
        if status or not said:
            hung = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM
            raise RuntimeError("the process hung" if hung else f"the process ended with status {status}")
        answer = json.loads(said)
        if "raised" in answer:
            raise RuntimeError(answer["raised"])
        return answer["returned"]


def forked(function, *told):
    """What `function` returns when a child of this process runs it. Raises Died."""
    return Fork(function, *told).returned()


def shared_out(servers, work, items):
    """What `work(servers, item)` returns, item by item: done by a few children, each with worlds of its own."""
    parent = os.getpid()

    def work_all(servers, items):
        return [work(servers, item) for item in items if os.getppid() == parent]  # alone, nobody would hear of it

    children = [Fork(work_all, servers.share(n), items[n::SHARES], patience=3600) for n in range(SHARES)]
    shares = [child.returned() for child in children]
    return [shares[place % SHARES][place // SHARES] for place in range(len(items))]


def _do(function, told, writing):
    status = 1
    try:
        try:
            answer = {"returned": function(*told)}
        except BaseException:
            answer = {"raised": traceback.format_exc()}
        with os.fdopen(writing, "w") as pipe:
            json.dump(answer, pipe)
        sys.stdout.flush()
        status = 0
    finally:
        os._exit(status)


class ForkedAmazon(Emulator):
    """The emulator as a fork of this process, and beside it the witness whom it asks before each acknowledgement."""

    def __init__(self, database_url):
        reading, writing = os.pipe()
        ours, theirs = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(reading)
            os.close(theirs)
            _be_amazon(database_url, told=writing, parent=ours)
        os.close(writing)
        os.close(ours)
        self._told = os.fdopen(reading)
        self._alive = theirs
        self._token = None
        self._http = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self.first_line = json.loads(self._told.readline())
        self.url = self.first_line["mws"]
        self.accounts = self.first_line["accounts"]

    def stop(self):
        """Ends it. Then `too_early` holds the ids that were acknowledged before their rows were committed."""
        os.close(self._alive)
        with self._told:
            self.too_early = json.loads(self._told.read())
        os.waitpid(self._pid, 0)


def _be_amazon(database_url, *, told, parent):
    """This process from now on, until its parent closes the pipe (or is gone)."""

    def end_with_parent():
        os.read(parent, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    try:
        os.dup2(told, 1)
        sys.stdout = os.fdopen(1, "w")
        threading.Thread(target=end_with_parent, daemon=True).start()
        with witness() as seen:
            seen.database_url = database_url
            options = {"port": 0, "sellers": 3, "sp-api-sellers": "cedar", "speed": STILL, "faults": "none"}
            options |= {"orders-per-minute": 0, "backlog": 0}
            sys.argv = ["emulator", "--on-acknowledge", seen.url]
            sys.argv += [word for name, value in options.items() for word in (f"--{name}", str(value))]
            emulator.__main__.main()
            print(json.dumps(seen.too_early), flush=True)
            os._exit(0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


# ----------------------------------------------------------------------------------------------------------- worlds


@dataclass(frozen=True)
class Servers:
    """Where worlds are made: a Postgres with a migrated database to copy, and a Redis of nobody else's."""

    postgres: str
    template: str
    redis: str

    def share(self, number):
        """For worlds that live at the same time as those of another share: another of Redis's sixteen databases."""
        url = urlsplit(self.redis)
        mine = (int(url.path.strip("/") or 0) + 8 * number) % 16
        return replace(self, redis=urlunsplit(url._replace(path=f"/{mine}")))


@contextmanager
def running_servers():
    """Those of the tests, or such as these begin with."""
    gc.freeze()  # what was imported stays shared with every fork
    with services.postgres() as postgres, services.redis() as redis, services.migrated_template(postgres) as template:
        yield Servers(postgres, template, redis)


@dataclass(frozen=True)
class World:
    """One database, one archive, one Amazon, and the Redis of its share."""

    database_url: str
    redis_url: str
    folder: Path
    amazon: ForkedAmazon

    @property
    def archive(self):
        return self.folder / "archive"

    @property
    def keys(self):
        return self.folder / "keys"

    @contextmanager
    def open(self, watch=None):
        """A worker's own view of it, for one process."""
        with capture_logs() as logs:
            settings = {"lease_seconds": LEASE_SECONDS, "keys": self.keys}
            settings |= {"notifications": self.amazon.first_line["sqs"]}
            seen = WatchedDrain(self.database_url, self.redis_url, self.folder, self.amazon, logs, settings)
            seen.watch = watch
            try:
                yield seen
            finally:
                seen.s.db.close()

    def let_locks_run_out(self):
        """In Redis as much time passes as a lease lasts: the locks of the dead are free."""
        with closing(connect(self.redis_url)) as redis:
            for key in redis.scan_iter():
                if (left := redis.pttl(key)) >= 0:  # what does not run out says -1
                    redis.pexpire(key, max(0, left - 1000 * LEASE_SECONDS))


@contextmanager
def new_world(servers):
    """Made in a tenth of a second, and gone without a trace."""
    with (
        services.fresh_database(servers.postgres, servers.template) as database_url,
        tempfile.TemporaryDirectory(prefix="orderdrain-crash-") as folder,
        ForkedAmazon(database_url) as amazon,
    ):
        with closing(connect(servers.redis)) as redis:
            redis.flushdb()
        world = World(database_url, servers.redis, Path(folder), amazon)
        world.keys.write_text(new_key("crash"), "ascii")
        yield world


class WatchedDrain(Drain):
    """A Drain whose steps are watched from the doors."""

    watch = None
    never_quiet = False

    def tick(self):
        with self._during("beat"):
            super().tick()

    def listen(self):
        with self._during("listen"):
            return super().listen()

    def run_message(self, step, ids):
        with self._during(step):
            return super().run_message(step, ids)

    def _send(self, step, **ids):
        if self.watch:
            self.watch.effect(f"message {step}")
        return super()._send(step, **ids)

    def _during(self, step):
        return self.watch.during(step) if self.watch else contextlib.nullcontext()
