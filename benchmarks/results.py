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
    """The commit that this process was started on, with a `+` where files differ from it; blank outside of a
    checkout. Asked once: results.json is written while the run goes on."""
    command = ["git", "-c", "safe.directory=*", "describe", "--always", "--abbrev=10", "--dirty=+", "--exclude=*"]
    said = subprocess.run(command, cwd=RESULTS.parent, capture_output=True, check=False, text=True)
    return said.stdout.strip()
