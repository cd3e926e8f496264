"""How late documents were, beside how late they had to be: the spreads of both, and how many times as late."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

#: What no median of (delay / best delay) may exceed.
CEILING = 1.2
#: Amazon tells its times in whole seconds: a best delay below this is none, and nothing can be so many times as long.
SECOND = 1.0


@dataclass(frozen=True)
class Document:
    """When it was available at Amazon, when its rows were committed, and when the best one knows it and commits it."""

    available: float
    committed: float
    known: float
    best: float

    @property
    def delay(self) -> float:
        return self.committed - self.available

    @property
    def best_delay(self) -> float:
        return self.best - self.available


def compare(documents: Sequence[Document]) -> dict[str, Any]:
    """All documents, then those that the best one has at once, and those that wait for a token even there."""
    return {
        "all": beside_the_best(documents),
        "at_once": beside_the_best([d for d in documents if d.best_delay < SECOND]),
        "quota_binds": beside_the_best([d for d in documents if d.best - d.known >= SECOND]),
    }


def beside_the_best(documents: Sequence[Document]) -> dict[str, Any]:
    """Seconds, and ratios: `ratio` of each figure of the delays to the same one of the best delays, `one_by_one` the
    spread of each document's own; both only where the best one waits at all."""
    told: dict[str, Any] = {"documents": len(documents)}
    if documents:
        told["delay"] = _spread([d.delay for d in documents])
        told["best"] = _spread([d.best_delay for d in documents])
        told["ratio"] = {
            name: round(told["delay"][name] / best, 3) for name, best in told["best"].items() if best >= SECOND
        }
        told["later_than_the_best"] = _spread([d.delay - d.best_delay for d in documents])
    if ratios := [d.delay / d.best_delay for d in documents if d.best_delay >= SECOND]:
        told["one_by_one"] = {"documents": len(ratios), **_spread(ratios)}
    return told


def is_held(told: dict[str, Any]) -> bool:
    """Whether no median of what `beside_the_best` told is above the ceiling."""
    ratios = [told[kind]["median"] for kind in ("ratio", "one_by_one") if "median" in told.get(kind, {})]
    return bool(ratios) and max(ratios) <= CEILING


def _spread(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    told = {"median": statistics.median(ordered), "mean": statistics.fmean(ordered)}
    told |= {f"p{n}": ordered[int(n / 100 * (len(ordered) - 1))] for n in (95, 99)}
    return {name: round(value, 3) for name, value in {**told, "max": ordered[-1]}.items()}
