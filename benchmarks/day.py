"""A day of 20,000 documents over 500 accounts, at Amazon's true rates: how late is each, and how late must it be?

    .venv/bin/python -m benchmarks.day                   # with push
    .venv/bin/python -m benchmarks.day --how default     # without: each account is listed every 15 minutes
    .venv/bin/python -m benchmarks.day --how often --accounts 50       # ... or as often as Amazon restores a listing

The pipeline runs on a real Postgres and Redis, against an emulated SP-API and SQS over HTTP. Both clocks, the
application's and the emulator's, stand still while work is done and then jump to beat's next tick at which anything is
due: delays are application time, and nothing in them depends on how fast this machine is. Amazon counts by seller, and
nothing that an account waits for is another's: each process drains a share of the accounts in a world of its own.

Beside the delay of each document, from available to its rows committed, stands the least that Amazon's quotas allow
(best.py). With push, the best one knows of each document in the moment in which it is available. Without, it cannot
know before it lists, and it lists as often as getReports restores, from each account's own time on. Who lists more
rarely by choice is beside that many times as late; what is held to the ceiling there is the delay beside the best one
that lists at the same interval ("at_its_interval").

Every figure goes to benchmarks/results.json, with the command, as "day_push", "day_default" or "day_often".
"""
# ruff: noqa: T201 - what it finds is told to whoever started it

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, replace
from datetime import timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from beat_schedule import SCHEDULE
from benchmarks.arrivals import Arrival, plan
from benchmarks.best import LISTINGS_APART, best_commits, listed_after
from benchmarks.delays import CEILING, Document, beside_the_best, compare, is_held
from benchmarks.results import keep
from emulator.sellers import make_sellers
from emulator.sp_report_types import SHIPPING
from orderdrain import listening, pipeline, requesting
from orderdrain.amazon import NEVER
from orderdrain.errors import OrderdrainError
from orderdrain.notifications import Queue
from orderdrain.reports import ReportKey
from orderdrain.services import Services
from orderdrain.settings import load
from orderdrain.telemetry import configure_logs
from workers.demo import add_emulator_accounts
from workers.judge import judge
from workers.local import EmulatorOptions, running_stack
from workers.processes import ending_on_signals

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from orderdrain.notifications import Message as Notice
    from workers.judge import Verdict

#: Emulated seconds in a real one: as good as none, so that a slow machine makes no document late.
SPEED = 0.0001
#: From one tick to the next; where nothing is due, so many at once.
STRIDE = int(SCHEDULE["sweep"]["schedule"])
MOST_STRIDES = 30
#: Seconds after a document within which its notice is heard: emulated, it comes after 1 to 5 s, and once more a minute
#: after it was read, when its report is in the ledger.
NOTICED = [(0, 2 * STRIDE), (60, 60 + 3 * STRIDE)]
#: Before the day: every account is listed and gives a document, so that its buckets are known.
WARM_UP = timedelta(minutes=30)


@dataclass(frozen=True)
class How:
    """How the fleet gets to know of documents."""

    list_every: timedelta
    push: bool


WAYS = {
    # The product's default, and not the demo's; with push it lists more rarely by itself.
    "push": How(timedelta(minutes=15), push=True),
    "default": How(timedelta(minutes=15), push=False),
    "often": How(timedelta(minutes=0.75), push=False),
}


@dataclass(frozen=True)
class Share:
    """Some of the accounts: what one process drains, and what came of it."""

    number: int
    accounts: int
    hours: float
    how: str


@dataclass(frozen=True)
class Drained:
    """`at_its_interval` holds the same documents beside the best one that lists as often as the fleet does."""

    documents: list[Document]
    at_its_interval: list[Document]
    calls: dict[str, int]
    over_quota: int
    verdict: Verdict


def main() -> int:
    """Runs the day; 0 when no call was over quota, every line is in Postgres, and the ceiling is held."""
    options = _options()
    began = time.monotonic()
    each, rest = divmod(options.accounts, options.processes)
    shares = [Share(n, each + (n < rest), options.hours, options.how) for n in range(options.processes)]
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        drained = list(pool.imap_unordered(drain, shares))
    result = {
        "accounts": options.accounts,
        **summary(WAYS[options.how], drained),
        "command": f"python -m benchmarks.day {' '.join(sys.argv[1:])}".strip(),
        "cores": os.cpu_count(),
        "real_seconds": round(time.monotonic() - began),
    }
    print(json.dumps(result, indent=2))
    for one in drained:
        print(f"the judge: {one.verdict}")
    keep(f"day_{options.how}", result)
    return 0 if all(one.verdict.ok for one in drained) and result["held"] else 1


