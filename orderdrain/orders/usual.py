"""The short way into the tables, of lines that are read by themselves (UsualLines): what is known already ends at a
look for its digest, what is new is copied to its table as it stands, and only what has changed goes the long way, with
all that is not usual.

It is right since the merge does not depend on an order: each line has a version of its own, and the newest wins. What
the short way does with a line is what the merge would do, at that moment.
"""

from __future__ import annotations

from contextlib import closing
from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple

from orderdrain.orders.batches import batches, identity_in
from orderdrain.orders.incoming import copy, lines_table, make_tables
from orderdrain.orders.known import judge_lines
from orderdrain.orders.ready_rows import ReadyRows
from orderdrain.orders.told import LOOK_FOR_LAYOUT, ToldColumns, layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from orderdrain.db import Cursor
    from orderdrain.orders.batches import Batch
    from orderdrain.parsers import UsualLine, UsualLines
    from orderdrain.parsers.usual import RawLine
    from orderdrain.reports import Report

#: Bytes that wait for their own turn to be copied, while lines that are new are being copied.
WAITING_BYTES = 4_000_000
#: Bytes of lines that are not usual. In a file with more of them the usual is something else.
ODD_BYTES = 4_000_000
#: From so many rows on an account's buyers of a family are many, and are looked for one by one.
FEW_BUYERS = 500
#: Bits that remember which keys stood in the file before: four megabytes, whatever its size.
SEEN_BITS = 1 << 25


#: A line that is not known: its number, its digest, whether it is new, and what it says.
_News = tuple[int, bytes, bool, "UsualLine"]


class NotUsual(Exception):
    """A report whose lines cannot be taken one by one."""


class Taken(NamedTuple):
    """What became of the lines that went the short way, and what is left for the long one."""

    new: int
    same: int
    older: int
    #: Lines that wait in the temporary table.
    changed: int
    odd: list[RawLine]
    names_buyers: bool | None


def take_usual_lines(cursor: Cursor, report: Report, usual: UsualLines, digest: Callable[[bytes], bytes]) -> Taken:
    """Brings the report's usual lines to their tables, or to the temporary one. Raises NotUsual when it is too late to
    go back but by the savepoint of the caller."""
    way = _Way(cursor, report, usual, digest)
    if way.is_first:
        way.bring(way.all_as_new())
    else:
        with closing(batches(usual, digest)) as asked:
            for batch in asked:
                way.bring(way.not_known(batch))
    way.odd.sort()
    return Taken(way.new, way.same, way.older, way.changed, way.odd, way.names_buyers)


