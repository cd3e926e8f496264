"""Compares what Postgres holds with the emulator's own record: the judge is never the program that is judged.

It asks the emulator what a report has told, in its newest form, and looks for that in the tables over a connection of
its own, with its own small list of what is found where. Nothing of the parser, the merge or the ledger is used.
"""

from __future__ import annotations

import json
import threading
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import psycopg2

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The report types whose lines are looked for.
WANTED = {"_GET_FLAT_FILE_ORDERS_DATA_", "GET_FLAT_FILE_ORDER_REPORT_DATA_SHIPPING"}

#: Amazon's column: where it must be found, and as what it is compared.
LINE_COLUMNS = {
    "purchase-date": ("purchased_at", "time"),
    "payments-date": ("paid_at", "time"),
    "sku": ("sku", "text"),
    "product-name": ("product_name", "text"),
    "quantity-purchased": ("quantity", "number"),
    "currency": ("currency", "text"),
    "item-price": ("item_price", "number"),
    "item-tax": ("item_tax", "number"),
    "shipping-price": ("shipping_price", "number"),
    "shipping-tax": ("shipping_tax", "number"),
    "ship-service-level": ("ship_service_level", "text"),
}
BUYER_COLUMNS = {
    "buyer-email": ("buyer_email", "text"),
    "buyer-name": ("buyer_name", "text"),
    "buyer-phone-number": ("buyer_phone", "text"),
    "recipient-name": ("recipient_name", "text"),
    "ship-address-1": ("ship_address_1", "text"),
    "ship-address-2": ("ship_address_2", "text"),
    "ship-city": ("ship_city", "text"),
    "ship-postal-code": ("ship_postal_code", "text"),
    "ship-country": ("ship_country", "text"),
}


@dataclass(frozen=True)
class Verdict:
    """The numbers that must all be 0, and how much was looked at."""

    reports: int
    orders: int
    lines: int
    lost: int
    doubled: int
    wrong: int
    acknowledged_before_commit: int
    over_quota: int
    unfinished: int

    @property
    def ok(self) -> bool:
        return not (
            self.lost
            or self.doubled
            or self.wrong
            or self.acknowledged_before_commit
            or self.over_quota
            or self.unfinished
        )

    def __str__(self) -> str:
        told = (
            f"reports={self.reports} orders={self.orders} lost={self.lost} doubled={self.doubled}"
            f" acknowledged_before_commit={self.acknowledged_before_commit} over_quota={self.over_quota}"
        )
        if self.ok:
            return f"ok {told}"
        return f"FAILED {told} wrong={self.wrong} unfinished={self.unfinished}"


@dataclass(frozen=True)
class Findings:
    """What was looked at, and what does not agree, one by one. A line is told with its account, order and report; a
    key is (account, order_id, order_item_id)."""

    reports: list[dict[str, Any]]
    keys: set[tuple[str, str, str]]
    lost: list[dict[str, Any]]
    doubled: list[tuple[str, str, str]]
    wrong: list[dict[str, Any]]
    unfinished: list[dict[str, Any]]
    not_told: list[dict[str, Any]]


def judge(emulator_url: str, database_url: str, *, acknowledged_before_commit: int = 0) -> Verdict:
    """Looks at everything that the emulator has told so far."""
    found = compare(emulator_url, database_url)
    calls = ask(emulator_url, "/_emulator/calls?since=1000000000")
    return Verdict(
        reports=len(found.reports),
        orders=len({(account, order_id) for account, order_id, _ in found.keys}),
        lines=len(found.keys),
        lost=len(found.lost),
        doubled=len(found.doubled),
        wrong=len(found.wrong),
        acknowledged_before_commit=acknowledged_before_commit,
        over_quota=calls["totals"]["over_quota"],
        unfinished=len(found.unfinished) + len(found.not_told),
    )


