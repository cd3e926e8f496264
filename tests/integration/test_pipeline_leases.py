"""Doubled messages, lost leases, lost messages: the row decides, whatever the broker and the workers do."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

import psycopg2

from orderdrain import pipeline
from orderdrain.errors import LeaseLost
from orderdrain.reports import ReportKey
from tests.building import at_once, open_services


def on_its_way(drain, step):
    """A report whose message for `step` is on its way: that message's ids."""
    drain.amazon("reports", account="acme")
    drain.run(until=lambda: any(waiting == step for waiting, _ in drain.messages))
    (ids,) = drain.take_messages(step)
    return ids


@contextmanager
def parsing_blocked(drain):
    """Whoever merges rows of acme's waits until this ends: another session holds the lock of the merge."""
    connection = psycopg2.connect(drain.database_url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('acme', 0))")
            yield
    finally:
        connection.close()


def wait_for_blocked(drain, count):
    """Until so many sessions wait for that lock."""
    deadline = time.monotonic() + 20
    while drain.s.db.query("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") != [(count,)]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def begun(function, *arguments):
    """A worker of its own at work: its thread, and where its result will be."""
    result = []

    def run():
        try:
            result.append(function(*arguments))
        except Exception as error:
            result.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, result


def test_a_worker_that_lost_its_lease_changes_nothing_and_says_so(drain, redis_url, tmp_path):
    """It slept past its lease (a laptop lid, a frozen machine); another has the report. Two commits would be one too
    many."""
    ids = on_its_way(drain, "parse")
    key = ReportKey(**ids)
    other = open_services(drain.database_url, redis_url, tmp_path, send=lambda *_, **__: True)

    with parsing_blocked(drain):
        slow, said_slow = begun(pipeline.parse, drain.s, key)
        wait_for_blocked(drain, 1)
        drain.advance(seconds=drain.s.settings.lease_seconds + 1)
        drain.s.redis.flushdb()
        pipeline.sweep(drain.s)
        quick, said_quick = begun(pipeline.parse, other, key)
        wait_for_blocked(drain, 2)
    slow.join(20)
    quick.join(20)

    assert isinstance(said_slow[0], LeaseLost)
    assert "lost its lease" in str(said_slow[0])
    assert "nothing was changed" in str(said_slow[0])
    assert said_quick[0].startswith("parsed")
    assert drain.events(key.report_id)[-2:] == ["lease ran out", "parsed"]
    drain.run()
    assert drain.row(key.report_id).attempts == 0
    assert len(drain.calls("UpdateReportAcknowledgements")) == 1
    drain.assert_judged()


def test_a_message_delivered_three_times_at_once_is_one_download(drain):
    """Redis hands out a message again at each lost connection: doubles are normal, and must cost no call to Amazon."""
    ids = on_its_way(drain, "download")

    said = at_once(*[lambda: drain.run_message("download", ids)] * 3)

    assert sum(sentence.startswith("downloaded") for sentence in said) == 1
    assert len(drain.calls("GetReport")) == 1
    assert drain.events(ids["report_id"]).count("downloaded") == 1
    drain.run()
    drain.assert_judged()


def test_a_late_message_of_a_step_that_is_done_is_a_quiet_no_op(drain):
    """A message may come hours late: what it asks for is done, and nobody need hear of it as an error."""
    ids = on_its_way(drain, "download")
    drain.run_message("download", ids)
    drain.run()

    said = [drain.run_message(step, ids) for step in ("download", "parse")]

    assert said == [f"{ReportKey(**ids)}: already acknowledged, nothing done"] * 2
    drain.assert_judged()


def test_messages_lost_with_redis_are_sent_again_by_the_next_sweep(drain):
    """A flushed Redis forgets every message: no report may wait until its message's time is over."""
    for account in ("acme", "bravo"):
        drain.amazon("reports", account=account, count=2)
    drain.run(until=lambda: len([step for step, _ in drain.messages if step == "download"]) >= 2)
    lost = drain.take_messages("download")
    drain.s.redis.flushdb()

    pipeline.sweep(drain.s)

    sent = drain.take_messages("download")
    assert {ids["report_id"] for ids in lost} <= {ids["report_id"] for ids in sent}
    drain.restart(flush=True)
    drain.run()
    drain.assert_judged()


def test_one_lost_message_is_sent_again_when_its_time_is_over(drain):
    """Each reconnect of a worker may lose one: nobody can know, so it is sent again after a lease's length."""
    ids = on_its_way(drain, "download")

    assert pipeline.sweep(drain.s) == "swept: 0 sent, 0 leases taken back"
    drain.advance(seconds=drain.s.settings.lease_seconds + 1)
    pipeline.sweep(drain.s)

    assert drain.take_messages("download") == [ids]


def test_an_account_with_a_backlog_does_not_stand_before_the_others(drain):
    """Five hundred small sellers must not wait for one big one: each account has so many reports under way."""
    drain.amazon("reports", account="acme", count=60)
    for account in ("bravo", "cedar"):
        drain.amazon("reports", account=account, count=2)
    began = drain.s.clock.now()

    drain.run(until=lambda: drain.states("bravo") == drain.states("cedar") == {"acknowledged": 2})

    assert (drain.s.clock.now() - began).total_seconds() < 600
    assert drain.states("acme").get("listed", 0) > 40
    in_flight = [ids for step, ids in drain.messages if ids.get("account") == "acme"]
    assert len(in_flight) <= drain.s.settings.account_slots
