"""Child processes that start one by one, each when the one before it is ready, and that all end with their parent."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self, TypeVar

from orderdrain.errors import OrderdrainError
from workers import janitor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import FrameType

T = TypeVar("T")

#: Real seconds that a child may take to be ready: a worker needs 2 to 5 of them on a busy machine with two cores.
START_SECONDS = 60.0
#: Real seconds that a child may take to end when asked, before it is killed. What a worker then leaves half done, its
#: lease and the sweep put right.
STOP_SECONDS = 10.0
#: Lines of a failed child's log that its error shows.
TAIL_LINES = 20


class StackError(OrderdrainError):
    """A process of the stack did not start, or ended on its own. The message holds the end of its log."""


@dataclass(frozen=True)
class User:
    """Whose rights a child has."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Process:
    """A running child: leader of a session and of a process group of its own."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path
    stop_signal: signal.Signals

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def ended(self) -> str | None:
        """None while it runs, then how it ended: `exit 1`, `SIGKILL`."""
        code = self.popen.poll()
        if code is None:
            return None
        return f"exit {code}" if code >= 0 else signal.Signals(-code).name

    def tail(self) -> str:
        """The end of its log, indented."""
        lines = self.log.read_text("utf-8", errors="replace").splitlines()[-TAIL_LINES:]
        return "\n".join(f"    {line}" for line in lines) or "    (it wrote nothing)"


class Janitor:
    """Ends every child of this process when this process is gone. See workers/janitor.py."""

    def __init__(self, *, holding: Sequence[int] = ()) -> None:
        """`holding`: file descriptors (of locks) that stay open until the janitor, too, has ended."""
        reading, self.pipe = os.pipe()
        self._popen = subprocess.Popen(
            _script("watch"),
            stdin=reading,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
            pass_fds=holding,
        )
        os.close(reading)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.pipe)
        self._popen.wait()

    def child(self, argv: Sequence[str], *, stop_signal: signal.Signals, user: User | None) -> list[str]:
        """The command that registers itself here and becomes `argv`; it needs `pipe` to be passed on."""
        # Postgres (SIGINT) writes down what it has. The others may die in any moment, by design: be quick.
        orphaned = stop_signal if stop_signal == signal.SIGINT else signal.SIGKILL
        numbers = [self.pipe, orphaned, user.uid if user else -1, user.gid if user else -1]
        return [*_script("run"), *(str(int(number)) for number in numbers), *argv]

    def forget(self, pid: int) -> None:
        """That child has ended: its number may soon be another's."""
        with suppress(BrokenPipeError):
            os.write(self.pipe, f"{pid} 0\n".encode())


def _script(part: str) -> list[str]:
    return [sys.executable, "-I", "-S", janitor.__file__, part]


