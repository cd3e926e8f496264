"""The /_emulator paths: look at the truth, and drive the emulated Amazon. JSON in, JSON out; see README.md."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, get_args
from urllib.parse import parse_qs

from emulator.answers import ResetsOn
from emulator.clock import iso
from emulator.orders import make_item_id
from emulator.quota import LIMITS, SP_LIMITS, Limit
from emulator.reports import NEW_ORDERS
from emulator.sp_control import add_sp_report, orders_of_report
from emulator.sp_report_types import tells_new_orders

if TYPE_CHECKING:
    from emulator.account import Account
    from emulator.faults import Faults
    from emulator.mws import Mws
    from emulator.notifications import Notifications
    from emulator.orders import Line, Order
    from emulator.quota import Quotas
    from emulator.record import Record
    from emulator.world import World


class NoSuchPath(Exception):
    """There is no such control path."""


class Control:
    """One method a path. ValueError and KeyError become 400, with their text."""

    def __init__(
        self,
        world: World,
        quotas: Quotas,
        faults: Faults,
        record: Record,
        mws: Mws,
        notifications: Notifications,
        first_line: dict[str, Any],
    ) -> None:
        self._world = world
        self._quotas = quotas
        self._faults = faults
        self._record = record
        self._mws = mws
        self._notifications = notifications
        self._first_line = first_line
        self._reads = {
            "": self.index,
            "clock": self.clock,
            "accounts": self.accounts,
            "truth": self.truth,
            "calls": self.calls,
            "notifications": lambda _query: self._notifications.as_json(),
        }
        self._writes = {
            "advance": self.advance,
            "orders": self.orders,
            "reports": self.reports,
            "notifications": self.notify,
            "acknowledge": self.acknowledge,
            "stop-selling": self.stop_selling,
            "resume-selling": self.resume_selling,
            "faults": self.faults,
            "quota": self.quota,
            "headers": self.headers,
            "client-secret": self.client_secret,
        }

    def get(self, path: str, query: str) -> Any:
        """Answers GET /_emulator/{path}?{query}."""
        if path not in self._reads:
            raise NoSuchPath(path)
        return self._reads[path]({name: values[-1] for name, values in parse_qs(query).items()})

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Answers POST /_emulator/{path}."""
        if path not in self._writes:
            raise NoSuchPath(path)
        with self._world.lock:
            return self._writes[path](body)

    # --- looking ---------------------------------------------------------------------------------------------------

    def index(self, _query: dict[str, str]) -> dict[str, Any]:
        return {
            "emulator": "orderdrain",
            "mws": self._first_line["mws"],
            "sp_api": self._first_line["sp_api"],
            "lwa": self._first_line["lwa"],
            "sqs": self._first_line["sqs"],
            "get": [f"/_emulator/{path}" for path in self._reads],
            "post": [f"/_emulator/{path}" for path in self._writes],
        }

    def clock(self, _query: dict[str, str]) -> dict[str, Any]:
        return {
            "emulator": "orderdrain",
            "now": self._world.clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "speed": self._world.clock.speed,
            "real": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }

    def accounts(self, query: dict[str, str]) -> Any:
        if query.get("keys") != "all":
            return self._first_line["accounts"]
        return [account.as_json(both_apis=True) for account in self._world.accounts.values()]

    def truth(self, _query: dict[str, str]) -> dict[str, Any]:
        now = self._world.clock.now()
        return {"as_of": iso(now)} | self._world.truth(now)

    def calls(self, query: dict[str, str]) -> dict[str, Any]:
        return self._record.as_json(int(query.get("since", "0")))

    # --- driving ---------------------------------------------------------------------------------------------------

    def advance(self, body: dict[str, Any]) -> dict[str, Any]:
        self._world.clock.advance(float(body["seconds"]))
        return self.clock({})

    def orders(self, body: dict[str, Any]) -> dict[str, Any]:
        account, now = self._account(body)
        if "orders" not in body:
            return {"order_ids": [account.sell(now).order_id for _ in range(int(body.get("count", 1)))]}
        return {"order_ids": [_sell_or_change(account, wanted, now).order_id for wanted in body["orders"]]}

    def reports(self, body: dict[str, Any]) -> dict[str, Any]:
        account, now = self._account(body)
        if body.get("api", "mws") == "sp-api":
            return {"report_ids": [add_sp_report(account, body, now) for _ in range(int(body.get("count", 1)))]}
        report_type = body.get("report_type", NEW_ORDERS)
        return {"report_ids": [_add_report(account, report_type, body, now) for _ in range(int(body.get("count", 1)))]}

    def notify(self, body: dict[str, Any]) -> dict[str, Any]:
        account, _ = self._account(body) if "account" in body else (None, None)
        return {"messages": self._notifications.send(account, body)}

    def acknowledge(self, body: dict[str, Any]) -> dict[str, Any]:
        account, now = self._account(body)
        if unknown := [report_id for report_id in body["report_ids"] if not account.find(report_id, now)]:
            raise ValueError(f"no such reports: {', '.join(unknown)}")
        account.acknowledge(body["report_ids"], now)
        return {"acknowledged": len(body["report_ids"])}

    def stop_selling(self, body: dict[str, Any]) -> dict[str, Any]:
        for account in self._some_accounts(body):
            account.stop_selling(self._world.clock.now())
        return {"selling": False}

    def resume_selling(self, body: dict[str, Any]) -> dict[str, Any]:
        for account in self._some_accounts(body):
            account.resume_selling(self._world.clock.now())
        return {"selling": True}

    def faults(self, body: dict[str, Any]) -> dict[str, Any]:
        if body.get("clear"):
            self._faults.clear()
        if "rates" in body or "stall_seconds" in body:
            self._faults.load({name: body[name] for name in ("rates", "stall_seconds") if name in body})
        if "fault" in body:
            count = int(body["next"]) if "next" in body else None
            self._faults.order(body["operation"], body["fault"], count, body.get("account"))
        return {"faults": "set"}

    def quota(self, body: dict[str, Any]) -> dict[str, Any]:
        if (operation := body["operation"]) in SP_LIMITS:
            limit = Limit(int(body["max"]), float(body["restore_seconds"]))
        elif operation in LIMITS:
            limit = Limit(int(body["max"]), float(body["restore_seconds"]), int(body["hourly"]))
        else:
            raise ValueError(f"no operation {operation!r}")
        if "report_type" in body:
            if operation != "createReport":
                raise ValueError("only createReport has a limit for a report_type")
            operation = f"{operation}:{body['report_type']}"
        self._quotas.change([account.seller.account for account in self._some_accounts(body)], operation, limit)
        return {"quota": "set"}

    def headers(self, body: dict[str, Any]) -> dict[str, Any]:
        if body["resets_on"] not in get_args(ResetsOn):
            raise ValueError(f"resets_on is one of {', '.join(get_args(ResetsOn))}")
        self._mws.resets_on = body["resets_on"]
        return {"resets_on": body["resets_on"]}

    def client_secret(self, body: dict[str, Any]) -> dict[str, Any]:
        """The developer has made a new secret: the old one gives no token any more; those that were given stay good."""
        self._world.client_secret = str(body["client_secret"])
        return {"client_secret": "set"}

    def _account(self, body: dict[str, Any]) -> tuple[Account, datetime]:
        (account,) = self._some_accounts({"account": body["account"]})
        now = self._world.clock.now()
        account.catch_up(now)
        return account, now

    def _some_accounts(self, body: dict[str, Any]) -> list[Account]:
        if "account" not in body:
            return list(self._world.accounts.values())
        if body["account"] not in self._world.accounts:
            raise ValueError(f"no account {body['account']!r}")
        return [self._world.accounts[body["account"]]]


