"""`orderdrain`: look at what is drained, do a step by hand, run the system.

Exit codes: 0 done, 1 failed, 2 usage, 3 a dependency is unreachable, 4 not found, 5 needs a person.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orderdrain.errors import DependencyDown, NotFound, OrderdrainError, UsageError
from orderdrain.output import NEEDS_A_PERSON, UNREACHABLE, USAGE, Commands, exit_code, say, show_json, show_table
from orderdrain.settings import load

if TYPE_CHECKING:
    from orderdrain.reports import ReportKey
    from orderdrain.services import Services

#: How often a command that takes long says how far it is.
PROGRESS_SECONDS = 5
_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_json = click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_account = click.option("--account", metavar="A", help="Only this account.")


def _services() -> Services:
    from orderdrain.services import Services
    from orderdrain.telemetry import configure_logs

    settings = load()
    # A command says its own sentence: of the rest a person at a terminal wants only what is wrong.
    configure_logs(replace(settings, log_format="text", log_level="error"))
    return Services.from_settings(settings)


@click.group(cls=Commands, context_settings=_CONTEXT)
@click.version_option(package_name="orderdrain")
def main() -> None:
    """Drains Amazon order reports into Postgres. Never loses an order, never doubles one.

    \b
    examples:
      orderdrain status                          how far every account is
      orderdrain show 50123456789                one report's whole story
      orderdrain requeue 50123456789             try a quarantined report again
      orderdrain parse FILE --report-type _GET_FLAT_FILE_ORDERS_DATA_
    """


# ------------------------------------------------------------------------------------------------------------- look


@main.command()
@_json
def status(as_json: bool) -> None:
    """How many reports of each account wait at each step, up to when its orders are in, and what is paused."""
    s = _services()
    reasons = {row.account: row for row in s.accounts.table()}
    rows = [
        {
            **row._asdict(),
            "condition": "paused" if reasons[row.account].paused_at else "running",
            "why": _why(s, reasons[row.account]),
        }
        for row in s.ledger.summary()
        if row.account in reasons
    ]
    waiting = sum(row["listed"] + row["downloaded"] for row in rows)
    quarantined = sum(row["quarantined"] for row in rows)
    paused = sum(row["condition"] == "paused" for row in rows)
    if not as_json:
        (click.echo if sys.stdout.isatty() else say)(
            f"{len(rows)} accounts, {paused} paused. {waiting:,} reports waiting, {quarantined:,} quarantined."
            f"   as of {s.clock.now():%Y-%m-%d %H:%M:%SZ}"
        )
        if not rows:
            say("No account yet. Add one: orderdrain account add --help. Or look around first: make demo")
    columns = ["account", "condition", "listed", "downloaded", "parsed", "quarantined", "fresh_to", "why"]
    show_table(rows, columns, as_json=as_json)


@main.command()
@_account
@click.option("--state", type=click.Choice(["listed", "downloaded", "parsed", "acknowledged", "quarantined"]))
@click.option("--report-type", metavar="T")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 100_000))
@click.option("--ids", is_flag=True, help="Only the ids, for `orderdrain requeue -`.")
@_json
def reports(
    account: str | None, state: str | None, report_type: str | None, limit: int, ids: bool, as_json: bool
) -> None:
    """Reports, newest first."""
    rows = _services().ledger.reports(account=account, state=state, report_type=report_type, limit=limit)
    shown = [row._asdict() for row in rows[:limit]]
    if ids:
        click.echo("\n".join(row["report_id"] for row in shown))
    else:
        columns = [
            "report_id",
            "account",
            "report_type",
            "state",
            "available_at",
            "attempts",
            "next_attempt_at",
            "rows_read",
            "reason",
        ]
        show_table(shown, columns, as_json=as_json)
    if len(rows) > limit:
        say(f"The newest {limit:,}; there are more: --limit")


@main.command()
@click.argument("report_id")
@_account
@_json
def show(report_id: str, account: str | None, as_json: bool) -> None:
    """One report's whole story: where it is, why, what comes next, and everything that happened to it.

    \b
    examples:
      orderdrain show 50123456789
      orderdrain show 50123456789 --account acme --json
    """
    s = _services()
    key = _one(s, report_id, account)
    (row,) = [row for row in s.ledger.find(report_id, key.account) if row.api == key.api]
    history = [entry._asdict() for entry in s.ledger.history(key)]
    if as_json:
        show_json({"report": row._asdict(), "history": history})
        return
    click.echo(f"Report {row.report_id}   {row.account} · {row.report_type} · {row.state.upper()}")
    for name, text in _story(row):
        click.echo(f"{name:<9}{text}")
    click.echo("History" if history else "History: pruned")
    for entry in history:
        attempt = f"attempt {entry['attempt']}" if entry["attempt"] else ""
        evidence = f"Amazon request id {entry['request_id']}" if entry["request_id"] else ""
        told = "   ".join(part for part in (attempt, entry["worker"] or "", entry["detail"] or "", evidence) if part)
        click.echo(f"  {entry['at']:%Y-%m-%d %H:%M:%SZ}  {entry['step']:<12} {entry['event']:<14} {told}".rstrip())


@main.command()
@_account
@click.option("--report", "report_id", metavar="ID", help="Only of this report.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 100_000))
@_json
def rejected(account: str | None, report_id: str | None, limit: int, as_json: bool) -> None:
    """Rows that could not be stored: where and why, never what they held."""
    s = _services()
    rows = s.orders.rejected(s.db, account=account, report_id=report_id, limit=limit)
    columns = ["account", "report_id", "line", "column", "order_id", "order_item_id", "reason"]
    show_table([row._asdict() for row in rows[:limit]], columns, as_json=as_json)
    if len(rows) > limit:
        say(f"The newest {limit:,}; there are more: --limit")


@main.command()
@click.argument("file", type=_FILE)
@click.option("--report-type", required=True, metavar="T", help="Amazon's name of it.")
@click.option(
    "--marketplace",
    metavar="M",
    help="A MarketplaceId: says the charset and the decimal style where the file does not.",
)
@click.option("--content-type", metavar="C", help="As the download said it, charset included.")
@click.option("--with-buyers", is_flag=True, help="Show personal columns too.")
@_json
def parse(
    file: Path, report_type: str, marketplace: str | None, content_type: str | None, with_buyers: bool, as_json: bool
) -> None:
    """What a report file says, without any database."""
    from orderdrain.parsers import parse_file

    told = parse_file(
        file, report_type=report_type, marketplace=marketplace, content_type=content_type, with_buyers=with_buyers
    )
    if as_json:
        show_json(told)
    else:
        say(_verdict(told))
        columns = [
            "order_id",
            "order_item_id",
            "line_key",
            "sku",
            "quantity",
            "currency",
            "item_price",
            "purchase_date",
        ]
        # Not every family has them all: what waits to be shipped has no prices.
        show_table(told["rows"], [n for n in columns if any(n in row for row in told["rows"])], as_json=False)
        for row in told["rejected"]:
            say(f"line {row['line']} rejected: {row['column'] or 'the line'}: {row['reason']}")
    if told["outcome"] == "quarantined":
        sys.exit(NEEDS_A_PERSON)


# --------------------------------------------------------------------------------------------------------------- do


@main.command("list")
@click.argument("account", required=False)
@click.option(
    "--all", "full", is_flag=True, help="Without the Acknowledged filter: also what another program has acknowledged."
)
@click.option(
    "--since",
    metavar="D",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"]),
    help="With --all: back to this day.",
)
def list_(account: str | None, full: bool, since: datetime | None) -> None:
    """Ask Amazon which reports there are, now, of one account or of all."""
    from orderdrain import pipeline

    if since and not full:
        raise UsageError("--since goes with --all: only an unfiltered listing reaches back")
    s = _services()
    _each(
        [account] if account else s.accounts.names(),
        lambda name: pipeline.list_reports(s, name, full=full, since=_utc(since)),
    )


@main.command()
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
@_json
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
    from orderdrain import pipeline
    from orderdrain.families import api_of
    from orderdrain.schedules import check_request

    s = _services()
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
            "reason",
        ]
        show_table([row._asdict() for row in s.requests.table(account)], columns, as_json=as_json)
        return
    check_request(report_type, _utc(start), _utc(end), s.clock.now())
    pairs = dict(_pair(option) for option in options)
    api = api_of(report_type)
    if api not in {connection.api for connection in connections}:
        raise UsageError(f"{report_type} is a report type of {api}, and account {account} has no connection to it")
    request_key = s.requests.enter(account, api, report_type, start=_utc(start), end=_utc(end), options=pairs)
    click.echo(pipeline.request(s, account, request_key))
    say(f"Followed by itself to its end. See: orderdrain request {account}")


@main.command()
@click.argument("report_id")
@_account
def drain(report_id: str, account: str | None) -> None:
    """Run what is left of one report here and now, without Celery."""
    from orderdrain import pipeline

    s = _services()
    for sentence in pipeline.drain_report(s, _one(s, report_id, account)):
        click.echo(sentence)


@main.command()
@click.argument("report_ids", nargs=-1, required=True)
@_account
@click.option("--yes", is_flag=True, help="Do not ask, whatever the number.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
def requeue(report_ids: tuple[str, ...], account: str | None, yes: bool, dry_run: bool) -> None:
    """Bring quarantined reports back to where they were; `-` reads ids from stdin."""
    ids = sys.stdin.read().split() if report_ids == ("-",) else list(report_ids)
    if len(ids) > 1 and not (yes or dry_run):
        if not sys.stdin.isatty():
            raise UsageError(f"{len(ids)} reports: say --yes where nobody can be asked")
        click.confirm(f"Requeue {len(ids)} reports?", abort=True, err=True)
    s, done, skipped = _services(), 0, 0
    for report_id in ids:
        try:
            key = _one(s, report_id, account)
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


@main.group("schedule")
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


@main.command()
@click.option("--once", is_flag=True, required=True, expose_value=False, help="One sweep; workers sweep by themselves.")
def sweep() -> None:
    """Take back what died. What is due is sent by the workers' own sweep."""
    from orderdrain import pipeline

    click.echo(pipeline.sweep(_services()))


