"""A report's bytes: which columns, in which order, charset and line ends. Rendered when asked for, never kept."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from emulator.marketplaces import Marketplace
    from emulator.orders import Line, Order
    from emulator.sellers import Seller

NEW_ORDERS = "_GET_FLAT_FILE_ORDERS_DATA_"

#: Layouts of the New Orders report as seen between 2009 and 2026: the names of the columns, in order.
_LAYOUTS: dict[str, str] = json.loads((Path(__file__).parent / "layouts.json").read_text(encoding="utf-8"))
#: By country: the layout when scheduled, and when requested. MWS documentation: the format "differs slightly".
_LAYOUT_OF = {
    "US": ("north_america", "business"),
    "JP": ("base", "japan_requested"),
}
_ELSEWHERE = ("base", "business")


@dataclass(frozen=True)
class Report:
    """A file that Amazon made. `told` names each order in it and the form it had; `body` is set for given bytes only.

    `available_at` is a whole second, as in the listing: what is newer must not hang on a fraction that nobody is told.
    """

    seller: Seller
    report_id: str
    request_id: str
    report_type: str
    available_at: datetime
    columns: tuple[str, ...] = ()
    told: tuple[tuple[Order, int], ...] = ()
    body: bytes | None = None
    content_type: str = ""
    requested: bool = False
    foreign: bool = False
    api: str = "mws"

    @property
    def newness(self) -> tuple[datetime, int]:
        """Which of two reports tells the newer form: made later, or of the higher number."""
        return self.available_at, int(self.report_id)

    def lines(self) -> Iterator[Line]:
        """Its lines as its own columns tell them, in file order."""
        for order, form in self.told:
            for line in order.lines(form):
                yield self.as_told(line)

    def as_told(self, line: Line) -> Line:
        """The cells of a line that this report's layout shows."""
        return {column: line.get(column, "") for column in self.columns}

    def render(self) -> bytes:
        """The very bytes that GetReport sends; never empty, there is at least the header line."""
        if self.body is not None:
            return self.body
        end = "\r\n" if self.seller.home.region == "EU" else "\n"
        rows = ["\t".join(self.columns), *("\t".join(line.values()) for line in self.lines())]
        return (end.join(rows) + end).encode(self.seller.home.encoding)


def make_columns(seller: Seller, *, requested: bool, sales_channel: bool = False) -> tuple[str, ...]:
    """The layout that this seller's report has. ShowSalesChannel (a report option) adds a column."""
    layout = _LAYOUT_OF.get(seller.home.country, _ELSEWHERE)[requested]
    return (*_LAYOUTS[layout].split(), *(["sales-channel"] if sales_channel else []))


def make_content_type(marketplace: Marketplace, number: int) -> str:
    """Recorded traffic: `text/plain` with the charset, now and then `application/octet-stream` without any."""
    return "application/octet-stream" if number % 8 == 7 else f"text/plain;charset={marketplace.charset}"


def content_md5(body: bytes) -> str:
    """The value of a Content-MD5 header."""
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
