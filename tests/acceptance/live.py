"""A whole stack of real processes, watched from outside: the ledger's rows and Amazon's record say what happened."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from urllib.parse import urlsplit

import psutil
import pytest
from redis import Redis
from redis.exceptions import RedisError

from orderdrain.reports import ReportKey
from orderdrain.services import Services
from orderdrain.settings import load
from tests.drain import buyers_cells
from tests.emulator_process import ROOT
from workers.demo import add_emulator_accounts
from workers.judge import ask, judge, witness
from workers.local import EmulatorOptions, running_stack

#: Application seconds in a real one: Amazon's "one a minute" is one a second.
SPEED = 60
#: Real seconds after which a dead worker's report moves on.
LEASE = 4


#: Who sells there: at MWS, and at SP-API.
APIS = {"acme": "mws", "bravo": "mws", "cedar": "sp-api"}


@contextmanager
def living(folder, **parts):
    """A stack in `folder` with the emulator's accounts added. It sells nothing, and waits to be driven."""
    with pytest.MonkeyPatch.context() as patch, witness() as seen:
        patch.setenv("ORDERDRAIN_LEASE_SECONDS", str(LEASE))
        quiet = {"backlog": 0, "orders_per_minute": 0, "faults": "none"}
        options = EmulatorOptions(speed=SPEED, sp_api_sellers="cedar", on_acknowledge=seen.url, **quiet)
        with running_stack(folder, emulator=options, **parts) as stack:
            seen.database_url = stack.database_url
            services = Services.from_settings(load(stack.env))
            add_emulator_accounts(services, stack.emulator, speed=SPEED)
            live = Live(stack, services, seen)
            try:
                yield live
            finally:
                services.db.close()
                # Asked to end, each would first wait for what it has at hand.
                for process in stack.processes:
                    if process.name.startswith("worker-"):
                        stack.kill(process.name, signal.SIGKILL)


class Live:
    """What runs, and how to look at it."""

    def __init__(self, stack, services, seen):
        self.stack = stack
        self.s = services
        self.seen = seen
        self.workers = [process.name for process in stack.processes if process.name.startswith("worker-")]

    # ------------------------------------------------------------------------------------------------ driving

    def amazon(self, path, **body):
        return ask(self.stack.emulator["mws"], f"/_emulator/{path}", body)

    def make_reports(self, account, count=1):
        """So many reports of the account, at its API; returns their ids."""
        return self.amazon("reports", account=account, api=APIS[account], count=count)["report_ids"]

    def add_worker(self, **options):
        self.workers.append(self.stack.add_worker(**options))
        return self.workers[-1]

    def kill(self, name, number):
        self.stack.kill(name, number)
        self.workers = [worker for worker in self.workers if worker != name]

    def restart_redis(self):
        """Redis dies and comes back under its address, with what it had written down."""
        port = urlsplit(self.stack.redis_url).port
        (redis,) = [
            process
            for process in psutil.Process().children(recursive=True)
            if process.status() != psutil.STATUS_ZOMBIE
            and "-server" in process.name()
            and f":{port}" in " ".join(process.cmdline())
        ]
        binary = redis.exe()
        redis.kill()
        redis.wait(10)
        self.stack._programs.spawn(
            "redis-again",
            [binary, str(self.stack.folder / "redis.conf")],
            env={},
            ready=lambda _: _answers(self.stack.redis_url),
        )

    def shell(self, *lines):
        """Lines typed into a Python shell in the checkout; returns what they print."""
        done = subprocess.run(
            [sys.executable, "-c", "\n".join(lines)],
            env=self.stack.env,
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
            timeout=90,
        )
        return done.stdout.splitlines()

    # ------------------------------------------------------------------------------------------------ looking

    def calls(self, *operations, account=None):
        return [
            call
            for call in ask(self.stack.emulator["mws"], "/_emulator/calls")["calls"]
            if (not operations or call["operation"] in operations) and account in {None, call["account"]}
        ]

    def told_reports(self):
        """What Amazon has made so far."""
        return ask(self.stack.emulator["mws"], "/_emulator/truth")["told_reports"]

    def state(self, report_id, account="acme"):
        """Where a report stands; None while it is unknown."""
        rows = self.s.ledger.find(report_id, account)
        return rows[0].state if rows else None

    def history(self, report_id, account="acme"):
        return self.s.history.of(ReportKey(account, APIS[account], report_id))

    def events(self, report_id, account="acme"):
        return [entry.event for entry in self.history(report_id, account)]

    def pool_of(self, worker):
        """The process numbers of a worker's pool: histories name them."""
        (pid,) = [process.pid for process in self.stack.processes if process.name == worker]
        return {str(child.pid) for child in psutil.Process(pid).children(recursive=True)}

    def log(self, name):
        return (self.stack.folder / "log" / f"{name}.log").read_text("utf-8")

    def verdict(self):
        early = len(self.seen.too_early)
        return judge(self.stack.emulator["mws"], self.stack.database_url, acknowledged_before_commit=early)

    def wait_judged(self, seconds=40):
        """Until everything that was told is in Postgres and acknowledged; then all of the judge's numbers are 0."""
        wait_for(lambda: not self.verdict().unfinished, "everything to be finished", seconds)
        verdict = self.verdict()
        assert verdict.ok, verdict
        assert verdict.lines > 0

    def assert_no_buyer_in(self, text):
        buyers = buyers_cells(ask(self.stack.emulator["mws"], "/_emulator/truth"))
        assert buyers, "no buyer, nothing shown"
        assert not [cell for cell in buyers if cell in text]


def _answers(redis_url):
    try:
        return Redis.from_url(redis_url).ping()
    except RedisError:
        return False


def wait_for(condition, what, seconds=30):
    """Until `condition` returns something true, which is returned; asked ten times a second."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.1)
    return found
