"""Bytes: a body that is not the one Amazon announced is thrown away unseen, and fetched again."""

from __future__ import annotations

import hashlib
import resource
from contextlib import contextmanager
from pathlib import Path

import pytest


def bytes_in_archive(drain):
    """Everything under a key: key -> SHA-256."""
    root = Path(drain.s.settings.archive)
    files = [path for path in root.rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def assert_archive_holds_what_the_ledger_says(drain):
    """No half body, no wrong one, nothing left over."""
    rows = drain.s.db.query("SELECT archive_key, sha256 FROM reports WHERE archive_key IS NOT NULL")
    assert bytes_in_archive(drain) == {row.archive_key: row.sha256 for row in rows}


def downloads(drain):
    return drain.calls("GetReport", account="acme")


def full_bucket(drain):
    """GetReport's bucket after a quiet quarter of an hour: several calls may go at once."""
    drain.amazon("reports", account="acme")
    drain.run()
    drain.advance(minutes=16)


def attempts(drain, report_id):
    """(event, attempt) of each download that counted."""
    history = drain.s.db.query(
        "SELECT event, attempt FROM report_history WHERE report_id = %s AND step = 'download'"
        " AND event IN ('failed', 'downloaded', 'quarantined') ORDER BY history_id",
        (report_id,),
    )
    return [(row.event, row.attempt) for row in history]


def test_a_wrong_digest_twice_and_then_a_right_one_are_one_attempt(drain):
    """A broken file is not a broken Amazon: it is fetched again at once, and nobody reads what came before."""
    full_bucket(drain)
    (report_id,) = drain.amazon("reports", account="acme")["report_ids"]
    drain.fault("GetReport", "wrong_md5", count=2)

    drain.run()

    assert [call["fault"] for call in downloads(drain)[1:]] == ["wrong_md5", "wrong_md5", None]
    assert attempts(drain, report_id) == [("downloaded", 1)]
    assert_archive_holds_what_the_ledger_says(drain)
    drain.assert_judged()


def test_three_wrong_digests_are_a_failed_attempt(drain):
    """After three bodies there is more wrong than a file: the report waits, others go on."""
    full_bucket(drain)
    (report_id,) = drain.amazon("reports", account="acme")["report_ids"]
    drain.fault("GetReport", "wrong_md5", count=3)

    drain.run(until=lambda: attempts(drain, report_id))

    assert attempts(drain, report_id) == [("failed", 1)]
    assert "Content-MD5" in drain.row(report_id).reason
    assert len(bytes_in_archive(drain)) == 1, "the report before, and nothing of this one"
    drain.run()
    assert attempts(drain, report_id) == [("failed", 1), ("downloaded", 2)]
    assert_archive_holds_what_the_ledger_says(drain)
    drain.assert_judged()


def test_a_body_that_is_always_wrong_is_given_up_also_at_one_call_a_minute(drain):
    """With a backlog there is one token a minute: a report that never comes whole must not take every one of them."""
    (bad,) = drain.amazon("reports", account="acme")["report_ids"]
    drain.fault("GetReport", "wrong_md5", count=100)

    drain.run(until=lambda: drain.row(bad).state == "quarantined" if drain.s.ledger.find(bad, "acme") else False)

    assert len(downloads(drain)) <= 8 * 3
    assert drain.events(bad).count("failed") == 7
    assert bytes_in_archive(drain) == {}


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("cut_body", "not whole"),
        ("cut_without_length", "not the one that Amazon announced"),
        ("stalled_body", "not whole"),
        ("html", "no MWS answer"),
        ("no_answer", "gave no answer"),
        ("late_answer", "gave no answer"),
        ("internal_error", "Amazon failed"),
        ("unavailable", "Amazon failed"),
    ],
)
def test_what_is_no_whole_report_is_never_seen_under_a_key(drain, fault, said):
    """Each of these looks like a report to somebody: a cut file parsed would lose its last orders without a trace."""
    drain.amazon("faults", stall_seconds=0.2)
    drain.amazon("reports", account="acme")
    drain.fault("GetReport", fault)

    drain.run()

    history = " ".join(row.detail or "" for row in drain.s.db.query("SELECT detail FROM report_history"))
    assert said in history + str(drain.logs)
    assert drain.states() == {"acknowledged": 1}
    assert [call["fault"] for call in downloads(drain)] == [fault, None]
    assert_archive_holds_what_the_ledger_says(drain)
    drain.assert_judged()


def test_a_full_archive_makes_reports_wait_and_loses_none(drain):
    """A disk fills up at night: nothing may be lost or used up until somebody has made room."""
    drain.amazon("orders", account="acme", count=40)
    (report_id,) = drain.amazon("reports", account="acme")["report_ids"]

    with no_file_above(1024):
        drain.run(until=lambda: drain.sentences("download"))

    assert "the archive" in drain.sentences("download")[0]
    waiting = drain.row(report_id)
    assert (waiting.state, waiting.attempts) == ("listed", 0)
    assert "fails" in waiting.reason
    assert bytes_in_archive(drain) == {}
    drain.run()
    assert drain.states() == {"acknowledged": 1}
    assert_archive_holds_what_the_ledger_says(drain)
    drain.assert_judged()


@contextmanager
def no_file_above(size):
    """A disk quota as the kernel has it, for this process alone; root is bound by it too."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