def drain(share: Share) -> Drained:
    """One share's day, in this process."""
    how = WAYS[share.how]
    names = ",".join(seller.account for seller in make_sellers(1, share.accounts))
    emulated = EmulatorOptions(
        sellers=share.accounts, sp_api_sellers=names, speed=SPEED, orders_per_minute=0, backlog=0, faults="none"
    )
    with tempfile.TemporaryDirectory(prefix="orderdrain-bench-") as scratch:
        Path(scratch).chmod(0o711)  # Postgres may run as another user
        with running_stack(
            Path(scratch) / "stack", emulator=emulated, workers=0, beat=False, flower=False, push=how.push
        ) as stack:
            env = {**stack.env, "ORDERDRAIN_LOG_LEVEL": "error"}
            configure_logs(load(env))
            day = Day(env, stack.emulator, how)
            arrivals = plan(day.accounts, hours=share.hours, seed=share.number)
            day.run(arrivals, told=lambda line: print(f"share {share.number}: {line}", flush=True))
            return day.drained(judge(stack.emulator["mws"], stack.database_url))


def summary(how: How, drained: Sequence[Drained]) -> dict[str, Any]:
    """Delays in seconds beside the best one's, with the ratios; `held`: no median is above the ceiling."""
    told = compare([document for one in drained for document in one.documents])
    if at_its_interval := [document for one in drained for document in one.at_its_interval]:
        told["at_its_interval"] = beside_the_best(at_its_interval)
    calls = sum((Counter(one.calls) for one in drained), Counter[str]())
    return {
        "push": how.push,
        "list_every_seconds": how.list_every.total_seconds(),
        **told,
        "ceiling": CEILING,
        "held": is_held(told.get("at_its_interval", told["all"])),
        "calls": dict(calls),
        "over_quota": sum(one.over_quota for one in drained),
        "reports": sum(one.verdict.reports for one in drained),
        "lost": sum(one.verdict.lost for one in drained),
        "doubled": sum(one.verdict.doubled for one in drained),
    }


