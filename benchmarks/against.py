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
    from collections.abc import Callable
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
    """A tenth of the rows of a large report: first load, again, changed; and reports of 50 rows."""
    pythons = {peer: python for peer in PEERS if (python := python_with(peer, told))}
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
        for number in range(1, options.rounds + 1):
            for name, value in _round(number, sellers, pythons, files, told).items():
                values.setdefault(name, []).append(value)
        return values


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
    pythons: dict[str, str],
    files: dict[str, list[Path]],
    told: Callable[[str], None],
) -> dict[str, float]:
    """Every figure of one round: seconds of each peer by ours. Who does not write our rows is out, from here on."""
    took: dict[str, dict[str, float]] = {}
    with ExitStack() as running:
        url = running.enter_context(sellers.copied())
        cursor = running.enter_context(session(url))
        ours = running.enter_context(Ours(sellers.stage, url))
        for phase in PHASES:
            took[phase] = {}
            for who in in_turns(number, "ours", *PEERS):
                if who == "ours":
                    took[phase][who] = _parse(ours, cursor, phase)
                # To a peer the same rows are the same, whichever report tells them: it loads them again once.
                elif who in pythons and phase != "newer":
                    try:
                        took[phase][who] = _load(who, pythons[who], url, files["load" if phase == "again" else phase])
                    except Ended as error:
                        told(f"{who} is left out: {error}")
                        del pythons[who]
            settle(cursor, ALL_ORDERS)
            for who in [who for who in took[phase] if who != "ours"]:
                if unlike := _unlike(cursor, who):
                    told(f"{who} is left out: after {phase}, {unlike:,} of its rows are not ours")
                    del took[phase][who], pythons[who]
            told(f"round {number}, {phase}: " + ", ".join(f"{who} {took[phase][who]:.2f} s" for who in took[phase]))
    took["newer"] |= {who: seconds for who, seconds in took["again"].items() if who != "ours"}
    return {
        f"{who} {phase}": took[phase][who] / took[phase]["ours"]
        for phase in PHASES
        for who in took[phase]
        if who in pythons
    }


def _parse(ours: Ours, cursor: Any, phase: str) -> float:
    """Our seconds. What the peers are given again, we are given as the same report, and then as a newer one."""
    if phase == "again":
        again(cursor, LOAD)
    ids = {"load": [LOAD], "again": [LOAD], "newer": [NEWER], "changed": [CHANGED], "small": SMALL_IDS}
    said = ours.parse(*ids[phase])
    if said["failed"]:
        raise RuntimeError(said["failed"][0])
    return float(sum(said["seconds"]))


def _load(peer: str, python: str, url: str, files: list[Path]) -> float:
    """A peer's seconds, in a process of its own; what it takes to begin is not counted."""
    paths = [str(path) for path in files]
    with Answering(f"benchmarks.peers.{PEERS[peer]}", python=python) as process:
        said = process.ask(url=url, schema=_schema(peer), files=paths, types=_TYPES, key=list(ALL_ORDERS.key))
    return float(sum(said["seconds"]))


def _unlike(cursor: Any, peer: str) -> int:
    """How many rows of a peer's are not ours, or are missing."""
    names = ", ".join(_TYPES)
    typed = ", ".join(f"{name}::{kind}" for name, kind in _TYPES.items())
    return differing(cursor, f"SELECT {names} FROM {ALL_ORDERS.table}", f"SELECT {typed} FROM {_schema(peer)}.lines")


def _schema(peer: str) -> str:
    return f"of_{PEERS[peer]}"
