"""Sessions with Postgres whose other side stands still or is gone: their locks do not outlast them."""

from __future__ import annotations

import io

import psycopg2
import pytest

from orderdrain import db
from orderdrain.errors import DependencyDown
from tests.tables import NEW, flat, new_account, parse


def test_a_session_that_stands_still_in_a_transaction_gives_its_locks_back(database_url, monkeypatch):
    """A worker that is paused between two statements must not stop the one that took over its report."""
    monkeypatch.setattr(db, "IDLE_SECONDS", 1)
    paused, other = db.Database(database_url), db.Database(database_url)

    def stand_still():
        with paused.transaction() as cursor:
            cursor.execute("UPDATE broker SET word = 'of the paused'")
            # Waits for the row until Postgres has ended the session that stands still.
            other.query("UPDATE broker SET word = 'of the other'")
            cursor.execute("SELECT 1")

    with pytest.raises(DependencyDown):
        stand_still()
    assert other.query("SELECT word FROM broker") == [("of the other",)]
    # The next use opens a new session.
    assert paused.query("SELECT 1")
    paused.close()
    other.close()


def test_either_side_misses_the_other_soon(database_url):
    """By the kernel's default, a server or a worker whose machine has lost its power is missed after two hours."""
    database = db.Database(database_url)
    with database.transaction() as cursor:
        asked_of_client = cursor.connection.get_dsn_parameters()
        cursor.execute("SHOW tcp_keepalives_idle")
        assert cursor.fetchone() == ("10",)
    assert (asked_of_client["keepalives_idle"], asked_of_client["tcp_user_timeout"]) == ("10", "30000")
    database.close()


@pytest.mark.parametrize("name", [psycopg2.OperationalError, psycopg2.InterfaceError, psycopg2.DatabaseError])
def test_a_connection_that_breaks_is_postgres_down_by_whatever_name_psycopg2_gives_it(database_url, name):
    """Where the server goes away in the middle of an answer it is no more than a DatabaseError: seen in a chaos run."""
    database = db.Database(database_url)
    with pytest.raises(DependencyDown, match=r"Postgres at .* does not answer: server closed"):  # noqa: SIM117
        with database.transaction():
            raise name("server closed the connection unexpectedly")
    assert database.query("SELECT 1") == [(1,)]


def test_what_the_server_refuses_is_no_trouble_of_the_connection(database_url):
    """Taken for one, a bug would be tried again for ever, and its attempt never counted."""
    with pytest.raises(psycopg2.DataError):
        db.Database(database_url).query("SELECT 1 / 0")


# ------------------------------------------------------------------------------------------ fewer round trips


@pytest.fixture
def database(database_url):
    made = db.Database(database_url)
    yield made
    made.close()


def test_what_goes_with_the_next_statement_is_part_of_its_transaction(database):
    with database.transaction() as cursor:
        cursor.with_next("UPDATE broker SET word = %(word)s", {"word": "100 % of it"})
        cursor.execute("SELECT word FROM broker WHERE word LIKE %s", ("100 \\%%",))
        assert cursor.fetchone().word == "100 % of it"
    copied = io.BytesIO()
    with pytest.raises(psycopg2.DataError), database.transaction() as cursor:  # noqa: PT012 - all of it is undone
        cursor.with_next("UPDATE broker SET word = 'undone'")
        cursor.copy_expert("COPY (SELECT word FROM broker) TO STDOUT", copied)
        cursor.execute("SELECT 1 / 0")
    assert copied.getvalue() == b"undone\n"
    assert database.query("SELECT word FROM broker") == [("100 % of it",)]
    with database.transaction() as cursor:
        cursor.with_next("UPDATE broker SET word = 'the last'")
    assert database.query("SELECT word FROM broker") == [("the last",)]


def test_what_a_thread_does_besides_its_transaction_is_refused(database):
    """It would be committed with it, or undone with it."""
    with database.transaction() as cursor:
        cursor.execute("SELECT 1")
        with pytest.raises(AssertionError, match="within a transaction"):
            database.query("SELECT 1")
    assert database.query("SELECT 1")


def test_a_statement_is_prepared_once_whatever_its_parameters(database, monkeypatch):
    monkeypatch.setattr(db, "MAX_PREPARED", 2)
    asked = (
        "SELECT %(n)s::integer + %(n)s AS twice, 7 %% 4 AS rest, %(texts)s::text[] AS texts, %(none)s::jsonb AS none"
    )
    for n in (1, 2):
        (row,) = database.query(asked, {"n": n, "texts": ["it's", "50 %"], "none": None, "more": 1}, prepared=True)
        assert row._asdict() == {"twice": 2 * n, "rest": 3, "texts": ["it's", "50 %"], "none": None}
    for n in range(3):  # more than a session keeps
        assert database.query(f"SELECT {n} AS n", {}, prepared=True) == [(n,)]
    assert len(database.query("SELECT name FROM pg_prepared_statements")) <= 2


@pytest.mark.parametrize("struck", ["PREPARE", "EXECUTE", "COMMIT"])
def test_a_time_limit_that_strikes_in_the_middle_leaves_a_session_that_works(database, monkeypatch, struck):
    """Its signal is raised once the statement has come back: nobody knows then whether it was done."""
    execute = psycopg2.extras.NamedTupleCursor.execute

    def strikes(cursor, query, parameters=None):
        execute(cursor, query, parameters)
        if struck in str(query):
            monkeypatch.undo()
            raise TimeoutError

    monkeypatch.setattr(psycopg2.extras.NamedTupleCursor, "execute", strikes)
    with pytest.raises(TimeoutError), database.transaction() as cursor:
        cursor.execute_prepared("UPDATE broker SET word = %(word)s", {"word": "of the struck"})
    for word in ("one", "other"):
        database.query("UPDATE broker SET word = %(word)s RETURNING word", {"word": word}, prepared=True)
        assert database.query("SELECT word FROM broker", prepared=True) == [(word,)]


def test_a_time_limit_before_the_commit_undoes_the_transaction(database, monkeypatch):
    def struck(cursor):
        raise TimeoutError

    monkeypatch.setattr(db._Cursor, "commit", struck)
    with pytest.raises(TimeoutError), database.transaction() as cursor:
        cursor.execute("UPDATE broker SET word = 'undone'")
    assert database.query("SELECT word FROM broker") != [("undone",)]


def test_a_session_that_is_older_than_a_migration_goes_on(s):
    """What it has prepared was planned for the tables as they were."""
    account = new_account(s)
    header = "order-id order-item-id sku quantity-purchased item-price buyer-name"

    def told(number):
        lines = [f"111-0000001-0000000 {item} A {number} 1.00 Ann" for item in ("01234567890001", "01234567890002")]
        return flat(NEW, number, header, lines, hour=number)

    for number in range(1, 8):  # after some times Postgres keeps the plan
        assert parse(s, account, told(number)).startswith("parsed 2 rows")
    with psycopg2.connect(s.db.url) as connection, connection.cursor() as cursor:
        for table in ("reports", "report_history", "connections", "accounts", "order_lines", "buyers", "layouts"):
            cursor.execute(f"ALTER TABLE {table} ADD COLUMN of_a_later_version text")
    assert parse(s, account, told(8)) == "parsed 2 rows: 2 changed"
