"""The short way into the tables, of lines that are read by themselves (UsualLines): what is known already ends at a
look for its digest, what is new is copied to its table as it stands, and only what has changed goes the long way, with
all that is not usual.

It is right since the merge does not depend on an order: each line has a version of its own, and the newest wins. What
the short way does with a line is what the merge would do, at that moment.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple

from orderdrain.families import EXTRA
from orderdrain.orders.incoming import buyer_field, copy, escaped, lines_table, make_tables
from orderdrain.orders.known import judge_lines
from orderdrain.orders.told import LOOK_FOR_LAYOUT, ToldColumns, layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from orderdrain.db import Cursor
    from orderdrain.families import Family
    from orderdrain.parsers import UsualLine, UsualLines
    from orderdrain.parsers.usual import RawLine
    from orderdrain.reports import Report

#: Lines that are asked for at once, and bytes of them: memory stays flat.
BATCH_LINES, BATCH_BYTES = 16_000, 8_000_000
#: Bytes that wait for their own turn to be copied, while lines that are new are being copied.
WAITING_BYTES = 4_000_000
#: Bytes of lines that are not usual. In a file with more of them the usual is something else.
ODD_BYTES = 4_000_000
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


class _Batch(NamedTuple):
    """Lines that are asked for at once: each key once, since of a second line nobody knows yet what the first does."""

    lines: list[RawLine]
    asked: dict[str, str]
    #: By the numbers of the lines that are asked for.
    digests: dict[int, bytes]
    again: set[int]
    odd: list[RawLine]


def take_usual_lines(cursor: Cursor, report: Report, usual: UsualLines, digest: Callable[[bytes], bytes]) -> Taken:
    """Brings the report's usual lines to their tables, or to the temporary one. Raises NotUsual when it is too late to
    go back but by the savepoint of the caller."""
    way = _Way(cursor, report, usual, digest)
    if way.is_first:
        way.bring(way.all_as_new())
    else:
        for batch in _ahead(_batches(usual, digest)):
            way.bring(way.not_known(batch))
    way.odd.sort()
    return Taken(way.new, way.same, way.older, way.changed, way.odd, way.names_buyers)


class _Way:
    def __init__(self, cursor: Cursor, report: Report, usual: UsualLines, digest: Callable[[bytes], bytes]) -> None:
        self._cursor, self._usual, self._digest = cursor, usual, digest
        self._family = family = usual.family
        self.new = self.same = self.older = self.changed = 0
        self.odd: list[RawLine] = []
        self._odd_bytes, self._is_usual = 0, True
        self.names_buyers = False if usual.may_name_buyers else None
        self._of_report = {
            "account": report.key.account,
            "family": family.name,
            "as_of": report.available_at,
            "report_id": report.key.report_id,
        }
        # What waits for its own turn to be copied, and how much it is.
        self._buyers: list[bytes] = []
        self._changed: list[bytes] = []
        self._waiting = 0
        told = ToldColumns(family, usual.fields, usual.extra_names)
        cursor.execute(
            _BEGIN.format(table=family.table, or_buyers=_OR_BUYERS * usual.tells_buyers, look=LOOK_FOR_LAYOUT),
            {**self._of_report, "names": told.names, "less": told.less},
        )
        begin = cursor.fetchone()
        #: Whether nothing is known: then nobody need be asked.
        self.is_first: bool = begin.is_first
        layouts = [
            known or layout(cursor, family, names)
            for known, names in ((begin.layout, told.names), (begin.layout_less, told.less))
        ]
        self._rows = _Rows(report, usual, layouts)

    # ------------------------------------------------------------------------------------------------ what is known

    def all_as_new(self) -> Iterator[_News]:
        """All lines, of an account that has none of the family."""
        seen = bytearray(SEEN_BITS // 8)
        read, digest, identity = self._usual.read, self._digest, _identity_in(self._family)
        for block in self._usual.blocks():
            self._look_for_buyers(block)
            for number, line in block:
                said = read(line)
                if said is None:
                    self._is_odd(number, line)
                    continue
                bit = hash(identity(said.key)) % SEEN_BITS
                # A second line with a key goes the long way; so does one that only seems to be.
                is_new = not seen[bit >> 3] >> (bit & 7) & 1
                seen[bit >> 3] |= 1 << (bit & 7)
                yield number, digest(line), is_new, said

    def not_known(self, batch: _Batch) -> Iterator[_News]:
        """The lines of a batch that are not known just so."""
        self._look_for_buyers(batch.lines)
        for number, line in batch.odd:
            self._is_odd(number, line)
        self._cursor.execute(
            judge_lines(self._family, tells_buyers=self._usual.tells_buyers), {**self._of_report, **batch.asked}
        )
        became = {row.state: row for row in self._cursor.fetchall()}
        new, changed = (frozenset(became[s].numbers) if s in became else frozenset() for s in ("new", "changed"))
        older, moved = (became[s].lines if s in became else 0 for s in ("older", "moved"))
        # Somebody who wrote one of these rows meanwhile may have kept it from us.
        self._is_usual = self._is_usual and moved == became["done"].lines
        self.older += older
        self.same += len(batch.digests) - len(new) - len(changed) - older
        if new or changed or batch.again:
            for number, line in batch.lines:
                is_new = number in new
                if is_new or number in changed or number in batch.again:
                    said = self._usual.read(line)
                    if said is None:
                        self._is_odd(number, line)
                    else:
                        yield number, batch.digests.get(number) or self._digest(line), is_new, said

    def _look_for_buyers(self, lines: Iterable[RawLine]) -> None:
        if self.names_buyers is False:
            self.names_buyers = any(self._usual.names_buyer(line) for _, line in lines)

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
        rows = self._rows
        for number, digest, is_new, said in news:
            if is_new:
                self.new += 1
                yield rows.new(number, digest, said)
                if buyer := rows.buyer(number, said):
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


class _Rows:
    """Rows for COPY, as text in UTF-8: what is not known of a line stands before its own cells."""

    def __init__(self, report: Report, usual: UsualLines, layouts: list[int]) -> None:
        self._family = family = usual.family
        self._instant = usual.instant
        self._sets, self._has_time = bool(family.line_key), family.changed_by is not None
        self._layouts = [str(layout).encode() for layout in layouts]
        account, as_of = escaped(report.key.account), report.available_at.isoformat()
        self._as_of = as_of.encode()
        self._of_report = "\t".join((account, as_of, report.key.report_id, *(("t",) if self._sets else ()))).encode()
        self._of_buyer = f"{account}\t{family.name}".encode()
        self._version = f"{_sortable(report.available_at)}/{report.key.report_id:0>30}"
        sets, time, key = ("is_whole",) * self._sets, ("changed_at",) * self._has_time, ("line_key",) * self._sets
        self.columns = (
            "account",
            "as_of",
            "report_id",
            *sets,
            "line",
            "digest",
            "layout",
            *time,
            *key,
            EXTRA,
            *usual.fields,
        )
        self.changed_columns = (
            *(("scope",) if self._sets else ()),
            "line",
            "digest",
            *key,
            EXTRA,
            *usual.fields,
            *map(buyer_field, (*usual.buyer_fields, EXTRA)),
        )
        self.buyer_columns = ("account", "family", "order_id", "line_key", "versions", EXTRA, *usual.buyer_fields)
        self._groups = [
            (group, [at for at, name in enumerate(usual.buyer_fields) if name in fields])
            for group, fields in family.buyer_groups.items()
            if group != EXTRA
        ]

    def new(self, number: int, digest: bytes, said: UsualLine) -> bytes:
        """A row of the family's table."""
        key, own, changed, tells_in_line, extra, _, _ = said
        before = b"%b\t%d\t%b\t%b" % (self._of_report, number, digest, self._layouts[not tells_in_line])
        if self._has_time:
            before += b"\t" + (changed or self._as_of)
        if self._sets:
            before += b"\t" + key.partition(b"\t")[2]
        return b"%b\t%b\t%b\n" % (before, extra or b"{}", own)

    def changed(self, number: int, digest: bytes, said: UsualLine) -> bytes:
        """A row of the temporary table."""
        scope, own = ((b"0",), (said.key.partition(b"\t")[2],)) if self._sets else ((), ())
        return (
            b"\t".join((*scope, b"%d" % number, digest, *own, said.extra, said.own, *said.buyer, said.buyer_extra))
            + b"\n"
        )

    def buyer(self, number: int, said: UsualLine) -> bytes | None:
        """A row of `buyers`; None where the line tells nothing of one."""
        if not said.buyer_extra and not any(said.buyer):
            return None
        told = [group for group, places in self._groups if any(said.buyer[at] for at in places)]
        version = f"{self._version}/{number:010}"
        if self._has_time:
            changed = _sortable(self._instant(said.changed)) if said.changed else self._version.partition("/")[0]
            version = f"{changed}/{version}"
        version = f"1/{version}" if self._sets else version
        versions = ", ".join([f'"{group}": "{version}"' for group in (*told, *((EXTRA,) if said.buyer_extra else ()))])
        return (
            b"\t".join((self._of_buyer, said.key, b"{%b}" % versions.encode(), said.buyer_extra or b"{}", *said.buyer))
            + b"\n"
        )


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


