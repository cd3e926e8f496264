"""A ledger with ten thousand accounts and millions of finished reports: what runs often reads only what is unfinished.

Built by INSERT ... SELECT in one database. Two hundred thousand finished reports in every run, two million at night.
"""

from __future__ import annotations

import statistics
import threading
import time
from contextlib import contextmanager
from datetime import timedelta

import psycopg2
import pytest

from orderdrain.db import Database
from orderdrain.reports import ReportKey, State
from tests import services
from tests.building import API, ORDERS, OTHER, WORKER, Books, add_account, download, enter, expire, listed, parse

ACCOUNTS = 10_000
#: Accounts with work to do, and how many reports of each are in which state.
BUSY = 500
#: Real seconds that any one statement may take, `status` of ten thousand accounts among them. On a quiet machine with
#: two million reports the longest takes a quarter of it.
MOST_SECONDS = 1.0
#: Tables that grow with what is finished: reading one from end to end is what must never happen.
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


@pytest.fixture
def books(full_ledger):
    books = Books.open(full_ledger)
    yield books
    books.db.close()


def _fill(url, finished):
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        # Keys and checks were proven elsewhere: without foreign keys it takes half the time.
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("INSERT INTO applications (application, access_key, secret_key) VALUES ('main', 'AKIA', 'no')")
        cursor.execute(
            "INSERT INTO accounts (account, seller_id, marketplaces, report_types, next_list_at, next_schedule_at)"
            " SELECT 'seller-' || n, 'A' || n, '{ATVPDKIKX0DER}', '{}', app_now() + interval '1 day',"
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
    connection.close()
