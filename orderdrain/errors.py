"""What went wrong, named by what the caller must do about it.

    OrderdrainError
    ├── Snooze              waiting is not failing: the row sleeps until then, no attempt is spent
    │   └── Throttled       Amazon's quota, or its refusal all the same
    ├── RetryLater          the attempt failed: it is counted, and made again after a backoff
    │   ├── ServiceFault    Amazon, or something between, answered nothing, 5xx, or what is no answer of its API
    │   ├── BadBody         the bytes are not those that Amazon announced (Content-MD5, length)
    │   └── NextTokenLost   Amazon no longer knows our place in a listing: begin it again
    ├── GiveUp              this report (or request) cannot succeed: set aside for a person
    │   └── NotAReport      the bytes are no report that we understand
    ├── OperatorNeeded      a connection or an application cannot work until a person acts: it alone pauses
    ├── NothingToDo         a doubled or late message, or somebody is at it: a quiet no-op
    ├── LeaseLost           somebody else works on it now: change nothing
    ├── UsageError          the caller asked for something that makes no sense (exit 2)
    ├── SettingsError       a setting is missing or malformed (exit 2)
    ├── NotFound            no such account, report or request (exit 4)
    └── DependencyDown      Postgres, Redis or the archive does not answer (exit 3)

A message is advice in one line: what happened to which thing, the evidence, what comes next. It never holds a buyer's
data or a secret. What Amazon said travels beside it as `Evidence`, so that each line can be taken to Amazon's support.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True)
class Evidence:
    """What Amazon answered: enough to find the call in its logs, nothing of a report's content."""

    operation: str
    status: int | None = None
    code: str | None = None
    request_id: str | None = None

    def __str__(self) -> str:
        said = " ".join(str(part) for part in (self.status, self.code) if part)
        where = f"request id {self.request_id}" if self.request_id else "no request id"
        return f"{self.operation}: {said or 'no answer'} ({where})"


class OrderdrainError(Exception):
    """The base of all that orderdrain raises on purpose. `str(error)` is one line for a person."""

    def __init__(self, reason: str, *, evidence: Evidence | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.evidence = evidence

    def __str__(self) -> str:
        return f"{self.reason} [{self.evidence}]" if self.evidence else self.reason


class Snooze(OrderdrainError):
    """Not now: wait until `until` (application time, UTC). Costs no attempt and holds no worker."""

    def __init__(self, reason: str, *, until: datetime, evidence: Evidence | None = None) -> None:
        super().__init__(reason, evidence=evidence)
        self.until = until


class Throttled(Snooze):
    """A quota is used up: ours knew before asking, or Amazon refused all the same."""


class RetryLater(OrderdrainError):
    """The attempt failed and is counted; the ledger says when the next one is due."""


class ServiceFault(RetryLater):
    """Amazon (or a proxy before it) failed: 5xx, a broken connection, what is no answer of its API."""


class BadBody(RetryLater):
    """The body that came is not the one that Amazon announced: thrown away before anybody read it."""


class NextTokenLost(RetryLater):
    """The NextToken is corrupted or expired. The same token is never sent again: the listing restarts."""


class GiveUp(OrderdrainError):
    """Trying again cannot help: the report is quarantined with this reason, its bytes kept."""


class NotAReport(GiveUp):
    """The bytes are whole, but no report of that type: HTML, a missing column, an unknown charset."""


class OperatorNeeded(OrderdrainError):
    """A person must act. `scope` says what pauses: "connection" (a seller's) or "application" (a developer's keys)."""

    def __init__(self, reason: str, *, scope: str = "connection", evidence: Evidence | None = None) -> None:
        super().__init__(reason, evidence=evidence)
        self.scope = scope


class NothingToDo(OrderdrainError):
    """What the message asks for is done, not due, or being done: nothing was changed."""


class LeaseLost(OrderdrainError):
    """The lease ran out, or another worker took it: this worker's commit must change nothing."""


class UsageError(OrderdrainError):
    """What was asked for makes no sense; the message says what would."""


class SettingsError(OrderdrainError):
    """A setting is missing or malformed; the message names the variable and shows an example."""


class NotFound(OrderdrainError):
    """There is no such account, report or request."""


class DependencyDown(OrderdrainError):
    """Postgres, Redis or the archive does not answer; the message says which and where."""
