"""Pruning on a real Postgres: the history of what was finished long ago goes, in small commits that nothing waits for."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from datetime import timedelta

import pytest
from click.testing import CliRunner

from orderdrain.cli import main
from orderdrain.reports import State
from orderdrain.turns import check_turn
from tests.building import ACME, API, OTHER, WORKER, Books, add_account, download, enter, listed, parse, report_in

DAYS = timedelta(days=90)


@pytest.fixture
def books(database_url):
    books = Books.open(database_url)
    add_account(books)
    yield books
    books.db.close()


def acknowledge(books):
    """Everything that is parsed."""
    turn = books.turns.take_acknowledging(ACME, API, WORKER)
    ids = books.acknowledgements.begin(turn)
    with books.db.transaction() as cursor:
        check_turn(cursor, turn)
        books.acknowledgements.done(cursor, turn, ids, detail="in a call", request_id=None)
    books.turns.release(turn)


def finished(books, *report_ids):
    """Reports that are finished, each with four lines of history."""
    keys = [report_in(books, State.PARSED, report_id) for report_id in report_ids]
    acknowledge(books)
    return keys


def lines(books):
    return {
        row.report_id: row.n for row in books.db.query("SELECT report_id, count(*) n FROM report_history GROUP BY 1")
    }


def test_only_the_history_of_what_was_finished_long_ago_is_deleted(books):
    """What is unfinished or quarantined is what its history is kept for, however old it is."""
    finished(books, "1", "2")
    for number, state in enumerate([State.LISTED, State.DOWNLOADED, State.PARSED, State.QUARANTINED], 3):
        report_in(books, state, str(number))
    books.clock.advance(DAYS)
    acknowledged_late = books.db.query(
        "UPDATE reports SET acknowledged_at = app_now() WHERE report_id = '2' RETURNING 1"
    )

    assert acknowledged_late
    assert sum(books.history.prune(DAYS)) == 4

    assert lines(books) == {"2": 4, "3": 1, "4": 2, "5": 3, "6": 2}


def test_the_reports_stay_and_are_not_drained_again(books):
    """An unfiltered listing tells them once more; and a row says where their bytes lie."""
    (key,) = finished(books, "1")
    before = books.row(key)
    books.clock.advance(DAYS)

    assert sum(books.history.prune(DAYS)) == 4

    assert books.row(key) == before
    assert books.ledger.enter(ACME, API, [listed("1")], listing=9, worker=WORKER, request_id=None) == 0


def test_each_batch_is_a_commit_of_its_own(books):
    """A prune of millions of lines that is stopped half way has done half, and never holds locks for long."""
    finished(books, *map(str, range(10)))
    books.clock.advance(DAYS)

    batches = books.history.prune(DAYS, batch=15)
    assert next(batches) == 15
    seen_by_another = Books.open(books.db.url)
    assert sum(lines(seen_by_another).values()) == 25
    assert sum(batches) == 25
    assert lines(seen_by_another) == {}
    seen_by_another.db.close()


def test_it_looks_no_further_than_history_is_old(books):
    """Else each run would read all of the history that is kept."""
    finished(books, "1")
    books.clock.advance(DAYS)
    finished(books, *map(str, range(10, 20)))

    assert list(books.history.prune(DAYS, batch=4)) == [4, 0]


def test_a_dry_run_counts_and_deletes_nothing(books):
    """It is what a careful person types first."""
    finished(books, "1", "2")
    report_in(books, State.PARSED, "3")
    books.clock.advance(DAYS)
    before = lines(books)

    assert sum(books.history.prune(DAYS, dry_run=True)) == 8
    assert lines(books) == before


def test_the_path_goes_on_while_a_batch_is_being_deleted(books):
    """It runs beside the workers: neither a step of the same account nor one of any other may wait for it."""
    finished(books, "1")
    books.clock.advance(DAYS)
    books.db.query("SET lock_timeout = '2s'")

    with stopped_within_a_batch(books) as pruned:
        key, other = enter(books, "2", "3")
        download(books, books.ledger.lease(key, State.LISTED, WORKER))
        parse(books, books.ledger.lease(key, State.DOWNLOADED, WORKER))
        acknowledge(books)
        books.ledger.fail(books.ledger.lease(other, State.LISTED, OTHER), "503")
        books.dispatch.send_due()
        books.dispatch.take_back()
        assert books.row(key).state == State.ACKNOWLEDGED
        assert pruned == [], "the batch was still under way"

    assert pruned == [4]
    assert lines(books) == {"2": 4, "3": 2}


def test_it_does_not_wait_for_a_step_that_holds_a_report(books):
    """A long parse holds its report's row in its last moments, and a lease for minutes."""
    finished(books, "1")
    key = report_in(books, State.DOWNLOADED, "2")
    books.clock.advance(DAYS)
    worker = Books.open(books.db.url)
    lease = worker.ledger.lease(key, State.DOWNLOADED, WORKER)
    books.db.query("SET lock_timeout = '2s'")

    with worker.db.transaction() as cursor:
        cursor.execute("SELECT FROM reports FOR UPDATE")
        assert sum(books.history.prune(DAYS)) == 4

    parse(worker, lease)
    worker.db.close()


