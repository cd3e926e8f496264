"""Errors are advice in one line, and the tree says what the caller must do."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from orderdrain import errors
from orderdrain.errors import (
    BadBody,
    DependencyDown,
    Evidence,
    GiveUp,
    NextTokenLost,
    NotAReport,
    NotFound,
    OperatorNeeded,
    OrderdrainError,
    RetryLater,
    ServiceFault,
    SettingsError,
    Snooze,
    Throttled,
    UsageError,
)
from orderdrain.output import exit_code

LATER = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.mark.parametrize(
    ("evidence", "shown"),
    [
        (
            Evidence("GetReport", 503, "RequestThrottled", "51af"),
            "GetReport: 503 RequestThrottled (request id 51af)",
        ),
        (Evidence("GetReport", 500), "GetReport: 500 (no request id)"),
        (Evidence("GetReport"), "GetReport: no answer (no request id)"),
    ],
)
def test_evidence_tells_the_call_and_what_came(evidence, shown):
    """It is what Amazon's support asks for first."""
    assert str(evidence) == shown
    assert str(ServiceFault("Amazon failed", evidence=evidence)) == f"Amazon failed [{shown}]"


def test_without_evidence_an_error_is_its_reason_alone():
    """No empty brackets in a line for a person."""
    assert str(GiveUp("it is HTML")) == "it is HTML"


def test_an_error_whose_reason_is_completed_tells_the_whole_sentence():
    """The step adds which report it was and what comes next; the log line must hold it."""
    error = Throttled("throttled by GetReport", until=LATER, evidence=Evidence("GetReport", 503))
    error.reason = f"report 1 (acme): waits: {error.reason}"
    assert str(error) == "report 1 (acme): waits: throttled by GetReport [GetReport: 503 (no request id)]"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("-"), 2),
        (SettingsError("-"), 2),
        (DependencyDown("-"), 3),
        (NotFound("-"), 4),
        (OperatorNeeded("-"), 5),
        (GiveUp("-"), 5),
        (NotAReport("-"), 5),
        (RetryLater("-"), 1),
        (Snooze("-", until=LATER), 1),
    ],
)
def test_each_kind_of_trouble_has_its_exit_code(error, code):
    """A script decides by it: wait for a server, ask a person, mend the command."""
    assert exit_code(error) == code


@pytest.mark.parametrize(
    ("kind", "means"),
    [
        (Throttled, Snooze),
        (ServiceFault, RetryLater),
        (BadBody, RetryLater),
        (NextTokenLost, RetryLater),
        (NotAReport, GiveUp),
    ],
)
def test_the_special_ones_mean_what_their_parent_means(kind, means):
    """A caller that knows only what to do need not know what happened."""
    assert issubclass(kind, means)


def test_the_tree_in_the_docstring_is_the_tree():
    """It is what one reads instead of the classes."""
    kinds = {
        name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, OrderdrainError)
    }
    told = {
        line.split()[-1] if line.strip() == "OrderdrainError" else line.split("── ")[1].split()[0]
        for line in errors.__doc__.splitlines()
        if "──" in line or line.strip() == "OrderdrainError"
    }
    assert told == kinds
