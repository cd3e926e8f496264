"""What each process holds: its services, its logs, and the signs by which others see that it is ready and alive."""

from __future__ import annotations

import os
import time
import uuid
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celery import bootsteps, current_task, signals
from celery.exceptions import SoftTimeLimitExceeded
from kombu.exceptions import OperationalError

from orderdrain.errors import DependencyDown
from orderdrain.services import Services
from orderdrain.telemetry import bind, configure_logs, logger, unbind
from workers.celery import app, settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orderdrain.progress import Progress

log = logger(__name__)

#: Far above the longest download: a task is ended after ten minutes.
STALE_WRITES = timedelta(hours=6)

_built: tuple[int, Services] | None = None


def services() -> Services:
    """This process's services, built when first asked for: no connection ever crosses a fork."""
    global _built  # noqa: PLW0603 - one a process, and Celery offers no other place to keep it
    if _built is None or _built[0] != os.getpid():
        built = Services.from_settings(settings, send=send, tell=tell, out_of_time=(SoftTimeLimitExceeded,))
        _built = (os.getpid(), built)
    return _built[1]


def send(step: str, **ids: Any) -> bool:
    """Sends the message of a step. False when the broker does not take it: the sweep sends it later.

    Called after the commit that makes it true, never before. Waits 0.3 s for a Redis that refuses, 20 s at the very
    worst for one that is frozen.
    """
    try:
        # Sent by name, Celery does not ask the task's own options: nobody waits for this result (docs/adr/0007).
        app.send_task(f"reports.{step}", kwargs=ids, task_id=task_id(step, ids), ignore_result=True)
    except OperationalError as error:
        log.warning("not sent, the sweep will", step=step, reason=str(error).splitlines()[0], **ids)
        return False
    return True


def tell(progress: Progress) -> None:
    """Shows how far the task is that this process works on: as its state PROGRESS, and where its sentence will stand.

    An event, which nobody keeps: Flower has it if it listens.
    """
    if not current_task:
        return
    try:
        current_task.send_event("task-progress", retry=False, result=str(progress))
    except SoftTimeLimitExceeded:
        raise
    except Exception as error:  # noqa: BLE001 - whatever Redis's client raises: showing it must not end the work
        log.debug("progress not shown", reason=type(error).__name__)


def task_id(step: str, ids: Mapping[str, Any]) -> str:
    """`50123456789.download.41ea2385`: readable in Flower, found by a bare report id, never the same twice."""
    subject = ids.get("report_id") or ids.get("request_key") or ids.get("account") or "all"
    return f"{subject}.{step}.{uuid.uuid4().hex[:8]}"


@signals.setup_logging.connect
def _own_the_logs(**_: Any) -> None:
    configure_logs(settings)


@signals.task_prerun.connect
def _bind_ids(task_id: str, task: Any, kwargs: Mapping[str, Any], **_: Any) -> None:
    bind(task_id=task_id, task=task.name, **{name: str(value) for name, value in kwargs.items()})


@signals.task_postrun.connect
def _unbind_ids(**_: Any) -> None:
    unbind()


@signals.worker_process_shutdown.connect
def _close(**_: Any) -> None:
    if _built is not None and _built[0] == os.getpid():
        _built[1].db.close()


@signals.worker_ready.connect
@signals.beat_init.connect
def _tell_ready(**_: Any) -> None:
    """Whoever started this process may wait on a pipe instead of guessing from the log."""
    number = os.environ.pop("ORDERDRAIN_READY_FD", None)
    if number is not None:
        os.write(int(number), b"ready\n")
        os.close(int(number))


@signals.worker_ready.connect
def _clear_the_archive(**_: Any) -> None:
    """A worker that died in the middle of a download left half a file, unseen: who starts after it clears it away."""
    try:
        removed = services().archive.sweep(STALE_WRITES)
    except DependencyDown as error:
        log.warning("archive not cleared", reason=str(error))
        return
    if removed:
        log.info("half-written files cleared from the archive", files=removed)


class Alive(bootsteps.StartStopStep):
    """Touches ORDERDRAIN_ALIVE_FILE every two seconds while the worker's loop turns and Redis answers.

    The file's age is the liveness probe. It may grow to the longest outage of Redis that shall be ridden out (600 s):
    a shorter limit would restart the fleet, and end its work, because Redis was away.
    """

    requires = ("celery.worker.components:Timer",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self.path = os.environ.get("ORDERDRAIN_ALIVE_FILE")
        self.enabled = self.path is not None
        self.tick: Any = None

    def start(self, parent: Any) -> None:
        self.tick = parent.timer.call_repeatedly(2, self._touch)

    def stop(self, parent: Any) -> None:  # noqa: ARG002 - the name that Celery calls
        if self.tick is not None:
            self.tick.cancel()

    def _touch(self) -> None:
        if self.path is not None:
            Path(self.path).write_text(f"{time.time():.0f}\n", encoding="ascii")


app.steps["worker"].add(Alive)
