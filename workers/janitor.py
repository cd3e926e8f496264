"""Nothing is left running: the two small programs that stand between a stack and its child processes.

    python -I -S janitor.py watch                          the janitor: ends the children of a parent that is gone
    python -I -S janitor.py run FD SIGNAL UID GID ARGV...   a child: registers itself, then becomes ARGV

The janitor reads a pipe whose write end only the parent holds. However the parent ends (SIGKILL, a closed terminal, a
crash), the kernel closes that end, and the janitor ends what is still registered. A child registers itself before it
becomes its program, so there is no moment in which it runs unregistered.

Linux's PR_SET_PDEATHSIG would be shorter, but it does not exist on macOS, does not reach grandchildren, is cleared by
setuid and fires when the forking thread ends. Only the standard library is imported, and little of it: each child
starts through this file.
"""

from __future__ import annotations

import os
import signal
import sys
import time

#: Real seconds between asking the children to end and SIGKILL for what has not.
PATIENCE = 5.0


def watch() -> None:
    """Reads `pid signal` lines (signal 0: that one has ended) until the parent is gone; then ends what is left.

    A child leads a process group of its own, and the signal goes to the whole group: a worker's pool stays in its
    group, while each Postgres backend leaves the postmaster's and is ended by it.
    """
    for ignored in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    registered: dict[int, int] = {}
    for line in sys.stdin:
        pid, number = (int(word) for word in line.split())
        if number:
            registered[pid] = number
        else:
            registered.pop(pid, None)
    # Those that started last use the others.
    left = [(pid, number) for pid, number in reversed(registered.items()) if _signal_group(pid, number)]
    deadline = time.monotonic() + PATIENCE
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = [(pid, number) for pid, number in left if _signal_group(pid, 0)]
    for pid, _ in left:
        _signal_group(pid, signal.SIGKILL)


def run(pipe: int, stop_signal: int, uid: int, gid: int, argv: list[str]) -> None:
    """Registers this process with the janitor and becomes `argv`, as `uid` and `gid` unless they are negative."""
    os.write(pipe, f"{os.getpid()} {stop_signal}\n".encode())
    os.close(pipe)
    # Python ignores SIGPIPE, and a program inherits what is ignored.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    os.execvp(argv[0], argv)  # noqa: S606 - a list, and no shell


def _signal_group(pid: int, number: int) -> bool:
    """Whether there was still such a group. One that waits to be reaped counts: hence every wait is bounded."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    if sys.argv[1] == "watch":
        watch()
    else:
        pipe, stop_signal, uid, gid = (int(word) for word in sys.argv[2:6])
        run(pipe, stop_signal, uid, gid, sys.argv[6:])