def compare(emulator_url: str, database_url: str) -> Findings:
    """The emulator's truth beside the tables: `lost` is told and in no table, `doubled` stored and never told, `wrong`
    stored otherwise than told; `unfinished` reports are neither acknowledged nor quarantined, and of those that are,
    MWS does not know the ones `not_told` as acknowledged; SP-API is not told."""
    truth = ask(emulator_url, "/_emulator/truth")
    connection = psycopg2.connect(database_url, options="-c timezone=UTC")
    try:
        with connection, connection.cursor() as cursor:
            lines = _rows(cursor, "order_lines", LINE_COLUMNS)
            buyers = _rows(cursor, "buyers", BUYER_COLUMNS)
            cursor.execute("SELECT account, report_id, state FROM reports")
            states = {(account, report_id): state for account, report_id, state in cursor.fetchall()}
            cursor.execute("SELECT account, order_id, order_item_id FROM rejected_rows")
            rejected = set(cursor.fetchall())
    finally:
        connection.close()
    told = {
        (line["account"], line["order_id"], line["order_item_id"]): line for line in truth["families"]["new_orders"]
    }
    wanted = [report for report in truth["told_reports"] if report["report_type"] in WANTED]
    unfinished = [
        r for r in wanted if states.get((r["account"], r["report_id"])) not in {"acknowledged", "quarantined"}
    ]
    return Findings(
        reports=wanted,
        keys=set(lines),
        lost=[line for key, line in told.items() if key not in lines and key not in rejected],
        doubled=sorted(lines.keys() - told.keys()),
        wrong=[
            line
            for key, line in told.items()
            if key in lines
            and not (
                _same(line["cells"], lines[key], LINE_COLUMNS)
                and _same(line["cells"], buyers.get(key, {}), BUYER_COLUMNS)
            )
        ],
        unfinished=unfinished,
        not_told=[r for r in wanted if r["api"] == "mws" and not r["acknowledged"] and r not in unfinished],
    )


def ask(emulator_url: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """One control call to the emulator."""
    data = None if body is None else json.dumps(body).encode()
    # Straight to this machine, whatever proxy the environment names.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(emulator_url + path, data=data, timeout=60) as answer:
        return json.load(answer)


class Witness:
    """Asked by the emulator before each acknowledgement is answered: are the rows of these reports committed?"""

    def __init__(self, url: str) -> None:
        self.url = url
        self.database_url = ""
        self.asked = 0
        self.too_early: list[str] = []

    def look(self, account: str, report_ids: list[str]) -> None:
        connection = psycopg2.connect(self.database_url)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(
                    "SELECT report_id FROM reports WHERE account = %s AND report_id = ANY(%s)"
                    " AND state IN ('parsed', 'acknowledged')",
                    (account, report_ids),
                )
                committed = {report_id for (report_id,) in cursor.fetchall()}
        finally:
            connection.close()
        self.asked += len(report_ids)
        self.too_early += sorted(set(report_ids) - committed)


@contextmanager
def witness() -> Iterator[Witness]:
    """Listens on a free port of this machine for the emulator's questions."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            try:
                seen.look(told["account"], told["report_ids"])
            finally:
                self.send_response(204)
                self.send_header("Content-Length", "0")
                self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Says nothing: what counts is kept."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    seen = Witness(f"http://127.0.0.1:{server.server_port}/")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        server.shutdown()
        server.server_close()


def _rows(cursor: Any, table: str, columns: dict[str, tuple[str, str]]) -> dict[tuple[str, str, str], dict[str, Any]]:
    line = "line_key" if table == "buyers" else "order_item_id"
    names = [name for name, _ in columns.values()]
    cursor.execute(f"SELECT account, order_id, {line}, {', '.join(names)} FROM {table}")
    return {tuple(row[:3]): dict(zip(names, row[3:], strict=True)) for row in cursor.fetchall()}


def _same(cells: dict[str, str], row: dict[str, Any], columns: dict[str, tuple[str, str]]) -> bool:
    return all(
        _equal(cells[header].strip(), row.get(name), kind)
        for header, (name, kind) in columns.items()
        if header in cells
    )


def _equal(told: str, stored: Any, kind: str) -> bool:
    if not told or stored is None:
        return not told and stored is None
    if kind == "number":
        return Decimal(told) == stored
    if kind == "time":
        return datetime.fromisoformat(told) == stored
    return bool(told == stored)
