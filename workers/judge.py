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

from workers.judge_columns import FAMILIES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workers.judge_columns import Columns, Family

#: A line of any family: account, family, and its key there.
Key = tuple[str, ...]


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
    """What was looked at, and what does not agree, one by one. A line is told with its account, family, order and
    report."""

    reports: list[dict[str, Any]]
    keys: set[Key]
    orders: set[tuple[str, str]]
    lost: list[dict[str, Any]]
    doubled: list[Key]
    wrong: list[dict[str, Any]]
    unfinished: list[dict[str, Any]]
    not_told: list[dict[str, Any]]


def judge(emulator_url: str, database_url: str, *, acknowledged_before_commit: int = 0) -> Verdict:
    """Looks at everything that the emulator has told so far."""
    found = compare(emulator_url, database_url)
    calls = ask(emulator_url, "/_emulator/calls?since=1000000000")
    return Verdict(
        reports=len(found.reports),
        orders=len(found.orders),
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
            lines = {key: row for name, family in FAMILIES.items() for key, row in _lines(cursor, name, family)}
            buyers = {key: row for name, family in FAMILIES.items() for key, row in _buyers(cursor, name, family)}
            cursor.execute("SELECT account, report_id, state FROM reports")
            states = {(account, report_id): state for account, report_id, state in cursor.fetchall()}
            cursor.execute("SELECT account, order_id, order_item_id FROM rejected_rows")
            rejected = set(cursor.fetchall())
    finally:
        connection.close()
    told = {_key(name, line): line | {"family": name} for name in FAMILIES for line in truth["families"][name]}
    wanted = [report for report in truth["told_reports"] if report["family"] in FAMILIES]
    unfinished = [
        r for r in wanted if states.get((r["account"], r["report_id"])) not in {"acknowledged", "quarantined"}
    ]
    accounts_with_rejected = {account for account, *_ in rejected}
    return Findings(
        reports=wanted,
        keys=set(lines),
        orders={(account, row.get("order_id", own[0])) for (account, _, *own), row in lines.items()},
        lost=[
            line
            for key, line in told.items()
            if key not in lines and (line["account"], line["order_id"], line["order_item_id"] or None) not in rejected
        ],
        doubled=sorted(lines.keys() - told.keys()),
        wrong=[
            line
            for key, line in told.items()
            if key in lines
            and not (
                _same(line["cells"], lines[key], FAMILIES[line["family"]].columns)
                and _same(line["cells"], buyers.get(key, {}), FAMILIES[line["family"]].buyer)
                and _waits_as_told(line, lines[key], line["account"] in accounts_with_rejected)
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


def _key(name: str, line: dict[str, Any]) -> Key:
    """Where a line must stand. One of All Orders without an id is known by its SKU, and its number among its like."""
    own = line["key"]
    if name == "all_orders" and len(own) > 2:
        order_id, _, sku, number = own
        own = [order_id, f"{sku}#{number}"]
    return (line["account"], name, *own)


def _lines(cursor: Any, name: str, family: Family) -> Iterator[tuple[Key, dict[str, Any]]]:
    more = ("still_unshipped",) if name == "unshipped" else ()
    names = (*(told for told, _ in family.columns.values()), *more)
    yield from _rows(cursor, f"SELECT account, '{name}', {', '.join(family.key)}", names, family.table)


def _buyers(cursor: Any, name: str, family: Family) -> Iterator[tuple[Key, dict[str, Any]]]:
    key = ", ".join(("order_id", "line_key")[2 - len(family.key) :])
    names = tuple(told for told, _ in family.buyer.values())
    if names:
        yield from _rows(cursor, f"SELECT account, family, {key}", names, f"buyers WHERE family = '{name}'")


def _rows(cursor: Any, select: str, names: tuple[str, ...], table: str) -> Iterator[tuple[Key, dict[str, Any]]]:
    cursor.execute(f"{select}, {', '.join(names)} FROM {table}")
    for row in cursor.fetchall():
        yield row[: -len(names)], dict(zip(names, row[-len(names) :], strict=True))


def _waits_as_told(line: dict[str, Any], row: dict[str, Any], some_rejected: bool) -> bool:
    """Whether an order waits to be shipped, by the newest picture; nobody knows, if rows of that were rejected."""
    if "waits" not in line or (some_rejected and row["still_unshipped"] is None):
        return True
    return bool(row["still_unshipped"] is line["waits"])


def _same(cells: dict[str, str], row: dict[str, Any], columns: Columns) -> bool:
    return all(
        _equal(cells[header].strip(), row.get(name), kind)
        for header, (name, kind) in columns.items()
        if header in cells
    )


def _equal(told: str, stored: Any, kind: str) -> bool:
    is_blank = told in ("", "--")
    if is_blank or stored is None:
        return is_blank and stored is None
    if kind == "number":
        return Decimal(told) == stored
    if kind == "flag":
        return bool((told == "true") is stored)
    if kind == "time":
        return datetime.fromisoformat(told) == stored
    return bool(told == stored)
