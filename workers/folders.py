"""The folder of a stack: one stack at a time uses it, and our commands in the checkout are told of it."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from workers.processes import StackError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

#: Real seconds to wait for the janitor of a killed stack; it needs 5 at most.
PATIENCE = 10.0


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """One stack a folder. Yields the descriptor of the lock: it is free once every copy of it is closed."""
    folder.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    lock = os.open(folder.with_name(f"{folder.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _take(lock, folder)
        os.truncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        yield lock
    finally:
        os.close(lock)


@contextmanager
def announced(path: Path, env: Mapping[str, str]) -> Iterator[None]:
    """Tells our commands in this checkout of the stack, unless another one of it is told of already."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "r+") as file:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield
            return
        file.truncate(0)
        file.writelines(f"{name}={value}\n" for name, value in sorted(env.items()) if name.startswith("ORDERDRAIN_"))
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _take(lock: int, folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(lock, 20, 0).decode()
            # Where its owner was killed, the janitor holds the lock until it has ended the rest.
            if _runs(owner) or time.monotonic() > deadline:
                raise StackError(f"a stack already runs in {folder} (process {owner}). End that one first") from None
            time.sleep(0.05)
        else:
            return


def _runs(pid: str) -> bool:
    try:
        os.kill(int(pid or "0"), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
