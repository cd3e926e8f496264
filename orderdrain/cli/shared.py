"""What the commands of several modules share: their options, and how they find what they are asked about."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orderdrain.errors import NotFound, UsageError
from orderdrain.output import say
from orderdrain.settings import load

if TYPE_CHECKING:
    from datetime import datetime

    from orderdrain.reports import ReportKey
    from orderdrain.services import Services

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
account_option = click.option("--account", metavar="A", help="Only this account.")
api_option = click.option("--api", type=click.Choice(["mws", "sp-api"]), help="Only this API.")
day = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"])
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def services() -> Services:
    """Every part, by the settings of this process. Connects to nothing."""
    from orderdrain.services import Services
    from orderdrain.telemetry import configure_logs

    settings = load()
    # A command says its own sentence: of the rest a person at a terminal wants only what is wrong.
    configure_logs(replace(settings, log_format="text", log_level="error"))
    return Services.from_settings(settings)


def showing(s: Services) -> Services:
    """The same services; how far a long step is stands on stderr, every few seconds."""
    return replace(s, tell=lambda progress: say(f"  {progress}"))


def one_report(s: Services, report_id: str, account: str | None, api: str | None) -> ReportKey:
    """The report that an id means. Ids are unique only within an account, and there within an API."""
    from orderdrain.reports import ReportKey

    rows = s.ledger.find(report_id, account, api)
    if not rows:
        raise NotFound(f"there is no report {report_id}{f' of {account}' if account else ''}. See: orderdrain reports")
    if len(rows) > 1:
        named = ", ".join(f"{row.account} ({row.api}, {row.state})" for row in rows)
        raise UsageError(f"there are several reports {report_id}: {named}. Say which: --account, --api")
    return ReportKey(rows[0].account, rows[0].api, rows[0].report_id)


def utc(moment: datetime | None) -> datetime | None:
    """A moment from the command line: it is in UTC, as all of ours."""
    return moment.replace(tzinfo=UTC) if moment else None
