"""What is sold: believable orders whose lines are computed when somebody looks, not when they are sold.

An order knows when it was sold and when it changed; its content is a function of the seed. So a seller may have a
hundred thousand of them and start at once.

A *form* is the state of an order between two changes: form 0 as it began, form 1 after the first change, and so on.
That it was paid for or shipped is a change of its status alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING

from emulator.marketplaces import WORDS

if TYPE_CHECKING:
    from emulator.marketplaces import Marketplace
    from emulator.sellers import Product, Seller

#: How many lines orders have, in turn.
_SIZES = (1, 2, 1, 1, 3, 1, 2, 1, 4, 1)

#: One line of an order: column name to the text in the file. Columns that no layout shows do no harm.
Line = dict[str, str]


@dataclass(slots=True, eq=False)
class Order:
    """`sold_at` is when it left Pending. `changes` are moments in ascending order; `statuses` the status that it has
    from a form on, Unshipped without one. `pending_since` is when it was placed, where it waited for its payment."""

    seller: Seller
    serial: int
    order_id: str
    sold_at: datetime
    changes: tuple[datetime, ...] = ()
    statuses: dict[int, str] = field(default_factory=dict)
    given: dict[int, list[Line]] = field(default_factory=dict)
    pending_since: datetime | None = None
    by_amazon: bool = False

    @property
    def marketplace(self) -> Marketplace:
        """Where it was sold: most orders come from the seller's home."""
        return self.seller.marketplaces[-1] if self.serial % 4 == 3 else self.seller.home

    def form_at(self, moment: datetime) -> int:
        """Which form it has at `moment`."""
        return sum(change <= moment for change in self.changes)

    @property
    def placed_at(self) -> datetime:
        """When its buyer placed it."""
        return self.pending_since or _begin(self)[2]

    def updated_at(self, form: int) -> datetime:
        """When it came into that form."""
        return self.changes[form - 1] if form else self.pending_since or self.sold_at

    def status(self, form: int) -> str:
        """Pending, Unshipped, Shipped or Cancelled, in that form."""
        return next((word for known, word in sorted(self.statuses.items(), reverse=True) if known <= form), "Unshipped")

    def is_fulfillable(self, form: int) -> bool:
        """Whether the seller has it to ship, or had: it was paid for, and Amazon does not ship it."""
        return not self.by_amazon and self.status(form) != "Pending"

    def size(self, form: int) -> int:
        """How many lines it has in that form."""
        base = self._given_by(form)
        return _SIZES[self.serial % len(_SIZES)] if base is None else len(self.given[base])

    def lines(self, form: int) -> list[Line]:
        """Its lines in that form. Fresh dictionaries: the caller may change them."""
        base = self._given_by(form)
        known = _lines_as_sold(self, self.sold_at) if base is None else self.given[base]
        lines = [dict(line) for line in known]
        for number in range(base or 0, form):
            if number + 1 not in self.statuses:
                _change(lines, Random(f"{self.seller.seed}/{self.seller.account}/{self.serial}/change/{number}"), self)
        return lines

    def give(self, lines: list[Line], moment: datetime, status: str | None = None) -> None:
        """From `moment` on it has these very lines, and that status; what would have changed by itself later no longer
        does.

        A form that a report may have told already is never touched: a report's bytes do not change.
        """
        before = self.status(self.form_at(moment))
        self.changes = (*(change for change in self.changes if change <= moment), moment)
        form = len(self.changes)
        self.statuses = {known: word for known, word in self.statuses.items() if known < form}
        self.given = {known: told for known, told in self.given.items() if known < form}
        self.given[form] = lines
        if status and status != before:
            self.statuses[form] = status
            if before == "Pending":
                self.sold_at = moment.replace(microsecond=0)

    def _given_by(self, form: int) -> int | None:
        """The newest form up to this one whose lines were given by hand."""
        return max((known for known in self.given if known <= form), default=None)


def make_order_id(seller: Seller, serial: int) -> str:
    """`nnn-nnnnnnn-nnnnnnn`, different for every serial number of a seller."""
    prefixes = seller.home.order_prefixes
    spread = (serial * 73_687_879_009 + 1_234_567_890_123 * (seller.number + 1)) % 10**14
    return f"{prefixes[serial % len(prefixes)]}-{spread // 10**7:07}-{spread % 10**7:07}"


def make_item_id(seller: Seller, serial: int, line: int) -> str:
    """13 to 15 digits by seller, leading zeros kept, different for every line of a seller."""
    width = 13 + seller.number % 3
    return f"{((serial * 16 + line) * 61_803_398_871 + 271_828_182_845 * seller.number) % 10**width:0{width}}"


# Reports of every family tell the same orders again and again; all have at least what was sold last.
@lru_cache(maxsize=4096)
def _lines_as_sold(order: Order, _sold_at: datetime) -> list[Line]:
    seller = order.seller
    marketplace = order.marketplace
    random, buyer, placed = _begin(order)
    common = _common_cells(order, random, marketplace, buyer, placed)
    products = random.sample(seller.goods[marketplace.country], k=order.size(0))
    common["number-of-items"] = str(len(products))
    return [
        common | _line_cells(order, random, marketplace, number, product)
        for number, product in enumerate(products, start=1)
    ]


