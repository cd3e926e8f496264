"""How fast the engine drains small reports, beside what its workers could do at most.

    .venv/bin/python -m benchmarks.engine

In one run, in turns: (a) reports of 50 rows, listed, downloaded, parsed and acknowledged, and (b) four Celery tasks for
each of as many reports, which do nothing but send the next one. The same two worker processes do both, on an embedded
Postgres that syncs its commits and an emulated Amazon whose quotas are wide open. All of it shares the machine, so the
processor time of each part is told beside the figures. The result goes to benchmarks/results.json as "engine".
"""
# ruff: noqa: T201 - what it finds is told to whoever started it

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from celery import Celery
from redis import Redis

from benchmarks.results import keep, spread
from orderdrain.services import Services
from orderdrain.settings import load
from workers.config import KEY_PREFIX, STEPS, configuration
from workers.demo import add_emulator_accounts
from workers.judge import ask, judge
from workers.local import CHECKOUT, EmulatorOptions, running_stack
from workers.processes import Janitor, Processes, ending_on_signals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from workers.judge import Verdict
    from workers.local import RunningStack

ROUNDS = 5
#: Of each round; they are spread over three accounts.
REPORTS = 180
ROWS = 50
#: What (a) must reach of (b), in reports a second.
FLOOR = 0.30
#: The queue in which the tasks that do nothing go.
QUEUE = "reports.request"
#: Real seconds after which a round has failed.
PATIENCE = 120


def main() -> int:
    """Runs all rounds; 0 when the floor is held and the emulator's record agrees with Postgres."""
    rounds, verdict = run(ROUNDS)
    result = summary(rounds)
    print(json.dumps(result, indent=2))
    print(f"the judge: {verdict}")
    keep("engine", result)
    return 0 if verdict.ok and result["ratio"]["median"] >= FLOOR else 1


def run(count: int) -> tuple[list[dict[str, Any]], Verdict]:
    """That many rounds, and whether the emulator's record agrees with Postgres."""
    rounds = []
    with tempfile.TemporaryDirectory(prefix="orderdrain-bench-") as scratch:
        Path(scratch).chmod(0o711)  # Postgres may run as another user
        options = EmulatorOptions(backlog=0, orders_per_minute=0, faults="none")
        with running_stack(Path(scratch) / "stack", emulator=options, workers=0, beat=False, flower=False) as stack:
            bench = Bench(stack)
            with two_processes(stack):
                bench.drain(12)
                bench.do_nothing(50)
                for number in range(1, count + 1):
                    rounds.append({"nothing": bench.do_nothing(REPORTS), "reports": bench.drain(REPORTS)})
                    print(f"round {number}: {_told(rounds[-1])}", flush=True)
            return rounds, judge(stack.emulator["mws"], stack.database_url)


@contextmanager
def two_processes(stack: RunningStack) -> Iterator[None]:
    """One worker with two processes, started as in production but for what engine_worker.py changes."""
    queues = ",".join(f"reports.{step}" for step in STEPS)
    argv = [sys.executable, "-m", "celery", "-A", "benchmarks.engine_worker", "worker", "-Q", queues, "-c", "2"]
    argv += ["--without-gossip", "--without-mingle"]
    with Janitor() as janitor, Processes(janitor, stack.folder / "log") as processes:
        processes.spawn_telling("bench-worker", argv, env=stack.env, cwd=CHECKOUT)
        yield