class _Way:
    def __init__(self, cursor: Cursor, report: Report, usual: UsualLines, digest: Callable[[bytes], bytes]) -> None:
        self._cursor, self._usual, self._digest = cursor, usual, digest
        self._layout = usual.layout
        self._family = family = usual.layout.family
        self.new = self.same = self.older = self.changed = 0
        self.odd: list[RawLine] = []
        self._odd_bytes, self._is_usual = 0, True
        self.names_buyers = False if usual.layout.may_name_buyers else None
        self._of_report = {
            "account": report.key.account,
            "family": family.name,
            "as_of": report.available_at,
            "report_id": report.key.report_id,
        }
        self._buyers_there: set[bytes] | None = None
        # What waits for its own turn to be copied, and how much it is.
        self._buyers: list[bytes] = []
        self._changed: list[bytes] = []
        self._waiting = 0
        #: Whether nothing is known: then nobody need be asked.
        self.is_first, layouts = self._begun(report.key.account)
        self._rows = ReadyRows(report, usual, layouts)

    def _begun(self, account: str) -> tuple[bool, list[int]]:
        """Whether the account has nothing of the family yet, and the layouts of a line that tells its personal columns
        and of one that does not. Of an account that has, a session asks once: what is small takes as long to ask for as
        to be read."""
        seen, which = self._cursor.connection.seen, (account, self._layout.reading)
        if which in seen:
            return False, seen[which]
        told = ToldColumns(self._family, self._layout.fields, self._layout.extra_names)
        begin = _BEGIN.format(
            table=self._family.table, or_buyers=_OR_BUYERS * self._layout.tells_buyers, look=LOOK_FOR_LAYOUT
        )
        self._cursor.execute(begin, {**self._of_report, "names": told.names, "less": told.less})
        row = self._cursor.fetchone()
        if row.layout and row.layout_less and not row.is_first:
            seen[which] = [row.layout, row.layout_less]
        return row.is_first, [
            known or layout(self._cursor, self._family, names)
            for known, names in ((row.layout, told.names), (row.layout_less, told.less))
        ]

    # ------------------------------------------------------------------------------------------------ what is known

    def all_as_new(self) -> Iterator[_News]:
        """All lines, of an account that has none of the family."""
        seen = bytearray(SEEN_BITS // 8)
        read, digest, identity = self._layout.read, self._digest, identity_in(self._family)
        for block in self._usual.blocks():
            self._look_for_buyers(block)
            for number, line in block:
                said = read(line)
                if said is None:
                    self._is_odd(number, line)
                    continue
                at = hash(identity(said.key)) % SEEN_BITS
                place, bit = at >> 3, 1 << (at & 7)
                # A second line with a key goes the long way; so does one that only seems to be.
                is_new = not seen[place] & bit
                seen[place] |= bit
                yield number, digest(line), is_new, said

    def not_known(self, batch: Batch) -> Iterator[_News]:
        """The lines of a batch that are not known just so."""
        self._look_for_buyers(batch.lines)
        for number, line in batch.odd:
            self._is_odd(number, line)
        self._cursor.execute_prepared(
            judge_lines(self._family, tells_buyers=self._layout.tells_buyers),
            {**self._of_report, **batch.asked, "bought": self._bought(batch)},
        )
        became = {row.state: row for row in self._cursor.fetchall()}
        new, changed, left = (
            frozenset((became[s].numbers or ()) if s in became else ()) for s in ("new", "changed", "left")
        )
        new, changed = new - left, changed | left
        older, moved = (became[s].lines if s in became else 0 for s in ("older", "moved"))
        # Somebody who wrote one of these rows meanwhile may have kept it from us.
        self._is_usual = self._is_usual and moved == became["done"].lines
        self.older += older
        self.same += len(batch.digests) - len(new) - len(changed) - older
        wanted = new | changed | batch.again
        for number, line in [found for found in batch.lines if found[0] in wanted] if wanted else ():
            said = self._layout.read(line)
            if said is None:
                self._is_odd(number, line)
            else:
                yield number, batch.digests.get(number) or self._digest(line), number in new, said

    def _bought(self, batch: Batch) -> list[int] | None:
        """The numbers of the lines that have a row in `buyers`, where these are few: then nobody need look for each of
        them. None where it is not known."""
        if not self._layout.tells_buyers or len(batch.keys) < FEW_BUYERS:
            return None
        if self._buyers_there is None:
            self._cursor.execute(
                "SELECT order_id, line_key FROM buyers WHERE account = %(account)s AND family = %(family)s"
                " LIMIT %(few)s",
                {**self._of_report, "few": FEW_BUYERS},
            )
            self._buyers_there = {f"{row.order_id}\t{row.line_key}".encode() for row in self._cursor.fetchall()}
        if len(self._buyers_there) == FEW_BUYERS:
            return None
        there = self._buyers_there
        return [number for key, number in zip(batch.keys, batch.digests, strict=True) if key in there]

    def _look_for_buyers(self, lines: Iterable[RawLine]) -> None:
        if self.names_buyers is False:
            self.names_buyers = any(self._layout.names_buyer(line) for _, line in lines)

    def _is_odd(self, number: int, line: bytes) -> None:
        self.odd.append((number, line))
        self._odd_bytes += len(line)
        self._is_usual = self._is_usual and self._odd_bytes <= ODD_BYTES and not self._usual.continues(line)

    # ---------------------------------------------------------------------------------------------- what is brought

    def bring(self, news: Iterator[_News]) -> None:
        """Copies what is new to its table, and what has changed to the temporary one."""
        rows, cursor = self._rows, self._cursor
        while self._is_usual and (first := next(news, None)):
            _copy(cursor, self._family.table, rows.columns, self._new_rows(chain((first,), news)))
            if self._buyers:
                _copy(cursor, "buyers", rows.buyer_columns, iter(self._buyers))
            if self._changed:
                if not self.changed:
                    make_tables(cursor, self._family)
                _copy(cursor, lines_table(self._family), rows.changed_columns, iter(self._changed))
            self.changed += len(self._changed)
            self._buyers, self._changed, self._waiting = [], [], 0
        if not self._is_usual:
            raise NotUsual

    def _new_rows(self, news: Iterator[_News]) -> Iterator[bytes]:
        rows, tells_buyers = self._rows, self._layout.tells_buyers
        for number, digest, is_new, said in news:
            if is_new:
                self.new += 1
                yield rows.new(number, digest, said)
                if tells_buyers and (said.buyer_extra or any(said.buyer)):
                    buyer = rows.buyer(number, said)
                    self._buyers.append(buyer)
                    self._waiting += len(buyer)
            else:
                row = rows.changed(number, digest, said)
                self._changed.append(row)
                self._waiting += len(row)
            if self._waiting > WAITING_BYTES or not self._is_usual:
                return


_BEGIN = (
    "SELECT NOT EXISTS (SELECT FROM {table} WHERE account = %(account)s){or_buyers} AS is_first,"
    " ({look} layout_digest(%(names)s::text[])) AS layout, ({look} layout_digest(%(less)s::text[])) AS layout_less"
)
_OR_BUYERS = " AND NOT EXISTS (SELECT FROM buyers WHERE account = %(account)s AND family = %(family)s)"


def _copy(cursor: Cursor, table: str, columns: Iterable[str], rows: Iterator[bytes]) -> None:
    stream = _Stream(rows)
    copy(cursor, table, columns, stream)
    if stream.error:
        raise stream.error


class _Stream:
    """Rows as a file that COPY reads: while the server takes some, the next ones are made."""

    def __init__(self, rows: Iterator[bytes]) -> None:
        self._rows = rows
        #: What making them raised: passed through COPY, it would look like the server's.
        self.error: BaseException | None = None

    def read(self, _size: int) -> bytes:
        try:
            return b"".join(islice(self._rows, 250))
        except BaseException as error:  # noqa: BLE001 - raised again, after COPY
            self.error = error
            return b""
