"""FBA shipments: what Amazon's warehouses sent, an item in one parcel or in two."""

from __future__ import annotations

import string
from datetime import timedelta, timezone
from random import Random
from typing import TYPE_CHECKING

from emulator.orders import iso_with_offset, money
from emulator.reports.all_orders import discount
from emulator.reports.kind import LAYOUTS, Kind, Window, write_flat

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from emulator.orders import Line, Order
    from emulator.sellers import Seller

_CARRIERS = {"NA": ("AMZN_US", "CMH1"), "EU": ("DHL", "LEJ1"), "FE": ("YAMATO", "HND3")}
_SPLIT = ("item-price", "item-tax")
_MONEY = (*_SPLIT, "shipping-price", "shipping-tax", "gift-wrap-price", "gift-wrap-tax", "ship-promotion-discount")


def _columns(seller: Seller, _requested: bool) -> tuple[str, ...]:
    names = LAYOUTS["fba_shipments"]["base"].split()
    return (*names, "points-granted") if seller.home.country == "JP" else tuple(names)


def _lines(order: Order, form: int, _at: datetime) -> Iterator[Line]:
    """A second parcel begins with the second piece of an item."""
    local = timezone(timedelta(hours=order.marketplace.offset))
    shipped = _shipped_at(order, form).astimezone(local)
    carrier, warehouse = _CARRIERS[order.seller.home.region]
    for number, line in enumerate(order.lines(form)):
        quantity = int(line["quantity-purchased"])
        for parcel, pieces in enumerate(_parcels(quantity)):
            random = Random(f"{order.seller.account}/{order.serial}/{number}/{parcel}")
            yield (
                line
                | {name: _share(order, line, name, parcel, pieces, quantity) for name in _MONEY}
                | {
                    "amazon-order-id": order.order_id,
                    "amazon-order-item-id": line["order-item-id"],
                    "shipment-id": _id("K", Random(f"{order.seller.account}/{order.serial}/parcel/{parcel}")),
                    "shipment-item-id": _id("N", random),
                    "shipment-date": iso_with_offset(shipped),
                    "reporting-date": iso_with_offset(shipped + timedelta(hours=1)),
                    "quantity-shipped": str(pieces),
                    # Towns of Japan are not told (sample).
                    "ship-city": "--" if order.marketplace.country == "JP" else line["ship-city"],
                    "item-promotion-discount": discount(order, line) if parcel == 0 else "",
                    "carrier": carrier,
                    "tracking-number": f"TBA{random.randrange(10**12):012}",
                    "estimated-arrival-date": iso_with_offset(shipped.replace(hour=20, minute=0) + timedelta(days=1)),
                    "fulfillment-center-id": warehouse,
                    "fulfillment-channel": "AFN",
                }
            )


def _parcels(quantity: int) -> tuple[int, ...]:
    return () if quantity == 0 else (quantity,) if quantity == 1 else (1, quantity - 1)


def _share(order: Order, line: Line, name: str, parcel: int, pieces: int, quantity: int) -> str:
    """A parcel's part of a total of the line: by pieces of what is paid for them, all of the rest with the first."""
    total = line.get(name, "") or money(order.marketplace, 0)
    if name not in _SPLIT:
        return total if parcel == 0 else money(order.marketplace, 0)
    cents = int(total.replace(".", ""))
    first = cents // quantity
    return money(
        order.marketplace, first if parcel == 0 and pieces != quantity else cents if parcel == 0 else cents - first
    )


def _id(first: str, random: Random) -> str:
    return first + "".join(random.choices(string.ascii_letters + string.digits, k=8))


def _shipped_at(order: Order, form: int) -> datetime:
    """When it came into its status, or was sold for one that was shipped from the begin."""
    since = [known for known, word in order.statuses.items() if known <= form and word == "Shipped"]
    return order.updated_at(max(since)) if since else order.sold_at


def _tells(order: Order, form: int, window: Window) -> bool:
    shipped = order.by_amazon and order.status(form) == "Shipped" and window.holds(_shipped_at(order, form))
    return shipped and any(line["quantity-purchased"] != "0" for line in order.lines(form))


FLAT = Kind("fba_shipments", ("shipment-item-id",), _columns, _lines, _tells, write_flat)
