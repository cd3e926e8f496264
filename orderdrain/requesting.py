"""What makes Amazon produce reports: report schedules, compared with the declared ones, and reports that are asked for.

A step here begins and ends as those of the path do (steps.py). What Amazon has made goes the path of every report.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderdrain.amazon import ListedReport
from orderdrain.errors import RetryLater
from orderdrain.pipeline import send_due
from orderdrain.policy import DAILY, next_look
from orderdrain.schedules import compare
from orderdrain.steps import comparing_schedules, each_connection, leased_request
from orderdrain.telemetry import logger

if TYPE_CHECKING:
    from typing import Any

    from orderdrain.accounts import Connection
    from orderdrain.amazon import ReportsApi, RequestInfo
    from orderdrain.requests import Request
    from orderdrain.services import Services

log = logger(__name__)


def schedule(s: Services, account: str, *, apply: bool = True) -> str:
    """Compares Amazon's report schedules with the declared ones and, for an account marked `manage_schedules`, makes
    Amazon's side agree. What we did not declare is never touched."""
    told = each_connection(s, account, lambda connection: _schedule(s, connection, apply=apply))
    if apply:
        s.accounts.wait_to_schedule(account, s.clock.now() + DAILY)
    return f"schedules of {account}: {told}"


def _schedule(s: Services, connection: Connection, *, apply: bool) -> str:
    said = []
    api, declared = s.amazon(connection), connection.account
    with comparing_schedules(s, connection):
        for change in compare(declared.report_types, api.list_schedules()):
            if change.blocked or not (apply and declared.manage_schedules):
                said.append(f"differs: {change}")
                continue
            request_id = api.set_schedule(change.report_type, change.declared)
            log.info("report schedule changed", account=declared.account, change=str(change), request_id=request_id)
            said.append(f"changed: {change}")
    return "; ".join(said) or "as declared"


def request(s: Services, account: str, request_key: str) -> str:
    """Moves a requested report on: asks Amazon for it, or looks how far it is with all that the account waits for."""
    with leased_request(s, account, request_key) as (wish, connection):
        api = s.amazon(connection)
        if wish.amazon_request_id is None:
            info = _ours_at_amazon(s, api, wish) or api.request_report(
                wish.report_type,
                start=wish.window_start,
                end=wish.window_end,
                options=wish.options,
            )
            s.requests.submitted(wish, info, s.clock.now() + next_look(s.clock.now() - wish.asked_at))
            return f"{wish}: at Amazon as {info.request_id_at_amazon}, {info.status}"
        ended = _look_after_requests(s, api, wish)
    send_due(s, account)
    return f"requests of {account}: {ended:,} ended"


def _ours_at_amazon(s: Services, api: ReportsApi, wish: Request) -> RequestInfo | None:
    """The request that an earlier attempt made, if its answer was lost: same type and window, and no other of ours."""
    if wish.attempts == 1:
        return None
    known = s.requests.known_at_amazon(wish.account, wish.api)
    next_token = None
    while True:
        page = api.list_requests(report_types=[wish.report_type], since=wish.asked_at, next_token=next_token)
        for info in page.requests:
            same_window = wish.window_start is None or (wish.window_start, wish.window_end) == (
                info.window_start,
                info.window_end,
            )
            if same_window and not info.scheduled and info.request_id_at_amazon not in known:
                return info
        next_token = page.next_token
        if next_token is None:
            return None


def _look_after_requests(s: Services, api: ReportsApi, wish: Request) -> int:
    """One look at all of the account's requests still being made, this one first. Returns how many ended."""
    ended = 0
    # This one first: where each is a call of its own (SP-API), quota may end the answer before it has named all.
    ids = [wish.amazon_request_id, *s.requests.open_at_amazon(wish.account, wish.api)]
    page = api.list_requests(request_ids=list(dict.fromkeys(filter(None, ids))))
    now = s.clock.now()
    for info in page.requests:
        if info.status == "DONE" and info.report_id:
            made = ListedReport(
                info.report_id,
                info.report_type,
                info.completed_at or now,
                acknowledged=False,
                report_request_id=info.request_id_at_amazon,
                marketplaces=info.marketplaces,
            )
            # Found by no listing: listing 0 has always ended, so nothing but its rows stands before acknowledging it.
            s.ledger.enter(wish.account, wish.api, [made], listing=0, worker=s.worker, request_id=page.request_id)
        with s.db.transaction() as cursor:
            due_at = now + next_look(now - info.submitted_at)
            came_to_nothing = s.requests.seen(cursor, wish.account, wish.api, info, due_at)
            if info.status == "NO_DATA":
                s.orders.nothing_there(cursor, wish.account, wish.api, info, now)
        if came_to_nothing:
            _tell_nothing_came(came_to_nothing)
        ended += info.status not in {"SUBMITTED", "IN_PROGRESS"}
    with s.db.transaction() as cursor:
        for stuck in s.requests.ask_again_for_stuck(cursor, wish.account):
            log.error("requested report is stuck, asked for once more", account=wish.account, request_key=stuck)
    if wish.amazon_request_id not in {info.request_id_at_amazon for info in page.requests}:
        raise RetryLater(f"Amazon's list does not name request {wish.amazon_request_id}")
    return ended


def _tell_nothing_came(row: Any) -> None:
    """One line of a request that came to nothing: asked for again, or a gap that a person may want to close."""
    about = {
        "account": row.account,
        "request_key": row.request_key,
        "report_type": row.report_type,
        "window_start": row.window_start and str(row.window_start),
        "window_end": row.window_end and str(row.window_end),
        "reason": row.reason,
    }
    if row.asked_again_as:
        log.warning("report came to nothing, asked for again later", status=row.status, **about)
    elif row.status == "refused":
        log.error("report cannot be had", **about)
    else:
        log.warning("no orders told, twice", **about)