@main.command()
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
    for lines in _services().ledger.prune(timedelta(days=days), dry_run=dry_run):
        pruned += lines
        if time.monotonic() - told_at > PROGRESS_SECONDS:
            told_at = time.monotonic()
            say(f"{pruned:,} lines so far")
    click.echo(f"{'would prune' if dry_run else 'pruned'} {pruned:,} lines of history")


# -------------------------------------------------------------------------------------------------------------- run


@main.command()
@click.argument("name")
def key(name: str) -> None:
    """Make a key that seals credentials and report bytes, as a line for the file that ORDERDRAIN_KEYS names.

    \b
    examples:
      (umask 077; orderdrain key 2026-11 > /run/secrets/orderdrain-keys)
    """
    from orderdrain.vault import new_key

    click.echo(new_key(name))
    say("Keep a copy apart from the database and the archive: what is sealed opens with nothing else.")


@main.group()
def application() -> None:
    """Applications: the keys of a developer."""


@application.command("add")
@click.argument("name")
@click.option("--access-key", metavar="ID", help="MWS: the AWS access key id (not secret).")
@click.option("--secret-key-file", type=_FILE, help="Else ORDERDRAIN_SECRET_KEY, else a prompt.")
@click.option("--client-id", metavar="ID", help="SP-API: the client id at Login with Amazon (not secret).")
@click.option("--client-secret-file", type=_FILE, help="Else ORDERDRAIN_CLIENT_SECRET, else a prompt.")
def application_add(
    name: str,
    access_key: str | None,
    secret_key_file: Path | None,
    client_id: str | None,
    client_secret_file: Path | None,
) -> None:
    """Add a developer's keys, or replace them."""
    if access_key and not client_id:
        secret = _secret("ORDERDRAIN_SECRET_KEY", secret_key_file, "Secret key")
        _services().accounts.add_application(name, api="mws", key_id=access_key, secret=secret)
    elif client_id and not access_key:
        secret = _secret("ORDERDRAIN_CLIENT_SECRET", client_secret_file, "Client secret")
        _services().accounts.add_application(name, api="sp-api", key_id=client_id, secret=secret)
    else:
        raise UsageError("which keys? --access-key for MWS, or --client-id for SP-API")
    click.echo(f"application {name}: stored")


