"""What is measured, what must be reached (floor) and what is aimed at, and how it is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.results import spread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Figure:
    """One figure. `at_least`: more is better. Without a floor it is only told."""

    what: str
    floor: float | None = None
    aim: float | None = None
    at_least: bool = True
    unit: str = "x"

    @property
    def bounds(self) -> tuple[str, str]:
        """Floor and aim as they are shown; blank where there is none."""
        sign = ">=" if self.at_least else "<="
        return tuple("" if bound is None else f"{sign} {bound:g}" for bound in (self.floor, self.aim))

    def result(self, values: Sequence[float]) -> dict[str, Any]:
        """Median and extremes of the rounds, beside floor and aim, and what the median says."""
        told = spread(values)
        return {
            "what": self.what,
            "unit": self.unit,
            **told,
            "rounds": len(values),
            "floor": self.floor,
            "aim": self.aim,
            "says": self._says(told["median"]),
        }

    def _says(self, median: float) -> str:
        if self.floor is None or self.aim is None:
            return ""
        if self._holds(median, self.aim):
            return "aim reached"
        return "reached" if self._holds(median, self.floor) else "below floor"

    def _holds(self, value: float, bound: float) -> bool:
        return value >= bound if self.at_least else value <= bound


def _at_most(what: str, floor: float | None = None, aim: float | None = None, unit: str = "x") -> Figure:
    return Figure(what, floor, aim, at_least=False, unit=unit)


def _peer(name: str, floor: float, aim: float) -> dict[str, Figure]:
    """How much longer a peer takes than we do."""
    return {
        f"{name} load": Figure(f"{name}: first load, its time against ours", floor, aim),
        f"{name} again": Figure(f"{name}: the same rows again, its time against ours"),
        f"{name} newer": Figure(f"{name}: as before, against a newer report of ours"),
        f"{name} changed": Figure(f"{name}: 10 % changed, against a newer report of ours"),
        f"{name} small": Figure(f"{name}: 50 rows, its time against ours"),
    }


#: What takes turns: "COPY" is COPY of the same clean rows, ready-made, into the same columns with their key.
FIGURES: dict[str, Figure] = {
    "load": Figure("first load of All Orders: COPY's time against ours", 0.60, 0.80),
    "again": Figure("the same report again", 0.90, 1.6),
    "not newer": Figure("the same rows in another report, not newer", 0.90, 1.6),
    "newer": Figure("the same rows in a newer report: every version moves on", 0.45, 0.80),
    "changed apart": Figure("10 % changed, the rest not newer", 0.55, 0.90),
    "changed": Figure("10 % changed in a newer report: every version moves on", 0.55, 0.90),
    "again rows": _at_most("the same report again writes", 0, 0, "rows"),
    "again wal": _at_most("the same report again writes", 0.1, 0.1, "MB WAL"),
    "buyers": Figure("New Orders with buyers, against COPY into both tables", 0.45, 0.70),
    **_peer("dlt", 10, 15),
    **_peer("target-postgres", 20, 35),
    **_peer("pandas", 10, 15),
    "small": _at_most("50 rows, from bytes to commit, against COPY and commit", 4.0, 2.5),
    "small step": _at_most("... as a whole step, with its lock, lease and what it sends"),
    "small catalog": _at_most("catalog growth, a report of 50 rows", 0, 0, "bytes"),
    "full load": Figure("into a table of many rows: COPY's time there against ours", 0.45, 0.65),
    "full again": _at_most("... the same report again, against a fresh table", 1.5, 1.25),
    "memory": _at_most("peak memory", 120, 80, "MB"),
    "memory fourfold": _at_most("peak memory, a report four times as long", 120, 80, "MB"),
    "memory growth": _at_most("... against the shorter one", 1.10, 1.05),
    "deadlocks": _at_most("two workers on the same keys: deadlocks, failures", 0, 0, ""),
    "lost": _at_most("... rows that are not as the newest report told them", 0, 0, "rows"),
    "engine": Figure("four-step reports against bare Celery tasks, four to a report", 0.30, 0.60),
}


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The figures as people read them."""
    lines = [("", "median", "min - max", "floor", "aim", "")]
    for name, figure in FIGURES.items():
        if name not in results:
            continue
        told = results[name]
        lines.append(
            (
                told["what"],
                f"{_number(told['median'])} {told['unit']}",
                f"{_number(told['min'])} - {_number(told['max'])}",
                *figure.bounds,
                told["says"],
            )
        )
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _number(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 100 and value != int(value) else f"{value:,.0f}"
