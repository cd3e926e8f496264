"""A process that does what it is told in lines of JSON, and tells how long it took and how much memory it had at most.

It runs under whatever Python has the program to be measured, so it imports nothing but the standard library.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def answer(work: Callable[..., dict[str, Any]]) -> None:
    """Says that it is ready, then answers each line with what `work` returns for it, and the peak of its memory."""
    told = sys.stdout
    sys.stdout = sys.stderr  # what libraries print is no answer
    print(json.dumps({"ready": True}), file=told, flush=True)
    for line in sys.stdin:
        said = work(**json.loads(line))
        print(json.dumps({**said, "peak_mb": peak_mb()}), file=told, flush=True)


def peak_mb() -> float:
    """The most memory that this process has had, in MB of 10^6 bytes. What it was before exec does not count, so the
    kernel's own figure is taken where there is one."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text("ascii").splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
