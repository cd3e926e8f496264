"""Amazon's marketplaces as far as sellers here use them: ids, money, charset and manners.

Ids and charsets are those of the MWS documentation and of recorded 2014, 2018 and 2020 traffic: North America and
Europe label their reports windows-1252, Japan windows-31j, Singapore UTF-8.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Marketplace:
    """One country's shop. `offset` is the local time's distance to UTC in hours, as dates in its reports show it."""

    country: str
    marketplace_id: str
    region: str
    domain: str
    currency: str
    decimals: int
    tax_percent: int
    tax_included: bool
    offset: int
    charset: str
    encoding: str
    words: str
    order_prefixes: tuple[str, ...]


_W1252 = ("windows-1252", "cp1252")
_W31J = ("windows-31j", "cp932")
_UTF8 = ("UTF-8", "utf-8")

US = Marketplace(
    "US", "ATVPDKIKX0DER", "NA", "amazon.com", "USD", 2, 8, False, -8, *_W1252, "en", ("111", "112", "114", "058")
)
DE = Marketplace("DE", "A1PA6795UKMFR9", "EU", "amazon.de", "EUR", 2, 19, True, 1, *_W1252, "de", ("028", "302", "305"))
FR = Marketplace("FR", "A13V1IB3VIYZZH", "EU", "amazon.fr", "EUR", 2, 20, True, 1, *_W1252, "de", ("171", "403"))
JP = Marketplace(
    "JP", "A1VC38T7YXB528", "FE", "amazon.co.jp", "JPY", 0, 10, True, 9, *_W31J, "ja", ("249", "250", "503")
)
GB = Marketplace("GB", "A1F83G8C2ARO7P", "EU", "amazon.co.uk", "GBP", 2, 20, True, 0, *_W1252, "en", ("026", "204"))
SG = Marketplace("SG", "A19VAU5U5O7RUS", "FE", "amazon.sg", "SGD", 2, 9, True, 8, *_UTF8, "sg", ("503", "250"))
CA = Marketplace("CA", "A2EUQ1WTGCTBG2", "NA", "amazon.ca", "CAD", 2, 5, False, -5, *_W1252, "en", ("701", "702"))

#: Where the sellers sell, in turn: the first three show the three charsets' troubles, and a seller in two countries.
HOMES: tuple[tuple[Marketplace, ...], ...] = ((US,), (DE, FR), (JP,), (GB,), (SG,), (US, CA))

#: Invented people, streets and titles by language: kept as data, since each charset's rarest characters are the point.
WORDS: dict[str, dict[str, list[Any]]] = json.loads((Path(__file__).parent / "words.json").read_text(encoding="utf-8"))
