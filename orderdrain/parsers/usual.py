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
from functools import lru_cache, partial
from itertools import accumulate, chain, pairwise
from typing import TYPE_CHECKING, NamedTuple

from orderdrain.families import LINE_KEY
from orderdrain.parsers.cells import read_cell, unpadded
from orderdrain.parsers.rows import CONTINUED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from orderdrain.families import CellType, Column, Family
    from orderdrain.marketplaces import Style
    from orderdrain.parsers.rows import ParsedReport

#: A line of a file: its number from 1, its bytes in UTF-8 without the line end.
RawLine = tuple[int, bytes]

# A text: no control character, no padding, no word for a blank cell (--, N/A), and it begins with nothing that in UTF-8
# may be white space of Unicode's; but for the wide blank (E3 80 80), since most Japanese letters begin like that.
_FIRST = rb"(?![-Nn](?:-|/[Aa])(?:\t|\Z))[^\x00-\x20\xc2\xe1\xe2]"
_REST, _LAST = rb"[^\x00-\x1f]", rb"(?<! )"
_WIDE_BLANK = b"\xe3\x80\x80"
# The days that each year has; 29 February is left to whoever knows which years have it.
_DAY = rb"(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
_TIME = rb"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6}|)"
_USUAL: dict[CellType, bytes] = {
    # What a spreadsheet made of an id has an exponent. What has no way back (++, *+) takes less time.
    "id": rb"(?![0-9]++[eE])[A-Za-z0-9][A-Za-z0-9_-]{0,63}+",
    "code": _FIRST + _REST + rb"{0,199}+" + _LAST,
    "text": _FIRST + _REST + rb"*+" + _LAST,
    "integer": rb"-?[0-9]{1,9}",
    # Not three decimals: under a decimal comma 1.210 is more than a thousand.
    "money": rb"-?[0-9]{1,18}(?:\.[0-9]{1,2}|)",
    "currency": rb"[A-Z]{3}",
    "timestamp": rb"(?:19|20)[0-9]{2}-" + _DAY + rb"[T ]" + _TIME + rb"(?:Z|[+-](?:0[0-9]|1[0-3]):?[0-5][0-9])",
    "boolean": rb"(?:true|True|TRUE|false|False|FALSE|yes|Yes|YES|no|No|NO)",
}
_KEY = rb"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"


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


#: What NamedTuple's own constructor does, in half of its time: there is one a line.
_said = partial(tuple.__new__, UsualLine)


@dataclass(frozen=True)
class UsualLines:
    """A flat file, as far as its lines are usual."""

    layout: UsualLayout
    style: Style
    #: The lines after the header that are not blank, in blocks. Raises NotAReport where the file is cut.
    blocks: Callable[[], Iterator[list[RawLine]]]
    #: What table.py makes of these lines, which are not usual; with how many others are beside them.
    rest: Callable[[Sequence[RawLine], int], ParsedReport]
    #: Whether a line continues another one, or its last cell. It is then no usual line, and the other is read with it.
    continues: Callable[[bytes], bool]

    @property
    def reading(self) -> bytes:
        """What beside the text of a line decides what it says."""
        return self.layout.reading + repr(self.style).encode()

    def instant(self, changed: bytes) -> datetime:
        """The time that a usual line's `changed` names, in UTC."""
        return datetime.fromisoformat(str(read_cell(changed.decode(), "timestamp", self.style)))


