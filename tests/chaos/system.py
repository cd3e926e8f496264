"""The system that is shaken: real servers behind proxies, an emulated Amazon, beat, and workers under a supervisor.

Clients reach Postgres, Redis, Amazon and its queue through proxies whose addresses last; the harness itself goes straight to the
servers, and so do its judges.
"""

from __future__ import annotations

import heapq
import os
import shutil
import signal
import subprocess
import time
from contextlib import ExitStack, contextmanager
from datetime import datetime
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg2
from redis import Redis

from orderdrain.db import migrate
from orderdrain.services import Services
from orderdrain.settings import load
from orderdrain.vault import new_key
from tests.chaos.plan import LEASE
from tests.chaos.proxy import proxies
from workers.demo import add_emulator_accounts
from workers.folders import locked
from workers.judge import ask, witness
from workers.local import CHECKOUT, EmulatorOptions, RunningStack
from workers.processes import Janitor, Processes, StackError
from workers.servers import elsewhere, remove_data, start_postgres, start_redis

#: Application seconds in a real one: Amazon's "one a minute" is one a second.
SPEED = 60
#: Real seconds that Amazon's answers take: long enough to be caught in the middle of a download or a listing.
AMAZON_DELAY = 0.15
SELLERS = 5
#: Of these five (acme, bravo, cedar, delta, ember); the others sell at MWS.
SP_API_SELLERS = ("cedar", "delta")
#: More than the 15 downloads that both APIs allow at once.
BACKLOG = 16
WORKERS = 3
SHIMS = Path(__file__).parent / "shims"


@contextmanager
def shaken_system(folder, seed):
    """A System that runs, its emulated sellers added, its data and logs in `folder`."""
    with ExitStack() as running:
        lock = running.enter_context(locked(folder))
        remove_data(folder)
        (folder / "log").mkdir(parents=True)
        running.callback(shutil.rmtree, elsewhere(folder), ignore_errors=True)
        janitor = running.enter_context(Janitor(holding=[lock]))
        servers = running.enter_context(Processes(janitor, folder / "log"))
        between = running.enter_context(proxies("postgres", "redis", "amazon", "login", "queue"))
        between["amazon"].delay = between["login"].delay = AMAZON_DELAY
        seen = running.enter_context(witness())
        programs = running.enter_context(Processes(janitor, folder / "log"))
        system = System(folder, servers, between, programs, seen)
        options = EmulatorOptions(
            seed=seed,
            sellers=SELLERS,
            sp_api_sellers=",".join(SP_API_SELLERS),
            families="all",
            backlog=BACKLOG,
            speed=SPEED,
            on_acknowledge=seen.url,
        )
        system.start(options)
        try:
            yield system
        finally:
            system.wake_all()


