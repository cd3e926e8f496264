"""Who sells: invented sellers with their keys, marketplaces and goods, the same for the same seed."""

from __future__ import annotations

import base64
import string
import uuid
from dataclasses import dataclass
from random import Random
from typing import Any

from emulator.marketplaces import HOMES, WORDS, Marketplace

_NAMES = (
    "acme",
    "bravo",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "harbor",
    "indigo",
    "juniper",
    "kestrel",
    "lumen",
)


@dataclass(frozen=True)
class Product:
    """`cents` is the price of one, in the smallest unit of the marketplace's currency."""

    sku: str
    title: str
    cents: int


@dataclass(frozen=True)
class Seller:
    """One selling partner. `auth_token` is set where a third party's keys need the seller's leave to be used."""

    seed: int
    number: int
    account: str
    seller_id: str
    access_key: str
    secret_key: str
    auth_token: str | None
    client_id: str
    client_secret: str
    refresh_token: str
    marketplaces: tuple[Marketplace, ...]
    goods: dict[str, tuple[Product, ...]]  # by country

    @property
    def home(self) -> Marketplace:
        """The marketplace whose charset and layouts its reports have."""
        return self.marketplaces[0]

    @property
    def old_manners(self) -> bool:
        """Whether answers look as recorded in 2014 (one line, an empty NextToken) or as in 2018."""
        return self.number % 3 == 2

    def as_account(self, *apis: str) -> dict[str, Any]:
        """What a client needs to know to call for this seller over `mws`, `sp-api` or both."""
        mws = {
            "access_key": self.access_key,
            "secret_key": self.secret_key,
            "mws_auth_token": self.auth_token,
        }
        sp_api = {
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "refresh_token": self.refresh_token,
        }
        known = {
            "account": self.account,
            "seller_id": self.seller_id,
            **(mws if "mws" in apis else {}),
            **(sp_api if "sp-api" in apis else {}),
            "region": self.home.region,
            "marketplaces": [marketplace.marketplace_id for marketplace in self.marketplaces],
        }
        return {name: value for name, value in known.items() if value is not None}


def make_sellers(seed: int, count: int) -> list[Seller]:
    """`count` sellers; the first N of a larger number are the same N."""
    return [_make_seller(seed, number) for number in range(count)]


def _make_seller(seed: int, number: int) -> Seller:
    random = Random(f"{seed}/seller/{number}")
    letters = string.ascii_uppercase + string.digits
    marketplaces = HOMES[number % len(HOMES)]
    # At SP-API one developer's application speaks for all sellers, each of whom gave it a refresh token.
    application = Random(f"{seed}/application")
    # Every fifth seller is reached by a third party, as web applications are: only those need an MWSAuthToken.
    token = f"amzn.mws.{uuid.UUID(bytes=random.randbytes(16), version=4)}" if number % 5 == 4 else None
    return Seller(
        seed=seed,
        number=number,
        account=_NAMES[number] if number < len(_NAMES) else f"seller-{number + 1:04}",
        seller_id="A" + "".join(random.choices(letters, k=13)),
        access_key="AKIA" + "".join(random.choices(letters, k=16)),
        secret_key="".join(random.choices(string.ascii_letters + string.digits + "/+", k=40)),
        auth_token=token,
        client_id=f"amzn1.application-oa2-client.{application.randbytes(16).hex()}",
        client_secret=f"amzn1.oa2-cs.v1.{application.randbytes(32).hex()}",
        refresh_token="Atzr|" + _opaque(Random(f"{seed}/seller/{number}/refresh-token"), 270),
        marketplaces=marketplaces,
        goods={marketplace.country: _make_goods(random, marketplace) for marketplace in marketplaces},
    )


def _opaque(random: Random, size: int) -> str:
    return base64.urlsafe_b64encode(random.randbytes(size)).decode()


def _make_goods(random: Random, marketplace: Marketplace) -> tuple[Product, ...]:
    return tuple(
        Product(
            # Sellers choose their SKUs: leading zeros and spaces happen and must survive.
            sku=random.choice((f"{random.randrange(100000):08}", f"SKU {random.randrange(1000)}-{index:02}")),
            title=title,
            cents=random.randrange(299, 24999),
        )
        for index, title in enumerate(WORDS[marketplace.words]["titles"])
    )
