"""Usual lines of a flat file: one expression proves that each cell is as Amazon writes it, and that Postgres reads it
as cells.py does. Such a line is passed on as it stands, in UTF-8, without a look at each cell.

Whatever does not match may be right all the same (a padded cell, an amount with a comma, a date alone): table.py reads
it. So the expression takes what is surely alike in both, and never says why a line is refused.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from itertools import accumulate, chain, pairwise
from typing import TYPE_CHECKING, NamedTuple

from orderdrain.families import LINE_KEY
from orderdrain.parsers.cells import read_cell
from orderdrain.parsers.rows import CONTINUED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from orderdrain.families import CellType, Column, Family
    from orderdrain.marketplaces import Style
    from orderdrain.parsers.rows import ParsedReport

#: A line of a file: its number from 1, its bytes in UTF-8 without the line end.
RawLine = tuple[int, bytes]

# A text: no control character, no padding, and it begins with nothing that in UTF-8 may be white space of Unicode's;
# but for the wide blank (E3 80 80), since most Japanese letters begin like that.
_FIRST, _REST, _LAST = rb"[^\x00-\x20\xc2\xe1\xe2]", rb"[^\x00-\x1f]", rb"(?<! )"
_WIDE_BLANK = b"\xe3\x80\x80"
# The days that each year has; 29 February is left to whoever knows which years have it.
_DAY = rb"(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
_TIME = rb"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6}|)"
_USUAL: dict[CellType, bytes] = {
    # What a spreadsheet made of an id has an exponent.
    "id": rb"(?![0-9]+[eE]-?[0-9]+(?:\t|\Z))[A-Za-z0-9][A-Za-z0-9_-]{0,63}",
    "code": _FIRST + _REST + rb"{0,199}" + _LAST,
    "text": _FIRST + _REST + rb"*" + _LAST,
    "integer": rb"-?[0-9]{1,9}",
    # Not three decimals: under a decimal comma 1.210 is more than a thousand.
    "money": rb"-?[0-9]{1,18}(?:\.[0-9]{1,2}|)",
    "currency": rb"[A-Z]{3}",
    "timestamp": rb"(?:19|20)[0-9]{2}-" + _DAY + rb"[T ]" + _TIME + rb"(?:Z|[+-](?:0[0-9]|1[0-3]):?[0-5][0-9])",
    "boolean": rb"(?:true|True|TRUE|false|False|FALSE|yes|Yes|YES|no|No|NO)",
}
_KEY = re.compile(rb"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\t[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class UsualLine(NamedTuple):
    """What a usual line says, each part ready for COPY (blank: nothing between two tabs).

    `own` are the cells of UsualLines.fields, `buyer` those of its buyer_fields; `extra` and `buyer_extra` are JSON, or
    blank; `key` is what UsualLines.key_of gives; `changed` is the cell with the line's own time of update.
    """

    key: bytes
    own: bytes
    changed: bytes
    tells_in_line: bool
    extra: bytes
    buyer: tuple[bytes, ...]
    buyer_extra: bytes


@dataclass(frozen=True)
class UsualLines:
    """A flat file, as far as its lines are usual."""

    family: Family
    columns: Sequence[Column]
    style: Style
    #: The lines after the header that are not blank, in blocks. Raises NotAReport where the file is cut.
    blocks: Callable[[], Iterator[list[RawLine]]]
    #: What table.py makes of these lines, which are not usual; with how many others are beside them.
    rest: Callable[[Sequence[RawLine], int], ParsedReport]
    #: Whether a line continues another one. It is then no usual line, and the other one is read with it.
    continues: Callable[[bytes], bool]

    @property
    def reading(self) -> bytes:
        """What beside the text of a line decides what it says."""
        return f"{self.family.name}\n{[column.name for column in self.columns]}\n{self.style}".encode()

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """SQL columns of the family's table, in the order of the cells."""
        return tuple(c.field for c in self.columns if c.field and not c.of_buyer)

    @cached_property
    def buyer_fields(self) -> tuple[str, ...]:
        """SQL columns of `buyers`, in the order of the cells."""
        return tuple(c.field for c in self.columns if c.field and c.of_buyer)

    @cached_property
    def tells_buyers(self) -> bool:
        """Whether any column goes to `buyers`."""
        return any(column.of_buyer for column in self.columns)

    @cached_property
    def extra_names(self) -> tuple[str, ...]:
        """As in Scanned."""
        return (*self._layout.extra_names, CONTINUED)

    @cached_property
    def _who_and_where(self) -> list[int]:
        groups = ("contact", "ship_address")
        return [at for at, c in enumerate(self.columns) if c.field and c.of_buyer and c.personal in groups]

    @property
    def may_name_buyers(self) -> bool:
        """Whether there are columns for who bought and where it goes."""
        return bool(self._who_and_where)

    def names_buyer(self, line: bytes) -> bool:
        """Whether the line says any of it."""
        cells = line.split(b"\t")
        return any(cells[at].strip() for at in self._who_and_where if at < len(cells))

    def instant(self, changed: bytes) -> datetime:
        """The time that a usual line's `changed` names, in UTC."""
        return datetime.fromisoformat(str(read_cell(changed.decode(), "timestamp", self.style)))

    def key_of(self, line: bytes) -> bytes | None:
        """The order's id, a tab, and what tells the line from others; None where these are no ids."""
        try:
            key = b"\t".join([cell(line) for cell in self._key_cells])
        except IndexError:
            return None
        return key if _KEY.fullmatch(key) else None

    def read(self, line: bytes) -> UsualLine | None:
        """What the line says; None where it is not usual."""
        layout = self._layout
        found = layout.matches(line)
        if found is None or (_WIDE_BLANK in line and b"\t" + _WIDE_BLANK in b"\t" + line):
            return None
        cells = found.group(*layout.groups)
        own, buyer = b"\t".join(cells[layout.own]), cells[layout.buyer]
        if b"\\" in line:
            own = own.replace(b"\\", b"\\\\")
            buyer = tuple([cell.replace(b"\\", b"\\\\") for cell in buyer])
        extra, buyer_extra = cells[layout.extra], cells[layout.buyer_extra]
        return UsualLine(
            b"\t".join(cells[layout.key]),
            own,
            b"" if layout.changed is None else cells[layout.changed],
            any(cells[layout.in_line]),
            _json(layout.extra_names, extra) if any(extra) else b"",
            buyer,
            _json(layout.buyer_extra_names, buyer_extra) if any(buyer_extra) else b"",
        )

    @cached_property
    def _layout(self) -> _Layout:
        return _layout_of(tuple(self.columns), self.family.changed_by, ("order_id", key_field(self.family)))

    @cached_property
    def _key_cells(self) -> list[Callable[[bytes], bytes]]:
        at = {column.field: at for at, column in enumerate(self.columns)}
        return [_finder(at[name], len(self.columns)) for name in ("order_id", key_field(self.family))]