def test_two_at_once_share_the_work(books):
    """Started twice by mistake, or by two machines' cron: neither waits for the other, none fails."""
    finished(books, "1", "2")
    books.clock.advance(DAYS)
    books.db.query("SET lock_timeout = '2s'")

    with stopped_within_a_batch(books, batch=5) as pruned:
        assert sum(books.history.prune(DAYS, batch=5)) == 3

    assert pruned == [5]
    assert lines(books) == {}


@contextmanager
def stopped_within_a_batch(books, batch=1000):
    """Another process prunes, and stops in the middle of its first batch until the end of the block. Yields what it
    has pruned: nothing until then."""
    books.db.query(
        "CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF current_setting('application_name') = 'stops' THEN PERFORM pg_advisory_xact_lock(1); END IF;"
        " RETURN OLD; END $$"
    )
    books.db.query("CREATE TRIGGER stop BEFORE DELETE ON report_history FOR EACH ROW EXECUTE FUNCTION stop()")
    gate, pruned = Books.open(books.db.url), []

    def prune():
        other = Books.open(books.db.url)
        other.db.query("SET application_name = 'stops'")
        pruned.append(next(other.history.prune(DAYS, batch=batch)))
        other.db.close()

    thread = threading.Thread(target=prune)
    with gate.db.transaction() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(1)")
        thread.start()
        deadline = time.monotonic() + 20
        while not books.db.query("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
            assert time.monotonic() < deadline, "it never came to its first line"
        yield pruned
    thread.join(20)
    gate.db.close()


# ------------------------------------------------------------------------------------------------------ the command


@pytest.fixture
def run(database_url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    env = {"ORDERDRAIN_DATABASE_URL": database_url, "ORDERDRAIN_REDIS_URL": "redis://127.0.0.1:1/0"}
    return lambda *words: CliRunner().invoke(main, words, env=env)


def test_the_command_says_what_it_did_and_show_says_that_it_was_done(run, books):
    """A report without history would else look like one that nothing ever happened to."""
    finished(books, "1", "2")
    books.clock.advance(DAYS)

    assert run("prune", "--older-than", "90", "--dry-run").stdout == "would prune 8 lines of history\n"
    assert run("prune", "--older-than", "90").stdout == "pruned 8 lines of history\n"
    assert run("prune", "--older-than", "90").stdout == "pruned 0 lines of history\n"
    assert "History: pruned" in run("show", "1").stdout.splitlines()


@pytest.mark.parametrize("words", [["prune"], ["prune", "--older-than", "0"], ["prune", "--older-than", "-1"]])
def test_how_old_must_be_said(run, words):
    """There is no default for deleting, and nothing deletes what was finished today."""
    assert run(*words).exit_code == 2
