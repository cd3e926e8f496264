"""What Amazon announces: each report and request that ends, at both APIs and of all sellers, in one queue.

Also those that a schedule made: the documentation promises notifications only for what somebody asked for. The faults
of operation `notification` make a notice lost, doubled, early, or bring a wrong one beside it.
"""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Any

from emulator.clock import iso
from emulator.notices import DONE, WANTED, Notice, as_json, as_xml, forged, of_nobody, of_other_type

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from emulator.account import Account
    from emulator.faults import Faults
    from emulator.requests import Request
    from emulator.sqs import Queue
    from emulator.world import World

_ENDS = {"_DONE_", "_DONE_NO_DATA_", "_CANCELLED_", "DONE", "CANCELLED", "FATAL"}
#: Seconds from a report's end to its notice.
_DELAY = (1.0, 5.0)


@dataclass(frozen=True)
class _Pending:
    """What has not been announced yet, and `delay` after its end will be."""

    request: Request
    delay: timedelta
    fault: str | None


class Notifications:
    """Announces what ends. Whoever looks into the queue lets it catch up first, as everything here."""

    def __init__(self, world: World, faults: Faults, queue: Queue, *, seed: int) -> None:
        self._world = world
        self._faults = faults
        self._queue = queue
        self._random = Random(f"{seed}/notifications")
        self._seen: Counter[tuple[str, str]] = Counter()
        self._pending: dict[tuple[str, str], list[_Pending]] = {}
        self._published: list[dict[str, Any]] = []

    def catch_up(self) -> None:
        """Announces everything that is due."""
        with self._world.lock:
            now = self._world.clock.now()
            for account in self._world.accounts.values():
                account.catch_up(now)
                self._catch_up(account, "mws", account.requests.values(), now)
                self._catch_up(account, "sp-api", account.sp.reports.values(), now)

    def send(self, account: Account | None, told: dict[str, Any]) -> int:
        """Puts in what POST /_emulator/notifications says, true or not; returns how many messages."""
        with self._world.lock:
            now = self._world.clock.now()
            bodies = [told["body"]] if "body" in told else list(self._bodies(account, told, now))
            bodies *= int(told.get("count", 1))
            for body in bodies:
                self._queue.send(body, now)
            return len(bodies)

    def as_json(self) -> dict[str, Any]:
        """What was announced and with which fault, how many messages lie in the queue, and since when."""
        self.catch_up()
        with self._world.lock:
            now = self._world.clock.now()
            visible, taken = self._queue.counts(now)
            return {
                "published": list(self._published),
                "faults": dict(Counter(told["fault"] for told in self._published if told["fault"])),
                "visible": visible,
                "in_flight": taken,
                "oldest_seconds": self._queue.oldest_age(now),
            }

    def _catch_up(self, account: Account, api: str, requests: Iterable[Request], now: datetime) -> None:
        key = (account.seller.account, api)
        pending = self._pending.setdefault(key, [])
        for request in islice(requests, self._seen[key], None):
            self._seen[key] += 1
            # What ended before the emulator's time was announced to nobody.
            if not request.done_at or request.done_at >= self._world.clock.started.replace(microsecond=0):
                delay = timedelta(seconds=self._random.uniform(*_DELAY))
                fault = self._faults.draw(account.seller.account, "notification", request.request_id)
                pending.append(_Pending(request, delay, fault))
        self._pending[key] = []
        for one in pending:
            if _is_due(api, one, now):
                self._publish(account, api, one, now)
            else:
                self._pending[key].append(one)

    def _publish(self, account: Account, api: str, one: _Pending, now: datetime) -> None:
        request, status = one.request, one.request.status(now)
        notice = Notice(
            seller_id=account.seller.seller_id,
            api=api,
            request_id=request.request_id,
            report_id=_report_id(api, request),
            report_type=request.report_type,
            # An early one says what will be.
            status=status if status in _ENDS else DONE[api],
        )
        for body in self._spoilt(notice, one.fault, account, now):
            self._queue.send(body, now)
        self._published.append(
            {
                "at": iso(now),
                "account": account.seller.account,
                "api": api,
                "request_id": notice.request_id,
                "report_id": notice.report_id,
                "status": notice.status,
                "fault": one.fault,
            }
        )

    def _spoilt(self, notice: Notice, fault: str | None, account: Account, now: datetime) -> list[str]:
        body = self._written(notice, account, now)
        match fault:
            case "lost_notice":
                return []
            case "doubled_notice":
                return [body, body]
            case "forged_notice":
                return [body, self._written(forged(notice, self._random), account, now)]
            case "malformed_notice":
                return [body, body[: len(body) // 2]]
            case "foreign_type_notice":
                return [body, of_other_type(notice.api, "AnyOfferChanged", now, self._new_id())]
            case "foreign_seller_notice":
                return [body, self._written(of_nobody(notice), account, now)]
            case _:
                return [body]

    def _bodies(self, account: Account | None, told: dict[str, Any], now: datetime) -> Iterator[str]:
        api = str(told.get("api", "mws"))
        if "notification_type" in told:
            yield of_other_type(api, str(told["notification_type"]), now, self._new_id())
            return
        if account is None:
            raise ValueError("which account are these reports of?")
        requests = account.requests if api == "mws" else account.sp.reports
        by_report = {_report_id(api, request): request for request in requests.values()}
        for report_id in map(str, told["report_ids"]):
            known = by_report.get(report_id)
            notice = Notice(
                seller_id=str(told.get("seller_id", account.seller.seller_id)),
                api=api,
                request_id=known.request_id if known else report_id,
                report_id=report_id,
                report_type=str(told.get("report_type", known.report_type if known else WANTED[api])),
                status=str(told.get("status", DONE[api])),
            )
            yield self._written(notice, account, now)

    def _written(self, notice: Notice, account: Account, now: datetime) -> str:
        if notice.api == "mws":
            return as_xml(notice, now, self._new_id(), old_manners=account.seller.old_manners)
        return as_json(notice, now, self._new_id())

    def _new_id(self) -> str:
        return str(uuid.UUID(bytes=self._random.randbytes(16), version=4))


def _is_due(api: str, one: _Pending, now: datetime) -> bool:
    request = one.request
    if request.status(now) in _ENDS:
        return request.cancelled or request.done_at is None or now >= request.done_at + one.delay
    # As soon as it has an id; at MWS that of a request comes with the report.
    return one.fault == "early_notice" and _report_id(api, request) is not None


def _report_id(api: str, request: Request) -> str | None:
    return request.report_id if api == "mws" else request.request_id
