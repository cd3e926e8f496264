"""Amazon's marketplaces: the few facts about them that decide how a report is read.

Ids, countries and regions are Amazon's documented ones. Charsets are those that recorded answers of 2018 to 2020 named:
windows-1252 in North America and Europe, windows-31j in Japan, UTF-8 in Singapore. None was recorded for Australia, so
none is assumed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

Region = Literal["NA", "EU", "FE"]


@dataclass(frozen=True)
class Marketplace:
    """How one marketplace writes. `decimal` is the sign before the cents; None where both are in use."""

    marketplace_id: str
    country: str
    region: Region
    currency: str
    decimal: Literal[".", ","] | None
    charset: str | None


@dataclass(frozen=True)
class Style:
    """What the marketplaces of an account agree on; None (or nothing) where they differ or one is unknown here."""

    decimal: Literal[".", ","] | None = None
    symbol: str | None = None
    region: Region | None = None
    charset: str | None = None


MARKETPLACES = {
    marketplace.marketplace_id: marketplace
    for marketplace in (
        Marketplace("A2EUQ1WTGCTBG2", "CA", "NA", "CAD", None, "cp1252"),
        Marketplace("ATVPDKIKX0DER", "US", "NA", "USD", ".", "cp1252"),
        Marketplace("A1AM78C64UM0Y8", "MX", "NA", "MXN", ".", "cp1252"),
        Marketplace("A2Q3Y263D00KWC", "BR", "NA", "BRL", ",", "cp1252"),
        Marketplace("A2VIGQ35RCS4UG", "AE", "EU", "AED", ".", "cp1252"),
        Marketplace("AMEN7PMS3EDWL", "BE", "EU", "EUR", ",", "cp1252"),
        Marketplace("A1PA6795UKMFR9", "DE", "EU", "EUR", ",", "cp1252"),
        Marketplace("ARBP9OOSHTCHU", "EG", "EU", "EGP", ".", "cp1252"),
        Marketplace("A1RKKUPIHCS9HS", "ES", "EU", "EUR", ",", "cp1252"),
        Marketplace("A13V1IB3VIYZZH", "FR", "EU", "EUR", ",", "cp1252"),
        Marketplace("A1F83G8C2ARO7P", "GB", "EU", "GBP", ".", "cp1252"),
        Marketplace("A28R8C7NBKEWEA", "IE", "EU", "EUR", ".", "cp1252"),
        Marketplace("A21TJRUUN4KGV", "IN", "EU", "INR", ".", "cp1252"),
        Marketplace("APJ6JRA9NG5V4", "IT", "EU", "EUR", ",", "cp1252"),
        Marketplace("A1805IZSGTT6HS", "NL", "EU", "EUR", ",", "cp1252"),
        Marketplace("A1C3SOZRARQ6R3", "PL", "EU", "PLN", ",", "cp1252"),
        Marketplace("A17E79C6D8DWNP", "SA", "EU", "SAR", ".", "cp1252"),
        Marketplace("A2NODRKZP88ZB9", "SE", "EU", "SEK", ",", "cp1252"),
        Marketplace("A33AVAJ2PDY3EV", "TR", "EU", "TRY", ",", "cp1252"),
        Marketplace("AE08WJ6YKNBMC", "ZA", "EU", "ZAR", None, "cp1252"),
        Marketplace("A39IBJ37TRP1C6", "AU", "FE", "AUD", ".", None),
        Marketplace("A1VC38T7YXB528", "JP", "FE", "JPY", ".", "cp932"),
        Marketplace("A19VAU5U5O7RUS", "SG", "FE", "SGD", ".", "utf-8"),
    )
}

_SYMBOLS = {"EUR": "€", "GBP": "£", "USD": "$", "JPY": "¥"}


def style_of(marketplaces: Iterable[str]) -> Style:
    """What all these marketplaces (ids) write alike. An id that is unknown here agrees with nobody."""
    known = [MARKETPLACES.get(marketplace_id) for marketplace_id in marketplaces]
    found = [marketplace for marketplace in known if marketplace]
    if not found or len(found) < len(known):
        return Style()
    first = found[0]
    return Style(
        decimal=first.decimal if all(m.decimal == first.decimal for m in found) else None,
        symbol=_SYMBOLS.get(first.currency) if all(m.currency == first.currency for m in found) else None,
        region=first.region if all(m.region == first.region for m in found) else None,
        charset=first.charset if all(m.charset == first.charset for m in found) else None,
    )
