"""A ledger with ten thousand accounts and millions of finished reports: what runs often reads only what is unfinished.

Two hundred thousand finished reports in every run, two million at night; both are built by INSERT ... SELECT.
"""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from statistics import median

import psycopg2
import pytest
from psycopg2.extensions import TRANSACTION_STATUS_IDLE

from orderdrain.accounts import Accounts
from orderdrain.acknowledgements import Acknowledgements
from orderdrain.clock import Clock
from orderdrain.db import Database
from orderdrain.dispatch import Dispatch
from orderdrain.history import History
from orderdrain.ledger import Ledger
from orderdrain.reports import STEP_FROM, ReportKey, State
from orderdrain.requests import Requests
from orderdrain.turns import Turns, check_turn
from orderdrain.vault import Vault
from tests import services
from tests.building import API, ORDERS, WORKER, Books, add_account, download, enter, parse

ACCOUNTS = 10_000
#: Accounts with work to do: four reports each, and every tenth of these accounts has one that is quarantined.
BUSY = 500
#: The longest that any one statement may take, in seconds: `status` of all accounts, on a busy machine.
MOST_SECONDS = 1.5
#: They grow with what is finished: none of what follows may read one of them from end to end.
LARGE = {"reports", "report_history"}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(200_000, id="200k"),
        pytest.param(2_000_000, id="2M", marks=[pytest.mark.slow, pytest.mark.timeout(900)]),
    ],
)
def full_ledger(request, postgres_server, database_template):
    """The URL of a database in which so many reports are finished."""
    with services.fresh_database(postgres_server, database_template) as url:
        _fill(url, request.param)
        yield url


# ---------------------------------------------------------------------------------------------------- what is read

#: What runs often, or while a person waits: each gets books, and the key of a report in each state.
CALLS = {
    "the sweep takes back leases": lambda books, _: books.dispatch.take_back(),
    "the sweep sends what is due": lambda books, _: books.dispatch.send_due(),
    "the sweep looks for what to acknowledge": lambda books, _: books.acknowledgements.send_due(),
    "the sweep sends requests": lambda books, _: books.requests.send_due(),
    "the sweep after Redis was flushed": lambda books, _: books.dispatch.broker_forgot("a word of before"),
    "beat looks for accounts to list": lambda books, _: books.accounts.due_to_list(),
    "beat looks for accounts to compare": lambda books, _: books.accounts.due_to_schedule(),
    "a listing": lambda books, key: lists(books, key[State.LISTED].account, map(str, range(20_000, 20_100))),
    "a download": lambda books, key: downloads(books, key[State.LISTED]),
    "a parse": lambda books, key: parses(books, key[State.DOWNLOADED]),
    "acknowledging": lambda books, key: acknowledges(books, key[State.PARSED].account),
    "status": lambda books, _: (books.accounts.table(), books.ledger.summary()),
    "show": lambda books, key: (
        books.ledger.find(key[State.LISTED].report_id),
        books.history.of(key[State.LISTED]),
    ),
    "reports": lambda books, _: books.ledger.reports(),
    "reports --account": lambda books, key: books.ledger.reports(account=key[State.LISTED].account),
    "reports --state quarantined": lambda books, _: books.ledger.reports(state="quarantined"),
    "reports --state listed": lambda books, _: books.ledger.reports(state="listed"),
    "prune": lambda books, _: next(books.history.prune(timedelta(days=70))),
}


def lists(books, account, ids):
    turn = books.turns.take_listing(books.accounts.connection(account, API), WORKER, full=False, since=None)
    enter(books, *ids, account=account, listing=turn.listing)
    books.dispatch.send_due(account)
    books.turns.end_listing(turn)


def downloads(books, key):
    lease = books.ledger.lease(key, State.LISTED, WORKER)
    assert books.ledger.renew(lease)
    download(books, lease)


def parses(books, key):
    parse(books, books.ledger.lease(key, State.DOWNLOADED, WORKER))
    books.dispatch.send_due(key.account)
    books.acknowledgements.send_due(key.account, complete=True)


def acknowledges(books, account):
    turn = books.turns.take_acknowledging(account, API, WORKER)
    while batch := books.acknowledgements.begin(turn):
        with books.db.transaction() as cursor:
            check_turn(cursor, turn)
            books.acknowledgements.done(cursor, turn, batch, detail="in a call", request_id=None)
    books.turns.release(turn)


