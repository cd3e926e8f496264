"""Commands that look: accounts, reports, rejected rows, and what a report file says."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from orderdrain.cli.shared import FILE, account_option, api_option, json_option, one_report, services
from orderdrain.output import NEEDS_A_PERSON, say, show_json, show_table
from orderdrain.progress import sentence

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from orderdrain.services import Services

#: Of how long `status` counts notifications.
NOTICES_SPAN = timedelta(days=7)


@click.command()
@json_option
def status(as_json: bool) -> None:
    """How many reports of each account wait at each step, up to when its orders are in, what is missing or paused.

    PUSH says whether Amazon announces all of its reports; an account without push is only listed. What takes long says
    how far it is.
    """
    s = services()
    reasons, push = {row.account: row for row in s.accounts.table()}, s.notices.push()
    gaps = s.requests.gaps()
    rows = [
        {
            **row._asdict(),
            "condition": "paused" if reasons[row.account].paused_at else "running",
            "missing": sum(gap.account == row.account for gap in gaps),
            "gaps": [gap._asdict() for gap in gaps if gap.account == row.account],
            "push": push.get(row.account),
            "why": _why(s, reasons[row.account]),
        }
        for row in s.ledger.summary()
        if row.account in reasons
    ]
    waiting = sum(row["listed"] + row["downloaded"] for row in rows)
    quarantined = sum(row["quarantined"] for row in rows)
    paused = sum(row["condition"] == "paused" for row in rows)
    under_way = [row._asdict() for row in (*s.ledger.under_way(), *s.replays.under_way())]
    heard, queues = s.notices.counts(NOTICES_SPAN), [queue._asdict() for queue in s.notices.queues()]
    if as_json:
        notifications = {"removed": heard, "queues": queues}
        show_json({"total": len(rows), "rows": rows, "under_way": under_way, "notifications": notifications})
        return
    talk = click.echo if sys.stdout.isatty() else say
    talk(
        f"{len(rows)} accounts, {paused} paused. {waiting:,} reports waiting, {quarantined:,} quarantined"
        f"{f', {len(gaps):,} windows missing' if gaps else ''}."
        f"   as of {s.clock.now():%Y-%m-%d %H:%M:%SZ}"
    )
    if not rows:
        say("No account yet. Add one: orderdrain account add --help. Or look around first: make demo")
    states = ("listed", "downloaded", "parsed", "quarantined")
    show_table(rows, ["account", "condition", *states, "missing", "fresh_to", "push", "why"], as_json=False)
    for row in under_way:
        name = f"report {row['report_id']} ({row['account']})"
        say(f"{name}: {row['step']}: {sentence(row['progress'] or {})}")
    for gap in gaps:
        say(_gap(gap))
    if queues:
        kinds = ", ".join(f"{n:,} {kind.replace('_', ' ')}" for kind, n in heard.items())
        talk(f"Notifications of {NOTICES_SPAN.days} days: {kinds or 'none'}")
    for queue in queues:
        if queue["failing"]:
            say(f"{queue['failing']}; last read {queue['read_at']:%Y-%m-%d %H:%M:%SZ}")


@click.command()
@account_option
@click.option("--state", type=click.Choice(["listed", "downloaded", "parsed", "acknowledged", "quarantined"]))
@click.option("--report-type", metavar="T")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 100_000))
@click.option("--ids", is_flag=True, help="Only the ids, for `orderdrain requeue -`.")
@json_option
def reports(
    account: str | None, state: str | None, report_type: str | None, limit: int, ids: bool, as_json: bool
) -> None:
    """Reports, newest first."""
    rows = services().ledger.reports(account=account, state=state, report_type=report_type, limit=limit)
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


@click.command()
@click.argument("report_id")
@account_option
@api_option
@json_option
def show(report_id: str, account: str | None, api: str | None, as_json: bool) -> None:
    """One report's whole story: where it is, why, what comes next, and everything that happened to it.

    Of a report that came to nothing, or by the key of a request: what was asked for, and how it ended each time.

    \b
    examples:
      orderdrain show 50123456789
      orderdrain show 50123456789 --account acme --json
    """
    s = services()
    if not s.ledger.find(report_id, account, api) and (asked := s.requests.story(report_id, account, api)):
        _show_requests(asked, as_json=as_json)
        return
    key = one_report(s, report_id, account, api)
    (row,) = s.ledger.find(report_id, key.account, key.api)
    history, replay = [entry._asdict() for entry in s.history.of(key)], s.replays.of(key)
    if as_json:
        show_json({"report": row._asdict(), "replay": replay and replay._asdict(), "history": history})
        return
    click.echo(f"Report {row.report_id}   {row.account} · {row.report_type} · {row.state.upper()}")
    for name, text in (*_story(row), *_replay(replay)):
        click.echo(f"{name:<9}{text}")
    click.echo("History" if history else "History: pruned")
    for entry in history:
        attempt = f"attempt {entry['attempt']}" if entry["attempt"] else ""
        evidence = f"Amazon request id {entry['request_id']}" if entry["request_id"] else ""
        told = "   ".join(part for part in (attempt, entry["worker"] or "", entry["detail"] or "", evidence) if part)
        click.echo(f"  {entry['at']:%Y-%m-%d %H:%M:%SZ}  {entry['step']:<12} {entry['event']:<14} {told}".rstrip())


@click.command()
@account_option
@api_option
@click.option("--report", "report_id", metavar="ID", help="Only of this report.")
@click.option("--report-type", metavar="T", help="Only of reports of this type.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 100_000))
@json_option
def rejected(
    account: str | None, api: str | None, report_id: str | None, report_type: str | None, limit: int, as_json: bool
) -> None:
    """Rows that could not be stored: where and why, never what they held.

    \b
    examples:
      orderdrain rejected --account acme
      orderdrain rejected --report 50123456789
      orderdrain replay 50123456789 --dry-run    whether today's code can read them
    """
    s = services()
    rows = s.orders.rejected(s.db, account=account, api=api, report_id=report_id, report_type=report_type, limit=limit)
    columns = ["account", "report_id", "line", "column", "order_id", "order_item_id", "reason", "report_type"]
    show_table([row._asdict() for row in rows[:limit]], columns, as_json=as_json)
    if len(rows) > limit:
        say(f"The newest {limit:,}; there are more: --limit")


@click.command()
@click.argument("file", type=FILE)
@click.option("--report-type", required=True, metavar="T", help="Amazon's name of it.")
@click.option(
    "--marketplace",
    metavar="M",
    help="A MarketplaceId: says the charset and the decimal style where the file does not.",
)
@click.option("--content-type", metavar="C", help="As the download said it, charset included.")
@click.option("--with-buyers", is_flag=True, help="Show personal columns too.")
@json_option
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


COMMANDS = (status, reports, show, rejected, parse)


def _story(row: Any) -> list[tuple[str, str]]:
    """The lines above a report's history."""
    waits = row.state in {"listed", "downloaded", "parsed"}
    upcoming = {"listed": "download", "downloaded": "parse", "parsed": "acknowledge"}.get(row.state, "")
    nothing = (
        "nothing: it is finished"
        if row.state == "acknowledged"
        else "nothing by itself; a person decides: orderdrain requeue"
    )
    # At SP-API a report has the id of its request.
    made_by = f", request {row.report_request_id}" if row.report_request_id else ""
    told = [
        ("Reason", row.reason),
        ("Next", f"{upcoming}, due {row.next_attempt_at:%Y-%m-%d %H:%M:%SZ}" if waits else nothing),
        ("Attempt", f"{row.attempts} of 8 at this step" if row.attempts else None),
        ("Lease", f"{row.lease_owner} until {row.lease_until:%H:%M:%SZ}" if row.lease_owner else None),
        ("Progress", sentence(row.progress) if row.lease_owner and row.progress else None),
        ("Made", f"{row.available_at:%Y-%m-%d %H:%M:%SZ} at Amazon{made_by}"),
        ("Bytes", f"{row.bytes:,}   sha256 {row.sha256}   {row.archive_key}" if row.archive_key else None),
        ("Charset", f"{row.encoding}: {row.encoding_reason}" if row.encoding else None),
    ]
    if row.rows_read is not None:
        names = ("new", "changed", "same", "older", "joined", "rejected")
        told.append(
            ("Rows", f"{row.rows_read:,} read: " + ", ".join(f"{getattr(row, 'rows_' + n):,} {n}" for n in names))
        )
    return [(name, text) for name, text in told if text]


