"""One cell: Amazon's text to the text that Postgres takes for its type, or the reason why not.

Values stay text, in one canonical form for each type ("20.00", "2", "true", "2026-05-08T23:36:26+00:00"), so that they
go through COPY and JSON without another conversion. What is not surely right is refused: a wrong row is worse than a
rejected one, which is counted and named. A reason never holds the cell's text.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orderdrain.families import CellType
    from orderdrain.marketplaces import Style

    #: A cell that is not blank, and how its marketplaces write -> the value.
    Reader = Callable[[str, Style], str]

#: No amount of money is longer, and Postgres keeps each of its digits.
MAX_MONEY = 40
#: Amazon allows 40 characters in a SKU; what is far longer is damage, and would not fit an index of Postgres.
MAX_CODE = 200
MAX_INTEGER = 2**31 - 1

# Amazon's words for "nothing", in cells of any type.
_BLANK = frozenset(("--", "N/A", "n/a"))
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_SPREADSHEET = re.compile(r"[0-9]+([.,][0-9]+)?[eE][+-]?[0-9]+|[0-9]+[.,][0-9]+|#+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_INTEGER = re.compile(r"[+-]?[0-9]{1,10}")
_MONEY = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
# Under a decimal comma (or when we do not know) 1.210 may be one and a bit, or more than a thousand.
_TWO_WAYS = re.compile(r"[+-]?[1-9][0-9]{0,2}\.[0-9]{3}")
# With cents there is no doubt which sign is which: 1,210.00 and 1.210,00.
_GROUPED = {
    ".": re.compile(r"[+-]?[0-9]{1,3}(,[0-9]{3})+\.[0-9]{1,2}"),
    ",": re.compile(r"[+-]?([0-9]{1,3}(\.[0-9]{3})+|[0-9]+),[0-9]{1,2}"),
}
_NUMBER_LIKE = re.compile(r"[+-]?[0-9.,' \u00a0\u202f]+")
_CURRENCY = re.compile(r"[A-Z]{3}")
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_US_DATE = re.compile(r"([0-9]{2})-([0-9]{2})-([0-9]{4})")
_INSTANT = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[T ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,6}))?"
    r"(?:(Z)|([+-])([0-9]{2}):?([0-9]{2}))?"
)
_BOOLEAN = {"true": "true", "yes": "true", "false": "false", "no": "false"}


class Unreadable(Exception):
    """A cell, or a row, that cannot be read. `reason` completes "this column ..." or "this row ..."."""

    def __init__(self, reason: str, *, column: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.column = column


def unpadded(cell: str) -> str:
    """A cell without its padding; nothing where it is blank, also with white space of any kind, or a word for it."""
    cell = cell.strip(" ")
    return "" if cell.isspace() or cell in _BLANK else cell


def read_cell(cell: str, kind: CellType, style: Style) -> str | None:
    """The value of a cell in canonical form, None where it is blank. Raises Unreadable.

    Blanks around it are Amazon's padding.
    """
    cell = unpadded(cell)
    if not cell:
        return None
    if "\0" in cell:
        raise Unreadable("holds a NUL character, which Postgres does not take")
    return READERS[kind](cell, style)


def _text(cell: str, _style: Style) -> str:
    return cell


def _code(cell: str, _style: Style) -> str:
    if len(cell) > MAX_CODE:
        raise Unreadable(f"has {len(cell):,} characters, at most {MAX_CODE} are taken")
    return cell


def _id(cell: str, _style: Style) -> str:
    if _SPREADSHEET.fullmatch(cell):
        raise Unreadable("was damaged by a spreadsheet: the digits of the id are gone")
    if _CONTROL.search(cell):
        raise Unreadable("holds a control character")
    if not _ID.fullmatch(cell):
        raise Unreadable(f"does not look like an id ({len(cell):,} characters)")
    return cell


def _integer(cell: str, _style: Style) -> str:
    if not _INTEGER.fullmatch(cell):
        raise Unreadable(f"is not a whole number ({len(cell):,} characters)")
    number = int(cell)
    if abs(number) > MAX_INTEGER:
        raise Unreadable(f"is a number too large ({len(cell):,} characters)")
    return str(number)


@lru_cache(maxsize=4096)
def _money(cell: str, style: Style) -> str:
    """Exactly the digits that Amazon wrote; `1.210,00 €` only where the marketplaces write so."""
    amount = cell.removeprefix(style.symbol).removesuffix(style.symbol) if style.symbol else cell
    amount = amount.strip(" \u00a0\u202f")
    if len(amount) > MAX_MONEY:
        raise Unreadable(f"is longer than any amount of money ({len(cell):,} characters)")
    if _MONEY.fullmatch(amount) and not (style.decimal != "." and _TWO_WAYS.fullmatch(amount)):
        return amount.removeprefix("+")
    if style.decimal and _GROUPED[style.decimal].fullmatch(amount):
        grouping = "," if style.decimal == "." else "."
        return amount.replace(grouping, "").replace(",", ".").removeprefix("+")
    if _NUMBER_LIKE.fullmatch(amount):
        raise Unreadable("may be read in more than one way here: which sign is the decimal one is not sure")
    raise Unreadable(f"is not an amount of money ({len(cell):,} characters)")


def _currency(cell: str, _style: Style) -> str:
    if not _CURRENCY.fullmatch(cell):
        raise Unreadable(f"is not a currency of three letters ({len(cell):,} characters)")
    return cell


@lru_cache(maxsize=4096)
def _timestamp(cell: str, style: Style) -> str:
    """The instant in UTC. A date alone is its midnight in UTC; 05-17-2011 is the form of the old American reports."""
    try:
        if found := _INSTANT.fullmatch(cell):
            return _instant(found).isoformat()
        if found := _DATE.fullmatch(cell):
            year, month, day = map(int, found.groups())
        elif found := _US_DATE.fullmatch(cell):
            month, day, year = map(int, found.groups())
            if style.region != "NA" and day <= 12:
                raise Unreadable("may be read in two ways here: which number is the month is not sure")
        else:
            raise Unreadable(f"is no date in any form of Amazon's ({len(cell):,} characters)")
        return datetime(year, month, day, tzinfo=UTC).isoformat()
    except (ValueError, OverflowError) as error:
        raise Unreadable("is a date or time that does not exist") from error


def _instant(found: re.Match[str]) -> datetime:
    year, month, day, hour, minute, second = map(int, found.groups()[:6])
    fraction, utc, sign, hours, minutes = found.groups()[6:]
    if utc:
        zone = UTC
    elif sign is None:
        raise Unreadable("is a time without an offset: which instant it means is not sure")
    elif int(hours) > 14 or int(minutes) > 59:
        raise Unreadable("has an offset that no place on earth has")
    else:
        offset = timedelta(hours=int(hours), minutes=int(minutes))
        zone = timezone(-offset if sign == "-" else offset)
    microsecond = int((fraction or "").ljust(6, "0"))
    return datetime(year, month, day, hour, minute, second, microsecond, tzinfo=zone).astimezone(UTC)


def _boolean(cell: str, _style: Style) -> str:
    found = _BOOLEAN.get(cell.lower())
    if found is None:
        raise Unreadable(f"is neither true nor false ({len(cell):,} characters)")
    return found


READERS: Mapping[CellType, Reader] = {
    "id": _id,
    "code": _code,
    "text": _text,
    "integer": _integer,
    "money": _money,
    "currency": _currency,
    "timestamp": _timestamp,
    "boolean": _boolean,
}
