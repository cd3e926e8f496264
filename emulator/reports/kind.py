"""What a report type is: what it tells of which orders, and how that is written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime, timedelta

    from emulator.orders import Line, Order
    from emulator.sellers import Seller

#: Layouts as seen between 2009 and 2026, by family and name: the names of the columns, in order.
LAYOUTS: dict[str, dict[str, str]] = json.loads((Path(__file__).parent / "layouts.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Window:
    """What a report is about: [start, end), as it is at `at`."""

    start: datetime
    end: datetime
    at: datetime

    def holds(self, moment: datetime, *, back: timedelta | None = None) -> bool:
        """Whether it happened within the window, and no longer ago than `back`."""
        start = max(self.start, self.at - back) if back else self.start
        return start <= moment < self.end


@dataclass(frozen=True)
class Kind:
    """Report types of the same content. A line is known by its cells in `key`, and told in the columns of its layout.

    `lines(order, form, at)` are the lines of an order in a report that was made at `at`. `updated` is the time that
    says how new they are; without one they are as new as their report. `picture`: what a newer report lacks is over.
    """

    family: str
    key: tuple[str, ...]
    columns: Callable[[Seller, bool], tuple[str, ...]]
    lines: Callable[[Order, int, datetime], Iterator[Line]]
    tells: Callable[[Order, int, Window], bool]
    write: Callable[[Seller, tuple[str, ...], Iterable[Line]], str]
    updated: Callable[[Order, int, datetime], datetime] | None = None
    picture: bool = False
    #: Where it does, who has no right to see buyers finds their cells blank.
    names_buyers: bool = True
    #: Whether a column that is blank is left out: then the report does not tell it.
    leaves_out: bool = False


def write_flat(seller: Seller, columns: tuple[str, ...], lines: Iterable[Line]) -> str:
    """A flat file: there is at least the header line."""
    end = "\r\n" if seller.home.region == "EU" else "\n"
    rows = ["\t".join(columns), *("\t".join(line.values()) for line in lines)]
    return end.join(rows) + end