def key_field(family: Family) -> str:
    """The SQL column of a report that tells a line from the others of its order."""
    return family.line_key[0] if family.key[-1] == LINE_KEY else family.key[-1]


def may_be_usual(family: Family, columns: Sequence[Column]) -> bool:
    """Whether the lines of this layout can be read one by one, since each has an id of its own."""
    return family.keeps_digests and {"order_id", key_field(family)} <= {column.field for column in columns}


class _Layout(NamedTuple):
    """The expression of a line, its groups, and which of them hold what."""

    matches: Callable[[bytes], re.Match[bytes] | None]
    groups: tuple[int, ...]
    key: slice
    own: slice
    changed: int | None
    in_line: slice
    extra: slice
    buyer: slice
    buyer_extra: slice
    extra_names: tuple[str, ...]
    buyer_extra_names: tuple[str, ...]


@lru_cache(maxsize=64)
def _layout_of(columns: tuple[Column, ...], changed_by: str | None, key: tuple[str, str]) -> _Layout:
    """Cells of the family's table that stand side by side are one group, since they go on side by side."""
    # The key stands first, in its own order.
    kinds: dict[str, list[int]] = {
        kind: [] for kind in ("key", "own", "changed", "in_line", "extra", "buyer", "buyer_extra")
    }
    pattern, groups, within_run, of_key = b"", 0, False, {}
    for at, column in enumerate(columns):
        own = bool(column.field) and not column.of_buyer
        pattern += (b")" if within_run and not own else b"") + (b"\t" if at else b"")
        cell = b"(?:" + _USUAL[column.type] + (b")" if column.required or column.field in key else b"|)")
        opens = []
        if own:
            opens += ["own"] * (not within_run) + ["key"] * (column.field in key)
            opens += ["changed"] * (column.field == changed_by) + ["in_line"] * column.in_line
        else:
            opens += [("buyer" if column.field else "buyer_extra") if column.of_buyer else "extra"]
        for kind in opens:
            groups += 1
            if kind == "key":
                of_key[column.field] = groups
            else:
                kinds[kind].append(groups)
        inner = len(opens) - (opens[:1] == ["own"])
        pattern += b"(" * len(opens) + cell + b")" * inner
        within_run = own
    kinds["key"] = [of_key[name] for name in key]
    ends = [0, *accumulate(len(held) for held in kinds.values())]
    key_cells, runs, changed, in_line, extra, buyer, buyer_extra = (
        slice(1 + begin, 1 + end) for begin, end in pairwise(ends)
    )
    return _Layout(
        re.compile(pattern + (b")" if within_run else b"")).fullmatch,
        # With all of the line before them: of a single group Python would give no tuple.
        (0, *chain.from_iterable(kinds.values())),
        key_cells,
        runs,
        changed.start if kinds["changed"] else None,
        in_line,
        extra,
        buyer,
        buyer_extra,
        tuple(c.name.lower() for c in columns if not c.field and not c.of_buyer),
        tuple(c.name.lower() for c in columns if not c.field and c.of_buyer),
    )


def _finder(at: int, width: int) -> Callable[[bytes], bytes]:
    """Finds a cell from the end of the line that is nearer."""
    behind = width - 1 - at
    if at <= behind:
        return lambda line: line.split(b"\t", at + 1)[at]
    return lambda line: line.rsplit(b"\t", behind + 1)[-1 - behind]


@lru_cache(maxsize=4096)
def _json(names: tuple[str, ...], cells: tuple[bytes, ...]) -> bytes:
    """The cells that are not blank, as JSON within a line of COPY."""
    known = {name: cell.decode() for name, cell in zip(names, cells, strict=True) if cell}
    return json.dumps(known, ensure_ascii=False).encode().replace(b"\\", b"\\\\") if known else b""