def _batches(usual: UsualLines, digest: Callable[[bytes], bytes]) -> Iterator[_Batch]:
    lines: list[RawLine] = []
    size = 0
    for block in usual.blocks():
        lines += block
        size += sum([len(line) for _, line in block])
        if len(lines) >= BATCH_LINES or size >= BATCH_BYTES:
            yield _batch(usual, digest, lines)
            lines, size = [], 0
    if lines:
        yield _batch(usual, digest, lines)


def _ahead(batches: Iterator[_Batch]) -> Iterator[_Batch]:
    """The batches, of which a thread makes the next one while the server judges one; the first is made here, since most
    reports have no other."""
    batch = next(batches, None)
    if batch is None or len(batch.lines) < BATCH_LINES // 2:
        yield from () if batch is None else chain((batch,), batches)
        return
    with ThreadPoolExecutor(1) as thread:
        while batch is not None:
            following = thread.submit(next, batches, None)
            yield batch
            batch = following.result()


def _batch(usual: UsualLines, digest: Callable[[bytes], bytes], lines: list[RawLine]) -> _Batch:
    keys: dict[bytes, bytes] = {}
    odd, again, digests, identity = [], set(), {}, _identity_in(usual.family)
    for number, line in lines:
        key = usual.key_of(line)
        if key is None:
            odd.append((number, line))
        elif keys.setdefault(identity(key), key) is not key:
            again.add(number)
        else:
            digests[number] = digest(line)
    orders, own = zip(*[key.split(b"\t") for key in keys.values()], strict=True) if keys else ((), ())
    asked = {
        "numbers": f"{{{','.join(map(str, digests))}}}",
        "orders": _array(orders),
        "keys": _array(own),
        "digests": _array(digests.values()),
    }
    return _Batch(lines, asked, digests, again, odd)


def _identity_in(family: Family) -> Callable[[bytes], bytes]:
    """What of an order's id and a line's own makes two lines the same row: both, or the latter alone."""
    return (lambda key: key) if len(family.key) > 1 else (lambda key: key.partition(b"\t")[2])


def _array(items: Iterable[bytes]) -> str:
    """An array of what needs no quotes: ids and digests."""
    return f"{{{b','.join(items).decode()}}}"


def _sortable(at: datetime) -> str:
    """As version_key (migrations/0003) writes it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