@pytest.mark.parametrize("counted", ["before the work came", "since"])
def test_what_runs_often_reads_no_finished_reports(full_ledger, counted):
    """Ten seconds apart, for ever, on a table that only grows; also before Postgres has counted what is new in it."""
    with busy(full_ledger, fresh=counted == "since") as (books, key):
        for name, call in CALLS.items():
            with books.db.undone():
                call(books, key)
            assert books.db.ran, f"{name}: nothing ran, nothing was shown"
            for ran in books.db.ran:
                assert not ran.read_whole & LARGE, f"{name}: {ran.sql}\n{json.dumps(ran.plan, indent=1)}"
                assert ran.seconds < MOST_SECONDS, f"{name}: {ran.sql}"


@dataclass(frozen=True)
class Ran:
    """A statement as it ran, with the plan that Postgres made for it at that moment."""

    sql: str
    plan: dict
    seconds: float

    @property
    def read_whole(self):
        """The tables that it reads from end to end."""
        plans, tables = [self.plan], set()
        while plans:
            plan = plans.pop()
            plans += plan.get("Plans", [])
            tables |= {plan["Relation Name"]} if plan["Node Type"] == "Seq Scan" else set()
        return tables


class Watched(Database):
    """A database that keeps what ran on it, all in one transaction which is never committed."""

    def __init__(self, url):
        super().__init__(url)
        self.ran = []

    @contextmanager
    def transaction(self):
        with self._session().cursor() as cursor:
            yield WatchedCursor(cursor, self.ran)

    def query(self, sql, parameters=(), *, prepared=False):
        with self.transaction() as cursor:
            (cursor.execute_prepared if prepared else cursor.execute)(sql, parameters)
            return cursor.fetchall() if cursor.description else []

    def _session(self):
        connection = self._connection()
        if connection.info.transaction_status == TRANSACTION_STATUS_IDLE:
            with connection.cursor() as cursor:
                # The plans that a session keeps are those without parameters.
                cursor.execute("BEGIN; SET LOCAL plan_cache_mode = force_generic_plan")
        return connection

    @contextmanager
    def undone(self):
        """What runs in it, and nothing else, is kept in `ran`; its effects are undone."""
        with self._session().cursor() as cursor:
            cursor.execute("SAVEPOINT before")
            self.ran.clear()
            yield
            cursor.execute("ROLLBACK TO before")


class WatchedCursor:
    """A cursor that explains each statement just before it runs it."""

    def __init__(self, cursor, ran):
        self._cursor, self._ran = cursor, ran

    def __getattr__(self, name):
        return getattr(self._cursor, name)

    def execute_prepared(self, sql, parameters):
        self.execute(self._cursor.prepared(sql), parameters, sql)

    def execute(self, sql, parameters=None, text=None):
        statement = self._cursor.mogrify(sql, parameters)
        self._cursor.execute(b"EXPLAIN (FORMAT JSON) " + statement)
        plan = self._cursor.fetchone()[0][0]["Plan"]
        begun = time.monotonic()
        self._cursor.execute(statement)
        self._ran.append(Ran(text or statement.decode(), plan, time.monotonic() - begun))


@contextmanager
def busy(url, *, fresh):
    """Books of a ledger in which some accounts have work, and the key of a report in each state; undone at the end."""
    db = Watched(url)
    leasing = {"lease_seconds": 120}
    books = Books(
        db,
        Clock(db),
        Accounts(db, Vault({})),
        Turns(db, **leasing),
        Ledger(db, **leasing),
        Dispatch(db, **leasing, account_slots=8),
        History(db),
        Acknowledgements(db, **leasing),
        Requests(db, **leasing),
    )
    _add_work(db)
    if fresh:
        with db._connection().cursor() as cursor:
            cursor.execute("ANALYZE")
    try:
        yield books, {state: ReportKey("seller-2", API, str(1008 + n)) for n, state in enumerate(STEP_FROM, 1)}
    finally:
        db.close()


def _add_work(db):
    """Four reports for each busy account: listed (some quarantined), listed, downloaded, parsed; some leases ran out."""
    db.query(
        "INSERT INTO reports (account, api, report_id, report_type, available_at, listing, state, archive_key,"
        " quarantined_from, outcome, rows_read, rows_new, rows_changed, rows_same, rows_older, rows_joined,"
        " rows_rejected, lease_owner, lease_until)"
        " SELECT 'seller-' || n / 4, 'mws', (1000 + n)::text, %(type)s, app_now(), 0, state, 'archive/' || n,"
        " CASE state WHEN 'quarantined' THEN 'listed' END, 'rows', 3, 3, 0, 0, 0, 0, 0,"
        " CASE WHEN n %% 40 = 1 THEN 'worker:1' END, CASE WHEN n %% 40 = 1 THEN app_now() END"
        " FROM generate_series(0, 4 * %(busy)s - 1) n, LATERAL (SELECT CASE WHEN n %% 40 = 4 THEN 'quarantined'"
        "  ELSE ('{listed,listed,downloaded,parsed}'::text[])[n %% 4 + 1] END) AS s (state)",
        {"busy": BUSY, "type": ORDERS},
    )
    db.query(
        "UPDATE accounts SET next_list_at = app_now(), next_schedule_at = app_now()"
        " WHERE account IN (SELECT account FROM reports WHERE state = 'listed')"
    )


