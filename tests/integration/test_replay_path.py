"""A replay is a step like any other: its state, its lease, its death, and the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

from orderdrain import pipeline, replaying
from orderdrain.errors import GiveUp, LeaseLost, NotFound, NothingToDo, UsageError
from orderdrain.parsers import cells
from orderdrain.reports import ReportKey
from orderdrain.vault import new_key
from tests.building import ACME, ORDERS, at_once, open_services
from tests.drain import draining
from tests.integration.test_pipeline_leases import parsing_blocked, wait_for_blocked
from tests.integration.test_pipeline_parse import HEADER, give, lines

#: No quantity that any version can read, until one is taught to.
TWO = "999-7777777-0000000\t777777777777777\tSKU-7\ttwo\tTeapot\tMargit Musterfrau\n"


def key(report_id):
    return ReportKey(ACME, "mws", report_id)


@pytest.fixture
def taught(monkeypatch):
    """From when it is called: a version that reads `two`."""
    right = cells.READERS["integer"]
    return lambda: monkeypatch.setitem(
        cells.READERS, "integer", lambda cell, style: "2" if cell == "two" else right(cell, style)
    )


def stored(drain):
    """The order lines and who bought them."""
    return [
        drain.s.db.query("SELECT * FROM order_lines ORDER BY order_item_id"),
        drain.s.db.query("SELECT * FROM buyers ORDER BY line_key"),
    ]


# ---------------------------------------------------------------------------------------------------------------- states


def test_a_quarantined_report_that_can_be_read_now_goes_on_to_be_acknowledged(drain, taught):
    """That is what it was kept for."""
    report_id = give(drain, HEADER + TWO)
    drain.run()
    assert drain.row(report_id).state == "quarantined"
    taught()

    done = replaying.replay(drain.s, key(report_id))

    assert (done.state, done.counts.new) == ("parsed", 1)
    assert [ids for step, ids in drain.messages if step == "acknowledge"] == [{"account": ACME}]
    drain.run()
    assert drain.row(report_id).state == "acknowledged"
    assert drain.events(report_id)[-2:] == ["replayed", "acknowledged"]
    drain.assert_never_acknowledged_within_a_listing()


def test_an_acknowledged_report_stays_so_and_amazon_hears_nothing(drain):
    """It was told already that we have it."""
    report_id = give(drain, HEADER + lines(3))
    drain.run()
    calls = len(drain.calls())

    replaying.replay(drain.s, key(report_id))
    drain.run_messages()

    assert drain.row(report_id).state == "acknowledged"
    assert len(drain.calls()) == calls
    (told,) = [entry for entry in drain.s.history.of(key(report_id)) if entry.step == "replay"]
    assert (told.event, told.from_state, told.to_state, told.detail) == (
        "replayed",
        "acknowledged",
        "acknowledged",
        "3 rows: 3 same",
    )


def test_a_report_that_amazon_refused_to_acknowledge_is_read_again_and_stays_set_aside(drain):
    """Its rows were never the trouble."""
    report_id = give(drain, HEADER + lines(1))
    drain.run()
    drain.s.db.query("UPDATE reports SET state = 'quarantined', quarantined_from = 'parsed', reason = 'refused'")

    assert replaying.replay(drain.s, key(report_id)).state == "quarantined"
    assert (drain.row(report_id).quarantined_from, drain.row(report_id).reason) == ("parsed", "refused")


def test_what_todays_code_cannot_read_keeps_its_rows(drain, monkeypatch):
    """A version that reads less than the last one must not take an order away."""
    report_id = give(drain, HEADER + lines(3))
    drain.run()
    before = stored(drain)

    def refuses(_cell, _style):
        raise cells.Unreadable("is not for today")

    monkeypatch.setitem(cells.READERS, "integer", refuses)

    with pytest.raises(
        GiveUp, match=r"not replayed: 3 of 3 rows are rejected.*It stays acknowledged, its rows as they"
    ):
        replaying.replay(drain.s, key(report_id))

    assert stored(drain) == before
    assert drain.row(report_id).state == "acknowledged"
    assert drain.events(report_id)[-1] == "refused"


def test_a_dry_run_leaves_no_trace(drain, taught):
    """Neither rows nor a line in the history: it may be made as often as one likes."""
    report_id = give(drain, HEADER + TWO + lines(1))
    drain.run()
    before = (drain.row(report_id), drain.s.history.of(key(report_id)), stored(drain))
    taught()

    done = replaying.replay(drain.s, key(report_id), dry_run=True)

    assert (done.difference.new, done.rejected_before, done.counts.rejected) == (1, 1, 0)
    assert (drain.row(report_id), drain.s.history.of(key(report_id)), stored(drain)) == before
    assert drain.s.db.query("SELECT * FROM replays") == []


def test_dry_runs_do_not_fill_the_catalog(drain):
    """Through a whole archive they are hundreds of thousands."""
    report_id = give(drain, HEADER + lines(1))
    drain.run()

    def tables_made():
        return drain.s.db.query("SELECT max(oid) FROM pg_class WHERE relpersistence = 't'")

    replaying.replay(drain.s, key(report_id), dry_run=True)
    made = tables_made()
    replaying.replay(drain.s, key(report_id), dry_run=True)
    assert tables_made() == made != [(None,)]


def test_what_has_not_ended_or_has_no_bytes_is_not_replayed(drain, tmp_path):
    """Each says why, in one line."""
    report_id = give(drain, HEADER + lines(1))
    drain.run(until=lambda: drain.states().get("listed"))
    with pytest.raises(UsageError, match="is listed: only a report"):
        replaying.replay(drain.s, key(report_id))
    with pytest.raises(NotFound, match="there is no report 1 "):
        replaying.replay(drain.s, key("1"))
    drain.run()
    before = stored(drain)
    (tmp_path / "archive" / drain.row(report_id).archive_key).unlink()
    with pytest.raises(NotFound, match="not in the archive; nothing was changed"):
        replaying.replay(drain.s, key(report_id))
    assert stored(drain) == before


def test_sealed_bytes_are_opened(database_url, redis_url, tmp_path, emulator):
    """As parsing opens them."""
    (tmp_path / "keys").write_text(f"{new_key('now')}\n")
    with draining(database_url, redis_url, tmp_path, emulator, keys=str(tmp_path / "keys")) as drain:
        report_id = give(drain, HEADER + lines(2))
        drain.run()
        assert replaying.replay(drain.s, key(report_id)).counts.same == 2


# ----------------------------------------------------------------------------------------------------------------- lease


def test_two_replays_of_one_report_exclude_each_other(drain, redis_url, tmp_path):
    """Correctness rests on the lease: also with a Redis that forgets its locks."""
    report_id = give(drain, HEADER + lines(1))
    drain.run()
    with parsing_blocked(drain):
        thread = threading.Thread(target=replay_and_close, args=(drain, report_id))
        thread.start()
        wait_for_blocked(drain, 1)
        with pytest.raises(NothingToDo, match="another worker is at it"):
            replaying.replay(drain.s, key(report_id))
        drain.s.redis.flushdb()
        with pytest.raises(NothingToDo, match="is being replayed by another process"):
            replaying.replay(drain.s, key(report_id))
    thread.join(20)
    assert drain.events(report_id).count("replayed") == 1


def replay_and_close(drain, report_id, said=None):
    try:
        replaying.replay(drain.s, key(report_id))
    except Exception as error:
        if said is None:
            raise
        said.append(error)
    finally:
        drain.s.db.close()


def test_a_replay_that_lost_its_lease_changes_nothing(drain, taught):
    """It stood still, and another one did the work."""
    report_id = give(drain, HEADER + TWO + lines(1))
    drain.run()
    before, said = stored(drain), []
    taught()
    with parsing_blocked(drain):
        thread = threading.Thread(target=replay_and_close, args=(drain, report_id, said))
        thread.start()
        wait_for_blocked(drain, 1)
        drain.s.db.query("UPDATE replays SET fence = nextval('replay_fences'), lease_owner = 'another'")
    thread.join(20)

    assert [type(error) for error in said] == [LeaseLost]
    assert stored(drain) == before


def test_a_report_that_is_requeued_while_it_is_replayed_is_parsed_once(drain, taught):
    """Whoever comes second changes nothing."""
    report_id = give(drain, HEADER + TWO)
    drain.run()
    taught()
    said = []
    with parsing_blocked(drain):
        thread = threading.Thread(target=replay_and_close, args=(drain, report_id, said))
        thread.start()
        wait_for_blocked(drain, 1)
        drain.s.ledger.requeue(key(report_id), note="by another person")
    thread.join(20)

    assert ["was requeued meanwhile" in str(error) for error in said] == [True]
    assert drain.row(report_id).state == "downloaded"
    drain.run()
    assert (drain.row(report_id).state, len(stored(drain)[0])) == ("acknowledged", 1)


def test_a_replay_and_a_parse_of_the_same_lines_do_not_block_each_other_for_good(drain):
    """They wait for one another, in one order."""
    first, second = give(drain, HEADER + lines(300)), None
    drain.run()
    second = give(drain, HEADER + lines(300, name="Kettle"))
    drain.run(until=lambda: any(step == "parse" for step, _ in drain.messages))
    drain.take_messages("parse")

    def parse():
        try:
            return pipeline.parse(drain.s, key(second))
        finally:
            drain.s.db.close()

    results = at_once(parse, lambda: replay_and_close(drain, first))

    assert results == ["parsed 300 rows: 300 changed", None]
    assert drain.s.db.query("SELECT DISTINCT product_name FROM order_lines") == [("Kettle",)]


def test_a_replay_that_is_killed_in_the_middle_leaves_nothing_half_and_may_be_made_again(drain, environ, tmp_path):
    """All of its rows were withdrawn and written anew, and nobody had seen it yet."""
    report_id = give(drain, HEADER + lines(50))
    drain.run()
    before = stored(drain)
    command = [Path(sys.executable).with_name("orderdrain"), "replay", report_id]
    with drain.s.db.transaction() as cursor:
        # Its last statement waits for this row: all else is done, and not committed.
        cursor.execute("SELECT 1 FROM reports WHERE report_id = %s FOR NO KEY UPDATE", (report_id,))
        process = subprocess.Popen(command, cwd=tmp_path, env={**os.environ, **environ}, stderr=subprocess.PIPE)
        other = open_services(drain.database_url, environ["ORDERDRAIN_REDIS_URL"], tmp_path)
        deadline = time.monotonic() + 30
        waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%%FROM reports%%'"
        while other.db.query(waits) == [(0,)]:
            assert time.monotonic() < deadline, process.stderr.read() if process.poll() is not None else "it never came"
            time.sleep(0.02)
        process.kill()
        process.wait(10)
    other.db.close()

    assert stored(drain) == before
    assert drain.row(report_id).state == "acknowledged"
    drain.s.redis.flushdb()
    with pytest.raises(NothingToDo):
        replaying.replay(drain.s, key(report_id))
    drain.s.clock.advance(timedelta(seconds=121))
    assert replaying.replay(drain.s, key(report_id)).counts.same == 50


# --------------------------------------------------------------------------------------------------------------- command


def test_the_command_prints_the_difference_and_never_a_buyer(drain, run, taught):
    """Before it is let loose, a fix is looked at."""
    report_id = give(drain, HEADER + TWO + lines(2))
    drain.run()
    drain.s.db.query("UPDATE order_lines SET quantity = 5 WHERE sku = 'SKU-1'")
    drain.s.db.query("UPDATE buyers SET buyer_name = 'Was read wrongly'")
    taught()

    shown = run("replay", report_id, "--dry-run")

    assert shown.exit_code == 0, shown.output
    said, *changes = shown.stdout.splitlines()
    assert said == (
        f"report {report_id} (acme): would replay 3 rows: 1 new, 1 changed, 1 same; 1 new, 1 changed,"
        " 3 with another contact; rejected 1 before, 0 now; would be acknowledged"
    )
    assert changes == [
        "\tchanged\t999-0000001-0000000/000000000000001\tquantity\t5\t1",
        "\tnew\t999-7777777-0000000/777777777777777",
    ]
    assert "columns: 1 quantity" in shown.stderr
    assert "1 would be replayed, 0 not." in shown.stderr
    assert not [word for word in ("Margit", "Buyer Number", "wrongly") if word in shown.output]

    done = run("replay", report_id, "--json")
    (row,) = json.loads(done.stdout)["rows"]
    assert (row["difference"]["new"], row["difference"]["changed"], row["rejected_before"]) == (1, 1, 1)
    assert "Margit" not in done.output
    assert str(run("replay", report_id, "--dry-run").stdout).count("no difference") == 1


def test_many_are_chosen_by_type_day_and_account(drain, run):
    """And asked for by a word, where nobody can be asked."""
    reports = [give(drain, HEADER + lines(1, first=n)) for n in range(3)] + [
        give(drain, HEADER + lines(1), account="bravo")
    ]
    drain.run()

    told = run("replay", "--type", ORDERS, "--dry-run").stdout.splitlines()
    assert sum(line.startswith("report ") for line in told) == len(reports)
    assert [line for line in told if "in all" in line] == [
        "acme, new_orders: would replay 3 reports; in all no difference"
    ]
    assert len(run("replay", "--account", "bravo").stdout.splitlines()) == 1
    assert "4 would be replayed" in run("replay", "--since", "2020-01-01", "--dry-run").stderr
    assert "0 would be replayed" in run("replay", "--since", "2099-01-01", "--dry-run").stderr
    refused = run("replay", "--account", "acme")
    assert (refused.exit_code, "3 reports: say --yes" in refused.stderr) == (2, True)
    assert "3 replayed, 0 not." in run("replay", "--account", "acme", "--yes").stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "which reports?"),
        (["1", "--type", ORDERS], 2, "either the id of a report"),
        (["1"], 4, "there is no report 1"),
        (["--account", "nobody", "--dry-run"], 4, "nobody"),
        (["--type", "NOPE"], 2, "NOPE is no report type that this version drains. It drains: GET_AMAZON_FULFILLED"),
        (["--type", ORDERS.lower(), "--dry-run"], 2, "is no report type that this version drains"),
    ],
)
def test_what_makes_no_sense_says_what_would(run, words, code, said):
    """With the exit codes of every command."""
    done = run("replay", *words)
    assert (done.exit_code, said in done.stderr) == (code, True), done.output


def test_one_that_cannot_be_read_does_not_hold_up_the_others(drain, run):
    """It is told, and the exit code says that a person must look."""
    report_id = give(drain, HEADER + TWO)
    give(drain, HEADER + lines(1))
    drain.run()

    done = run("replay", "--account", "acme", "--yes")

    assert done.exit_code == 5
    assert f"report {report_id} (acme): not replayed: 1 of 1 rows are rejected" in done.stderr
    assert "1 replayed, 1 not." in done.stderr


def test_rejected_rows_are_found_by_account_report_and_type(drain, run):
    """Where and why: line, column and lengths, never what they held."""
    report_id = give(drain, HEADER + TWO + lines(1))
    drain.run()

    (told,) = run("rejected", "--report-type", ORDERS).stdout.splitlines()
    assert told.split("\t") == [
        *("acme", report_id, "2", "quantity-purchased", "999-7777777-0000000", "777777777777777"),
        *("is not a whole number (3 characters)", ORDERS),
    ]
    assert run("rejected", "--api", "sp-api").stdout == ""
    assert run("rejected", "--account", "acme", "--report", report_id).stdout.splitlines() == [told]
