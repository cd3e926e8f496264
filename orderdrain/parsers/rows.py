"""What every parser gives: lines and rejected rows in blocks, and a count that accounts for each row of the file."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from orderdrain.errors import NotAReport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orderdrain.families import Family
    from orderdrain.parsers.usual import RawLine, UsualLines

#: A block is closed at this many rows, or characters of values: memory stays flat, also with long gift messages.
BLOCK_ROWS = 1000
BLOCK_CHARACTERS = 2_000_000
#: Where `extra` keeps what a continuation says otherwise than its line. Nothing is added up, nothing lost.
CONTINUED = "continued"


class Line(NamedTuple):
    """One order line. `values` stand in the order of the report's `fields`, `buyer` in that of its `buyer_fields`.

    Each value is text that Postgres takes for the column's type, or None for blank. `number` is where it stands in
    the file, from 1; `joined` is how many continuation rows were joined to it; `changed_at` its own time of update,
    where the family has one and the file tells it. Lines without an id are one set with those of the same `scope`.
    """

    number: int
    key: tuple[str, ...]
    values: tuple[str | None, ...]
    buyer: tuple[str | None, ...]
    joined: int = 0
    changed_at: str | None = None
    scope: int = 0


class Rejected(NamedTuple):
    """A row that cannot be a line. `reason` never holds a cell's text; the ids are given where they are surely ids.

    `lacking_in`: which set of lines without ids is not whole without it, as (scope, order id, `SK-1#`); with nothing
    in the last place, each set of that order.
    """

    line: int
    column: str | None
    reason: str
    order_id: str | None = None
    order_item_id: str | None = None
    lacking_in: tuple[int, str, str] | None = None

    def __str__(self) -> str:
        return f"line {self.line}: {self.column} {self.reason}" if self.column else f"line {self.line} {self.reason}"


class Block(NamedTuple):
    """Some consecutive rows of the report."""

    lines: list[Line]
    rejected: list[Rejected]


@dataclass
class Counts:
    """What the rows read so far became."""

    lines: int = 0
    joined: int = 0
    rejected: int = 0

    @property
    def read(self) -> int:
        return self.lines + self.joined + self.rejected


class Scanned(NamedTuple):
    """What is known of a report once all of its rows were seen; `read` gives them.

    `fields` and `buyer_fields` are the SQL columns that this report's layout has: it says nothing about the others.
    `extra_names` are the header names that it keeps in the column `extra`, blank or not.
    `rows` is how many rows the file holds, none if it is empty.
    """

    fields: tuple[str, ...]
    buyer_fields: tuple[str, ...]
    extra_names: tuple[str, ...]
    rows: int
    read: Callable[[], Iterator[Line | Rejected]]


#: A file without so much as a header.
NOTHING = Scanned((), (), (), 0, lambda: iter(()))


@dataclass
class ParsedReport:
    """A report whose header was understood; its rows come by `blocks`.

    It is read through once before anything is told of its rows (`scan`). Who takes the `usual` lines by themselves, and
    the others as their `rest`, spares that.
    """

    family: Family
    encoding: str
    encoding_reason: str
    scan: Callable[[], Scanned]
    #: None where no line can be read by itself.
    usual: UsualLines | None = None
    counts: Counts = field(default_factory=Counts)
    #: Lines of the same file that were read otherwise.
    besides: int = 0
    #: Whether any line says who bought or where it goes; None where no column would.
    names_buyers: bool | None = None
    _seen: int = 0

    @cached_property
    def _scanned(self) -> Scanned:
        return self.scan()

    @property
    def fields(self) -> tuple[str, ...]:
        """See Scanned; so are the next ones."""
        return self._scanned.fields

    @property
    def buyer_fields(self) -> tuple[str, ...]:
        return self._scanned.buyer_fields

    @property
    def extra_names(self) -> tuple[str, ...]:
        return self._scanned.extra_names

    @property
    def rows(self) -> int:
        return self._scanned.rows

    @property
    def so_far(self) -> tuple[int, int | None]:
        """Rows that were read, of how many: None while nobody has counted them, as the usual lines' way does not."""
        return (self.counts.read, self.rows) if "_scanned" in vars(self) else (self._seen, None)

    def seen(self, blocks: Iterator[list[RawLine]]) -> Iterator[list[RawLine]]:
        """The usual way's lines, counted."""
        for block in blocks:
            yield block
            self._seen += len(block)

    @property
    def empty(self) -> bool:
        """Nothing was sold: done, and no error."""
        return self.rows == 0

    @property
    def withheld(self) -> bool:
        """Whether it has lines, and columns for the buyers, and names none of them. True only after the last block."""
        return self.counts.lines > 0 and self.names_buyers is False

    @property
    def _of_buyers(self) -> list[int]:
        """Where in `buyer_fields` stands who bought and where it goes."""
        groups = self.family.buyer_groups
        told = {*groups.get("contact", ()), *groups.get("ship_address", ())}
        return [at for at, name in enumerate(self.buyer_fields) if name in told]

    def blocks(self) -> Iterator[Block]:
        """The rows from the begin, block by block; `counts` is whole after the last one.

        Raises NotAReport after it if no row became a line: then it is the report that is wrong, not its rows.
        """
        self.counts = Counts()
        block, characters = Block([], []), 0
        first: Rejected | None = None
        of_buyers = self._of_buyers
        self.names_buyers = False if of_buyers else None
        for row in self._scanned.read():
            if isinstance(row, Rejected):
                block.rejected.append(row)
                first = first or row
            else:
                block.lines.append(row)
                if self.names_buyers is False:
                    self.names_buyers = any(row.buyer[at] for at in of_buyers)
                self.counts.joined += row.joined
                characters += sum(len(value) for value in (*row.values, *row.buyer) if value)
            if len(block.lines) + len(block.rejected) >= BLOCK_ROWS or characters >= BLOCK_CHARACTERS:
                yield self._counted(block)
                block, characters = Block([], []), 0
        if block.lines or block.rejected:
            yield self._counted(block)
        if self.counts.read != self.rows:
            raise AssertionError(f"{self.rows} rows in the file, {self.counts.read} accounted for")
        if first and not self.counts.lines + self.besides:
            raise NotAReport(f"{self.rows:,} of {self.rows:,} rows are rejected; {first}")

    def _counted(self, block: Block) -> Block:
        self.counts.lines += len(block.lines)
        self.counts.rejected += len(block.rejected)
        return block
