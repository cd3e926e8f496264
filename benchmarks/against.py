"""The peers: each gets the clean rows that we have to find, and its time counts only if it has written just these."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from benchmarks.large import Values, in_turns, settle
from benchmarks.made import Made
from benchmarks.peers.environments import PEERS, python_with
from benchmarks.rows import as_told, differing, dump, same, session
from benchmarks.stage import Answering, Ended, Ours, Waiting, again
from orderdrain.families import ALL_ORDERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from benchmarks.options import Options
    from benchmarks.stage import Sellers, Stage

PHASES = ("load", "again", "newer", "changed", "small")
LOAD, NEWER, CHANGED = "50000000002", "50000000005", "50000000006"
#: Reports of 50 rows that each gets in a round.
SMALL_IDS = [f"{60_000_000_000 + n}" for n in range(5)]
SMALL_ROWS = 50
#: SQL column -> type of what a line says; its versions are ours alone.
_TYPES = ALL_ORDERS.line_fields


def peers(stage: Stage, options: Options, told: Callable[[str], None]) -> Values:
    """Those that can be installed."""
    pythons = {peer: python_with(peer, told) for peer in PEERS}
    there = {peer: (f"benchmarks.peers.{PEERS[peer]}", python) for peer, python in pythons.items() if python}
    return compared(stage, options, there, told)


def compared(
    stage: Stage, options: Options, programs: Mapping[str, tuple[str, str]], told: Callable[[str], None]
) -> Values:
    """A tenth of the rows of a large report: first load, again, changed; and reports of 50 rows. `programs`: of each
    peer the module that answers, and the Python that runs it."""
    count = options.rows // 10
    base = Made(ALL_ORDERS, options.numbers(count))
    changed = Made(ALL_ORDERS, options.numbers(count), lambda n: int(n % 10 == 3))
    small = {
        report_id: Made(ALL_ORDERS, options.numbers(SMALL_ROWS, count + SMALL_ROWS * n))
        for n, report_id in enumerate(SMALL_IDS)
    }
    waiting = [Waiting(LOAD, base), Waiting(NEWER, base, age=10), Waiting(CHANGED, changed, age=20)]
    waiting += [Waiting(report_id, made, age=30) for report_id, made in small.items()]
    with stage.sellers("peers", *waiting) as sellers:
        files = _clean_rows(sellers, base, changed)
        values: Values = {}
        left = dict(programs)
        for number in range(1, options.rounds + 1):
            for name, value in _round(number, sellers, left, files, told).items():
                values.setdefault(name, []).append(value)
        # What somebody did before they were out does not count either.
        return {name: found for name, found in values.items() if name.rsplit(" ", 1)[0] in left}


def _clean_rows(sellers: Sellers, base: Made, changed: Made) -> dict[str, list[Path]]:
    """What a peer loads in each phase: our rows, once they are what the reports say."""
    with sellers.copied() as url, Ours(sellers.stage, url) as ours, session(url) as cursor:

        def kept(name: str, where: str) -> Path:
            query = f"(SELECT {', '.join(_TYPES)} FROM {ALL_ORDERS.table} WHERE {where})"
            return dump(cursor, query, sellers.stage.folder / f"{name}.csv", "CSV HEADER")

        ours.parse(LOAD)
        same("load: rows unlike those of the report", 0, as_told(cursor, base))
        files = {"load": [kept("load", "true")]}
        ours.parse(CHANGED)
        same("changed: rows unlike those of the report", 0, as_told(cursor, changed))
        files["changed"] = [kept("changed", "true")]
        ours.parse(*SMALL_IDS)
        files["small"] = [kept(f"small-{id_}", f"report_id = '{id_}'") for id_ in SMALL_IDS]
        return files


def _round(
    number: int,
    sellers: Sellers,
    programs: dict[str, tuple[str, str]],
    files: dict[str, list[Path]],
    told: Callable[[str], None],
) -> dict[str, float]:
    """Every figure of one round: seconds of each peer by ours. Who fails, or does not write our rows, is taken out of
    `programs`."""
    took: dict[str, dict[str, float]] = {}
    with ExitStack() as running:
        url = running.enter_context(sellers.copied())
        cursor = running.enter_context(session(url))
        ours = running.enter_context(Ours(sellers.stage, url))
        processes: dict[str, Answering] = {}
        for phase in PHASES:
            took[phase] = {}
            for who in in_turns(number, "ours", *sorted(programs)):
                if who == "ours":
                    took[phase][who] = _parse(ours, cursor, phase)
                    continue
                # To a peer the same rows are the same, whichever report tells them: it loads them again once.
                if phase == "newer":
                    continue
                try:
                    if who not in processes:
                        module, python = programs[who]
                        processes[who] = running.enter_context(Answering(module, python=python))
                    paths = [str(path) for path in files["load" if phase == "again" else phase]]
                    took[phase][who] = _load(processes[who], who, url, paths)
                except Ended as error:
                    told(f"{who} is left out: {error}")
                    del programs[who]
            settle(cursor, ALL_ORDERS)
            for who in sorted(took[phase].keys() & programs.keys()):
                if unlike := _unlike(cursor, who):
                    told(f"{who} is left out: after {phase}, {unlike:,} of its rows are not ours, or are missing")
                    del programs[who]
            told(f"round {number}, {phase}: " + ", ".join(f"{who} {took[phase][who]:.2f} s" for who in took[phase]))
    took["newer"] |= {who: seconds for who, seconds in took["again"].items() if who != "ours"}
    return {f"{who} {phase}": took[phase][who] / took[phase]["ours"] for phase in PHASES for who in programs}


def _parse(ours: Ours, cursor: Any, phase: str) -> float:
    """Our seconds. What the peers are given again, we are given as the same report, and then as a newer one."""
    if phase == "again":
        again(cursor, LOAD)
    ids = {"load": [LOAD], "again": [LOAD], "newer": [NEWER], "changed": [CHANGED], "small": SMALL_IDS}
    said = ours.parse(*ids[phase])
    if said["failed"]:
        raise RuntimeError(said["failed"][0])
    return float(sum(said["seconds"]))


def _load(process: Answering, peer: str, url: str, paths: list[str]) -> float:
    """A peer's seconds; what it takes to begin is not counted."""
    said = process.ask(url=url, schema=_schema(peer), files=paths, types=_TYPES, key=list(ALL_ORDERS.key))
    return float(sum(said["seconds"]))


def _unlike(cursor: Any, peer: str) -> int:
    """How many rows of a peer's are not ours, or are missing."""
    names = ", ".join(_TYPES)
    typed = ", ".join(f"{name}::{kind}" for name, kind in _TYPES.items())
    return differing(cursor, f"SELECT {names} FROM {ALL_ORDERS.table}", f"SELECT {typed} FROM {_schema(peer)}.lines")


def _schema(peer: str) -> str:
    return f"of_{peer.replace('-', '_')}"
