"""The workers of the benchmark's day: processes that run the pipeline's steps as its tasks run them, without Celery."""

from __future__ import annotations

import multiprocessing
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from orderdrain import pipeline, requesting
from orderdrain.errors import OrderdrainError
from orderdrain.reports import ReportKey
from orderdrain.services import Services
from orderdrain.settings import load
from orderdrain.telemetry import configure_logs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from multiprocessing.connection import Connection

#: As it would lie in the broker: a step, and its ids.
Message = tuple[str, dict[str, Any]]


@contextmanager
def fleet(env: Mapping[str, str], count: int) -> Iterator[list[Connection]]:
    """So many worker processes; each is sent messages, and answers when nothing is left of what follows from them."""
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    try:
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, dict(env)), daemon=True)
            process.start()
            theirs.close()
            pipes.append(ours)
            processes.append(process)
        yield pipes
    finally:
        for pipe in pipes:
            pipe.close()
        for process in processes:
            process.join(10)
            process.kill()


def _work(pipe: Connection, env: dict[str, str]) -> None:
    """A worker, until the other end is closed. Answers None, or what went wrong."""
    waiting: deque[Message] = deque()

    def send(step: str, **ids: str) -> bool:
        waiting.append((step, ids))
        return True

    settings = load(env)
    configure_logs(settings)
    s = Services.from_settings(settings, send=send)
    with suppress(EOFError, ConnectionError):
        while True:
            waiting.extend(pipe.recv())
            failed = None
            while waiting:
                failed = _run(s, *waiting.popleft()) or failed
            pipe.send(failed)


def _run(s: Services, step: str, ids: dict[str, Any]) -> str | None:
    """One task. What it waits for, the ledger knows; only what nobody foresaw is told."""
    module = requesting if step in {"request", "schedule"} else pipeline
    function = getattr(module, "list_reports" if step == "list" else step)
    try:
        function(s, ReportKey(**ids)) if "report_id" in ids else function(s, **ids)
    except OrderdrainError as error:
        return str(error) if "a bug" in str(error) else None
    return None
