"""What the tests of the ledger and its neighbours begin with: real servers in, accounts and reports in any state out."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from orderdrain.accounts import Account, Accounts
from orderdrain.acknowledgements import Acknowledgements
from orderdrain.amazon import ListedReport
from orderdrain.clock import Clock
from orderdrain.db import Database
from orderdrain.dispatch import Dispatch
from orderdrain.history import History
from orderdrain.ledger import Ledger
from orderdrain.reports import ReportKey, RowCounts, State
from orderdrain.requests import Requests
from orderdrain.services import Services
from orderdrain.settings import load
from orderdrain.turns import Turns
from orderdrain.vault import Vault

ORDERS = "_GET_FLAT_FILE_ORDERS_DATA_"
SHIPPING = "GET_FLAT_FILE_ORDER_REPORT_DATA_SHIPPING"
#: What the emulator's sellers sell through unless they are told otherwise, by API, and how often it comes.
DECLARED = {"mws": {ORDERS: "_15_MINUTES_"}, "sp-api": {SHIPPING: "PT15M"}}
ACME = "acme"
API = "mws"
WORKER = "worker:1"
OTHER = "worker:2"
LEASE = timedelta(seconds=120)
#: When Amazon finished a report, where it does not matter.
MADE = datetime(2026, 11, 24, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Books:
    """Everything that is kept in Postgres, each part with its own SQL."""

    db: Database
    clock: Clock
    accounts: Accounts
    turns: Turns
    ledger: Ledger
    dispatch: Dispatch
    history: History
    acknowledgements: Acknowledgements
    requests: Requests

    @classmethod
    def open(cls, database_url, *, lease_seconds=120, account_slots=8):
        db = Database(database_url)
        return cls(
            db,
            Clock(db),
            Accounts(db, Vault({})),
            Turns(db, lease_seconds=lease_seconds),
            Ledger(db, lease_seconds=lease_seconds),
            Dispatch(db, lease_seconds=lease_seconds, account_slots=account_slots),
            History(db),
            Acknowledgements(db, lease_seconds=lease_seconds),
            Requests(db, lease_seconds=lease_seconds),
        )

    def now(self):
        self.clock.refresh()
        return self.clock.now()

    def row(self, key):
        (row,) = self.ledger.find(key.report_id, key.account)
        return row

    def events(self, key):
        return [entry.event for entry in self.history.of(key)]

    def everything_of(self, key):
        """The row and its history: what must not change when a lease is lost."""
        return self.row(key), self.history.of(key)


def open_services(database_url, redis_url, folder, *, send=None, **told):
    """Services as a process has them, with settings of their own; `folder` keeps the archive."""
    environ = {
        "ORDERDRAIN_DATABASE_URL": database_url,
        "ORDERDRAIN_REDIS_URL": redis_url,
        "ORDERDRAIN_ARCHIVE": str(folder / "archive"),
        **{f"ORDERDRAIN_{name.upper()}": str(value) for name, value in told.items()},
    }
    return Services.from_settings(load(environ, start=folder), send=send)


def add_account(books, account=ACME, *, application="main", report_types=None, list_every=timedelta(minutes=15)):
    """An account with its MWS connection; of `books` or of services. Nothing listens at its endpoint."""
    books.accounts.add_application(application, key_id="AKIAEXAMPLE", secret="not-a-real-key")
    books.accounts.add(
        Account(account, f"A{account.upper()}", ("ATVPDKIKX0DER",), report_types or {ORDERS: "_15_MINUTES_"}, False),
        api=API,
        application=application,
        endpoint="http://127.0.0.1:1",
        token=None,
        list_every=list_every,
    )
    return books.accounts.connection(account, API)


def add_second_connection(books, account=ACME):
    """The account moves from MWS to SP-API, and has both for a while."""
    books.accounts.add_application("app", api="sp-api", key_id="amzn1.id", secret="s")
    declared = Account(account, f"A{account.upper()}", ("ATVPDKIKX0DER",), {"GET_SOMETHING": "PT15M"}, False)
    told = {"api": "sp-api", "application": "app", "endpoint": "http://127.0.0.1:1", "token": "Atzr|"}
    books.accounts.add(declared, **told, list_every=timedelta(minutes=15))
    return books.accounts.connection(account, "sp-api")


def listed(report_id, available_at=MADE):
    """A report as a listing tells it."""
    return ListedReport(report_id, ORDERS, available_at, acknowledged=False)


def enter(books, *report_ids, account=ACME, available_at=MADE, listing=0):
    """Reports in state listed. Listing 0 has always ended: they may be acknowledged once they are parsed."""
    reports = [listed(report_id, available_at) for report_id in report_ids]
    books.ledger.enter(account, API, reports, listing=listing, worker=WORKER, request_id="listing-request")
    return [ReportKey(account, API, report_id) for report_id in report_ids]


def report_in(books, state, report_id="50123456789", *, account=ACME, **told):
    """One report, brought to `state` the way every report gets there."""
    (key,) = enter(books, report_id, account=account, **told)
    if state in {State.DOWNLOADED, State.PARSED}:
        download(books, books.ledger.lease(key, State.LISTED, WORKER))
    if state is State.PARSED:
        parse(books, books.ledger.lease(key, State.DOWNLOADED, WORKER))
    if state is State.QUARANTINED:
        books.ledger.quarantine(books.ledger.lease(key, State.LISTED, WORKER), "Amazon does not know it")
    return key


def download(books, lease):
    books.ledger.downloaded(
        lease,
        archive_key=f"{lease.key.account}/{lease.key.report_id}",
        size=48_213,
        sha256="0" * 64,
        content_type="text/plain;charset=UTF-8",
        request_id="download-request",
    )


def parse(books, lease):
    with books.db.transaction() as cursor:
        counted_as_parsed(books, cursor, lease)


def counted_as_parsed(books, cursor, lease):
    """The statement that ends a parse, in the transaction of its rows."""
    books.ledger.parsed(
        cursor, lease, outcome="rows", counts=RowCounts(new=3), encoding="utf-8", encoding_reason="valid UTF-8"
    )


def expire(books, seconds=121):
    """As if the worker had died that long ago: nothing renews, and time passes."""
    books.clock.advance(timedelta(seconds=seconds))


def at_once(*calls):
    """Runs the calls in threads that start together, each with a connection of its own; returns what each returned."""
    barrier = threading.Barrier(len(calls))
    results = [None] * len(calls)

    def run(place, call):
        barrier.wait(10)
        try:
            results[place] = call()
        except Exception as error:
            results[place] = error

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def in_a_fork(ask):
    """What `ask` returns in a process that was forked from this one, as text."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, str(ask()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as said:
        told = said.read()
    os.waitpid(child, 0)
    return told