@application.command("list")
@_json
def application_list(as_json: bool) -> None:
    """Applications, never their secrets."""
    rows = [row._asdict() for row in _services().accounts.applications()]
    show_table(rows, ["application", "api", "key_id", "connections", "paused_at", "paused_reason"], as_json=as_json)


@main.group()
def account() -> None:
    """Accounts: a seller in a region."""


@account.command("add")
@click.argument("name", required=False)
@click.option(
    "--file",
    "path",
    type=_FILE,
    help="Many at once, from a TOML file.",
)
@click.option(
    "--api", default="mws", show_default=True, type=click.Choice(["mws", "sp-api"]), help="Which of Amazon's APIs."
)
@click.option("--application", "application_", metavar="APP")
@click.option("--seller-id", metavar="ID")
@click.option("--endpoint", metavar="URL")
@click.option("--marketplace", "marketplaces", multiple=True, metavar="M")
@click.option(
    "--type", "types", multiple=True, metavar="T=INTERVAL", help="Such as _GET_FLAT_FILE_ORDERS_DATA_=_15_MINUTES_"
)
@click.option(
    "--manage-schedules", is_flag=True, help="Let orderdrain change Amazon's schedules of the declared types."
)
@click.option(
    "--list-every",
    "minutes",
    default=15,
    show_default=True,
    type=click.IntRange(1),
    help="Minutes between two listings.",
)
@click.option(
    "--auth-token-file",
    type=_FILE,
    help="MWS: the MWSAuthToken, where the seller authorised a developer; else ORDERDRAIN_AUTH_TOKEN.",
)
@click.option(
    "--refresh-token-file",
    type=_FILE,
    help="SP-API: the refresh token; else ORDERDRAIN_REFRESH_TOKEN, else a prompt.",
)
@click.option("--login-url", metavar="URL", help="SP-API: where an emulator gives access tokens.")
def account_add(
    name: str | None,
    path: Path | None,
    auth_token_file: Path | None,
    refresh_token_file: Path | None,
    **told: Any,
) -> None:
    """Add an account, or change it; what is known of its reports stays."""
    from orderdrain.declarations import declare, declare_file

    s = _services()
    if path is not None:
        for added in declare_file(s, path):
            click.echo(f"{added}: stored")
        return
    if name is None:
        raise UsageError("which account? orderdrain account add NAME ..., or --file accounts.toml")
    keys = {
        "api": told["api"],
        "application": told["application_"],
        "seller_id": told["seller_id"],
        "endpoint": told["endpoint"],
        "marketplaces": list(told["marketplaces"]),
        "report_types": dict(_pair(text) for text in told["types"]),
        "manage_schedules": told["manage_schedules"],
        "list_every_minutes": told["minutes"],
    }
    if told["login_url"]:
        keys["login_url"] = told["login_url"]
    if told["api"] == "mws":
        token = _secret("ORDERDRAIN_AUTH_TOKEN", auth_token_file, None)
    else:
        token = _secret("ORDERDRAIN_REFRESH_TOKEN", refresh_token_file, "Refresh token")
    declare(s, name, keys, token=token or None)
    click.echo(f"account {name}: stored; its first listing is due now")


