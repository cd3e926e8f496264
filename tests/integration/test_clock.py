"""One clock: Postgres says what time it is, also where the application's time runs faster than life, or jumps."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from orderdrain.clock import Clock
from orderdrain.db import Database
from orderdrain.errors import DependencyDown
from tests.building import in_a_fork

THEN = datetime(2027, 3, 28, 0, 59, 50, tzinfo=UTC)


@pytest.fixture
def db(database_url):
    return Database(database_url)


def app_now(db):
    ((now,),) = db.query("SELECT app_now()")
    return now


def test_without_a_demo_application_time_is_real_time(db):
    """Nothing but the demo and the tests ever sets it."""
    ((difference,),) = db.query("SELECT app_now() - statement_timestamp()")
    assert difference == timedelta(0)
    assert abs(Clock(db).now() - app_now(db)) < timedelta(milliseconds=500)


def test_it_is_the_databases_time_and_not_the_workers(db, monkeypatch):
    """A worker whose own clock is an hour wrong signs, counts quota and waits by Postgres all the same."""
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert abs(Clock(db).now() - app_now(db)) < timedelta(milliseconds=500)


def test_its_times_are_in_utc_whatever_the_host_says(db, monkeypatch):
    """On a host in Berlin no hour of the nights in March and October is skipped or doubled."""
    monkeypatch.setitem(os.environ, "TZ", "Europe/Berlin")
    time.tzset()
    try:
        clock = Clock(db)
        clock.set(THEN)
        assert clock.now().utcoffset() == timedelta(0)
        clock.advance(timedelta(seconds=20))
        assert timedelta(seconds=20) <= clock.now() - THEN < timedelta(seconds=22)
        assert app_now(db).utcoffset() == timedelta(0)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_it_runs_sixty_times_faster(db):
    """Between two answers of Postgres a process counts on at the same speed."""
    clock = Clock(db)
    clock.set(THEN, speed=60)
    begin, real = clock.now(), time.monotonic()
    while time.monotonic() - real < 0.2:
        pass
    passed, told = time.monotonic() - real, clock.now() - begin

    assert timedelta(seconds=passed * 60 - 3) < told < timedelta(seconds=(time.monotonic() - real) * 60 + 3)
    assert abs(clock.now() - app_now(db)) < timedelta(seconds=10)


def test_another_process_sees_a_jump_when_its_next_step_begins(db, database_url):
    """Steps refresh the clock as they begin: what became due by the jump is due for them."""
    clock, elsewhere = Clock(db), Clock(Database(database_url))
    elsewhere.refresh()
    # Postgres's own word: what a clock tells of it is off by half a round trip.
    ((before,),) = db.query("SELECT app_now()")
    clock.advance(timedelta(days=2))
    assert elsewhere.now() - before < timedelta(hours=1)

    elsewhere.refresh()
    assert elsewhere.now() - before >= timedelta(days=2)


def test_a_real_second_is_as_long_as_the_speed_says(db):
    """Leases are given in these: they watch processes, which live in real time."""
    Clock(db).set(THEN, speed=60)
    ((span,),) = db.query("SELECT real_seconds(120)")
    assert span == timedelta(hours=2)


def test_without_postgres_there_is_no_time(database_url):
    """Signing or waiting by a guess would be worse than waiting for the database."""
    clock = Clock(Database("postgresql://nobody:hidden-password@127.0.0.1:1/nowhere"))
    with pytest.raises(DependencyDown, match=r"Postgres at 127\.0\.0\.1:1/nowhere does not answer") as told:
        clock.now()
    assert "hidden-password" not in str(told.value)


def test_each_thread_has_a_connection_of_its_own(db):
    """The renewal of a lease must not stand in the transaction of the work."""
    pids = set()

    def ask():
        ((pid,),) = db.query("SELECT pg_backend_pid()")
        pids.add(pid)
        db.close()

    ask_here = threading.Thread(target=ask)
    with db.transaction() as cursor:
        cursor.execute("SELECT pg_backend_pid() AS pid")
        pids.add(cursor.fetchone().pid)
        ask_here.start()
        ask_here.join()
    assert len(pids) == 2


def test_a_connection_that_postgres_ended_is_replaced_at_the_next_use(db, database_url):
    """A failover costs the running step, not the process."""
    ((pid,),) = db.query("SELECT pg_backend_pid()")
    Database(database_url).query("SELECT pg_terminate_backend(%s, 5000)", (pid,))
    with pytest.raises(DependencyDown, match="does not answer"):
        db.query("SELECT 1")

    assert db.query("SELECT 1 AS one")[0].one == 1


def test_a_connection_never_crosses_a_fork(db):
    """Celery's children would else speak into each other's sessions."""
    ((parent,),) = db.query("SELECT pg_backend_pid()")
    in_the_child = int(in_a_fork(lambda: db.query("SELECT pg_backend_pid() AS pid")[0].pid))

    assert in_the_child != parent
    assert db.query("SELECT pg_backend_pid() AS pid")[0].pid == parent
