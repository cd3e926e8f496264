"""POST /_emulator/reports with `"api": "sp-api"`: a report out of turn, ended in any way that one may end."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from emulator.reports.kind import Window
from emulator.requests import still_to_tell
from emulator.sp_report_types import SHIPPING, kind_of, tells_new_orders

if TYPE_CHECKING:
    from emulator.account import Account
    from emulator.orders import Order
    from emulator.sp_reports import SpReport

_FATES = ("DONE", "FATAL", "CANCELLED")
#: What a report's window is where no order of it says otherwise.
_WINDOW = timedelta(minutes=15)


def add_sp_report(account: Account, body: dict[str, Any], now: datetime) -> str:
    """Its reportId. With given bytes, of given orders, or of what no report has told yet (sold for it, if need be).

    `available_at` is when it was done, `created_at` (the same unless given) when it was asked for.
    """
    report_type, fate = body.get("report_type", SHIPPING), body.get("status", "DONE")
    if fate not in _FATES:
        raise ValueError(f"status is one of {', '.join(_FATES)}")
    if fate == "CANCELLED" and "body_base64" in body:
        raise ValueError("a CANCELLED report has no document")
    content = base64.b64decode(body["body_base64"], validate=True) if "body_base64" in body else None
    if fate == "DONE" and content is None and kind_of(report_type) is None:
        raise ValueError(f"nothing is sold through {report_type}: give its bytes as body_base64")
    wanted = fate == "DONE" and content is None
    told = orders_of_report(account, account.sp.fresh, report_type, body, now) if wanted else []
    if wanted and tells_new_orders(report_type) and not body.get("requested", False):
        account.sp.take(order for order, _ in told)
    report = _enter(account, report_type, [order for order, _ in told], body, now)
    report.fate = fate
    if wanted or content is not None:
        account.sp.attach(
            report,
            told=told,
            body=content,
            content_type=body.get("content_type"),
            gzip=bool(body["gzip"]) if "gzip" in body else None,
            withheld=bool(body.get("withheld", False)),
        )
    return report.request_id


def _enter(account: Account, report_type: str, orders: list[Order], body: dict[str, Any], now: datetime) -> SpReport:
    done_at = _moment(body, "available_at") or now.replace(microsecond=0)
    created_at = _moment(body, "created_at") or done_at
    if created_at > done_at:
        raise ValueError("created_at is after available_at")
    schedule_id = None
    if not body.get("requested", False):
        # One that a schedule made names it; where there is none any more, one that was.
        known = (s.schedule_id for s in account.sp.schedules.values() if s.report_type == report_type)
        schedule_id = next(known, "50024018996")
    start = min([order.sold_at for order in orders], default=created_at - _WINDOW)
    report = account.sp.enter(report_type, min(start, created_at), created_at, created_at, schedule_id=schedule_id)
    report.started_at, report.done_at = created_at, done_at
    return report


def orders_of_report(
    account: Account, fresh: list[Order], report_type: str, body: dict[str, Any], now: datetime
) -> list[tuple[Order, int]]:
    """What a report out of turn tells: the named orders, each as it is; else New Orders that are `fresh` (sold for it,
    if need be), and of other types all there is. Raises ValueError where such a report does not tell a named order."""
    kind = kind_of(report_type)
    if kind is None:
        raise ValueError(f"nothing is sold through {report_type}: give its bytes as body_base64")
    if "order_ids" in body:
        orders = [account.orders[order_id] for order_id in body["order_ids"]]
    elif kind.family == "new_orders":
        orders = still_to_tell(fresh, now)[0] or [account.sell(now)]
    else:
        orders = list(account.orders.values())
    everything = Window(datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC), now)
    told = [(order, form) for order in orders if kind.tells(order, form := order.form_at(now), everything)]
    if "order_ids" in body and len(told) < len(orders):
        raise ValueError(f"not all of these orders are such that {report_type} tells of them")
    return told


def _moment(body: dict[str, Any], name: str) -> datetime | None:
    if name not in body:
        return None
    return datetime.fromisoformat(body[name]).astimezone(UTC).replace(microsecond=0)
