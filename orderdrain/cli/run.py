"""Commands that run the system: keys, applications, accounts, the database, settings."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from orderdrain.asking import ask_for_application, ask_for_what_is_missing, pair, secret_from
from orderdrain.cli.shared import FILE, json_option, services
from orderdrain.errors import DependencyDown, UsageError
from orderdrain.output import UNREACHABLE, USAGE, exit_code, say, show_table
from orderdrain.policy import LIST_EVERY_MINUTES
from orderdrain.settings import load

if TYPE_CHECKING:
    from pathlib import Path

    from orderdrain.services import Services


@click.command()
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


@click.group()
def application() -> None:
    """Applications: the keys of a developer."""


@application.command("add")
@click.argument("name")
@click.option("--access-key", metavar="ID", help="MWS: the AWS access key id (not secret).")
@click.option("--secret-key-file", type=FILE, help="Else ORDERDRAIN_SECRET_KEY, else a prompt.")
@click.option("--client-id", metavar="ID", help="SP-API: the client id at Login with Amazon (not secret).")
@click.option("--client-secret-file", type=FILE, help="Else ORDERDRAIN_CLIENT_SECRET, else a prompt.")
def application_add(
    name: str,
    access_key: str | None,
    secret_key_file: Path | None,
    client_id: str | None,
    client_secret_file: Path | None,
) -> None:
    """Add a developer's keys, or replace them."""
    if access_key and not client_id:
        secret = secret_from("ORDERDRAIN_SECRET_KEY", secret_key_file, "Secret key")
        services().accounts.add_application(name, api="mws", key_id=access_key, secret=secret)
    elif client_id and not access_key:
        secret = secret_from("ORDERDRAIN_CLIENT_SECRET", client_secret_file, "Client secret")
        services().accounts.add_application(name, api="sp-api", key_id=client_id, secret=secret)
    else:
        raise UsageError("which keys? --access-key for MWS, or --client-id for SP-API")
    click.echo(f"application {name}: stored")


@application.command("list")
@json_option
def application_list(as_json: bool) -> None:
    """Applications, never their secrets."""
    rows = [row._asdict() for row in services().accounts.applications()]
    show_table(rows, ["application", "api", "key_id", "connections", "paused_at", "paused_reason"], as_json=as_json)


@click.group()
def account() -> None:
    """Accounts: a seller in a region."""


@account.command("add")
@click.argument("name", required=False)
@click.option(
    "--file",
    "path",
    type=FILE,
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
    type=click.FloatRange(*LIST_EVERY_MINUTES),
    help="Minutes between two listings; 0.75 is as often as SP-API allows for long.",
)
@click.option(
    "--auth-token-file",
    type=FILE,
    help="MWS: the MWSAuthToken, where the seller authorised a developer; else ORDERDRAIN_AUTH_TOKEN.",
)
@click.option(
    "--refresh-token-file",
    type=FILE,
    help="SP-API: the refresh token; else ORDERDRAIN_REFRESH_TOKEN, else a prompt.",
)
@click.option("--login-url", metavar="URL", help="SP-API: where an emulator gives access tokens.")
@click.option("--no-test", is_flag=True, help="Do not ask Amazon at once what works.")
def account_add(
    name: str | None,
    path: Path | None,
    auth_token_file: Path | None,
    refresh_token_file: Path | None,
    no_test: bool,
    **told: Any,
) -> None:
    """Add an account, or change it; what is known of its reports stays. Then see what works, as `account test` does.

    At a terminal it asks for what is missing, the keys of a new application included.

    \b
    examples:
      orderdrain account add acme --api sp-api
      orderdrain account add --file accounts.toml
    """
    from orderdrain.declarations import check_account, declare_file, store_account

    s = services()
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
        "report_types": dict(pair(text) for text in told["types"]),
        "manage_schedules": told["manage_schedules"],
        "list_every_minutes": told["minutes"],
    }
    if told["login_url"]:
        keys["login_url"] = told["login_url"]
    if sys.stdin.isatty():
        ask_for_what_is_missing(keys)
    # Before any secret is asked for, let alone stored.
    check_account(name, keys, sealed=s.vault.seals)
    if sys.stdin.isatty():
        ask_for_application(s, keys)
    if told["api"] == "mws":
        token = secret_from("ORDERDRAIN_AUTH_TOKEN", auth_token_file, None)
    else:
        token = secret_from("ORDERDRAIN_REFRESH_TOKEN", refresh_token_file, "Refresh token")
    store_account(s, name, keys, token=token or None)
    click.echo(f"account {name}: stored; its first listing is due now")
    if not no_test:
        sys.exit(_test(s, name))


@account.command("test")
@click.argument("name")
@json_option
def account_test(name: str, as_json: bool) -> None:
    """Ask Amazon what works for an account, and what is lacking: login, each report type, buyers' data, schedules.

    Real calls, within its quotas; "waits" means that one says not now. Nothing is changed.
    """
    sys.exit(_test(services(), name, as_json=as_json))


@account.command("list")
@json_option
def account_list(as_json: bool) -> None:
    """Accounts with their connections, next listing and why they are paused."""
    rows = [row._asdict() for row in services().accounts.table()]
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
    services().accounts.pause(name, reason)
    click.echo(f"account {name}: paused: {reason}")


@account.command("resume")
@click.argument("name")
def account_resume(name: str) -> None:
    """Go on with a paused account (and its application)."""
    services().accounts.resume(name)
    click.echo(f"account {name}: resumed; listed next")


@click.command()
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


@click.command()
def check() -> None:
    """One line for each thing that orderdrain needs: ok, or what to do."""
    from orderdrain.checks import checks

    worst = 0
    for name, error in checks(load()):
        click.echo(f"{name}: {'ok' if error is None else error}")
        worst = max(worst, 0 if error is None else UNREACHABLE if isinstance(error, DependencyDown) else USAGE)
    sys.exit(worst)


@click.command()
@json_option
def config(as_json: bool) -> None:
    """Every setting: its value (secrets masked), where it came from, what it means."""
    rows = [vars(row) for row in load().table()]
    show_table(rows, ["variable", "shown", "origin", "meaning"], as_json=as_json)


COMMANDS = (key, application, account, migrate, check, config)


def _test(s: Services, name: str, *, as_json: bool = False) -> int:
    """One line for each thing that was asked for, as it is found out; returns the exit code of the worst."""
    from orderdrain.account_checks import trials

    worst, rows = 0, []
    for trial in trials(s, name):
        if not as_json:
            click.echo(str(trial))
        rows.append({"api": trial.api, "check": trial.name, "outcome": trial.outcome, "told": trial.told})
        if trial.error and trial.outcome == "lacking":
            worst = max(worst, exit_code(trial.error))
    if as_json:
        show_table(rows, [], as_json=True)
    for row in s.accounts.table(name):
        if row.paused_at and not worst:
            say(f"account {name}: {row.api} is paused: {row.paused_reason}. Go on: orderdrain account resume {name}")
    return worst
