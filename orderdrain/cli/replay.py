"""`orderdrain replay`: archived reports, parsed again with today's code."""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from orderdrain.cli.shared import account_option, api_option, day, json_option, one_report, services, showing, utc
from orderdrain.errors import OrderdrainError, UsageError
from orderdrain.output import exit_code, say, show_json
from orderdrain.policy import PROGRESS_SECONDS

if TYPE_CHECKING:
    from datetime import datetime

    from orderdrain.orders import Difference
    from orderdrain.replaying import Replayed, Settled
    from orderdrain.reports import ReportKey


@click.command()
@click.argument("report_id", required=False)
@account_option
@api_option
@click.option("--type", "report_type", metavar="T", help="Every report of this type.")
@click.option("--since", metavar="D", type=day, help="Every report that Amazon finished since this day, UTC.")
@click.option("--dry-run", is_flag=True, help="Change nothing; print the difference that it would make.")
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(0), help="Changes printed, a report and in all."
)
@click.option("--yes", is_flag=True, help="Do not ask, whatever the number.")
@json_option
def replay(
    report_id: str | None,
    account: str | None,
    api: str | None,
    report_type: str | None,
    since: datetime | None,
    dry_run: bool,
    limit: int,
    yes: bool,
    as_json: bool,
) -> None:
    """Parse archived reports again with today's code: one, or all of an account, a type, or since a day.

    What a report tells now takes the place of what it told before; what a newer report told stays. A quarantined report
    that can be read goes on to be acknowledged. The difference names columns and values, of buyers only how many.

    Printed is what each report does to what the ones before it left, and, of several, for each account and family what
    all of them do: the table before beside the table after, with what is taken away at the end since no report tells
    it. A dry run does all of that in one transaction a family, and rolls it back: it holds the account's lock until
    then, so the parsing of the account's reports waits. A real run commits each report, and lets others in between:
    what they write is in the whole too.

    \b
    examples:
      orderdrain replay 50123456789 --dry-run
      orderdrain replay --type _GET_FLAT_FILE_ORDERS_DATA_ --since 2026-11-01 --dry-run
      orderdrain replay --account acme --yes
    """
    from orderdrain import replaying
    from orderdrain.schedules import drained

    s = showing(services())
    if report_type:
        drained(report_type)  # Raises UsageError.
    if report_id:
        if report_type or since:
            raise UsageError("either the id of a report, or --type and --since")
        key = one_report(s, report_id, account, api)
        (row,) = s.ledger.find(report_id, key.account, key.api)
        chosen = [[(key, row.report_type)]]
    elif account or api or report_type or since:
        if account:
            s.accounts.connections(account)  # Raises NotFound.
        names = [account] if account else s.accounts.names()
        chosen = [s.replays.chosen(name, api=api, report_type=report_type, since=utc(since)) for name in names]
    else:
        raise UsageError("which reports? The id of one, or --account, --api, --type, --since")
    total = sum(map(len, chosen))
    if total > 1 and not (yes or dry_run):
        if not sys.stdin.isatty():
            raise UsageError(f"{total:,} reports: say --yes where nobody can be asked, or --dry-run first")
        click.confirm(f"Replay {total:,} reports?", abort=True, err=True)
    shown = _Shown(total, as_json=as_json)
    for of_account in chosen:
        for key, outcome in replaying.replay_all(s, of_account, dry_run=dry_run, limit=limit, settled=shown.settled):
            shown.add(key, outcome)
    sys.exit(shown.end(dry_run=dry_run))


class _Shown:
    """What was said of each report, and the sum of it."""

    def __init__(self, total: int, *, as_json: bool) -> None:
        self._total, self._as_json = total, as_json
        self._rows: list[dict[str, Any]] = []
        self._settled: list[Settled] = []
        self._last: Difference | None = None
        self._columns = Counter[str]()
        self._done = self._failed = self._worst = 0
        self._begun = self._told_at = time.monotonic()

    def add(self, key: ReportKey, outcome: Replayed | OrderdrainError) -> None:
        self._done += 1
        if isinstance(outcome, OrderdrainError):
            self._failed += 1
            self._worst = max(self._worst, exit_code(outcome))
            self._rows += [{**vars(key), "error": {"code": type(outcome).__name__, "message": str(outcome)}}]
            if not self._as_json:
                say(str(outcome))
        else:
            self._last = outcome.difference
            if self._as_json:
                self._rows.append(_as_row(outcome))
            else:
                _print(outcome)
        if time.monotonic() - self._told_at > PROGRESS_SECONDS:
            self._told_at = time.monotonic()
            left = (self._told_at - self._begun) * (self._total - self._done) / self._done
            say(f"{self._done:,} of {self._total:,} reports, some {left:,.0f} s remain")

    def settled(self, end: Settled) -> None:
        self._settled.append(end)
        self._columns.update(end.difference.columns if end.difference else {})
        # Of one report its own difference is the whole, unless something was taken away after it.
        if not self._as_json and (end.reports > 1 or end.difference != self._last):
            click.echo(str(end))
            if end.difference:
                _print_changes(end.difference)
        if end.sentence:
            say(end.sentence)

    def end(self, *, dry_run: bool) -> int:
        """The last words; returns the exit code of the worst."""
        if self._as_json:
            show_json(
                {
                    "total": self._total,
                    "dry_run": dry_run,
                    "rows": self._rows,
                    "families": [_as_family(end) for end in self._settled],
                    "columns": dict(self._columns),
                    "settled": [end.sentence for end in self._settled if end.sentence],
                }
            )
            return self._worst
        if self._columns:
            say("columns: " + ", ".join(f"{n:,} {name}" for name, n in self._columns.most_common()))
        done = self._done - self._failed
        say(f"{done:,} {'would be replayed' if dry_run else 'replayed'}, {self._failed:,} not.")
        return self._worst


def _print(replayed: Replayed) -> None:
    click.echo(str(replayed))
    _print_changes(replayed.difference)


def _print_changes(difference: Difference) -> None:
    for change in difference.changes:
        told = [change["what"], change["line"]]
        if change["column"]:
            told += [change["column"], *("-" if change[when] is None else change[when] for when in ("old", "new"))]
        click.echo("\t".join(["", *told]))
    if difference.more:
        say("  the first of them; there are more: --limit")


def _as_row(replayed: Replayed) -> dict[str, Any]:
    return {
        **vars(replayed.key),
        "report_type": replayed.report_type,
        "state": replayed.state,
        "rows": {"read": replayed.counts.read, **vars(replayed.counts)},
        "rejected_before": replayed.rejected_before,
        "difference": vars(replayed.difference),
    }


def _as_family(end: Settled) -> dict[str, Any]:
    difference = vars(end.difference) if end.difference else None
    return {"account": end.account, "family": end.family, "reports": end.reports, "difference": difference}


COMMANDS = (replay,)
