"""`orderdrain account test`: what works for an account and what is lacking, asked of Amazon itself, one by one.

These are real calls, and take from the same quotas as all others. Nothing is changed by them, and nothing is paused.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from orderdrain.amazon.sp_api import SpApiReports
from orderdrain.errors import DependencyDown, OrderdrainError, Snooze
from orderdrain.schedules import compare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orderdrain.accounts import Account
    from orderdrain.amazon import ListedReport, ReportsApi
    from orderdrain.services import Services


@dataclass(frozen=True)
class Trial:
    """One thing that was asked for, and what came of it: `ok`, `waits` (for quota: it says nothing), or `lacking`."""

    api: str
    name: str
    told: str
    error: OrderdrainError | None = None

    @property
    def outcome(self) -> str:
        if self.error is None:
            return "ok"
        return "waits" if isinstance(self.error, Snooze) else "lacking"

    def __str__(self) -> str:
        return f"{self.api} {self.name}: {self.outcome}{self.told and f', {self.told}'}"


def trials(s: Services, account: str) -> Iterator[Trial]:
    """What each connection of the account can do, as it is found out. Raises NotFound, DependencyDown."""
    for connection in s.accounts.connections(account):
        api = s.amazon(connection)
        if isinstance(api, SpApiReports):
            login = _tried(api, "login", api.login)
            yield login
            if login.error is not None:
                continue  # Each of the others would say the same.
        found: list[ListedReport] = []
        yield from _listings(api, sorted(connection.account.report_types), found)
        if isinstance(api, SpApiReports):
            yield _tried(api, "buyers' data", partial(_documents, api, found))
        yield _tried(api, "report schedules", partial(_schedules, api, connection.account))


def _listings(api: ReportsApi, report_types: list[str], found: list[ListedReport]) -> Iterator[Trial]:
    """All types in one call, which is one token of few; where that is refused, each by itself, to name which: as far as
    quota lets us ask."""
    together = _tried(api, ", ".join(report_types), partial(_newest, api, report_types, found))
    if together.outcome == "lacking" and len(report_types) > 1:
        for report_type in report_types:
            alone = _tried(api, report_type, partial(_newest, api, [report_type], found))
            yield replace(together, name=report_type) if alone.outcome == "waits" else alone
    elif together.error is not None:
        yield together
    else:
        for report_type in report_types:
            made = [report.available_at for report in found if report.report_type == report_type]
            yield Trial(api.api, report_type, f"the newest is of {max(made):%Y-%m-%d %H:%MZ}" if made else "none yet")


def _newest(api: ReportsApi, report_types: list[str], found: list[ListedReport]) -> str:
    found += api.list_reports(report_types=report_types, acknowledged=None).reports
    return ""


def _documents(api: SpApiReports, found: list[ListedReport]) -> str:
    """Of the newest report that holds any: whether Amazon gives this application a token for its document."""
    held = [report for report in found if api.role_for(report.report_type)]
    if not held:
        return "not tried: there is no report with any yet"
    newest = max(held, key=lambda report: report.available_at)
    api.ask_for_document(newest.report_id)
    return f"the application has the role {api.role_for(newest.report_type)}"


def _schedules(api: ReportsApi, declared: Account) -> str:
    changes = compare(declared.report_types, api.list_schedules())
    return "; ".join(f"differs: {change}" for change in changes) or "as declared"


def _tried(api: ReportsApi, name: str, ask: Callable[[], str | None]) -> Trial:
    try:
        return Trial(api.api, name, ask() or "")
    except DependencyDown:
        raise
    except Snooze as error:
        return Trial(api.api, name, f"{error}; ask again after {error.until:%H:%M:%SZ}", error)
    except OrderdrainError as error:
        return Trial(api.api, name, str(error), error)
