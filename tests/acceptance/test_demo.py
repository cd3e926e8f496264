"""`make demo` as a newcomer runs it: by its command, to its last line."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

from tests.emulator_process import ROOT

CHECKOUT = ("beat_schedule.py", "emulator", "orderdrain", "tasks", "workers")


def test_the_demo_drains_every_family_and_ends_by_itself(stack_folder):
    """It is the first thing that anybody sees of us, and its last line is a promise that others check."""
    for name in CHECKOUT:
        source, copy = ROOT / name, stack_folder / name
        shutil.copytree(source, copy) if source.is_dir() else shutil.copy(source, copy)

    ended = subprocess.run(
        [sys.executable, "-m", "workers.demo"],
        cwd=stack_folder,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )

    last = ended.stdout.splitlines()[-1]
    told = re.fullmatch(
        r"demo: ok reports=(\d+) orders=(\d+) lost=0 doubled=0 acknowledged_before_commit=0 over_quota=0", last
    )
    assert told, f"{ended.stdout[-3000:]}\n{ended.stderr[-3000:]}"
    assert ended.returncode == 0
    assert int(told[1]) >= 40, "reports"
    assert int(told[2]) > 0, "orders"
    types = re.search(r"^(\d+) report types of (\d+) families$", ended.stdout, re.MULTILINE)
    assert types, ended.stdout
    assert (int(types[1]) >= 5, types[2]) == (True, "5"), "both APIs, every family"
