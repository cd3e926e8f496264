"""A sale: what becomes of an order by itself, from when it is placed until it is shipped."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING

from emulator.orders import Order, make_order_id

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from emulator.sellers import Seller


def new_order(
    seller: Seller, serial: int, moment: datetime, random: Random, families: Collection[str], order_id: str | None
) -> Order:
    """An order that is sold at `moment` (to the second below), or placed then where it waits for its payment; it may
    change later, and is shipped after its last change.

    `families`: what the seller's reports tell. Only where they tell of it does Amazon ship every fifth order, and does
    every third of Japan wait to be paid for.
    """
    sold_at, pending_since = moment.replace(microsecond=0), None
    # A chance of its own: what `random` is asked for is the same for all sellers.
    own = Random(f"{seller.seed}/{seller.account}/{serial}/shipping")
    changes: list[datetime] = []
    statuses: dict[int, str] = {}
    by_amazon = "fba_shipments" in families and serial % 5 == 2
    if "pending" in families and serial % 3 == 1 and not by_amazon:
        pending_since, sold_at = sold_at, sold_at + timedelta(minutes=own.randrange(10, 120))
        changes, statuses = [sold_at], {0: "Pending", 1: "Unshipped"}
    changed = sold_at
    while random.random() < 0.2:
        changed += timedelta(minutes=random.randrange(5, 180))
        changes.append(changed)
    changes.append(changed + timedelta(minutes=own.randrange(20, 480)))
    statuses[len(changes)] = "Shipped"
    order_id = order_id or make_order_id(seller, serial)
    return Order(
        seller,
        serial,
        order_id,
        sold_at,
        tuple(changes),
        statuses,
        pending_since=pending_since,
        by_amazon=by_amazon,
    )
