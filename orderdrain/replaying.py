"""Parsing archived reports again with today's code: one, or everything that is chosen, for show or for real.

A replay takes the place of what its report told before, under the rules of every merge (docs/adr/0020). `replay` is one
report in one transaction; `replay_all` goes through an account's reports, the newest first, goes through them a second
time where that is needed, and at the end takes away what no report tells any more.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orderdrain.errors import NotFound, OrderdrainError
from orderdrain.families import REPORT_TYPES, family_of
from orderdrain.pipeline import opened, send_acknowledge
from orderdrain.steps import leased_replay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

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


def replay(
    s: Services, key: ReportKey, *, dry_run: bool = False, limit: int = CHANGES_SHOWN, looked_ahead: bool = False
) -> Replayed:
    """Parses an ended report's archived bytes again, in one commit; with `dry_run` all of it is rolled back.

    A report that was set aside because it could not be parsed goes on to be acknowledged; any other stays what it is,
    and Amazon is told nothing. Raises NotFound (also for bytes that are gone), UsageError, NothingToDo, and GiveUp
    where today's code cannot read it: then nothing is changed.
    """
    with leased_replay(s, key, dry_run=dry_run) as lease:
        report = lease.report
        if report.archive_key is None or not s.archive.exists(report.archive_key):
            raise NotFound(f"{key}: not replayed: its bytes are not in the archive; nothing was changed")
        account = s.accounts.connection(report.key.account, report.key.api).account
        with opened(s, report, account, lease.progress) as parsed, s.db.transaction() as cursor:
            s.orders.make_room(cursor, report.report_type)
            cursor.execute("SAVEPOINT untouched")
            counts = s.orders.merge(cursor, report, parsed, again=True, looked_ahead=looked_ahead)
            difference = s.orders.difference(cursor, key.account, parsed.family, limit=limit)
            state = s.replays.done(
                cursor,
                lease,
                outcome="rows" if counts.read else "empty",
                counts=counts,
                encoding=parsed.encoding,
                encoding_reason=parsed.encoding_reason,
            )
            if dry_run:
                cursor.execute("ROLLBACK TO SAVEPOINT untouched")
                s.replays.give_back(cursor, lease)
    if not dry_run and state != report.state:
        send_acknowledge(s, key.account)
    return Replayed(key, report.report_type, dry_run, state, counts, difference, lease.rejected)


def replay_all(
    s: Services,
    chosen: Sequence[tuple[ReportKey, str]],
    *,
    dry_run: bool = False,
    limit: int = CHANGES_SHOWN,
    settled: Callable[[str], None] = lambda sentence: None,  # noqa: ARG005 - its name says what it is
) -> Iterator[tuple[ReportKey, Replayed | OrderdrainError]]:
    """Replays one account's reports, given newest first; yields each with what became of it.

    `settled` hears a sentence for each family at its end, blank where there is nothing to say: what was taken away, or
    why something stays.
    """
    begun, done = s.clock.now(), dict[str, _Done]()
    looked_ahead = _look_ahead(s, chosen)
    for key, report_type in chosen:
        try:
            replayed = replay(s, key, dry_run=dry_run, limit=limit, looked_ahead=report_type in looked_ahead)
        except OrderdrainError as error:
            yield key, error
            continue
        if family := family_of(report_type):
            done.setdefault(family.name, _Done(family, report_type in looked_ahead)).add(replayed)
        yield key, replayed
    for of_family in done.values() if not dry_run else ():
        settled(_settle(s, of_family, begun))


def _look_ahead(s: Services, chosen: Sequence[tuple[ReportKey, str]]) -> set[str]:
    """Looks once for all reports of a family which lines they told, where they are many; returns their types."""
    types = Counter(report_type for _, report_type in chosen)
    families = {family.name: family for report_type in types if (family := family_of(report_type))}
    of_family = {name: {t for t in types if (f := family_of(t)) and f.name == name} for name in families}
    many = {name for name, its in of_family.items() if sum(types[t] for t in its) >= LOOK_AHEAD_FROM}
    for name in sorted(many):
        with s.db.transaction() as cursor:
            s.orders.look_ahead(cursor, chosen[0][0].account, families[name])
    return set().union(*(of_family[name] for name in many))


@dataclass
class _Done:
    """What was replayed of one account and family: which reports, and how many lines one of them tells no more."""

    family: Family
    looked_ahead: bool
    keys: list[ReportKey] = field(default_factory=list)
    opened: int = 0

    def add(self, replayed: Replayed) -> None:
        self.keys.append(replayed.key)
        self.opened += replayed.difference.open


def _settle(s: Services, done: _Done, begun: datetime) -> str:
    """Takes away what no report tells any more, if every report of the family has been told again; returns a sentence
    where there is anything to say."""
    account, family = done.keys[0].account, done.family
    if done.opened and family.changed_by:
        # What one of them tells no more may have hidden what another tells, which came before it: where lines have a
        # time of update of their own, the newest report is not the one with the newest lines.
        try:
            for key in done.keys:
                replay(s, key, limit=0, looked_ahead=done.looked_ahead)
        except OrderdrainError as error:
            return f"{account}, {family.name}: not gone through a second time, replay it once more: {error}"
    types = [name for name, known in REPORT_TYPES.items() if known.family is family]
    others = s.replays.others(account, types, done.keys, begun)
    with s.db.transaction() as cursor:
        if not others:
            gone = s.orders.settle(cursor, account, family)
            return (
                f"{account}, {family.name}: {gone:,} rows held what no report tells: it was taken away" if gone else ""
            )
        untold = max(done.opened, s.orders.untold(cursor, account, family))
    if not untold:
        return ""
    return (
        f"{account}, {family.name}: {untold:,} lines are told no more, or less, by the report that told them last;"
        f" they stay, since {others:,} reports that were not replayed may tell them. All of them:"
        f" orderdrain replay --account {account}"
    )
