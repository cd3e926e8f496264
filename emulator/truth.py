"""What reports have told of each line, in its newest form: what an independent judge must find."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from emulator.clock import iso
from emulator.reports import is_personal
from emulator.reports.unshipped import REACH

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from emulator.account import Account
    from emulator.orders import Line, Order
    from emulator.reports import Report

FAMILIES = ("new_orders", "unshipped", "all_orders", "pending", "fba_shipments")

#: A report, and the form of an order that it told.
_Telling = tuple["Report", int]


def told_lines(account: Account, reports: Sequence[Report], now: datetime) -> Iterator[dict[str, Any]]:
    """The lines that these reports of one family have told, each with the report that told its newest form; of pictures
    also whether it waits still, None where nobody can know."""
    pictures = _newest_pictures(account, reports, now)
    for order, tellings in _tellings(reports):
        seen: dict[tuple[str, ...], dict[str, Any]] = {}
        same_keys = len({"order-item-id" in report.columns for report, _ in tellings}) == 1
        for report, form in tellings:
            for key, line in _keyed(report, order, form):
                if key in seen:
                    # What was withheld later is known still.
                    _fill_in_buyer(seen[key], line, report)
                    continue
                seen[key] = {
                    "account": account.seller.account,
                    "order_id": order.order_id,
                    "key": list(key),
                    "order_item_id": line.get("order-item-id") or line.get("amazon-order-item-id", ""),
                    "report_id": report.report_id,
                    "api": report.api,
                    "available_at": iso(report.available_at),
                    "withheld": report.hides_buyers,
                    "cells": line,
                }
                if report.kind and report.kind.picture:
                    seen[key]["waits"] = _waits(order, report, pictures[report.api, report.report_type])
            # Only an order changed by hand may have had other lines before: of all others the newest telling that has
            # every line will do.
            if not order.given and same_keys and len(seen) >= order.size(form) and not report.hides_buyers:
                break
        for line in seen.values():
            del line["withheld"]
            yield line


def _tellings(reports: Sequence[Report]) -> Iterator[tuple[Order, list[_Telling]]]:
    """Each order with what told it, newest first: by the line's own time of update where it has one."""
    found: dict[str, tuple[Order, list[_Telling]]] = {}
    for report in sorted(reports, key=lambda report: report.newness, reverse=True):
        for order, form in reversed(report.told):
            found.setdefault(order.order_id, (order, []))[1].append((report, form))
    for order, tellings in found.values():
        yield order, sorted(tellings, key=lambda told: _updated(order, *told), reverse=True)


def _updated(order: Order, report: Report, form: int) -> datetime:
    """The line's own time of update, to the second as files tell it; the same for all where a family has none."""
    if report.kind is None or report.kind.updated is None:
        return datetime.min.replace(tzinfo=UTC)
    return report.kind.updated(order, form, report.taken_at or report.available_at).replace(microsecond=0)


def _keyed(report: Report, order: Order, form: int) -> Iterator[tuple[tuple[str, ...], Line]]:
    """Its lines, each with what tells it from all others: where it has no id, its number among those of its SKU."""
    numbers: Counter[tuple[str, ...]] = Counter()
    if report.kind is None:
        return
    for line in report.lines_of(order, form):
        key = tuple(line.get(name, "") for name in report.kind.key)
        if "order-item-id" in report.kind.key and not line.get("order-item-id"):
            numbers[key] += 1
            key = (*key, str(numbers[key]))
        elif report.kind.family == "all_orders":
            key = key[:2]
        # What a document leaves out, it does not tell.
        yield key, {name: text for name, text in line.items() if text} if report.kind.leaves_out else line


def _fill_in_buyer(told: dict[str, Any], line: Line, report: Report) -> None:
    if told["withheld"] and not report.hides_buyers:
        told["cells"] |= {name: text for name, text in line.items() if is_personal(name)}
        told["withheld"] = False


def _newest_pictures(
    account: Account, reports: Sequence[Report], now: datetime
) -> dict[tuple[str, str], tuple[datetime, Report | None]]:
    """By API and report type: when the newest picture was taken, and which it is. That MWS had nothing to show to who
    asked for one is a picture too, with no report."""
    newest = {
        (report.api, report.report_type): (report.available_at, report)
        for report in sorted(reports, key=lambda report: report.newness)
    }
    found: dict[tuple[str, str], tuple[datetime, Report | None]] = dict(newest)
    for request in account.requests.values():
        scope = "mws", request.report_type
        if scope in newest and request.done_at and request.status(now) == "_DONE_NO_DATA_":
            found[scope] = max(found[scope], (request.done_at, None), key=lambda picture: picture[0])
    return found


def _waits(order: Order, report: Report, newest: tuple[datetime, Report | None]) -> bool | None:
    taken_at, picture = newest
    if picture is report:
        return True
    # Too long ago for the picture to show it, whether it waits or not.
    return None if order.sold_at < taken_at - REACH else False
