"""Sessions with Postgres whose other side stands still or is gone: their locks do not outlast them."""

from __future__ import annotations

import psycopg2
import pytest

from orderdrain import db
from orderdrain.errors import DependencyDown


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
