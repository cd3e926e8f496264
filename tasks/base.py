"""The only place where our errors become Celery's verbs, and where every task's options stand.

A no-op, a wait, a pause and a dependency that is away *return* their sentence: it is what Flower's result column
shows, and nothing has failed. Only a failed attempt and a quarantine *raise*: red means something. `self.retry`,
countdown and ETA are not used: waiting is written in the ledger, and the sweep sends what is due (docs/adr/0004).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery import Task

from orderdrain.errors import (
    DependencyDown,
    GiveUp,
    LeaseLost,
    NotFound,
    NothingToDo,
    OperatorNeeded,
    OrderdrainError,
    RetryLater,
    Snooze,
)
from orderdrain.telemetry import logger
from workers.runtime import task_id

if TYPE_CHECKING:
    from celery.result import AsyncResult

log = logger("tasks")


class ReportTask(Task):
    """A step as a task. Options stand here, since Celery takes a misspelt one in a decorator for an attribute."""

    abstract = True
    ignore_result = True
    acks_late = True
    #: Expected failures are one line of ours, not Celery's stack trace.
    throws = (OrderdrainError,)
    #: Attempts are counted in the ledger.
    max_retries = 0

    @property
    def step(self) -> str:
        """`download` of `reports.download`."""
        return str(self.name).removeprefix("reports.")

    def __call__(self, *args: Any, **kwargs: Any) -> str:
        try:
            sentence = str(super().__call__(*args, **kwargs))
        except (NothingToDo, Snooze, LeaseLost, NotFound) as error:
            log.info(str(error))
            return str(error)
        except (OperatorNeeded, DependencyDown) as error:
            log.warning(str(error))
            return str(error)
        except (RetryLater, GiveUp) as error:
            log.error(str(error))
            # What Flower and a waiting shell see is the whole sentence.
            error.args = (str(error),)
            raise
        log.info(sentence)
        return sentence

    def apply_async(
        self, args: Any = None, kwargs: Any = None, task_id: str | None = None, **options: Any
    ) -> AsyncResult:
        """As Celery's, with a task id that a person can read."""
        return super().apply_async(args, kwargs, task_id=task_id or _readable(self.step, kwargs), **options)


def trigger(task: ReportTask, *, wait: float = 60, **ids: Any) -> str:
    """Sends a task from a Python shell and waits up to `wait` seconds for its sentence.

    >>> trigger(download_report, account="acme", api="mws", report_id="50123456789", wait=60)
    'downloaded 48,213 bytes'
    """
    return str(task.apply_async(kwargs=ids, ignore_result=False).get(timeout=wait))


def _readable(step: str, kwargs: dict[str, Any] | None) -> str:
    return task_id(step, kwargs or {})
