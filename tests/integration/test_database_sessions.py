"""Sessions with Postgres whose other side stands still or is gone: their locks do not outlast them."""

from __future__ import annotations

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
