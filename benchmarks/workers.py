"""Worker processes: their memory, and two of them on the same keys at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.made import Made
from benchmarks.rows import as_told, one, same, session
from benchmarks.stage import ACCOUNT, API, Ours, Waiting
from orderdrain.families import ALL_ORDERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.large import Values
    from benchmarks.options import Options
    from benchmarks.stage import Stage


def memory(stage: Stage, options: Options, told: Callable[[str], None]) -> Values:
    """The peak of a process that parses one report, and of one that parses a report four times as long."""
    reports = {
        "memory": Waiting("50000000002", Made(ALL_ORDERS, options.numbers(options.rows))),
        "memory fourfold": Waiting("50000000003", Made(ALL_ORDERS, options.numbers(4 * options.rows))),
    }
    values: Values = {"memory": [], "memory fourfold": [], "memory growth": []}
    with stage.sellers("memory", *reports.values()) as sellers:
        for number in range(1, options.rounds + 1):
            for name, report in reports.items():
                with sellers.copied() as url, Ours(stage, url) as ours:
                    said = ours.parse(report.report_id)
                    same("failures", [], said["failed"])
                    values[name].append(said["peak_mb"])
            shorter, longer = values["memory"][-1], values["memory fourfold"][-1]
            values["memory growth"].append(longer / shorter)
            told(f"round {number}, memory: {shorter:.0f} MB, four times as many rows {longer:.0f} MB")
    return values


def shared(stage: Stage, options: Options, told: Callable[[str], None]) -> Values:
    """Two workers parse two reports of one account at once; half of the lines are in both, told in another order."""
    rows = min(1_000, options.rows)
    first, second = options.numbers(rows), options.numbers(rows, rows // 2)
    pairs = [
        (
            Waiting(f"{50_000_000_000 + run}", Made(ALL_ORDERS, first, lambda n, run=run: 2 * run + n % 2), run),
            Waiting(
                f"{60_000_000_000 + run}",
                Made(ALL_ORDERS, second, lambda n, run=run: 2 * run + (n % 3 == 0), backwards=True),
                run,
            ),
        )
        for run in range(options.shared_runs)
    ]
    failed = lost = 0
    with (
        stage.sellers("shared", *(report for pair in pairs for report in pair)) as sellers,
        sellers.copied() as url,
        session(url) as cursor,
    ):
        with Ours(stage, url) as one_worker, Ours(stage, url) as other_worker:
            workers = (one_worker, other_worker)
            for pair in pairs:
                for worker, report in zip(workers, pair, strict=True):
                    worker.tell(account=ACCOUNT, api=API, reports=[report.report_id])
                failed += sum(len(worker.hear()["failed"]) for worker in workers)
                lost += as_told(cursor, _newest(*(report.made for report in pair)))
        # A session counts its deadlocks when it ends, at the latest.
        name = one(cursor, "SELECT current_database()")
        deadlocks = one(cursor, "SELECT deadlocks FROM pg_stat_database WHERE datname = %s", (name,))
    runs = f"{options.shared_runs} runs of two workers"
    told(f"{runs}: {deadlocks} deadlocks, {failed} failures, {lost} rows that are not as told")
    return {"deadlocks": [deadlocks + failed], "lost": [lost]}


def _newest(these: Made, those: Made) -> Made:
    """What two reports say together: of each line its newest state."""
    told = range(min(these.numbers.start, those.numbers.start), max(these.numbers.stop, those.numbers.stop))

    def state(number: int) -> int:
        return max(made.states(number) for made in (these, those) if number in made.numbers)

    return Made(ALL_ORDERS, told, state)