class Day:
    """Emulated sellers who get documents by plan, and what drains them: beat's ticks, and the steps as their tasks run
    them. Times are seconds since its begin."""

    def __init__(self, env: Mapping[str, str], emulator: dict[str, Any], how: How) -> None:
        self._how = how
        self._amazon = HTTPConnection(urlsplit(emulator["sp_api"]).netloc)
        #: As they would lie in the broker: a step, and its ids.
        self._messages: deque[tuple[str, dict[str, Any]]] = deque()
        services = Services.from_settings(load(env), send=self._send)
        self._s = replace(services, queues=tuple(_QueueNow(queue.url) for queue in services.queues))
        self.accounts = add_emulator_accounts(self._s, emulator, speed=SPEED)
        self._s.db.query("UPDATE accounts SET list_every = %s", (how.list_every,))
        # Documents come by the plan alone: the fleet begins with removing the emulated schedules.
        self._s.db.query("UPDATE connections SET report_types = %s", ({SHIPPING: NEVER},))
        # Nothing outlives the day, and no delay hangs on the disk. Sessions that begin from now on have it so.
        database = urlsplit(env["ORDERDRAIN_DATABASE_URL"]).path.lstrip("/")
        self._s.db.query(f'ALTER DATABASE "{database}" SET synchronous_commit = off')
        self._started = time.monotonic()
        # Accounts are listed at times of their own within the hour: a day that begins with one is the same each time.
        self._jump(3600 - self._s.clock.now().timestamp() % 3600)
        self._begins = self._s.clock.now() + WARM_UP
        self._now = -int(WARM_UP.total_seconds())
        self._due: dict[str, float] = {}
        #: When the last documents came, oldest first.
        self._announced: deque[int] = deque()

    def run(self, day: Sequence[Arrival], *, told: Callable[[str], object]) -> None:
        """The warm-up, then the day, to the last document's end."""
        arrivals = deque([*(Arrival(self._now, account, 1) for account in self.accounts), *day])
        planned = sum(arrival.count for arrival in arrivals)
        told(f"{len(self.accounts):,} accounts, {planned - len(self.accounts):,} documents, and one each to warm up")
        while arrivals or self._now % (MOST_STRIDES * STRIDE) or self._finished() < planned:
            self._let_arrive(arrivals)
            self._tick()
            if self._now == 0:
                # The best one, too, lists each account at a time of its own.
                rows = self._s.db.query("SELECT account, next_list_at FROM accounts")
                self._due = {row.account: self._seconds(row.next_list_at) for row in rows}
            if self._now % 3600 == 0:
                took = time.monotonic() - self._started
                told(f"{self._now / 3600:4.0f} h  {self._finished():>6,} of {planned:,} documents  {took:6.0f} s")
            stride = self._to_the_next_tick(arrivals)
            self._jump(stride)
            self._now += stride

    def drained(self, verdict: Verdict) -> Drained:
        """What came of it, once it has run."""
        every = self._how.list_every.total_seconds()
        by_choice = not self._how.push and every > LISTINGS_APART
        totals = self._tell("calls?since=1000000000")["totals"]
        return Drained(
            self._documents(LISTINGS_APART),
            self._documents(every) if by_choice else [],
            totals["by_operation"],
            totals["over_quota"],
            verdict,
        )

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
        if self._s.queues:
            listening.listen(self._s)
        pipeline.sweep(self._s)
        while self._messages:
            self._run(*self._messages.popleft())

    def _run(self, step: str, ids: dict[str, Any]) -> None:
        """One task. What it waits for, the ledger knows; only what nobody foresaw is raised."""
        module = requesting if step in {"request", "schedule"} else pipeline
        function = getattr(module, "list_reports" if step == "list" else step)
        try:
            function(self._s, ReportKey(**ids)) if "report_id" in ids else function(self._s, **ids)
        except OrderdrainError as error:
            if "a bug" in str(error):
                raise

    def _let_arrive(self, arrivals: deque[Arrival]) -> None:
        while arrivals and arrivals[0].at <= self._now:
            arrival = arrivals.popleft()
            at = (self._begins + timedelta(seconds=arrival.at)).isoformat()
            told = {"account": arrival.account, "api": "sp-api", "available_at": at, "count": arrival.count}
            self._tell("reports", told)
            self._announced.append(arrival.at)

    def _to_the_next_tick(self, arrivals: deque[Arrival]) -> int:
        """Seconds to the next tick at which anything may be due: those before it would find nothing."""
        ((due,),) = self._s.db.query(
            "SELECT min(due) FROM ("
            " SELECT least(next_list_at, next_schedule_at) FROM accounts"
            " UNION ALL SELECT greatest(r.next_attempt_at, CASE r.state WHEN 'listed' THEN c.download_after END)"
            "  FROM reports r JOIN connections c USING (account, api) WHERE r.state <> 'acknowledged') AS all_due (due)"
        )
        every = MOST_STRIDES * STRIDE
        moments = [every - self._now % every, self._seconds(due) - self._now]
        moments += [arrivals[0].at - self._now] if arrivals else []
        if self._how.push:
            while self._announced and self._announced[0] + NOTICED[-1][1] <= self._now:
                self._announced.popleft()
            moments += [
                at + begin - self._now
                for at in self._announced
                for begin, end in NOTICED
                if self._now + STRIDE <= at + end
            ]
        return STRIDE * max(1, math.ceil(min(moments) / STRIDE))

    def _jump(self, seconds: float) -> None:
        self._tell("advance", {"seconds": seconds})
        self._s.clock.advance(timedelta(seconds=seconds))

    def _send(self, step: str, **ids: str) -> bool:
        self._messages.append((step, ids))
        return True

    # ---------------------------------------------------------------------------------------------------- looking

    def _documents(self, every: float) -> list[Document]:
        """Each document of the day, beside the best one that hears of it, or else lists `every` so many seconds."""
        rows = self._s.db.query(
            "SELECT account, available_at, parsed_at FROM reports WHERE available_at >= %s"
            " ORDER BY account, available_at, report_id",
            (self._begins,),
        )
        of_account: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
        for row in rows:
            available = self._seconds(row.available_at)
            listed = listed_after(available, first=self._due[row.account], every=every)
            known = available if self._how.push else listed
            of_account[row.account].append((known, available, self._seconds(row.parsed_at)))
        return [
            Document(available, committed, known, best)
            for documents in of_account.values()
            for (known, available, committed), best in zip(
                documents, best_commits([d[:2] for d in documents]), strict=True
            )
        ]

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


class _QueueNow(Queue):
    """A queue at which nobody waits for what comes: while the clocks stand still, nothing does."""

    def receive(self, *, wait_seconds: int, hidden_seconds: int) -> list[Notice]:
        return super().receive(wait_seconds=min(wait_seconds, 0), hidden_seconds=hidden_seconds)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.day", description=__doc__.splitlines()[0])
    parser.add_argument("--how", choices=sorted(WAYS), default="push", help="how documents get known")
    parser.add_argument("--accounts", type=int, default=500)
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count() or 1, help="each drains a share of the accounts"
    )
    return parser.parse_args()


if __name__ == "__main__":
    with ending_on_signals():
        sys.exit(main())