@account.command("list")
@_json
def account_list(as_json: bool) -> None:
    """Accounts with their connections, next listing and why they are paused."""
    rows = [row._asdict() for row in _services().accounts.table()]
    columns = [
        "account",
        "api",
        "application",
        "seller_id",
        "marketplaces",
        "report_types",
        "next_list_at",
        "paused_reason",
    ]
    show_table(rows, columns, as_json=as_json)


@account.command("pause")
@click.argument("name")
@click.option("--reason", required=True, metavar="TEXT")
def account_pause(name: str, reason: str) -> None:
    """Begin nothing more for an account until it is resumed."""
    _services().accounts.pause(name, reason)
    click.echo(f"account {name}: paused: {reason}")


@account.command("resume")
@click.argument("name")
def account_resume(name: str) -> None:
    """Go on with a paused account (and its application)."""
    _services().accounts.resume(name)
    click.echo(f"account {name}: resumed; listed next")


@main.command()
@click.option("--check", "only_check", is_flag=True, help="Change nothing; exit 1 if something is missing.")
def migrate(only_check: bool) -> None:
    """Bring the database to this version."""
    from orderdrain.db import migrate as apply
    from orderdrain.db import pending_migrations

    url = load().database_url
    names = pending_migrations(url) if only_check else apply(url)
    for name in names:
        click.echo(f"{'missing' if only_check else 'applied'} {name}")
    if not names:
        click.echo("up to date")
    if only_check and names:
        sys.exit(1)