def _begin(order: Order) -> tuple[Random, str, datetime]:
    """The chance that the rest of its content comes of, the buyer, and when it was placed."""
    random = Random(f"{order.seller.seed}/{order.seller.account}/{order.serial}")
    buyer = _name(random, order.marketplace.words)
    placed = order.sold_at - timedelta(seconds=random.randrange(60, 1800))
    return random, buyer, order.pending_since or placed


def _common_cells(order: Order, random: Random, marketplace: Marketplace, buyer: str, placed: datetime) -> Line:
    words = WORDS[marketplace.words]
    local = timezone(timedelta(hours=marketplace.offset))
    ship_by = (order.sold_at + timedelta(days=2)).astimezone(local).replace(hour=23, minute=59, second=59)
    city, state, postal_code = random.choice(words["cities"])
    phone = f"555-01{random.randrange(100):02}"
    business = random.random() < 0.1
    # Offsets are mixed within one row in real files: the purchase in local time, the payment often in UTC.
    paid_zone = random.choice((local, UTC))
    return {
        "order-id": order.order_id,
        "purchase-date": iso_with_offset(placed.astimezone(local)),
        "payments-date": iso_with_offset(order.sold_at.astimezone(paid_zone)),
        "buyer-email": f"{random.randbytes(7).hex()}@marketplace.{marketplace.domain}",
        "buyer-name": buyer,
        "buyer-phone-number": phone,
        "currency": marketplace.currency,
        "ship-service-level": random.choice(("Standard", "Standard", "Standard", "Expedited", "SecondDay", "NextDay")),
        "recipient-name": buyer if random.random() < 0.8 else _name(random, marketplace.words),
        "ship-address-1": random.choice(words["streets"]).format(n=random.randrange(1, 300)),
        "ship-address-2": random.choice(words["second"]),
        "ship-city": city,
        "ship-state": state,
        "ship-postal-code": postal_code,
        "ship-country": marketplace.country,
        "ship-phone-number": phone,
        "sales-channel": marketplace.domain.capitalize(),
        "earliest-ship-date": iso_with_offset(order.sold_at),
        "latest-ship-date": iso_with_offset(ship_by),
        "earliest-delivery-date": iso_with_offset(ship_by + timedelta(days=1)),
        "latest-delivery-date": iso_with_offset(ship_by + timedelta(days=4)),
        "is-business-order": "true" if business else "false",
        "purchase-order-number": f"PO-{random.randrange(10000):05}" if business else "",
        "price-designation": "Business Price" if business else "",
        "is-prime": random.choice(("true", "false")),
        "signature-confirmation-recommended": "false",
        "is-buyer-requested-cancellation": "false",
    }


def _line_cells(order: Order, random: Random, marketplace: Marketplace, number: int, product: Product) -> Line:
    quantity = random.choices((1, 2, 3, 12), weights=(75, 15, 7, 3))[0]
    line = {
        "order-item-id": make_item_id(order.seller, order.serial, number),
        "sku": product.sku,
        "product-name": product.title,
        "item-promotion-discount": "",
        "item-promotion-id": "",
    }
    _price(line, marketplace, product.cents, quantity)
    line["shipping-price"] = money(marketplace, random.choice((0, 0, 399, 599)))
    line["shipping-tax"] = money(marketplace, 0)
    if random.random() < 0.1:
        line["item-promotion-discount"] = money(marketplace, product.cents // 10)
        line["item-promotion-id"] = f"Coupon {random.randrange(1000)}"
    return line


def _change(lines: list[Line], random: Random, order: Order) -> None:
    """What buyers and sellers do after the sale. A line never vanishes: a cancelled one stays with quantity 0."""
    kind = random.choice(("address", "service", "quantity", "cancelled"))
    line = random.choice(lines)
    quantity = int(line["quantity-purchased"])
    if kind == "service":
        for each in lines:
            each["ship-service-level"] = "Scheduled" if each["ship-service-level"] == "Expedited" else "Expedited"
    elif kind == "address" or quantity == 0:
        street = random.choice(WORDS[order.seller.home.words]["streets"]).format(n=random.randrange(300, 600))
        for each in lines:
            each["ship-address-1"] = street
    else:
        marketplace = next(m for m in order.seller.marketplaces if m.country == line["ship-country"])
        product = next(p for p in order.seller.goods[marketplace.country] if p.title == line["product-name"])
        _price(line, marketplace, product.cents, quantity - 1 if kind == "quantity" else 0)


def _price(line: Line, marketplace: Marketplace, cents: int, quantity: int) -> None:
    """Prices in order reports are totals of the line; whether they contain the tax depends on the marketplace."""
    total = cents * quantity
    percent = marketplace.tax_percent
    tax = total * percent // (100 + percent) if marketplace.tax_included else total * percent // 100
    line["quantity-purchased"] = str(quantity)
    line["item-price"] = money(marketplace, total)
    line["item-tax"] = money(marketplace, tax)


def money(marketplace: Marketplace, cents: int) -> str:
    """An amount in the smallest unit of its currency, as reports write it."""
    return f"{cents / 10**marketplace.decimals:.{marketplace.decimals}f}"


def _name(random: Random, language: str) -> str:
    first, last = random.choice(WORDS[language]["first"]), random.choice(WORDS[language]["last"])
    return f"{last}\u3000{first}" if language == "ja" else f"{first} {last}"


def iso_with_offset(moment: datetime) -> str:
    """A time as reports write it: to the second, with an offset."""
    return moment.isoformat(timespec="seconds")
