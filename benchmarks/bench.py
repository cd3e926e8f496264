"""How fast reports get into Postgres: beside COPY alone, and beside dlt, target-postgres and pandas.

    make bench                                   everything, as the figures are defined
    make bench ROWS=20000 ROUNDS=3 ONLY=large    one part of it, smaller

All figures are ratios of one run on one machine, or counts: whoever takes part takes turns within a round, and a time
counts only if the rows are those that the reports tell. The result goes to benchmarks/results.json as "bench".
"""
# ruff: noqa: T201 - what it finds is told to whoever started it

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from benchmarks import against, engine, full, large, small, workers
from benchmarks.figures import FIGURES, table
from benchmarks.large import Values
from benchmarks.options import Options
from benchmarks.results import commit, keep, known
from benchmarks.rows import Differ
from benchmarks.stage import Stage, open_stage
from workers.processes import ending_on_signals

Part = Callable[[Stage, Options, Callable[[str], None]], Values]


def engine_part(_: Stage, options: Options, told: Callable[[str], None]) -> Values:
    """Four-step reports against bare Celery tasks (benchmarks/engine.py), on a stack of their own."""
    rounds, verdict = engine.run(options.rounds)
    told(f"the judge: {verdict}")
    keep("engine", engine.summary(rounds))
    return {"engine": engine.ratios(rounds) if verdict.ok else []}


#: The parts, in the order in which they run.
PARTS: dict[str, Part] = {
    "large": large.large,
    "buyers": large.buyers,
    "peers": against.peers,
    "small": small.small,
    "memory": workers.memory,
    "shared": workers.shared,
    "full": full.full,
    "engine": engine_part,
}


def main() -> int:
    """Runs the parts and prints the table; 1 where a figure is below its floor."""
    options, only = _options()
    print(f"commit {commit()}, {options.rows:,} rows, {options.rounds} rounds: {', '.join(only)}", flush=True)
    figures: dict[str, Any] = {}
    with open_stage() as stage:
        for part in only:
            try:
                figures |= measured(part, stage, options, lambda line: print(line, flush=True))
            except Differ as error:
                sys.exit(f"{part}: {error}")
            # Part by part: what was found stays found when the run is cut short.
            keep("bench", {**known().get("bench", {}), **figures})
    print(f"\n{table(figures)}\n")
    below = [name for name, figure in figures.items() if figure["says"] == "below floor"]
    print(f"below floor: {', '.join(below)}" if below else "every floor is reached")
    return 1 if below else 0


def measured(part: str, stage: Stage, options: Options, told: Callable[[str], None]) -> dict[str, Any]:
    """Name -> result of each figure of a part, with what was measured and how much of it."""
    told(f"-- {part}")
    values = PARTS[part](stage, options, told)
    of = {"commit": commit(), "cores": os.cpu_count(), **asdict(options)}
    return {name: {**FIGURES[name].result(found), "of": of} for name, found in values.items() if found}


def _options() -> tuple[Options, list[str]]:
    parser = argparse.ArgumentParser(prog="make bench", description=(__doc__ or "").partition("\n")[0])
    for name, of in (("rows", "a large report"), ("rounds", "each part"), ("table_rows", "the table of many rows")):
        default = getattr(Options, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default, help=f"of {of}: {default:,}")
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts, by commas: {', '.join(PARTS)}")
    told = vars(parser.parse_args())
    only = told.pop("only").split(",")
    if strange := sorted(set(only) - set(PARTS)):
        parser.error(f"no such part: {', '.join(strange)}. There are {', '.join(PARTS)}")
    return Options(**told), only


if __name__ == "__main__":
    with ending_on_signals():
        sys.exit(main())