class Processes:
    """A group of children. Leaving it asks all of them to end, and waits until they have."""

    def __init__(self, janitor: Janitor, logs: Path) -> None:
        self._janitor = janitor
        self._logs = logs
        self._running: dict[str, Process] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(*self._running)

    def __iter__(self) -> Iterator[Process]:
        return iter(list(self._running.values()))

    def spawn(
        self,
        name: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        ready: Callable[[Process], bool],
        cwd: Path = Path("/"),
        stop_signal: signal.Signals = signal.SIGTERM,
        user: User | None = None,
        pass_fds: Sequence[int] = (),
    ) -> Process:
        """Starts a child and returns it once `ready` says so; it is asked every 20 ms while the child lives.

        Raises StackError, with the end of its log, if it ends before or is not ready in time.
        """
        process = self._start(name, argv, env, cwd, stop_signal, user, pass_fds)
        deadline = time.monotonic() + START_SECONDS
        while not ready(process):
            if process.ended or time.monotonic() > deadline:
                trouble = f"ended while starting ({process.ended})" if process.ended else "was not ready in time"
                self.stop(name)
                raise StackError(f"{name} {trouble}. The end of {process.log}:\n{process.tail()}")
            time.sleep(0.02)
        return process

    def spawn_telling(self, name: str, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path) -> Process:
        """Starts a child that writes a line to the descriptor in ORDERDRAIN_READY_FD once it is ready."""
        reading, writing = os.pipe()
        try:
            return self.spawn(
                name,
                argv,
                env={**env, "ORDERDRAIN_READY_FD": str(writing)},
                cwd=cwd,
                pass_fds=[writing],
                ready=lambda _: bool(select.select([reading], [], [], 0)[0]) and os.read(reading, 64) == b"ready\n",
            )
        finally:
            os.close(reading)
            os.close(writing)

    def run(self, name: str, argv: Sequence[str], *, env: Mapping[str, str], user: User | None = None) -> None:
        """Runs a command to its end. Raises StackError, with the end of its log, unless it exits with 0."""
        process = self._start(name, argv, env, Path("/"), signal.SIGTERM, user, ())
        with suppress(subprocess.TimeoutExpired):
            process.popen.wait(START_SECONDS)
        ended = process.ended or "not ended in time"
        self.stop(name)
        if ended != "exit 0":
            raise StackError(f"{name} failed ({ended}). The end of {process.log}:\n{process.tail()}")

    def kill(self, name: str, number: signal.Signals) -> None:
        """Sends a signal to one child, as `kill` would. After SIGKILL, waits until it is gone."""
        process = self._running[name]
        process.popen.send_signal(number)
        if number == signal.SIGKILL:
            process.popen.wait(STOP_SECONDS)
            self.stop(name)

    def stop(self, *names: str) -> None:
        """Asks these children to end, the youngest first, and kills what has not ended after STOP_SECONDS."""
        stopping = [self._running[name] for name in reversed(names)]
        for process in stopping:
            process.popen.send_signal(process.stop_signal)
        deadline = time.monotonic() + STOP_SECONDS
        for process in stopping:
            with suppress(subprocess.TimeoutExpired):
                process.popen.wait(max(0.0, deadline - time.monotonic()))
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.popen.wait(STOP_SECONDS)
            self._janitor.forget(process.pid)
            del self._running[process.name]

    def _start(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: Path,
        stop_signal: signal.Signals,
        user: User | None,
        pass_fds: Sequence[int],
    ) -> Process:
        log = self._logs / f"{name}.log"
        # A session of its own: Ctrl-C reaches the parent only, which ends its children in order.
        with open_private(log) as output:
            popen = subprocess.Popen(
                self._janitor.child(argv, stop_signal=stop_signal, user=user),
                env=env,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[self._janitor.pipe, *pass_fds],
            )
        self._running[name] = Process(name, popen, log, stop_signal)
        return self._running[name]


def on_free_port(start: Callable[[int], T]) -> T:
    """Calls `start` with a port of 127.0.0.1 that was free a moment ago, and again if somebody was faster."""
    for _ in range(4):
        try:
            return start(_free_port())
        except StackError as error:
            if "in use" not in str(error):
                raise
    return start(_free_port())


def open_private(path: Path) -> BinaryIO:
    """Opens a file for writing that only its owner can read."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


@contextmanager
def ending_on_signals() -> Iterator[None]:
    """Within it SIGINT, SIGTERM and SIGHUP raise SystemExit(128 + number), once: more do not disturb the stopping.

    The same happens when the terminal is closed, or when make, having started this process, is killed: of neither need
    a process hear by a signal (the kernel's SIGHUP goes to the session's leader, and make keeps it to itself).
    """
    # nohup ignores SIGHUP, and means it. A script's background job ignores SIGINT, too, and is sent it all the same.
    patient = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    numbers = [signal.SIGINT, signal.SIGTERM, *([] if patient else [signal.SIGHUP])]

    def end(number: int, _: FrameType | None) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + number)

    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        signal.signal(number, end)
    left = threading.Event()
    terminal = sys.stderr.isatty() and not patient
    threading.Thread(target=_end_when_alone, args=(left, os.getppid(), terminal), daemon=True).start()
    try:
        yield
    finally:
        left.set()
        for number in numbers:
            signal.signal(number, before[number])


def _end_when_alone(left: threading.Event, parent: int, terminal: bool) -> None:
    watched = select.poll()
    if terminal:
        watched.register(sys.stderr, 0)
    while not left.wait(0.5):
        closed = any(event & select.POLLHUP for _, event in watched.poll(0))
        if closed or ("MAKELEVEL" in os.environ and os.getppid() != parent):
            os.kill(os.getpid(), signal.SIGTERM)
            return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