def _add_report(account: Account, report_type: str, body: dict[str, Any], now: datetime) -> str:
    """A report with given bytes, of given orders, or of what no report has told yet (sold for it, if need be)."""
    available_at = datetime.fromisoformat(body["available_at"]).astimezone(UTC) if "available_at" in body else now
    requested = bool(body.get("requested", False))
    if "body_base64" in body:
        content = base64.b64decode(body["body_base64"], validate=True)
        content_type = body.get("content_type")
        report = account.add_report(
            report_type, available_at, body=content, content_type=content_type, requested=requested
        )
        return report.report_id
    told = orders_of_report(account, account.fresh, report_type, body, now)
    if tells_new_orders(report_type) and not requested:
        ids = {order.order_id for order, _ in told}
        account.fresh = [order for order in account.fresh if order.order_id not in ids]
    report = account.add_report(
        report_type,
        available_at,
        told=told,
        content_type=body.get("content_type"),
        requested=requested,
        withheld=bool(body.get("withheld", False)),
    )
    return report.report_id


def _sell_or_change(account: Account, wanted: dict[str, Any], now: datetime) -> Order:
    """`wanted` is an order_id, its lines and its status; what it does not give is believable, or as it was."""
    given, status = list(wanted.get("lines", ())), wanted.get("status")
    if status not in {None, "Pending", "Unshipped", "Shipped", "Cancelled"}:
        raise ValueError("status is one of Pending, Unshipped, Shipped, Cancelled")
    for cells in given:
        _check_cells(account, cells)
    order = account.orders.get(wanted["order_id"])
    if order is None:
        return _sell_so(account, wanted, given, status, now)
    lines = order.lines(order.form_at(now))
    places = {line["order-item-id"]: number for number, line in enumerate(lines)}
    for number, cells in enumerate(given):
        place = places.get(cells["order-item-id"]) if "order-item-id" in cells else number
        if place is not None and place < len(lines):
            lines[place] |= cells
        else:
            lines.append(lines[-1] | {"order-item-id": _item_id(order, len(lines))} | cells)
    order.give(lines, now, status)
    return order


def _sell_so(account: Account, wanted: dict[str, Any], given: list[Line], status: str | None, now: datetime) -> Order:
    order = account.sell(now, wanted["order_id"])
    order.changes, order.statuses = (), {0: status} if status else {}
    order.by_amazon = bool(wanted.get("by_amazon", False))
    order.pending_since = order.sold_at if status == "Pending" else None
    as_sold = order.lines(0)
    order.given[0] = [
        as_sold[number % len(as_sold)] | {"order-item-id": _item_id(order, number)} | cells
        for number, cells in enumerate(given or as_sold)
    ]
    return order


def _item_id(order: Order, number: int) -> str:
    return make_item_id(order.seller, order.serial, number + 1)


def _check_cells(account: Account, cells: Line) -> None:
    for column, text in cells.items():
        if set(text) & set("\t\r\n"):
            raise ValueError(f"{column}: a cell holds no tab and no line end")
        text.encode(account.seller.home.encoding)
