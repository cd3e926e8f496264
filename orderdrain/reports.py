"""A report, its states, and the steps between them."""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    from datetime import datetime


class State(StrEnum):
    """How far a report has come. Each line: who moves it on, and what happens if they die."""

    #: Amazon has it, we know its id. `download` moves it on; if the worker dies, its lease runs out and the sweep
    #: sends the download again. A body that came half is never seen: archive writes are atomic.
    LISTED = "listed"
    #: Its bytes are archived. `parse` moves it on, in one transaction with its rows: if the worker dies, neither
    #: is there, the lease runs out, and the sweep sends the parse again.
    DOWNLOADED = "downloaded"
    #: Its rows are committed. `acknowledge` moves it on, with up to 99 others; if the worker dies, or Amazon's answer
    #: is lost, it is told again: acknowledging twice is harmless.
    PARSED = "parsed"
    #: Finished. Nothing moves it on.
    ACKNOWLEDGED = "acknowledged"
    #: It cannot succeed by itself: a person looks, and `requeue` brings it back to where it was.
    QUARANTINED = "quarantined"


#: The states from which something moves a report on by itself, in path order, each with the step that does.
STEP_FROM = {State.LISTED: "download", State.DOWNLOADED: "parse", State.PARSED: "acknowledge"}


@dataclass(frozen=True)
class ReportKey:
    """Which report: Amazon's ids are unique only within an account (and an API)."""

    account: str
    api: str
    report_id: str

    def __str__(self) -> str:
        return f"report {self.report_id} ({self.account})"


@dataclass(frozen=True)
class Report:
    """A report as the ledger had it when its lease was taken."""

    key: ReportKey
    report_type: str
    available_at: datetime
    state: State
    attempts: int
    archive_key: str | None
    content_type: str | None
    #: Those that it answers for, as far as Amazon says so.
    marketplaces: tuple[str, ...] = ()

    #: What `of` needs of a row.
    COLUMNS: ClassVar = (
        *("account", "api", "report_id", "report_type", "available_at", "state", "attempts"),
        *("archive_key", "content_type", "marketplaces"),
    )

    @classmethod
    def of(cls, row: Any) -> Self:
        """From its row in the ledger."""
        return cls(
            ReportKey(row.account, row.api, row.report_id),
            row.report_type,
            row.available_at,
            State(row.state),
            row.attempts,
            row.archive_key,
            row.content_type,
            tuple(row.marketplaces),
        )


@dataclass(frozen=True)
class RowCounts:
    """What became of a report's rows. `read` is the sum of the rest; the database checks it."""

    new: int = 0
    changed: int = 0
    same: int = 0
    older: int = 0
    joined: int = 0
    rejected: int = 0

    @property
    def read(self) -> int:
        return self.new + self.changed + self.same + self.older + self.joined + self.rejected

    @property
    def columns(self) -> dict[str, int]:
        """As the ledger has them."""
        return {f"rows_{name}": getattr(self, name) for name in ("read", *(field.name for field in fields(self)))}

    def __add__(self, more: RowCounts) -> RowCounts:
        return RowCounts(*(one + other for one, other in zip(astuple(self), astuple(more), strict=True)))

    def __str__(self) -> str:
        told = [("new", self.new), ("changed", self.changed), ("same", self.same), ("older", self.older)]
        told += [("joined", self.joined), ("rejected", self.rejected)]
        return f"{self.read:,} rows: " + (", ".join(f"{n:,} {word}" for word, n in told if n) or "none")
