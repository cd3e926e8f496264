"""A report's bytes: what its type tells, in which columns, charset and line ends. Rendered when asked for, never kept.

What each family of report types tells is in a module of its own here, with its columns and its XML.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from emulator.marketplaces import Marketplace
    from emulator.orders import Line, Order
    from emulator.reports.kind import Kind
    from emulator.sellers import Seller

NEW_ORDERS = "_GET_FLAT_FILE_ORDERS_DATA_"

#: What names a buyer or says where he is, in any family's columns.
_PERSONAL = ("buyer-", "recipient-", "ship-", "bill-", "tax-location-")
_IMPERSONAL = frozenset({"ship-service-level", "ship-promotion-discount", "ship-promotion-id", "ship-method"})


@dataclass(frozen=True)
class Report:
    """A file that Amazon made. `told` names each order in it and the form it had; `body` is set for given bytes only.

    `available_at` is a whole second, as in the listing: what is newer must not hang on a fraction that nobody is told.
    `taken_at` is when it looked at the orders. `withheld`: without the right to see buyers their cells are blank.
    """

    seller: Seller
    report_id: str
    request_id: str
    report_type: str
    available_at: datetime
    kind: Kind | None = None
    columns: tuple[str, ...] = ()
    told: tuple[tuple[Order, int], ...] = ()
    taken_at: datetime | None = None
    body: bytes | None = None
    content_type: str = ""
    requested: bool = False
    foreign: bool = False
    withheld: bool = False
    api: str = "mws"

    @property
    def newness(self) -> tuple[datetime, int]:
        """Which of two reports tells the newer form: made later, or of the higher number."""
        return self.available_at, int(self.report_id)

    @property
    def hides_buyers(self) -> bool:
        """Whether it would name buyers, and does not."""
        return self.withheld and self.kind is not None and self.kind.names_buyers

    def lines(self) -> Iterator[Line]:
        """Its lines as its own columns tell them, in file order."""
        for order, form in self.told:
            yield from self.lines_of(order, form)

    def lines_of(self, order: Order, form: int) -> Iterator[Line]:
        """The lines of one order in that form, as its own columns tell them."""
        if self.kind:
            for line in self.kind.lines(order, form, self.taken_at or self.available_at):
                yield self.as_told(line)

    @cached_property
    def count(self) -> int:
        """How many lines it has."""
        if self.kind and self.kind.family == "new_orders":
            return sum(order.size(form) for order, form in self.told)  # known without making them
        return sum(1 for _ in self.lines())

    def as_told(self, line: Line) -> Line:
        """The cells of a line that this report's layout shows."""
        return {c: "" if self.hides_buyers and is_personal(c) else line.get(c, "") for c in self.columns}

    def render(self) -> bytes:
        """The very bytes that GetReport sends; never empty, there is at least the header line."""
        if self.body is not None or self.kind is None:
            return self.body or b""
        return self.kind.write(self.seller, self.columns, self.lines()).encode(self.seller.home.encoding)


def is_personal(column: str) -> bool:
    """Whether it tells of a buyer."""
    return column.startswith(_PERSONAL) and column not in _IMPERSONAL


def make_columns(kind: Kind | None, seller: Seller, *, requested: bool, sales_channel: bool = False) -> tuple[str, ...]:
    """The layout that this seller's report has. ShowSalesChannel (a report option) adds a column to a flat file."""
    columns = kind.columns(seller, requested) if kind else ()
    return (*columns, "sales-channel") if sales_channel and columns and "sales-channel" not in columns else columns


def make_content_type(marketplace: Marketplace, number: int) -> str:
    """Recorded traffic: `text/plain` with the charset, now and then `application/octet-stream` without any."""
    return "application/octet-stream" if number % 8 == 7 else f"text/plain;charset={marketplace.charset}"


def content_md5(body: bytes) -> str:
    """The value of a Content-MD5 header."""
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
