"""Large reports against COPY alone: first load, again, newer, changed; and with buyers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.made import Made
from benchmarks.rows import BARE, as_told, copy_seconds, dump, fingerprint, make_bare, one, same, session, tables
from benchmarks.stage import Ours, Waiting, again
from orderdrain.families import ALL_ORDERS, NEW_ORDERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from benchmarks.options import Options
    from benchmarks.stage import Sellers, Stage
    from orderdrain.families import Family

Values = dict[str, list[float]]


@dataclass(frozen=True)
class Phase:
    """A report that is parsed, and what the tables must say then. `repeats`: it was parsed before."""

    name: str
    report_id: str
    then: Made
    repeats: bool = False


@dataclass(frozen=True)
class Known:
    """What the tables hold after each phase: files to be copied, and fingerprints."""

    files: dict[str, dict[str, Path]]
    fingerprints: dict[str, Any]

    @classmethod
    def from_ours(cls, sellers: Sellers, phases: Sequence[Phase]) -> Known:
        """Parses everything once, holds it against what the reports say, and keeps it."""
        files, fingerprints = {}, {}
        with sellers.copied() as url, Ours(sellers.stage, url) as ours, session(url) as cursor:
            for phase in phases:
                parse(ours, cursor, phase)
                settle(cursor, phase.then.family)
                same(f"{phase.name}: rows unlike those of the report", 0, as_told(cursor, phase.then))
                fingerprints[phase.name] = fingerprint(cursor, phase.then.family)
                files[phase.name] = {
                    f"{BARE}{table}": dump(cursor, table, sellers.stage.folder / f"{sellers.name}-{phase.name}-{table}")
                    for table in tables(phase.then.family)
                }
        return cls(files, fingerprints)


def large(stage: Stage, options: Options, told: Callable[[str], None]) -> Values:
    """All Orders: every way in which a report meets what is stored."""
    numbers = options.numbers(options.rows)
    base = Made(ALL_ORDERS, numbers)
    apart = Made(ALL_ORDERS, numbers, lambda n: int(n % 10 == 3))
    changed = Made(ALL_ORDERS, numbers, lambda n: int(n % 10 in {3, 7}))
    waiting = (
        Waiting("50000000002", base),
        Waiting("50000000001", base),
        Waiting("50000000005", base, age=10),
        Waiting("50000000004", apart, age=10),
        Waiting("50000000006", changed, age=20),
    )
    phases = (
        Phase("load", "50000000002", base),
        Phase("again", "50000000002", base, repeats=True),
        Phase("not newer", "50000000001", base),
        Phase("newer", "50000000005", base),
        Phase("changed apart", "50000000004", apart),
        Phase("changed", "50000000006", changed),
    )
    with stage.sellers("large", *waiting) as sellers:
        return in_rounds(sellers, phases, options.rounds, told)


def buyers(stage: Stage, options: Options, told: Callable[[str], None]) -> Values:
    """New Orders: lines, and the buyer of each, in a table of its own."""
    base = Made(NEW_ORDERS, options.numbers(options.rows))
    with stage.sellers("buyers", Waiting("50000000002", base)) as sellers:
        return in_rounds(sellers, (Phase("buyers", "50000000002", base),), options.rounds, told)


def in_rounds(sellers: Sellers, phases: Sequence[Phase], rounds: int, told: Callable[[str], None]) -> Values:
    """COPY's time by ours for each phase, one after the other in each round, who begins in turns."""
    told("what each report must come to ...")
    known = Known.from_ours(sellers, phases)
    values: Values = {}
    for number in range(1, rounds + 1):
        with sellers.copied() as url, Ours(sellers.stage, url) as ours, session(url) as cursor:
            for phase in phases:
                seconds: dict[str, float] = {}
                for who in in_turns(number, "copy", "ours"):
                    if who == "copy":
                        for table in tables(phase.then.family):
                            make_bare(cursor, table)
                        seconds[who] = copy_seconds(url, known.files[phase.name])
                        bare = fingerprint(cursor, phase.then.family, BARE)
                        same(f"{phase.name}: copied rows", known.fingerprints[phase.name], bare)
                    elif phase.name == "again":
                        seconds[who] = _watched(ours, cursor, phase, values)
                    else:
                        seconds[who] = parse(ours, cursor, phase)
                settle(cursor, phase.then.family)
                told_rows = fingerprint(cursor, phase.then.family)
                same(f"{phase.name}: rows of ours", known.fingerprints[phase.name], told_rows)
                values.setdefault(phase.name, []).append(seconds["copy"] / seconds["ours"])
                told(f"round {number}, {phase.name}: COPY {seconds['copy']:.2f} s, ours {seconds['ours']:.2f} s")
    return values


def parse(ours: Ours, cursor: Any, phase: Phase) -> float:
    """Seconds from bytes to commit."""
    if phase.repeats:
        again(cursor, phase.report_id)
    said = ours.parse(phase.report_id)
    if said["failed"]:
        raise RuntimeError(said["failed"][0])
    return float(said["seconds"][0])


def settle(cursor: Any, family: Family) -> None:
    """What autovacuum does within a minute after many rows are written: the planner knows how many."""
    for table in tables(family):
        cursor.execute(f"ANALYZE {table}")


def _watched(ours: Ours, cursor: Any, phase: Phase, values: Values) -> float:
    """As `parse`; also how many rows it has written, and how much WAL. No checkpoint lies between: after one, the first
    touch of each page would write it whole."""
    again(cursor, phase.report_id)
    transaction = one(cursor, "SELECT pg_current_xact_id()::text::bigint")
    before = one(cursor, "SELECT pg_current_wal_lsn()")
    said = ours.parse(phase.report_id)
    wal = one(cursor, "SELECT pg_current_wal_lsn() - %s::pg_lsn", (before,))
    written = sum(
        one(cursor, f"SELECT count(*) FROM {table} WHERE xmin::text::bigint >= %s", (transaction,))
        for table in tables(phase.then.family)
    )
    values.setdefault("again rows", []).append(written)
    values.setdefault("again wal", []).append(float(wal) / 1e6)
    if said["failed"]:
        raise RuntimeError(said["failed"][0])
    return float(said["seconds"][0])


def in_turns(number: int, *who: str) -> Iterator[str]:
    """All of them, each round beginning with the next one."""
    first = number % len(who)
    yield from (*who[first:], *who[:first])
