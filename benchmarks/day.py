"""A day of 20,000 documents over 500 accounts, at Amazon's true rates: how late is each, and how late must it be?

    .venv/bin/python -m benchmarks.day                # a quarter of an hour on two idle cores
    .venv/bin/python -m benchmarks.day --announced    # as with push: each document's account is listed when it is there

The pipeline runs in as many processes as there are cores, on a real Postgres and Redis, against an emulated SP-API
over HTTP. Both clocks, the application's and the emulator's, stand still while work is done and then jump to beat's
next tick: delays are application time, and nothing in them depends on how fast this machine is.

Beside the delay of each document, from available to its rows committed, stands the least that Amazon's quotas allow
(best.py). Nobody can fetch what no listing has told: the best one, too, lists an account each quarter of an hour, at
the account's own time, but to the second; what the fleet's listing, coming later, finds besides, it knows then. With
--announced it knows of each document at once. The result goes to benchmarks/results.json as "day" or "day_announced".
"""
# ruff: noqa: T201 - what it finds is told to whoever started it

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
import zlib
from collections import defaultdict, deque
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from beat_schedule import SCHEDULE
from benchmarks.arrivals import Arrival, plan
from benchmarks.best import best_commits
from benchmarks.results import keep
from emulator.sellers import make_sellers
from orderdrain import pipeline, requesting
from orderdrain.errors import OrderdrainError
from orderdrain.reports import ReportKey
from orderdrain.services import Services
from orderdrain.settings import load
from orderdrain.telemetry import configure_logs
from workers.demo import add_emulator_accounts
from workers.judge import judge
from workers.local import EmulatorOptions, running_stack
from workers.processes import ending_on_signals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from multiprocessing.connection import Connection

#: Emulated seconds in a real one: as good as none.
SPEED = 0.001
#: The product's default, and not the demo's.
LIST_EVERY = timedelta(minutes=15)
#: Before the day: every account is listed and gives a document, so that its buckets are known.
WARM_UP = timedelta(minutes=30)
#: What the median of (delay / best delay) must not exceed.
CEILING = 1.2
#: Amazon tells its times in whole seconds: a best delay below this is none, and nothing can be so many times as long.
SECOND = 1.0

#: As it would lie in the broker: a step, and its ids.
Message = tuple[str, dict[str, Any]]


def main() -> int:
    """Runs the day; 0 when no call was over quota, every line is in Postgres, and the ceiling is held."""
    options = _options()
    names = ",".join(seller.account for seller in make_sellers(1, options.accounts))
    emulated = EmulatorOptions(
        sellers=options.accounts, sp_api_sellers=names, speed=SPEED, orders_per_minute=0, backlog=0, faults="none"
    )
    with tempfile.TemporaryDirectory(prefix="orderdrain-bench-") as scratch:
        Path(scratch).chmod(0o711)  # Postgres may run as another user
        with running_stack(Path(scratch) / "stack", emulator=emulated, workers=0, beat=False, flower=False) as stack:
            env = {**stack.env, "ORDERDRAIN_LOG_LEVEL": "error"}
            configure_logs(load(env))
            with fleet(env, os.cpu_count() or 1) as workers:
                day = Day(env, stack.emulator, workers, announced=options.announced)
                day.run(plan(day.accounts, hours=options.hours), told=lambda line: print(line, flush=True))
            result = day.result()
            verdict = judge(stack.emulator["mws"], stack.database_url)
    print(json.dumps(result, indent=2))
    print(f"the judge: {verdict}")
    keep("day_announced" if options.announced else "day", result)
    return 0 if verdict.ok and result["all"]["ratio"]["median"] <= CEILING else 1


@dataclass(frozen=True)
class Document:
    """When it can be known, was available, and was committed; and when the best one commits it."""

    known: float
    available: float
    committed: float
    best: float

    @property
    def delay(self) -> float:
        return self.committed - self.available

    @property
    def best_delay(self) -> float:
        return self.best - self.available


