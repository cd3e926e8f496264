"""What a column is, what a family is, and how an XML document tells the columns of a flat file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

#: How a cell is read (orderdrain/parsers/cells.py), and what Postgres keeps.
SQL_TYPES = {
    "id": "text",
    "code": "text",
    "text": "text",
    "integer": "integer",
    "money": "numeric",
    "currency": "text",
    "timestamp": "timestamptz",
    "boolean": "boolean",
    "json": "jsonb",
}

CellType = Literal["id", "code", "text", "integer", "money", "currency", "timestamp", "boolean"]
Group = Literal["contact", "ship_address", "bill_address", "gift", "tax", "extra"]

#: The column that keeps, by header name, what has no column of its own: one in the table, one in `buyers`.
EXTRA: Final = "extra"
#: The key column that no report has: it is made for lines that Amazon gives no id (see Family.line_key).
LINE_KEY: Final = "line_key"


@dataclass(frozen=True)
class Column:
    """One column of a report.

    `field` is our SQL column, None where the value is kept in `extra`. `required` means twice: a report without the
    column is none of this family, a row without a value in it is no line. A personal column lives in `buyers`, in its
    group, unless it is `in_line`: then it stays in the family's table. `source` says where the column was seen.
    """

    name: str
    field: str | None = None
    type: CellType = "text"
    required: bool = False
    personal: Group | None = None
    in_line: bool = False
    source: str = ""

    @property
    def of_buyer(self) -> bool:
        """Whether it lives in `buyers`."""
        return self.personal is not None and not self.in_line

    @property
    def shown_as(self) -> str:
        """Its name in what `orderdrain parse` prints: ours, but Amazon's for a time (`purchase_date`)."""
        amazons = self.name.lower().replace("-", "_")
        return amazons if self.field is None or self.type == "timestamp" else self.field


@dataclass(frozen=True, eq=False)
class XmlLayout:
    """How a family's XML documents tell its columns.

    A path leads from the order's element to a value: `BillingData/BuyerName`, `Item/Quantity`; a path's repetition has
    its number at the end. Every document tells the `columns`, and those `where_seen` only if it has them at all: what a
    version of the format leaves out it does not call blank. The values are Amazon's header names in flat files.

    A type is text of the file, and may say anything. In place of its element's name it stands only where that is one of
    `by_type`, written with the element around it: `ItemPrice/Component` makes `Item/ItemPrice/Principal`. After the
    name it stands in one of `with_type`, which hold no declared path: `CustomerOrderInfo/IsPrime` is no `IsPrime`. Of
    any other element a `Type` is a value like others.

    One of `impersonal` is kept with the line, or all below it where it ends in `/`; what else has no column is
    personal.
    """

    message_type: str
    order: str
    item: str
    columns: Mapping[str, str]
    where_seen: Mapping[str, str]
    by_type: tuple[str, ...] = ()
    with_type: tuple[str, ...] = ()
    impersonal: tuple[str, ...] = ()

    def is_impersonal(self, path: str) -> bool:
        """Whether what has this path, and no column, is nobody's."""
        element, _, number = path.rpartition("/")
        return (element if number.isdigit() else path) in self.impersonal or path.startswith(self._impersonal_below)

    @cached_property
    def _impersonal_below(self) -> tuple[str, ...]:
        return tuple(name for name in self.impersonal if name.endswith("/"))

    @cached_property
    def names(self) -> dict[str, str]:
        """Path -> Amazon's header name of what has a column."""
        return {**self.columns, **self.where_seen}


@dataclass(frozen=True, eq=False)
class Family:
    """Report types with the same content. `columns` are in the order of the table's columns.

    `changed_by` is the column that says how new a line is; without one a line is as new as its report. `line_key` are
    the columns of which the first that is not blank tells a line from the others of its order: the first of them is an
    id, the rest need a number beside them. `snapshot`: a report is a picture of all that there is, so a line that is
    missing from it says something too.
    """

    name: str
    table: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    changed_by: str | None = None
    line_key: tuple[str, ...] = ()
    snapshot: bool = False
    xml: XmlLayout | None = None

    @cached_property
    def version(self) -> tuple[str, ...]:
        """The SQL columns that say which of two lines is newer, the weightiest first. `is_whole`: of a set of lines
        without ids, that no row of it was rejected."""
        own = (*(("is_whole",) if self.line_key else ()), *(("changed_at",) if self.changed_by else ()))
        return (*own, "as_of", "report_id", "line")

    @property
    def keeps_digests(self) -> bool:
        """Whether a line may be known again by its digest. A snapshot's lines all differ from those of the one before,
        by their time."""
        return not self.snapshot

    @cached_property
    def by_name(self) -> dict[str, Column]:
        """Column by Amazon's header name in lower case: files differ in it (`delivery-Instructions`)."""
        return {column.name.lower(): column for column in self.columns}

    @cached_property
    def line_fields(self) -> dict[str, str]:
        """SQL column -> SQL type of the family's table, as far as a report fills it; `extra` last."""
        made = {LINE_KEY: SQL_TYPES["text"]} if self.line_key else {}
        own = {c.field: SQL_TYPES[c.type] for c in self.columns if c.field and not c.of_buyer}
        return {**made, **own, EXTRA: SQL_TYPES["json"]}

    @cached_property
    def in_line(self) -> tuple[str, ...]:
        """SQL columns of the family's table that are personal: one group, which a report tells whole or not at all."""
        return tuple(c.field for c in self.columns if c.in_line and c.field)

    @cached_property
    def buyer_groups(self) -> dict[str, tuple[str, ...]]:
        """Group -> its SQL columns in `buyers`. What has no column of its own is the group `extra`."""
        groups: dict[str, tuple[str, ...]] = {}
        for column in self.columns:
            if column.personal and column.of_buyer and column.field:
                groups[column.personal] = (*groups.get(column.personal, ()), column.field)
        return {**groups, EXTRA: (EXTRA,)}


#: Who bought, where it goes and who pays, as several families have them.
CONTACT = (
    Column("buyer-email", "buyer_email", personal="contact"),
    Column("buyer-name", "buyer_name", personal="contact"),
    Column("buyer-phone-number", "buyer_phone", personal="contact"),
)
SHIP_ADDRESS = (
    Column("recipient-name", "recipient_name", personal="ship_address"),
    Column("ship-address-1", "ship_address_1", personal="ship_address"),
    Column("ship-address-2", "ship_address_2", personal="ship_address"),
    Column("ship-address-3", "ship_address_3", personal="ship_address"),
    Column("ship-city", "ship_city", personal="ship_address"),
    Column("ship-state", "ship_state", personal="ship_address"),
    Column("ship-postal-code", "ship_postal_code", personal="ship_address"),
    Column("ship-country", "ship_country", personal="ship_address"),
)
BILL_ADDRESS = (
    Column("bill-address-1", "bill_address_1", personal="bill_address"),
    Column("bill-address-2", "bill_address_2", personal="bill_address"),
    Column("bill-address-3", "bill_address_3", personal="bill_address"),
    Column("bill-city", "bill_city", personal="bill_address"),
    Column("bill-state", "bill_state", personal="bill_address"),
    Column("bill-postal-code", "bill_postal_code", personal="bill_address"),
    Column("bill-country", "bill_country", personal="bill_address"),
)


def seen(source: str, *columns: Column) -> tuple[Column, ...]:
    """These columns, each with where it was seen."""
    return tuple(replace(column, source=source) for column in columns)
