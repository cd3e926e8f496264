"""Parsing archived reports again with today's code: one, or everything that is chosen, for show or for real.

A replay takes the place of what its report told before, under the rules of every merge (docs/adr/0020). `replay` is one
report in one transaction; `replay_all` goes through an account's reports, family after family, the newest first, goes
through them a second time where that is needed, and at the end takes away what no report tells any more.

For show it does the same, each family in one transaction that is rolled back: what one report does to the next, and
what is taken away at the end, nobody can tell who has not done it.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orderdrain.errors import NotFound, OrderdrainError
from orderdrain.families import REPORT_TYPES, family_of
from orderdrain.pipeline import opened, send_acknowledge
from orderdrain.steps import leased_replay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from orderdrain.db import Cursor
    from orderdrain.families import Family
    from orderdrain.orders import Difference
    from orderdrain.reports import ReportKey, RowCounts, State
    from orderdrain.services import Services

#: Changes that are told one by one, a report.
CHANGES_SHOWN = 20
#: From so many reports of one family on it is cheaper to look once which lines they told than each time anew.
LOOK_AHEAD_FROM = 3


@dataclass(frozen=True)
class Replayed:
    """What parsing a report again did, or would do. `rejected_before` of its rows were set aside until now."""

    key: ReportKey
    report_type: str
    dry_run: bool
    state: State
    counts: RowCounts
    difference: Difference
    rejected_before: int

    def __str__(self) -> str:
        was, now = self.rejected_before, self.counts.rejected
        rejected = f"; rejected {was:,} before, {now:,} now" if was or now else ""
        return (
            f"{self.key}: {'would replay' if self.dry_run else 'replayed'} {self.counts}; {self.difference}{rejected};"
            f" {'would be' if self.dry_run else 'is'} {self.state}"
        )


@dataclass(frozen=True)
class Settled:
    """How the replay of an account and family ended. `difference`: the tables before all of it beside those after all
    of it; None where the connection broke between. `sentence` says what was taken away, or why something stays, and is
    blank where there is nothing to say."""

    account: str
    family: str
    reports: int
    dry_run: bool
    difference: Difference | None
    sentence: str

    def __str__(self) -> str:
        whole = "not known, since the connection to Postgres broke" if self.difference is None else self.difference
        return (
            f"{self.account}, {self.family}: {'would replay' if self.dry_run else 'replayed'} {self.reports:,} reports;"
            f" in all {whole}"
        )


def replay(
    s: Services,
    key: ReportKey,
    *,
    dry_run: bool = False,
    limit: int = CHANGES_SHOWN,
    looked_ahead: bool = False,
    within: Cursor | None = None,
) -> Replayed:
    """Parses an ended report's archived bytes again, in one commit; with `dry_run` all of it is rolled back, or, of a
    dry run of several, done in `within`, their transaction.

    A report that was set aside because it could not be parsed goes on to be acknowledged; any other stays what it is,
    and Amazon is told nothing. Raises NotFound (also for bytes that are gone), UsageError, NothingToDo, and GiveUp
    where today's code cannot read it: then nothing is changed.
    """
    with leased_replay(s, key, dry_run=dry_run) as lease:
        report = lease.report
        if report.archive_key is None or not s.archive.exists(report.archive_key):
            raise NotFound(f"{key}: not replayed: its bytes are not in the archive; nothing was changed")
        account = s.accounts.connection(report.key.account, report.key.api).account
        with opened(s, report, account, lease.progress) as parsed, _part(s, parsed.family, within) as cursor:
            cursor.execute("SAVEPOINT untouched")
            counts = s.orders.merge(cursor, report, parsed, again=True, looked_ahead=looked_ahead)
            difference = s.orders.difference(cursor, key.account, parsed.family, limit=limit)
            cursor.execute("SAVEPOINT untold")
            state = s.replays.done(
                cursor,
                lease,
                outcome="rows" if counts.read else "empty",
                counts=counts,
                encoding=parsed.encoding,
                encoding_reason=parsed.encoding_reason,
            )
            if dry_run:
                # Whoever acknowledges the report does not wait for the end of the others.
                cursor.execute(f"ROLLBACK TO SAVEPOINT {'untold' if within else 'untouched'}")
        if dry_run:
            s.replays.end(lease)
    if not dry_run and state != report.state:
        send_acknowledge(s, key.account)
    return Replayed(key, report.report_type, dry_run, state, counts, difference, lease.rejected)


@contextmanager
def _part(s: Services, family: Family, within: Cursor | None) -> Iterator[Cursor]:
    """A transaction for one report; or a part of that of several, which an error undoes alone."""
    if within is None:
        with s.db.transaction() as cursor:
            s.orders.make_room(cursor, family)
            yield cursor
        return
    s.orders.make_room(within, family, emptied=True)
    within.execute("SAVEPOINT part")
    try:
        yield within
    except BaseException:
        within.execute("ROLLBACK TO SAVEPOINT part; RELEASE SAVEPOINT part")
        raise
    within.execute("RELEASE SAVEPOINT part")


def replay_all(
    s: Services,
    chosen: Sequence[tuple[ReportKey, str]],
    *,
    dry_run: bool = False,
    limit: int = CHANGES_SHOWN,
    settled: Callable[[Settled], None] = lambda end: None,  # noqa: ARG005 - its name says what it is
) -> Iterator[tuple[ReportKey, Replayed | OrderdrainError]]:
    """Replays one account's reports, given newest first; yields each with what became of it, family after family.

    `settled` hears how each family ended. For show, a family's transaction holds the account's lock until its end.
    """
    of_family: dict[Family | None, list[ReportKey]] = {}
    for key, report_type in chosen:
        of_family.setdefault(family_of(report_type), []).append(key)
    for family, keys in of_family.items():
        with s.db.for_show() if dry_run else nullcontext() as cursor:
            run = _Run(s, family, keys, dry_run=dry_run, limit=limit, cursor=cursor)
            yield from run.each()
            if run.family and run.done:
                settled(run.settle(run.family))


class _Run:
    """The reports of one account and family, one after the other; for show all in one transaction, `cursor`'s."""

    def __init__(
        self,
        s: Services,
        family: Family | None,
        keys: list[ReportKey],
        *,
        dry_run: bool,
        limit: int,
        cursor: Cursor | None,
    ) -> None:
        self.family = family
        #: The reports that were replayed.
        self.done: list[ReportKey] = []
        self._s, self._keys, self._account = s, keys, keys[0].account
        self._dry_run, self._limit, self._cursor = dry_run, limit, cursor
        self._types = [name for name, known in REPORT_TYPES.items() if known.family is family]
        self._begun = s.clock.now()
        self._looked_ahead = False
        #: What the only one of them did, where it is known beforehand that nothing can be taken away after it.
        self._only: Difference | None = None
        #: How many lines one of them tells no more.
        self._opened = 0

    def each(self) -> Iterator[tuple[ReportKey, Replayed | OrderdrainError]]:
        """Replays each, and yields what became of it."""
        self._prepare()
        for key in self._keys:
            try:
                replayed = self._replay(key, self._limit)
            except OrderdrainError as error:
                if self._cursor and self._cursor.connection.closed:
                    raise
                yield key, error
                continue
            self.done.append(key)
            self._opened += replayed.difference.open
            self._only = replayed.difference
            yield key, replayed

    def _prepare(self) -> None:
        """Keeps what the tables hold, unless one report's own difference is the whole, and looks once which lines the
        reports told, where they are many."""
        if self.family is None:
            return
        if len(self._keys) > 1 or not self._others(self._keys):
            with self._transaction() as cursor:
                self._s.orders.keep(cursor, self._account, self.family)
        if len(self._keys) >= LOOK_AHEAD_FROM:
            with self._transaction() as cursor:
                self._s.orders.look_ahead(cursor, self._account, self.family)
            self._looked_ahead = True

    def _replay(self, key: ReportKey, limit: int) -> Replayed:
        return replay(
            self._s, key, dry_run=self._dry_run, limit=limit, looked_ahead=self._looked_ahead, within=self._cursor
        )

    def settle(self, family: Family) -> Settled:
        """Takes away what no report tells any more, if every report of the family has been told again."""
        sentence = self._settle(family)
        with self._transaction() as cursor:
            whole = self._s.orders.whole_difference(cursor, self._account, family, limit=self._limit)
        if len(self._keys) == 1 and whole is None:
            whole = self._only
        return Settled(self._account, family.name, len(self.done), self._dry_run, whole, sentence)

    def _settle(self, family: Family) -> str:
        of, orders = f"{self._account}, {family.name}", self._s.orders
        if self._opened and family.changed_by:
            # What one of them tells no more may have hidden what another tells, which came before it: where lines have
            # a time of update of their own, the newest report is not the one with the newest lines.
            try:
                for key in self.done:
                    self._replay(key, 0)
            except OrderdrainError as error:
                return f"{of}: not gone through a second time, replay it once more: {error}"
        others = self._others(self.done)
        with self._transaction() as cursor:
            if not others:
                gone = orders.settle(cursor, self._account, family)
                away = "would be" if self._dry_run else "was"
                return f"{of}: {gone:,} rows held what no report tells: it {away} taken away" if gone else ""
            untold = max(self._opened, orders.untold(cursor, self._account, family))
        if not untold:
            return ""
        return (
            f"{of}: {untold:,} lines are told no more, or less, by the report that told them last; they stay, since"
            f" {others:,} reports that were not replayed may tell them. All of them:"
            f" orderdrain replay --account {self._account}"
        )

    def _others(self, done: Sequence[ReportKey]) -> int:
        return self._s.replays.others(self._account, self._types, done, self._begun)

    def _transaction(self) -> AbstractContextManager[Cursor]:
        return nullcontext(self._cursor) if self._cursor else self._s.db.transaction()
