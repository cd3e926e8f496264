"""Made order reports, as sellers have them, and what a reader must get out of them.

All Orders has 34 columns in cp1252, of which two have no column of ours and two are unknown to it; New Orders has 28,
with buyers. A few rows are bad: 5 in 10,000 have a quantity that is no number, 1 in 10,000 has a cell too many, 1 in
1,000 lines stands twice, as an older and a newer state of it, in either order. A line's number decides what it says, so
every run has the same.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from orderdrain.families import ALL_ORDERS, EXTRA, NEW_ORDERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from orderdrain.families import Family

ENCODING = "cp1252"
CONTENT_TYPE = "text/plain; charset=ISO-8859-1"
_FIRST_SALE = datetime(2026, 9, 1, tzinfo=UTC)
_TITLES = ("Café press, 1 l", 'Screen 27" • matte', "Señor García's knife™", "Plain mug", "Tea \\ box")
_NAMES = ("André", "Zoë", "Max", "José")
_CITIES = (("Zürich", "ZH"), ("Reading", "PA"), ("São Paulo", "SP"), ("Montréal", "QC"), ("Austin", "TX"))


@dataclass(frozen=True)
class Made:
    """One report: which lines it tells and in which state.

    `states` gives the state of a line by its number, 0 for the first; a higher one has a later time of update. With
    `clean` no row is bad and none stands twice. `backwards` tells the same in another order.
    """

    family: Family
    numbers: range
    states: Callable[[int], int] = lambda _: 0
    clean: bool = False
    backwards: bool = False

    @property
    def report_type(self) -> str:
        """The most usual type of the family at SP-API."""
        if self.family is ALL_ORDERS:
            return "GET_FLAT_FILE_ALL_ORDERS_DATA_BY_LAST_UPDATE_GENERAL"
        return "GET_FLAT_FILE_ORDER_REPORT_DATA_SHIPPING"

    def write(self, path: Path) -> None:
        """The file, as Amazon sends it."""
        cells = _CELLS[self.family.name]
        with path.open("w", encoding=ENCODING, newline="") as file:
            file.write("\t".join(cells(0, 0)) + "\r\n")
            for row in self._rows():
                file.write("\t".join(row) + "\r\n")

    def expected(self) -> Iterator[tuple[dict[str, str | None], dict[str, str | None]]]:
        """What each line that can be read says: SQL column -> text of the family's table, and of `buyers`."""
        cells = _CELLS[self.family.name]
        for number in self.numbers:
            if not self._spoilt(number):
                yield _told(self.family, cells(number, self.states(number)))

    def rejected(self) -> int:
        """How many of its rows cannot be read."""
        return sum(self._spoilt(number) for number in self.numbers)

    def _rows(self) -> Iterator[Iterable[str]]:
        cells = _CELLS[self.family.name]
        for number in reversed(self.numbers) if self.backwards else self.numbers:
            state = self.states(number)
            row = cells(number, state)
            if self._spoilt(number):
                quantity = "quantity" if "quantity" in row else "quantity-purchased"
                yield [*row.values(), "?"] if number % 10_000 == 4_321 else (row | {quantity: "a few"}).values()
                continue
            twice = not self.clean and self.family.changed_by and number % 1_000 == 77
            if twice and number % 2_000 == 77:
                yield cells(number, state - 1).values()
            yield row.values()
            if twice and number % 2_000 != 77:
                yield cells(number, state - 1).values()

    def _spoilt(self, number: int) -> bool:
        return not self.clean and (number % 2_000 == 999 or number % 10_000 == 4_321)


