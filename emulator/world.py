"""The whole emulated Amazon: all accounts, one lock, and what an independent judge may ask."""

from __future__ import annotations

import threading
from base64 import b64encode
from datetime import timedelta
from itertools import chain
from random import Random
from typing import TYPE_CHECKING, Any

from emulator.account import Account
from emulator.clock import iso
from emulator.sellers import make_sellers
from emulator.truth import FAMILIES, told_lines

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from datetime import datetime

    from emulator.clock import Clock
    from emulator.reports import Report

#: How long a NextToken is understood, in emulated time. Amazon's own limit is not documented.
TOKEN_LIFE = timedelta(minutes=15)


class World:
    """Accounts by name and by key. Whoever reads or changes one of them holds `lock`."""

    def __init__(
        self,
        clock: Clock,
        *,
        seed: int,
        sellers: int,
        orders_per_minute: float,
        backlog: int,
        sp_api_sellers: Collection[str] = (),
        every_family: bool = False,
    ) -> None:
        self.clock = clock
        self.lock = threading.RLock()
        self.accounts = {
            seller.account: Account(
                seller,
                clock.started,
                orders_per_minute=orders_per_minute,
                backlog=backlog,
                on_sp_api=seller.account in sp_api_sellers,
                every_family=every_family,
            )
            for seller in make_sellers(seed, sellers)
        }
        if unknown := set(sp_api_sellers) - self.accounts.keys():
            raise ValueError(f"no such sellers: {', '.join(sorted(unknown))}; there are {', '.join(self.accounts)}")
        #: The secret of the one application that speaks for all sellers of SP-API, as it is by now.
        self.client_secret = next(iter(self.accounts.values())).seller.client_secret
        self._by_key = {account.seller.access_key: account for account in self.accounts.values()}
        self._by_refresh_token = {account.seller.refresh_token: account for account in self.accounts.values()}
        self._random = Random(f"{seed}/tokens")
        self._places: dict[str, tuple[datetime, Any]] = {}

    def by_key(self, access_key: str) -> Account | None:
        """The account of an access key. Each seller here has keys of its own."""
        return self._by_key.get(access_key)

    def by_refresh_token(self, refresh_token: str) -> Account | None:
        """The account whose seller gave this refresh token."""
        return self._by_refresh_token.get(refresh_token)

    def keep_place(self, place: Any, now: datetime) -> str:
        """A NextToken for a place in a listing: opaque, and full of the characters that need escaping."""
        for token in [token for token, (until, _) in self._places.items() if until < now]:
            del self._places[token]
        while True:
            token = b64encode(self._random.randbytes(286)).decode()
            if "+" in token and "/" in token:
                break
        self._places[token] = (now + TOKEN_LIFE, place)
        return token

    def find_place(self, token: str, now: datetime) -> Any:
        """The place that a NextToken stands for, or None when it was never given out or has expired."""
        until, place = self._places.get(token, (now, None))
        return place if now < until else None

    def truth(self, now: datetime) -> dict[str, Any]:
        """What was sold and what reports have told of it, each line in the newest form that a report has told.

        The lock is taken for one account after the other: a hundred thousand lines take seconds.
        """
        families: dict[str, list[dict[str, Any]]] = {family: [] for family in FAMILIES}
        told_reports: list[dict[str, Any]] = []
        untold: list[dict[str, str]] = []
        for account in self.accounts.values():
            with self.lock:
                account.catch_up(now)
                reports = list(_available_ever(account, now))
                told_reports += [_told_report(account, report) for report in reports]
                told: set[str] = set()
                for family in families:
                    of_family = [report for report in reports if report.kind and report.kind.family == family]
                    told |= {order.order_id for report in of_family for order, _ in report.told}
                    families[family] += told_lines(account, of_family, now)
                untold += [
                    {
                        "account": account.seller.account,
                        "order_id": order.order_id,
                        "order_item_id": line["order-item-id"],
                    }
                    for order in account.orders.values()
                    if order.order_id not in told
                    for line in order.lines(order.form_at(now))
                ]
        return {"families": families, "told_reports": told_reports, "untold": untold}


def _available_ever(account: Account, now: datetime) -> Iterator[Report]:
    """The order reports that either API has had, a document of SP-API being one."""
    reports = chain(account.reports.values(), account.sp.files())
    return (report for report in reports if report.available_at <= now and not report.foreign)


def _told_report(account: Account, report: Report) -> dict[str, Any]:
    return {
        "account": account.seller.account,
        "report_id": report.report_id,
        "api": report.api,
        "report_type": report.report_type,
        "family": report.kind.family if report.kind else None,
        "available_at": iso(report.available_at),
        "lines": None if report.body is not None else report.count,
        "acknowledged": report.api == "mws" and report.report_id in account.acknowledged,
        "requested": report.requested,
    }