class Day:
    """Emulated sellers who get documents by plan, and a fleet that drains them. Times are seconds since its begin."""

    def __init__(
        self, env: Mapping[str, str], emulator: dict[str, Any], fleet: Sequence[Connection], *, announced: bool = False
    ) -> None:
        self._fleet = fleet
        self._announced = announced
        self._amazon = HTTPConnection(urlsplit(emulator["sp_api"]).netloc)
        self._messages: list[Message] = []
        self._s = Services.from_settings(load(env), send=self._send)
        self.accounts = add_emulator_accounts(self._s, emulator, speed=SPEED)
        self._s.db.query("UPDATE accounts SET list_every = %s", (LIST_EVERY,))
        # Nothing outlives the day, and no delay hangs on the disk. Sessions that begin from now on have it so.
        database = urlsplit(env["ORDERDRAIN_DATABASE_URL"]).path.lstrip("/")
        self._s.db.query(f'ALTER DATABASE "{database}" SET synchronous_commit = off')
        self._started = time.monotonic()
        self._begins = self._s.clock.now() + WARM_UP
        self._now = -int(WARM_UP.total_seconds())
        self._due: dict[str, float] = {}

    def run(self, day: Sequence[Arrival], *, told: Callable[[str], object]) -> None:
        """The warm-up, then the day, to the last document's end."""
        arrivals = deque([*(Arrival(self._now, account, 1) for account in self.accounts), *day])
        planned = sum(arrival.count for arrival in arrivals)
        while arrivals or self._finished() < planned:
            self._let_arrive(arrivals)
            self._tick()
            if self._now == 0:
                # From here on each account is listed at these times, and then every LIST_EVERY.
                rows = self._s.db.query("SELECT account, next_list_at FROM accounts")
                self._due = {row.account: self._seconds(row.next_list_at) for row in rows}
            if self._now % 3600 == 0:
                took = time.monotonic() - self._started
                told(f"{self._now / 3600:4.0f} h  {self._finished():>6,} of {planned:,} documents  {took:6.0f} s")
            self._jump(int(SCHEDULE["sweep"]["schedule"]))

    def result(self) -> dict[str, Any]:
        """Delays in seconds, of all documents, of those that the best one has at once, and of those for which it, too,
        waits for a token; with the ratios, document by document."""
        documents = self._documents()
        totals = self._tell("calls?since=1000000000")["totals"]
        return {
            "accounts": len(self.accounts),
            "ceiling": CEILING,
            "all": _beside_the_best(documents),
            "at_once": _beside_the_best([d for d in documents if d.best_delay < SECOND]),
            "quota_binds": _beside_the_best([d for d in documents if d.best - d.known >= SECOND]),
            "calls": totals["calls"],
            "over_quota": totals["over_quota"],
            "cores": os.cpu_count(),
            "real_seconds": round(time.monotonic() - self._started),
        }

    # ------------------------------------------------------------------------------------------------------ ticks

    def _tick(self) -> None:
        """What beat and the fleet do at one moment: all that is due, and all that follows from it."""
        for step, send_due in (
            ("schedule", self._s.accounts.due_to_schedule),
            ("list", self._s.accounts.due_to_list),
        ):
            if self._now % int(SCHEDULE[step]["schedule"]) == 0:
                for account in send_due():
                    self._send(step, account=account)
        pipeline.sweep(self._s)
        shares: dict[int, list[Message]] = defaultdict(list)
        for step, ids in self._messages:
            # An account's messages go to one worker: what two would do about its turn is shown elsewhere.
            shares[zlib.crc32(ids["account"].encode()) % len(self._fleet)].append((step, ids))
        self._messages.clear()
        for number, share in shares.items():
            self._fleet[number].send(share)
        for number in shares:
            if failed := self._fleet[number].recv():
                raise RuntimeError(failed)

    def _let_arrive(self, arrivals: deque[Arrival]) -> None:
        while arrivals and arrivals[0].at <= self._now:
            arrival = arrivals.popleft()
            at = (self._begins + timedelta(seconds=arrival.at)).isoformat()
            told = {"account": arrival.account, "api": "sp-api", "available_at": at, "count": arrival.count}
            self._tell("reports", told)
            if self._announced:
                self._send("list", account=arrival.account)

    def _jump(self, seconds: int) -> None:
        self._tell("advance", {"seconds": seconds})
        self._s.clock.advance(timedelta(seconds=seconds))
        self._now += seconds

    def _send(self, step: str, **ids: str) -> bool:
        self._messages.append((step, ids))
        return True

    # ---------------------------------------------------------------------------------------------------- looking

    def _documents(self) -> list[Document]:
        """Each document of the day, and when the best one commits it."""
        rows = self._s.db.query(
            "SELECT account, available_at, listed_at, parsed_at FROM reports WHERE available_at >= %s"
            " ORDER BY account, available_at, report_id",
            (self._begins,),
        )
        of_account: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
        for row in rows:
            available = self._seconds(row.available_at)
            listed = min(self._listed_after(row.account, available), self._seconds(row.listed_at))
            known = available if self._announced else listed
            of_account[row.account].append((known, available, self._seconds(row.parsed_at)))
        return [
            Document(*document, best)
            for documents in of_account.values()
            for document, best in zip(documents, best_commits([d[:2] for d in documents]), strict=True)
        ]

    def _listed_after(self, account: str, available: float) -> float:
        every, first = LIST_EVERY.total_seconds(), self._due[account]
        return first + math.ceil((available - first) / every) * every

    def _finished(self) -> int:
        ((count,),) = self._s.db.query("SELECT count(*) FROM reports WHERE state = 'acknowledged'")
        return int(count)

    def _seconds(self, moment: Any) -> float:
        return float((moment - self._begins).total_seconds())

    def _tell(self, path: str, body: dict[str, Any] | None = None) -> Any:
        verb, text = ("GET", None) if body is None else ("POST", json.dumps(body))
        self._amazon.request(verb, f"/_emulator/{path}", text, {"Content-Type": "application/json"})
        answer = self._amazon.getresponse()
        told = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{path}: {told.decode()}")
        return json.loads(told)