def _replay(replay: Any) -> list[tuple[str, str]]:
    """The line about a replay that is under way."""
    if replay is None:
        return []
    by = f"{replay.lease_owner} until {replay.lease_until:%H:%M:%SZ}{', to be rolled back' if replay.dry_run else ''}"
    return [("Replay", f"{by}: {sentence(replay.progress or {})}")]


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


def _show_requests(asked: list[Any], *, as_json: bool) -> None:
    """What was asked for, and asked for again, in order."""
    if as_json:
        show_json({"requests": [row._asdict() for row in asked]})
        return
    for row in asked:
        told = f"request {row.request_key}   {row.account} · {row.report_type} · {row.status.upper()}"
        click.echo(f"{'Scheduled ' if row.scheduled else ''}{told}")
        lines = [
            ("Window", f"{_moment(row.window_start)} to {_moment(row.window_end)}" if row.window_end else None),
            ("Amazon", row.amazon_request_id and f"report {row.report_id or row.amazon_request_id}"),
            ("Asked", f"{_moment(row.asked_at)}"),
            ("Ended", row.ended_at and _moment(row.ended_at)),
            ("Reason", row.reason),
            ("Next", None if row.ended_at else f"due {_moment(row.next_attempt_at)}"),
            ("Again", row.asked_again_as),
        ]
        for name, text in lines:
            if text:
                click.echo(f"{name:<9}{text}")


def _gap(gap: Any) -> str:
    """A window that is not had, and how to ask for it by hand."""
    if gap.window_start is None:
        return f"account {gap.account}: {gap.report_type}, report {gap.amazon_request_id}, is missing: {gap.reason}"
    start, end = gap.window_start, gap.window_end
    by_hand = f"orderdrain request {gap.account} --type {gap.report_type}"
    return (
        f"account {gap.account}: {gap.report_type}, {_moment(start)} to {_moment(end)}, is missing: {gap.reason}."
        f" Ask by hand: {by_hand} --from {start:%Y-%m-%dT%H:%M:%SZ} --to {end:%Y-%m-%dT%H:%M:%SZ}"
    )


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%SZ}"
