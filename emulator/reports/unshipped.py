"""Unshipped: a picture of what the seller has to ship. No currency and no prices (sample files)."""

from __future__ import annotations

from datetime import timedelta, timezone
from typing import TYPE_CHECKING

from emulator.orders import iso_with_offset
from emulator.reports.kind import LAYOUTS, Kind, Window, write_flat

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from emulator.orders import Line, Order
    from emulator.sellers import Seller

#: The picture goes back no further, from when an order was paid for (MWS documentation).
REACH = timedelta(days=38)
#: When an order is to be shipped by.
_PROMISE = timedelta(days=2)


def _columns(seller: Seller, requested: bool) -> tuple[str, ...]:
    layout = {"NA": "north_america", "EU": "documented" if requested else "base"}.get(seller.home.region, "base")
    return tuple(LAYOUTS["unshipped"]["japan" if seller.home.country == "JP" else layout].split())


def _lines(order: Order, form: int, at: datetime) -> Iterator[Line]:
    local = timezone(timedelta(hours=order.marketplace.offset))
    promised = (order.sold_at + _PROMISE).astimezone(local).replace(hour=23, minute=59, second=59)
    for line in order.lines(form):
        if (quantity := line["quantity-purchased"]) != "0":
            yield line | {
                "reporting-date": iso_with_offset(at),
                "promise-date": iso_with_offset(promised),
                # Negative while there is time left.
                "days-past-promise": str((at - promised).days),
                "quantity-shipped": "0",
                "quantity-to-ship": quantity,
            }


def _tells(order: Order, form: int, window: Window) -> bool:
    waits = order.status(form) == "Unshipped" and order.is_fulfillable(form)
    # Whatever window was asked for: it ignores that (MWS documentation).
    return waits and window.at - REACH <= order.sold_at and any(_lines(order, form, window.at))


FLAT = Kind(
    "unshipped",
    ("order-id", "order-item-id"),
    _columns,
    _lines,
    _tells,
    write_flat,
    updated=lambda _order, _form, at: at,
    picture=True,
)