class Bench:
    """Both kinds of work, each measured from its first message to its last effect."""

    def __init__(self, stack: RunningStack) -> None:
        self._amazon = stack.emulator["mws"]
        self._services = Services.from_settings(load(stack.env))
        self._redis = Redis.from_url(stack.redis_url)
        self._app = Celery("bench", set_as_current=False)
        self._app.conf.update(configuration(load(stack.env)))
        self._accounts = add_emulator_accounts(self._services, stack.emulator)
        for operation in ("GetReport", "GetReportList", "GetReportListByNextToken", "UpdateReportAcknowledgements"):
            limit = {"operation": operation, "max": 1_000_000, "restore_seconds": 0.001, "hourly": 10_000_000}
            ask(self._amazon, "/_emulator/quota", limit)
        self._sold = 0
        self._done = 0

    def drain(self, count: int) -> dict[str, Any]:
        """Reports a second, from the list message of each account to the last acknowledgement."""
        for number in range(count):
            self._sell(self._accounts[number % len(self._accounts)])
        with measured(count) as result:
            for account in self._accounts:
                self._app.send_task("reports.list", kwargs={"account": account}, ignore_result=True)
            self._done += count
            _wait(lambda: self._acknowledged() == self._done)
        return result

    def do_nothing(self, count: int) -> dict[str, Any]:
        """Reports a second, were the work of each of its four steps nothing."""
        with measured(count) as result:
            for number in range(count):
                ids = {"account": "acme", "api": "mws", "report_id": str(50_123_000_000 + number)}
                self._app.send_task("bench.nothing", kwargs={**ids, "left": 4}, queue=QUEUE, ignore_result=True)
            _wait(lambda: self._messages() == 0)
        return result

    def _sell(self, account: str) -> None:
        """One report of ROWS lines, each of a new order."""
        orders = []
        for _ in range(ROWS):
            self._sold += 1
            orders.append({"order_id": f"111-{self._sold:07}-0000000", "lines": [{"sku": f"SKU-{self._sold % 500}"}]})
        told = {"account": account, "order_ids": [order["order_id"] for order in orders]}
        ask(self._amazon, "/_emulator/orders", {"account": account, "orders": orders})
        ask(self._amazon, "/_emulator/reports", told)

    def _acknowledged(self) -> int:
        ((count,),) = self._services.db.query("SELECT count(*) FROM reports WHERE state = 'acknowledged'")
        return int(count)

    def _messages(self) -> int:
        """Those that wait, and those that a process has in hand."""
        return self._redis.llen(f"{KEY_PREFIX}{QUEUE}") + self._redis.hlen(f"{KEY_PREFIX}unacked")


@contextmanager
def measured(count: int) -> Iterator[dict[str, Any]]:
    """Fills in `per_second`, and the processor milliseconds a report of every part of the system."""
    before, began = _cpu_seconds(), time.monotonic()
    result: dict[str, Any] = {}
    yield result
    seconds, after = time.monotonic() - began, _cpu_seconds()
    result["per_second"] = count / seconds
    result["cpu_ms"] = {part: 1000 * (after[part] - before[part]) / count for part in before}


def _cpu_seconds() -> dict[str, float]:
    """Processor seconds so far, by part. Every process of the stack is a descendant of this one."""
    used = {"workers": 0.0, "postgres": 0.0, "redis": 0.0, "emulator": 0.0}
    for process in psutil.Process().children(recursive=True):
        words = " ".join(process.cmdline())
        for part, sign in (("workers", "engine_worker"), ("emulator", "-m emulator"), ("redis", "-server ")):
            if sign in words:
                used[part] += _with_ended_children(process)
                break
        else:
            if "postgres" in words:
                used["postgres"] += _with_ended_children(process)
    return used


def _with_ended_children(process: psutil.Process) -> float:
    """Pool processes are replaced and sessions end: their time counts where they were waited for."""
    return float(sum(process.cpu_times()[:4]))


def _wait(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > deadline:
            raise SystemExit(f"the round did not end within {PATIENCE} s")
        time.sleep(0.02)


def summary(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians and extremes over all rounds; the ratio is taken round by round."""
    return {
        "reports_per_second": spread([r["reports"]["per_second"] for r in rounds]),
        "reports_of_nothing_per_second": spread([r["nothing"]["per_second"] for r in rounds]),
        "ratio": {**spread(ratios(rounds)), "floor": FLOOR},
        "cpu_ms_a_report": _cpu([r["reports"] for r in rounds]),
        "cpu_ms_a_report_of_nothing": _cpu([r["nothing"] for r in rounds]),
        "rounds": len(rounds),
        "reports_a_round": REPORTS,
        "rows_a_report": ROWS,
        "cores": os.cpu_count(),
    }


def ratios(rounds: list[dict[str, Any]]) -> list[float]:
    """Reports a second by those that do nothing, round by round."""
    return [r["reports"]["per_second"] / r["nothing"]["per_second"] for r in rounds]


def _cpu(results: list[dict[str, Any]]) -> dict[str, float]:
    parts = results[0]["cpu_ms"]
    return {part: round(statistics.median(result["cpu_ms"][part] for result in results), 1) for part in parts}


def _told(one: dict[str, Any]) -> str:
    reports, nothing = one["reports"]["per_second"], one["nothing"]["per_second"]
    return f"{reports:.1f} reports/s, {nothing:.1f} of nothing, ratio {reports / nothing:.2f}"


if __name__ == "__main__":
    with ending_on_signals():
        sys.exit(main())
