"""What Celery, and so Flower, hears of a step's end: red means that something has failed, and nothing else is red."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import pytest
from celery import Celery

from orderdrain.errors import (
    DependencyDown,
    Evidence,
    GiveUp,
    LeaseLost,
    NotFound,
    NothingToDo,
    OperatorNeeded,
    RetryLater,
    ServiceFault,
    Throttled,
)

REFUSED = Evidence("GetReport", 503, "RequestThrottled", "a-request-id")


@pytest.fixture(scope="module")
def task_that_raises():
    """Makes a step's task of an app of its own whose work ends with that error."""
    with pytest.MonkeyPatch.context() as patched:
        # Importing the tasks needs settings, and connects to nothing.
        if "ORDERDRAIN_DATABASE_URL" not in os.environ:
            patched.setenv("ORDERDRAIN_DATABASE_URL", "postgresql://127.0.0.1:1/none")
            patched.setenv("ORDERDRAIN_REDIS_URL", "redis://127.0.0.1:1/0")
        from tasks.base import ReportTask

    def made(error):
        app = Celery("of this test alone", set_as_current=False)

        @app.task(base=ReportTask, name="reports.download", shared=False)
        def work():
            raise error

        return work

    return made


@pytest.mark.parametrize(
    "error",
    [
        NothingToDo("report 1 (acme): already parsed, nothing done"),
        Throttled("throttled by GetReport", until=datetime(2026, 11, 24, tzinfo=UTC), evidence=REFUSED),
        LeaseLost("report 1 (acme): lost its lease, nothing was changed"),
        NotFound("there is no account acme"),
        OperatorNeeded("account acme: paused"),
        DependencyDown("Postgres at db:5432/orders does not answer"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_waiting_pausing_and_finding_nothing_to_do_are_no_failures(task_that_raises, error):
    """A board that is red all day because of quotas is a board that nobody looks at."""
    assert task_that_raises(error)() == str(error)


@pytest.mark.parametrize("kind", [RetryLater, ServiceFault, GiveUp])
def test_a_failed_attempt_and_a_quarantine_raise_the_whole_sentence(task_that_raises, kind):
    """Flower shows an exception by its arguments: Amazon's request id must be among what it shows."""
    error = kind("report 1 (acme): download attempt 1 of 8 failed", evidence=REFUSED)

    with pytest.raises(kind) as raised:
        task_that_raises(error)()

    assert raised.value.args == (
        "report 1 (acme): download attempt 1 of 8 failed [GetReport: 503 RequestThrottled (request id a-request-id)]",
    )


def test_a_bug_is_not_taken_for_an_expected_end(task_that_raises):
    """What nobody thought of must be red, with its stack trace."""
    with pytest.raises(ZeroDivisionError):
        task_that_raises(ZeroDivisionError())()