class UsualLayout:
    """How the usual lines below one header are read: made once for all files that have it (`usual_layout`)."""

    def __init__(self, family: Family, columns: tuple[Column, ...]) -> None:
        self.family = family
        #: SQL columns of the family's table, in the order of the cells.
        self.fields = tuple(c.field for c in columns if c.field and not c.of_buyer)
        #: SQL columns of `buyers`, in the order of the cells.
        self.buyer_fields = tuple(c.field for c in columns if c.field and c.of_buyer)
        #: Whether any column goes to `buyers`.
        self.tells_buyers = any(column.of_buyer for column in columns)
        self._extra = tuple(c.name.lower() for c in columns if not c.field and not c.of_buyer)
        self._buyer_extra = tuple(c.name.lower() for c in columns if not c.field and c.of_buyer)
        self._no_extra, self._no_buyer_extra = ((b"",) * len(names) for names in (self._extra, self._buyer_extra))
        #: As in Scanned.
        self.extra_names = (*self._extra, CONTINUED)
        groups = ("contact", "ship_address")
        self._who_and_where = [at for at, c in enumerate(columns) if c.field and c.of_buyer and c.personal in groups]
        self.reading = f"{family.name}\n{[column.name for column in columns]}\n".encode()

        key = ("order_id", key_field(family))
        self._key_in_line = _key_finder([[c.field for c in columns].index(name) for name in key])
        self._matches, kinds = _expression(columns, family.changed_by, key)
        self._groups = tuple(chain.from_iterable(kinds.values()))
        ends = accumulate((len(held) for held in kinds.values()), initial=0)
        places = dict(zip(kinds, (slice(*ends) for ends in pairwise(ends)), strict=True))
        self._own, self._in_line, self._buyer = places["own"], places["in_line"], places["buyer"]
        self._extra_at, self._buyer_extra_at = places["extra"], places["buyer_extra"]
        self._changed = places["changed"].start if kinds["changed"] else None
        self._has_in_line = bool(kinds["in_line"])

    @property
    def may_name_buyers(self) -> bool:
        """Whether there are columns for who bought and where it goes."""
        return bool(self._who_and_where)

    def names_buyer(self, line: bytes) -> bool:
        """Whether the line says any of it."""
        cells = line.split(b"\t")
        told = (cells[at].strip() for at in self._who_and_where if at < len(cells))
        return any(cell and unpadded(cell.decode()) for cell in told)

    def key_of(self, line: bytes) -> bytes | None:
        """The order's id, a tab, and what tells the line from others; None where these are no ids."""
        found = self._key_in_line(line)
        return b"%b\t%b" % found.group("order", "own") if found else None

    def read(self, line: bytes) -> UsualLine | None:
        """What the line says; None where it is not usual."""
        found = self._matches(line)
        if found is None and b"\t--\t" in line:
            # Blank: each shipment of Japan has it for a town.
            found = self._matches(line.replace(b"\t--\t", b"\t\t"))
        if found is None or (b"\xe3" in line and b"\t" + _WIDE_BLANK in b"\t" + line):
            return None
        cells = found.group(*self._groups)
        own, buyer = b"\t".join(cells[self._own]), cells[self._buyer]
        if b"\\" in line:
            own = own.replace(b"\\", b"\\\\")
            buyer = tuple([cell.replace(b"\\", b"\\\\") for cell in buyer])
        return _said(
            (
                b"%b\t%b" % cells[:2],
                own,
                b"" if self._changed is None else cells[self._changed],
                self._has_in_line and any(cells[self._in_line]),
                b"" if (extra := cells[self._extra_at]) == self._no_extra else _json(self._extra, extra),
                buyer,
                b""
                if (extra := cells[self._buyer_extra_at]) == self._no_buyer_extra
                else _json(self._buyer_extra, extra),
            )
        )


#: The layout of a header that has been read before, most likely.
usual_layout = lru_cache(maxsize=64)(UsualLayout)


def key_field(family: Family) -> str:
    """The SQL column of a report that tells a line from the others of its order."""
    return family.line_key[0] if family.key[-1] == LINE_KEY else family.key[-1]


def may_be_usual(family: Family, columns: Sequence[Column]) -> bool:
    """Whether the lines of this layout can be read one by one, since each has an id of its own."""
    return family.keeps_digests and {"order_id", key_field(family)} <= {column.field for column in columns}


def _expression(
    columns: tuple[Column, ...], changed_by: str | None, key: tuple[str, str]
) -> tuple[Callable[[bytes], re.Match[bytes] | None], dict[str, list[int]]]:
    """What matches a usual line, and the numbers of its groups, by what they hold. Cells of the family's table that
    stand side by side are one group, since they go on side by side."""
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
    return re.compile(pattern + (b")" if within_run else b"")).fullmatch, kinds


def _key_finder(places: list[int]) -> Callable[[bytes], re.Match[bytes] | None]:
    """What finds the two cells of the key in a line, as groups `order` and `own`, without a look at the others."""
    pattern, begun = b"", 0
    for at, name in sorted(zip(places, (b"order", b"own"), strict=True)):
        pattern += b"(?:[^\t]*\t){%d}(?P<%b>%b)(?:\t|\\Z)" % (at - begun, name, _KEY)
        begun = at + 1
    return re.compile(pattern).match


@lru_cache(maxsize=4096)
def _json(names: tuple[str, ...], cells: tuple[bytes, ...]) -> bytes:
    """The cells that are not blank, as JSON within a line of COPY."""
    known = {name: cell.decode() for name, cell in zip(names, cells, strict=True) if cell}
    return json.dumps(known, ensure_ascii=False).encode().replace(b"\\", b"\\\\") if known else b""