@main.command()
def check() -> None:
    """One line for each thing that orderdrain needs: ok, or what to do."""
    from orderdrain.checks import checks

    worst = 0
    for name, error in checks(load()):
        click.echo(f"{name}: {'ok' if error is None else error}")
        worst = max(worst, 0 if error is None else UNREACHABLE if isinstance(error, DependencyDown) else USAGE)
    sys.exit(worst)


@main.command()
@_json
def config(as_json: bool) -> None:
    """Every setting: its value (secrets masked), where it came from, what it means."""
    rows = [vars(row) for row in load().table()]
    show_table(rows, ["variable", "shown", "origin", "meaning"], as_json=as_json)


# ---------------------------------------------------------------------------------------------------------- helpers


def _one(s: Services, report_id: str, account: str | None) -> ReportKey:
    """The report that an id means. Ids are unique only within an account."""
    from orderdrain.reports import ReportKey

    rows = s.ledger.find(report_id, account)
    if not rows:
        raise NotFound(f"there is no report {report_id}{f' of {account}' if account else ''}. See: orderdrain reports")
    if len(rows) > 1:
        named = ", ".join(f"{row.account} ({row.api}, {row.state})" for row in rows)
        raise UsageError(f"report {report_id} is in several accounts: {named}. Say which: --account")
    return ReportKey(rows[0].account, rows[0].api, rows[0].report_id)


def _story(row: Any) -> list[tuple[str, str]]:
    """The lines above a report's history."""
    waits = row.state in {"listed", "downloaded", "parsed"}
    upcoming = {"listed": "download", "downloaded": "parse", "parsed": "acknowledge"}.get(row.state, "")
    nothing = (
        "nothing: it is finished"
        if row.state == "acknowledged"
        else "nothing by itself; a person decides: orderdrain requeue"
    )
    told = [
        ("Reason", row.reason),
        ("Next", f"{upcoming}, due {row.next_attempt_at:%Y-%m-%d %H:%M:%SZ}" if waits else nothing),
        ("Attempt", f"{row.attempts} of 8 at this step" if row.attempts else None),
        ("Lease", f"{row.lease_owner} until {row.lease_until:%H:%M:%SZ}" if row.lease_owner else None),
        ("Made", f"{row.available_at:%Y-%m-%d %H:%M:%SZ} at Amazon, request {row.report_request_id or '-'}"),
        ("Bytes", f"{row.bytes:,}   sha256 {row.sha256}   {row.archive_key}" if row.archive_key else None),
        ("Charset", f"{row.encoding}: {row.encoding_reason}" if row.encoding else None),
    ]
    if row.rows_read is not None:
        names = ("new", "changed", "same", "older", "joined", "rejected")
        told.append(
            ("Rows", f"{row.rows_read:,} read: " + ", ".join(f"{getattr(row, 'rows_' + n):,} {n}" for n in names))
        )
    return [(name, text) for name, text in told if text]


def _why(s: Services, row: Any) -> str | None:
    if row.paused_reason:
        return str(row.paused_reason)
    if row.download_after > s.clock.now():
        return f"throttled until {row.download_after:%H:%M:%SZ}"
    return None


def _verdict(told: dict[str, Any]) -> str:
    if told["outcome"] == "quarantined":
        return f"quarantined: {told['reason']}"
    return (
        f"{told['outcome']}: {len(told['rows']):,} rows, {len(told['rejected']):,} rejected, read as {told['encoding']}"
    )


def _schedules(account: str | None, *, apply: bool) -> None:
    from orderdrain import pipeline

    s = _services()
    _each([account] if account else s.accounts.names(), lambda name: pipeline.schedule(s, name, apply=apply))


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


def _secret(variable: str, path: Path | None, prompt: str | None) -> str:
    import os

    if path is not None:
        return path.read_text(encoding="utf-8").strip()
    if variable in os.environ:
        return os.environ[variable]
    return str(click.prompt(prompt, hide_input=True, err=True)) if prompt else ""


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"{text!r}: it must be NAME=VALUE")
    return name, value


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment else None
