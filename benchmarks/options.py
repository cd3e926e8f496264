"""How much is measured: as much as the figures are defined for, or less for a look."""

from __future__ import annotations

from dataclasses import dataclass

#: The first line of every report: from here on a few hundred hold each kind of bad row, and a line that stands twice.
FIRST = 4_000


@dataclass(frozen=True)
class Options:
    """`rows` of a large report; peers and tables of many rows take shares of it."""

    rows: int = 200_000
    rounds: int = 5
    table_rows: int = 5_000_000
    small_reports: int = 100
    shared_runs: int = 50

    def numbers(self, rows: int, after: int = 0) -> range:
        """The lines of a report of that many rows, `after` so many others."""
        return range(FIRST + after, FIRST + after + rows)
