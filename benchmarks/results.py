"""What benchmarks found, in benchmarks/results.json: each keeps its own, beside what others have found."""

from __future__ import annotations

import json
import statistics
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RESULTS = Path(__file__).with_name("results.json")


def spread(values: Sequence[float]) -> dict[str, float]:
    """The median of all rounds, and their extremes."""
    return {"median": round(statistics.median(values), 3), "min": round(min(values), 3), "max": round(max(values), 3)}


def keep(name: str, result: Mapping[str, Any]) -> None:
    """Writes a result down."""
    kept = known()
    RESULTS.write_text(json.dumps({**kept, name: result}, indent=2, sort_keys=True) + "\n", "utf-8")


def known() -> dict[str, Any]:
    """All that is written down."""
    return dict(json.loads(RESULTS.read_text("utf-8"))) if RESULTS.exists() else {}


@cache
def commit() -> str:
    """The last commit that changed the product, with a `+` where files differ from it; blank outside of a checkout.
    Benchmarks and pages may have been changed since: what is measured was not."""
    product = ["--", "orderdrain", "workers", "tasks"]
    changed = _git("status", "--porcelain", *product)
    return _git("log", "-1", "--format=%h", "--abbrev=10", *product) + ("+" if changed else "")


def _git(*words: str) -> str:
    command = ["git", "-c", "safe.directory=*", *words]
    said = subprocess.run(command, cwd=RESULTS.parents[1], capture_output=True, check=False, text=True)
    return said.stdout.strip()
