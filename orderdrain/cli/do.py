"""Commands that do a step by hand, or what workers do by themselves."""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from orderdrain.asking import pair
from orderdrain.cli.shared import account_option, api_option, day, json_option, one_report, services, showing, utc
from orderdrain.errors import NotFound, OrderdrainError, UsageError
from orderdrain.output import exit_code, say, show_table
from orderdrain.policy import PROGRESS_SECONDS

if TYPE_CHECKING:
    from datetime import datetime


@click.command("list")
@click.argument("account", required=False)
@click.option(
    "--all", "full", is_flag=True, help="Without the Acknowledged filter: also what another program has acknowledged."
)
@click.option(
    "--since",
    metavar="D",
    type=day,
    help="With --all: back to this day.",
)
def list_(account: str | None, full: bool, since: datetime | None) -> None:
    """Ask Amazon which reports there are, now, of one account or of all."""
    from orderdrain import pipeline

    if since and not full:
        raise UsageError("--since goes with --all: only an unfiltered listing reaches back")
    s = services()
    _each(
        [account] if account else s.accounts.names(),
        lambda name: pipeline.list_reports(s, name, full=full, since=utc(since)),
    )


@click.command()
@click.argument("account")
@click.option("--type", "report_type", metavar="T", help="Amazon's report type.")
@click.option(
    "--from",
    "start",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%MZ", "%Y-%m-%dT%H:%M:%SZ"]),
    help="Begin of the window, UTC.",
)
@click.option(
    "--to", "end", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%MZ", "%Y-%m-%dT%H:%M:%SZ"]), help="Its end, UTC."
)
@click.option(
    "--option", "options", multiple=True, metavar="K=V", help="A report option, such as ShowSalesChannel=true."
)
@json_option
def request(
    account: str,
    report_type: str | None,
    start: datetime | None,
    end: datetime | None,
    options: tuple[str, ...],
    as_json: bool,
) -> None:
    """Ask Amazon for a report now; without --type, show what was asked for.

    \b
    examples:
      orderdrain request acme --type _GET_FLAT_FILE_ORDERS_DATA_ --from 2026-11-01 --to 2026-11-02
      orderdrain request acme
    """
    from orderdrain import requesting
    from orderdrain.families import api_of
    from orderdrain.schedules import check_request

    s = services()
    connections = s.accounts.connections(account)
    if report_type is None:
        columns = [
            "request_key",
            "report_type",
            "window_start",
            "window_end",
            "status",
            "amazon_request_id",
            "report_id",
            "stuck_at",
            "asked_again_as",
            "reason",
        ]
        show_table([row._asdict() for row in s.requests.table(account)], columns, as_json=as_json)
        return
    check_request(report_type, utc(start), utc(end), s.clock.now())
    pairs = dict(pair(option) for option in options)
    api = api_of(report_type)
    if api not in {connection.api for connection in connections}:
        raise UsageError(f"{report_type} is a report type of {api}, and account {account} has no connection to it")
    request_key = s.requests.enter(account, api, report_type, start=utc(start), end=utc(end), options=pairs)
    click.echo(requesting.request(s, account, request_key))
    say(f"Followed by itself to its end. See: orderdrain request {account}")


@click.command()
@click.argument("report_id")
@account_option
@api_option
def drain(report_id: str, account: str | None, api: str | None) -> None:
    """Run what is left of one report here and now, without Celery."""
    from orderdrain import pipeline

    s = showing(services())
    for sentence in pipeline.drain_report(s, one_report(s, report_id, account, api)):
        click.echo(sentence)


@click.command()
@click.argument("report_ids", nargs=-1, required=True)
@account_option
@api_option
@click.option("--yes", is_flag=True, help="Do not ask, whatever the number.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
def requeue(report_ids: tuple[str, ...], account: str | None, api: str | None, yes: bool, dry_run: bool) -> None:
    """Bring quarantined reports back to where they were; `-` reads ids from stdin."""
    ids = sys.stdin.read().split() if report_ids == ("-",) else list(report_ids)
    if len(ids) > 1 and not (yes or dry_run):
        if not sys.stdin.isatty():
            raise UsageError(f"{len(ids)} reports: say --yes where nobody can be asked")
        click.confirm(f"Requeue {len(ids)} reports?", abort=True, err=True)
    s, done, skipped = services(), 0, 0
    for report_id in ids:
        try:
            key = one_report(s, report_id, account, api)
            state = "where it was" if dry_run else s.ledger.requeue(key, note="requeued from the command line")
        except (NotFound, UsageError) as error:
            click.echo(f"skipped  {report_id}: {error}")
            skipped += 1
            if len(ids) == 1:
                sys.exit(exit_code(error))
            continue
        click.echo(f"{'would requeue' if dry_run else 'requeued'} {report_id} ({key.account}): quarantined > {state}")
        done += 1
    say(f"{done} requeued, {skipped} skipped.")


@click.group("schedule")
def schedule_() -> None:
    """Report schedules: what is declared beside what Amazon has."""


@schedule_.command("diff")
@click.argument("account", required=False)
def schedule_diff(account: str | None) -> None:
    """Show what differs; change nothing."""
    _schedules(account, apply=False)


@schedule_.command("apply")
@click.argument("account", required=False)
def schedule_apply(account: str | None) -> None:
    """Make Amazon's side agree, for accounts marked manage_schedules; what was not declared is never touched."""
    _schedules(account, apply=True)


@click.command()
@click.option("--once", is_flag=True, required=True, expose_value=False, help="One sweep; workers sweep by themselves.")
def sweep() -> None:
    """Take back what died. What is due is sent by the workers' own sweep."""
    from orderdrain import pipeline

    click.echo(pipeline.sweep(services()))


@click.command()
@click.option(
    "--older-than", "days", required=True, metavar="DAYS", type=click.IntRange(1), help="Finished so many days ago."
)
@click.option("--dry-run", is_flag=True, help="Only count what would be deleted.")
def prune(days: int, dry_run: bool) -> None:
    """Delete the history of reports that were finished long ago. The reports themselves stay.

    \b
    examples:
      orderdrain prune --older-than 90 --dry-run
      orderdrain prune --older-than 90
    """
    pruned, told_at = 0, time.monotonic()
    for lines in services().history.prune(timedelta(days=days), dry_run=dry_run):
        pruned += lines
        if time.monotonic() - told_at > PROGRESS_SECONDS:
            told_at = time.monotonic()
            say(f"{pruned:,} lines so far")
    click.echo(f"{'would prune' if dry_run else 'pruned'} {pruned:,} lines of history")


COMMANDS = (list_, request, drain, requeue, schedule_, sweep, prune)


def _schedules(account: str | None, *, apply: bool) -> None:
    from orderdrain import requesting

    s = services()
    _each([account] if account else s.accounts.names(), lambda name: requesting.schedule(s, name, apply=apply))


def _each(accounts: list[str], work: Any) -> None:
    """One account's trouble is not another's: each says its sentence, the worst decides the exit code."""
    worst = 0
    for name in accounts:
        try:
            click.echo(work(name))
        except OrderdrainError as error:
            say(str(error))
            worst = max(worst, exit_code(error))
    sys.exit(worst)