@contextmanager
def fleet(env: Mapping[str, str], count: int) -> Iterator[list[Connection]]:
    """So many worker processes; each is sent messages, and answers when nothing is left of what follows from them."""
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    try:
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, dict(env)), daemon=True)
            process.start()
            theirs.close()
            pipes.append(ours)
            processes.append(process)
        yield pipes
        for pipe in pipes:
            pipe.send(None)
    finally:
        for pipe in pipes:
            pipe.close()
        for process in processes:
            process.join(10)
            process.kill()


def _work(pipe: Connection, env: dict[str, str]) -> None:
    """A worker: the pipeline's steps, run as its tasks run them. Answers None, or what went wrong."""
    waiting: deque[Message] = deque()

    def send(step: str, **ids: str) -> bool:
        waiting.append((step, ids))
        return True

    settings = load(env)
    configure_logs(settings)
    s = Services.from_settings(settings, send=send)
    while (messages := pipe.recv()) is not None:
        waiting.extend(messages)
        failed = None
        while waiting:
            step, ids = waiting.popleft()
            module = requesting if step in {"request", "schedule"} else pipeline
            function = getattr(module, "list_reports" if step == "list" else step)
            try:
                function(s, ReportKey(**ids)) if "report_id" in ids else function(s, **ids)
            except OrderdrainError as error:
                failed = str(error) if "a bug" in str(error) else failed
        pipe.send(failed)


def _beside_the_best(documents: Sequence[Document]) -> dict[str, Any]:
    told: dict[str, Any] = {"documents": len(documents)}
    if documents:
        told["delay"] = _spread([d.delay for d in documents])
        told["best"] = _spread([d.best_delay for d in documents])
    if ratios := [d.delay / d.best_delay for d in documents if d.best_delay >= SECOND]:
        told["ratio"] = _spread(ratios)
        told["ratio_of_means"] = round(sum(d.delay for d in documents) / sum(d.best_delay for d in documents), 3)
    return told


def _spread(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    told = {"median": statistics.median(ordered), "mean": statistics.fmean(ordered)}
    told |= {"p95": ordered[int(0.95 * (len(ordered) - 1))], "max": ordered[-1]}
    return {name: round(value, 3) for name, value in told.items()}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.day", description=__doc__.splitlines()[0])
    parser.add_argument("--accounts", type=int, default=500)
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument("--announced", action="store_true", help="an account is listed when a document is there")
    return parser.parse_args()


if __name__ == "__main__":
    with ending_on_signals():
        sys.exit(main())