class System:
    """What runs, how it is broken, and how it is put right again. For one thread; the witness has its own."""

    def __init__(self, folder, servers, between, programs, seen):
        self.folder = folder
        self.between = between
        self.seen = seen
        #: Where the servers listen themselves; None while one is down.
        self.database_url = None
        self.redis_url = None
        self.restored = 0
        self.unseen = 0
        #: Workers and beats that ended without having been told to: (name, how).
        self.fell = []
        self.stopped = set()
        self._servers = servers
        self._told_to_end = set()
        self._undo = []
        self._order = count()
        self._look = seen.look
        seen.look = self.look
        self.stack = RunningStack(folder, {}, programs)

    # ------------------------------------------------------------------------------------------------ starting

    def start(self, emulator):
        """Starts everything, in the order in which each needs the other."""
        self.start_postgres()
        self.start_redis()
        migrate(self.database_url)
        (self.folder / "keys").write_text(new_key("chaos"), "ascii")
        env = {name: value for name, value in os.environ.items() if not name.startswith("ORDERDRAIN_")}
        self.stack.env = env | {
            "ORDERDRAIN_ARCHIVE": str(self.folder / "archive"),
            "ORDERDRAIN_KEYS": str(self.folder / "keys"),
            "ORDERDRAIN_LOG_FORMAT": "text",
            "ORDERDRAIN_BEAT_SPEED": str(SPEED),
            "ORDERDRAIN_LEASE_SECONDS": str(LEASE),
            "ORDERDRAIN_DATABASE_URL": self._by_proxy("postgres", self.database_url),
            "ORDERDRAIN_REDIS_URL": self._by_proxy("redis", self.redis_url),
        }
        self.stack.start_emulator(emulator)
        self.stack.env["ORDERDRAIN_NOTIFICATIONS"] = self._by_proxy("queue", self.stack.emulator["sqs"])
        self.amazon_url = self.stack.emulator["mws"]
        by = {"mws": "amazon", "sp_api": "amazon", "lwa": "login"}
        through = {name: self._by_proxy(proxy, self.stack.emulator[name]) for name, proxy in by.items()}
        self.accounts = add_emulator_accounts(self.services(), self.stack.emulator | through, speed=SPEED)
        self.stack.start_beat()
        for _ in range(WORKERS):
            self.add_worker(wait=True)

    def add_worker(self, *, clock_seconds=0, wait=False):
        """A worker whose Python is prepared to die of a poisoned report; and, if asked for, with a clock that is off."""
        # The shims import our code before Python has put the working directory on its path.
        env = {"PYTHONPATH": f"{SHIMS}{os.pathsep}{CHECKOUT}", "CHAOS_POISON": "1"}
        if clock_seconds:
            env["CHAOS_CLOCK_SECONDS"] = str(clock_seconds)
        return self.stack.add_worker(env=env, wait=wait)

    def start_postgres(self):
        """Starts Postgres, if it is down, where the proxy finds it."""
        if self.database_url is None:
            self.database_url = start_postgres(self._servers, self.folder)
            self.between["postgres"].target = _address(self.database_url)
            self.seen.database_url = self.database_url

    def stop_postgres(self, how=signal.SIGINT):
        """Stops it: SIGINT ends sessions and writes all down (fast), SIGQUIT is as a crash (immediate)."""
        self.database_url = None
        if how != signal.SIGINT:
            self._servers.kill("postgres", how)
        self._servers.stop("postgres")

    def start_redis(self):
        """As start_postgres."""
        if self.redis_url is None:
            self.redis_url = start_redis(self._servers, self.folder)
            self.between["redis"].target = _address(self.redis_url)

    def stop_redis(self, how=signal.SIGTERM):
        """Stops it; SIGKILL gives it no time to write down what it has."""
        self.redis_url = None
        if how == signal.SIGKILL:
            self._servers.kill("redis", how)
        else:
            self._servers.stop("redis")

    @contextmanager
    def nobody_reaching_postgres(self):
        """Postgres runs, what was sent to it before has been done, and nothing more comes from the system."""
        self.start_postgres()
        self.between["postgres"].stall()
        # A session that waits for its client, or for the lock of one that does, never ends: it is cut off with the rest.
        busy = (
            "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND backend_type = 'client backend'"
            " AND pid <> pg_backend_pid() AND coalesce(wait_event_type, '') NOT IN ('Client', 'Lock')"
        )
        while self.query(busy):
            time.sleep(0.01)
        yield
        self.between["postgres"].flow()

    @contextmanager
    def stopped_postgres(self):
        """Postgres stopped in good order; yields the folder of its data."""
        self.stop_postgres()
        home = self.folder / "elsewhere"
        yield (home.resolve() if home.exists() else self.folder) / "postgres"
        self.start_postgres()

    def _by_proxy(self, name, url):
        proxy, parts = self.between[name], urlsplit(url)
        proxy.target = _address(url)
        return parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{proxy.port}")).geturl()

    # ------------------------------------------------------------------------------------------- as time passes

    def work(self, seconds):
        """Lets time pass: restarts what has ended, as a supervisor would, and does what was put off until now."""
        deadline = time.monotonic() + seconds
        while True:
            while self._undo and self._undo[0][0] <= time.monotonic():
                heapq.heappop(self._undo)[2]()
            self._supervise()
            left = deadline - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, 0.1))

    def later(self, seconds, undo):
        """Calls `undo` that many real seconds from now."""
        heapq.heappush(self._undo, (time.monotonic() + seconds, next(self._order), undo))

    def put_right(self):
        """Everything that was put off is done now, everything runs, and Amazon does nothing wrong any more."""
        while self._undo:
            heapq.heappop(self._undo)[2]()
        self.wake_all()
        self.start_postgres()
        self.start_redis()
        self.amazon("faults", clear=True)
        self.amazon("stop-selling")
        self.resume()
        # A refusal may still be on its way.
        self.later(LEASE, self.resume)

    def wake_all(self):
        """Whatever sleeps by SIGSTOP goes on."""
        for pid, signalled in list(self.stopped):
            self.wake(pid, signalled)

    def stop(self, pid, send=os.kill):
        """SIGSTOP to a process, or with os.killpg to a group."""
        send(pid, signal.SIGSTOP)
        self.stopped.add((pid, send))

    def wake(self, pid, send=os.kill):
        """SIGCONT, if it is still there."""
        self.stopped.discard((pid, send))
        try:
            send(pid, signal.SIGCONT)
        except ProcessLookupError:
            return

    def end(self, name, number):
        """Sends a signal that ends a process; the supervisor starts another."""
        self._told_to_end.add(name)
        os.kill(self.pid(name), number)

    def remove(self, name):
        """Kills a process for good."""
        if name in {process.name for process in self.stack.processes}:
            self.stack.kill(name, signal.SIGKILL)

    def _supervise(self):
        for process in self.stack.processes:
            if process.ended is None:
                continue
            how = process.ended
            # What its main process left behind of a worker is ended with it.
            self.stack.kill(process.name, signal.SIGKILL)
            if process.name not in self._told_to_end:
                self.fell.append((process.name, how))
                print(f"          {process.name} ended by itself ({how}):\n{process.tail()}", flush=True)
            if process.name.startswith("worker-"):
                self.add_worker()
            elif process.name == "beat":
                self._told_to_end.discard("beat")
                self.stack.start_beat(wait=False)
            elif process.name == "emulator":
                raise StackError(f"the emulator ended ({how}). The end of its log:\n{process.tail()}")

    # -------------------------------------------------------------------------------------------------- looking

    def workers(self):
        """The names of the workers that have started: those that have a pool."""
        names = [p.name for p in self.stack.processes if p.name.startswith("worker-") and p.ended is None]
        return [name for name in names if self.pool(name)]

    def pid(self, name):
        (pid,) = [process.pid for process in self.stack.processes if process.name == name]
        return pid

    def pool(self, name):
        """The pids of a worker's pool."""
        try:
            return [child.pid for child in psutil.Process(self.pid(name)).children()]
        except psutil.NoSuchProcess:
            return []

    def busy(self, at):
        """The pids of the pool processes that are at a report, or at listing or acknowledging an account, just now."""
        rows = self.query(
            "SELECT lease_owner FROM reports WHERE lease_until > app_now()"
            if at == "a report"
            else "SELECT turn_owner FROM connections WHERE turn_until > app_now()"
        )
        alive = {pid for name in self.workers() for pid in self.pool(name)}
        return sorted({int(owner.rpartition(":")[2]) for (owner,) in rows} & alive)

    def query(self, sql):
        """The rows of one statement, straight from Postgres; none while it is down."""
        if self.database_url is None:
            return []
        connection = psycopg2.connect(self.database_url, options="-c timezone=UTC")
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def redis(self):
        """A client straight to Redis, or None while it is down."""
        return Redis.from_url(self.redis_url) if self.redis_url else None

    def services(self):
        """The system's own parts, straight to the servers: to enter accounts and requests, and to set its clock."""
        return Services.from_settings(load(self.direct_env()))

    def direct_env(self):
        """An environment for our commands that goes by no proxy, as far as the servers are up."""
        direct = {"ORDERDRAIN_DATABASE_URL": self.database_url, "ORDERDRAIN_REDIS_URL": self.redis_url}
        return self.stack.env | {name: url for name, url in direct.items() if url}

    def amazon(self, path, **body):
        """Drives the emulated Amazon."""
        return ask(self.amazon_url, f"/_emulator/{path}", body)

    def make_reports(self, account, **told):
        """Reports of the account, at the API that it sells on; returns their ids."""
        return self.amazon("reports", account=account, api=api_of(account), **told)["report_ids"]

    def announce(self, account, report_ids):
        """What Amazon would say of these reports, whether there are any or not."""
        self.amazon("notifications", account=account, api=api_of(account), report_ids=report_ids)

    def notifications(self):
        """What was announced by itself, and what lies in the queue."""
        return ask(self.amazon_url, "/_emulator/notifications")

    def resume(self):
        """What a person does once Amazon takes the keys of all sellers again: what was paused goes on."""
        for (account,) in self.query(
            "SELECT account FROM connections c JOIN applications p USING (application)"
            " WHERE c.paused_at IS NOT NULL OR p.paused_at IS NOT NULL"
        ):
            self.services().accounts.resume(account)

    def amazon_now(self):
        return datetime.fromisoformat(ask(self.amazon_url, "/_emulator/clock")["now"])

    def look(self, account, report_ids):
        """The witness's look, which waits for a Postgres that is away. What it was asked before a backup was restored,
        and can look for only after it, counts as not seen."""
        before, deadline = self.restored, time.monotonic() + 8
        while self.restored == before and time.monotonic() < deadline:
            try:
                self._look(account, report_ids)
                return
            except psycopg2.Error:
                time.sleep(0.05)
        self.unseen += len(report_ids)


def api_of(account):
    """Where an account sells."""
    return "sp-api" if account in SP_API_SELLERS else "mws"


def copy_of(source, target):
    """`target` becomes a copy of the folder `source`, its owners too."""
    subprocess.run(["rm", "-rf", str(target)], check=True)
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)


def _address(url):
    parts = urlsplit(url)
    return parts.hostname, parts.port
