"""The peers' own environments below benchmarks/.venvs: each made once, from its lock file."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: Name -> module and lock file.
PEERS = {"dlt": "dlt", "target-postgres": "target_postgres", "pandas": "pandas"}
_HOME = Path(__file__).resolve().parents[1] / ".venvs"


def python_with(peer: str, told: Callable[[str], None]) -> str | None:
    """The Python that has this peer installed; None, with a line that says so, where it cannot be installed."""
    lock = Path(__file__).with_name(f"{PEERS[peer]}.txt")
    venv = _HOME / PEERS[peer]
    python, ready = venv / "bin" / "python", venv / f"ready-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}"
    if not ready.exists():
        told(f"installing {peer}, a minute or two ...")
        shutil.rmtree(venv, ignore_errors=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
        for command in ([sys.executable, "-m", "venv", str(venv)], [*install, "-r", str(lock)]):
            done = subprocess.run(command, capture_output=True, check=False, text=True)
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
                told(f"{peer} is left out, it cannot be installed: {last}")
                return None
        ready.touch()
    return str(python)