def _all_orders(number: int, state: int) -> dict[str, str]:
    """The cells of a line, in the order of the header. Two lines in seven are of one order."""
    order = number - (number % 7 == 1)
    mixed = number * 2_654_435_761 % 2**32
    sold = _FIRST_SALE + timedelta(seconds=order * 7)
    updated = sold + timedelta(minutes=mixed % 5_000, days=30 * state)
    price = f"{mixed % 20_000 / 100:.2f}"
    city, region = _CITIES[mixed % 5]
    return {
        "amazon-order-id": f"{701 + order % 7}-{order * 7_919 % 10_000_000:07}-{order % 10_000_000:07}",
        "merchant-order-id": f"M-{order}" if order % 3 else "",
        "purchase-date": f"{sold:%Y-%m-%dT%H:%M:%S}+00:00",
        "last-updated-date": f"{updated:%Y-%m-%dT%H:%M:%S}+00:00",
        "order-status": ("Pending", "Shipped", "Shipped", "Cancelled")[(mixed + state) % 4],
        "order-item-id": f"{10_000_000_000_000 + number}",
        "fulfillment-channel": "Amazon" if mixed % 3 else "Merchant",
        "sales-channel": "Amazon.com",
        "order-channel": "",
        "ship-service-level": "Standard" if mixed % 4 else "Expedited",
        "product-name": f"{_TITLES[mixed % 5]} {mixed % 499}",
        "sku": f"SKU-{mixed % 4_999:05}",
        "asin": f"B0{mixed % 99_999_999:08}",
        "item-status": ("Unshipped", "Shipped")[(mixed + state) % 2],
        "quantity": str(1 + (mixed + state) % 5),
        "currency": "USD",
        "item-price": price,
        "item-tax": f"{mixed % 900 / 100:.2f}",
        "shipping-price": "4.99" if mixed % 2 else "",
        "shipping-tax": "0.30" if mixed % 2 else "",
        "gift-wrap-price": "",
        "gift-wrap-tax": "",
        "item-promotion-discount": f"-{mixed % 300 / 100:.2f}" if mixed % 5 == 0 else "",
        "ship-promotion-discount": "0.00" if mixed % 5 == 0 else "",
        "ship-city": city,
        "ship-state": region,
        "ship-postal-code": f"{mixed % 99_999:05}",
        "ship-country": "US",
        "promotion-ids": f"PAWS-{mixed % 97}" if mixed % 5 == 0 else "",
        "is-business-order": "true" if mixed % 9 == 0 else "false",
        "signature-confirmation-recommended": "false",
        "is-iba": "true" if mixed % 11 == 0 else "",
        "parcel-shop": "",
        "greeting": f"Grüße {number}" if number % 1_000 == 5 else "",
    }


def _new_orders(number: int, state: int) -> dict[str, str]:
    order = number - (number % 7 == 1)
    mixed = number * 2_654_435_761 % 2**32
    buyer = order * 2_654_435_761 % 2**32
    sold = _FIRST_SALE + timedelta(seconds=order * 7)
    city, region = _CITIES[buyer % 5]
    name = f"{_NAMES[buyer % 4]} No {buyer % 9_999}"
    return {
        "order-id": f"{701 + order % 7}-{order * 7_919 % 10_000_000:07}-{order % 10_000_000:07}",
        "order-item-id": f"{10_000_000_000_000 + number}",
        "purchase-date": f"{sold:%Y-%m-%dT%H:%M:%S}+00:00",
        "payments-date": f"{sold + timedelta(minutes=buyer % 60):%Y-%m-%dT%H:%M:%S}+00:00",
        "buyer-email": f"b{buyer}@marketplace.example",
        "buyer-name": name,
        "buyer-phone-number": f"+1 555 {buyer % 10_000_000:07}",
        "sku": f"SKU-{mixed % 4_999:05}",
        "product-name": f"{_TITLES[mixed % 5]} {mixed % 499}",
        "quantity-purchased": str(1 + (mixed + state) % 5),
        "currency": "USD",
        "item-price": f"{mixed % 20_000 / 100:.2f}",
        "item-tax": f"{mixed % 900 / 100:.2f}",
        "shipping-price": "4.99" if mixed % 2 else "0.00",
        "shipping-tax": "0.30" if mixed % 2 else "0.00",
        "ship-service-level": "Standard",
        "recipient-name": name,
        "ship-address-1": f"{buyer % 300 + 1} Rue de la Paix",
        "ship-address-2": f"Apt {buyer % 40}" if buyer % 3 == 0 else "",
        "ship-address-3": "",
        "ship-city": city,
        "ship-state": region,
        "ship-postal-code": f"{buyer % 99_999:05}",
        "ship-country": "US",
        "ship-phone-number": f"+1 555 {buyer % 10_000_000:07}",
        "delivery-Instructions": "ring twice" if buyer % 10 == 0 else "",
        "is-business-order": "true" if buyer % 9 == 0 else "false",
        "is-iba": "true" if mixed % 11 == 0 else "",
    }


_CELLS: Mapping[str, Callable[[int, int], dict[str, str]]] = {
    ALL_ORDERS.name: _all_orders,
    NEW_ORDERS.name: _new_orders,
}


def _told(family: Family, cells: dict[str, str]) -> tuple[dict[str, str | None], dict[str, str | None]]:
    """Which column of which table a cell belongs to, by the family's declaration; what it says, by its text."""
    line: dict[str, str | None] = {}
    buyer: dict[str, str | None] = {}
    extras: dict[str, dict[str, str]] = defaultdict(dict)
    for name, cell in cells.items():
        column = family.by_name.get(name.lower())
        if column and column.field:
            (buyer if column.of_buyer else line)[column.field] = cell or None
        elif cell:
            extras["line" if column and not column.of_buyer else "buyer"][name.lower()] = cell
    line[EXTRA], buyer[EXTRA] = json.dumps(extras["line"]), json.dumps(extras["buyer"])
    if family.line_key:
        line["line_key"] = line[family.line_key[0]]
    buyer |= {"order_id": line["order_id"], "line_key": line[family.key[-1]]}
    return line, buyer
