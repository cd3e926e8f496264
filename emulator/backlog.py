"""What an account has at its start: reports of the past hours that nobody has fetched, and its first schedules."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from emulator.report_types import SCHEDULES
from emulator.requests import MAKING, still_to_tell
from emulator.sold_through import turn
from emulator.sp_report_types import PERIODS, kind_of

if TYPE_CHECKING:
    from datetime import datetime

    from emulator.account import Account
    from emulator.orders import Order

_INTERVAL = timedelta(minutes=15)
_SPAN = timedelta(days=50)


def live_before_the_start(account: Account, backlog: int) -> None:
    """So many reports, one after the other, of the types that it sells through."""
    interval = min(_INTERVAL, (_SPAN / max(backlog, 1)))
    first = (account.started - backlog * interval).replace(microsecond=0)
    account.begin_selling(first - interval)
    if account.on_sp_api:
        _live_on_sp_api(account, backlog, first, interval)
    else:
        _live_on_mws(account, backlog, first, interval)


def _live_on_mws(account: Account, backlog: int, first: datetime, interval: timedelta) -> None:
    _add_foreign_reports(account, first)
    for number in range(backlog):
        moment = (first + number * interval).replace(microsecond=0)
        account.sell_until(moment)
        _sell_something(account, account.fresh, moment)
        report_type, requested = turn(account.sold_through, number)
        if requested:
            account.finish_at(report_type, _since(report_type, first, interval, moment), moment)
        else:
            account.make_scheduled(report_type, moment)
    for report_type, every in account.sold_through.items():
        if every and (period := SCHEDULES[every]):
            account.schedule(report_type, every, period, _first_due(account))


def _live_on_sp_api(account: Account, backlog: int, first: datetime, interval: timedelta) -> None:
    sp = account.sp
    schedules = {
        report_type: sp.schedule(report_type, every, PERIODS[every], first, covered_until=first - interval)
        for report_type, every in account.sold_through.items()
        if every
    }
    for number in range(backlog):
        moment = (first + number * interval).replace(microsecond=0)
        account.sell_until(moment)
        _sell_something(account, sp.fresh, moment)
        report_type, requested = turn(account.sold_through, number)
        if requested:
            start = _since(report_type, first, interval, moment)
            sp.finish(sp.enter(report_type, start, moment, moment), moment + MAKING)
        else:
            sp.make_scheduled(schedules[report_type], moment)
    for schedule in schedules.values():
        schedule.due = _first_due(account)


def _sell_something(account: Account, fresh: list[Order], moment: datetime) -> None:
    while not still_to_tell(fresh, moment)[0]:
        account.sell(moment)


def _since(report_type: str, first: datetime, interval: timedelta, moment: datetime) -> datetime:
    """New Orders that somebody asks for are those of the last hour, the state of all orders that of all."""
    kind = kind_of(report_type)
    return moment - 5 * interval if kind and kind.family == "new_orders" else first - interval


def _first_due(account: Account) -> datetime:
    return (account.started + timedelta(seconds=account.random.randrange(60, 900))).replace(microsecond=0)


def _add_foreign_reports(account: Account, moment: datetime) -> None:
    """What an unfiltered listing also holds, as recorded: it is nobody's order report."""
    summary = b"Feed Processing Summary:\n\tNumber of records processed\t\t12\n\tNumber of records successful\t\t12\n\n"
    settlement = b"settlement-id\tsettlement-start-date\tsettlement-end-date\ttotal-amount\tcurrency\n"
    for minutes, report_type, body in (
        (1, "FeedSummaryReport", summary),
        (2, "_GET_V2_SETTLEMENT_REPORT_DATA_FLAT_FILE_", settlement),
        (3, "FeedSummaryReport", summary),
    ):
        account.add_report(
            report_type,
            moment - timedelta(minutes=minutes),
            body=body,
            content_type="text/plain",
            requested=True,
            foreign=True,
        )