# ------------------------------------------------------------------------------------------------- what work costs


def test_a_drain_costs_no_more_for_all_that_is_finished(full_ledger, database_url, request):
    """Else the system slows down by the month, until it no longer keeps up.

    Everything that the path of a report writes to the ledger and reads from it, call by call in turn on this ledger and
    on an empty one: whatever else the machine does slows both, and where it hits one alone, the median over the accounts
    passes it by. Few reports an account, each account over sessions of its own: a session keeps to one processor, and
    one that is unlucky with it is slower by a quarter.
    """
    accounts = [f"seller-{n}" for n in range(400 if "2M" in request.node.name else 60)]
    full, empty = Books.open(full_ledger), Books.open(database_url)
    ratios = []
    for account in accounts:
        add_account(empty, account)
        full.db.close()
        empty.db.close()
        seconds = {"full": 0.0, "empty": 0.0}
        for calls in zip(drained(full, account), drained(empty, account), strict=True):
            for ledger, call in zip(seconds, calls, strict=True):
                begun = time.perf_counter()
                call()
                seconds[ledger] += time.perf_counter() - begun
        ratios.append(seconds["full"] / seconds["empty"])

    for books in (full, empty):
        ((count,),) = books.db.query("SELECT count(*) FROM reports WHERE listing > 0 AND state = 'acknowledged'")
        assert count == 5 * len(accounts)
        books.db.close()
    assert median(ratios) <= 1.2, ratios


def drained(books, account):
    """The calls that drain five reports of an account, each to be made before the next is asked for."""
    # No two accounts have an id in common, as at Amazon: the ledger may find a report by its id alone.
    first = 30_000_000 + 10 * int(account.removeprefix("seller-"))
    keys = [ReportKey(account, API, str(first + n)) for n in range(5)]
    yield lambda: lists(books, account, [key.report_id for key in keys])
    for key in keys:
        yield lambda key=key: (downloads(books, key), parses(books, key))
    yield lambda: acknowledges(books, account)


# -------------------------------------------------------------------------------------------------- a full ledger


def _fill(url, finished):
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        # Keys and checks were proven elsewhere: without foreign keys it takes half the time.
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(
            "INSERT INTO applications (application, api, key_id, secret) VALUES ('main', 'mws', 'AKIA', 'no')"
        )
        cursor.execute(
            "INSERT INTO accounts (account, seller_id, marketplaces, next_list_at, next_schedule_at)"
            " SELECT 'seller-' || n, 'A' || n, '{ATVPDKIKX0DER}', app_now() + interval '1 day',"
            " app_now() + interval '1 day' FROM generate_series(0, %s) n",
            (ACCOUNTS - 1,),
        )
        cursor.execute(
            "INSERT INTO connections (account, api, application, endpoint)"
            " SELECT account, 'mws', 'main', 'http://127.0.0.1:1' FROM accounts"
        )
        cursor.execute(
            "INSERT INTO reports (account, api, report_id, report_type, available_at, listing, state, archive_key,"
            " outcome, rows_read, rows_new, rows_changed, rows_same, rows_older, rows_joined, rows_rejected,"
            " downloaded_at, parsed_at, acknowledged_at)"
            " SELECT 'seller-' || n %% %(accounts)s, 'mws', (10000000000 + n)::text, %(type)s, made, 0, 'acknowledged',"
            " 'archive/' || n, 'rows', 3, 3, 0, 0, 0, 0, 0, made, made, made"
            " FROM generate_series(0, %(finished)s - 1) n, app_now() AS now,"
            " LATERAL (SELECT now - interval '80 days' * (1 - n / %(finished)s::float) - interval '1 hour') AS t (made)",
            {"accounts": ACCOUNTS, "finished": finished, "type": ORDERS},
        )
        cursor.execute(
            "INSERT INTO report_history (account, api, report_id, at, step, event, from_state, to_state)"
            " SELECT account, api, report_id, acknowledged_at, 'acknowledge', 'acknowledged', 'parsed', 'acknowledged'"
            " FROM reports ORDER BY acknowledged_at"
        )
        cursor.execute("VACUUM (ANALYZE)")
        cursor.execute("CHECKPOINT")
    connection.close()
