"""One MWS call in work: what an operation is given, what it gives back, and what then goes on the wire."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from emulator.account import Account
    from emulator.answers import Element
    from emulator.parameters import Parameters
    from emulator.reports import Report
    from emulator.world import World


@dataclass(frozen=True)
class Call:
    """A call that passed authentication and quota. `fault` is what shall go wrong inside the operation, if anything."""

    world: World
    account: Account
    parameters: Parameters
    now: datetime
    fault: str | None


@dataclass(frozen=True)
class Reply:
    """What goes on the wire. `fault` tells the server how to spoil it there."""

    status: int
    headers: dict[str, str]
    body: bytes
    fault: str | None = None


@dataclass(frozen=True)
class Outcome:
    """`result` is the content of the Result element; `report` stands instead where the answer is a file."""

    result: list[Element] = field(default_factory=list)
    report: Report | None = None
    report_ids: list[str] = field(default_factory=list)
    next_token: str | None = None
