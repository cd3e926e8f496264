"""Long work is seen to move: in the ledger by every other connection, and by whoever looks on."""

from __future__ import annotations

import queue
import threading
from dataclasses import replace

import pytest

from orderdrain import pipeline, progress, replaying, steps
from orderdrain.parsers import flat_file
from orderdrain.progress import Progress, sentence
from orderdrain.reports import ReportKey
from tests.building import ACME, open_services
from tests.integration.test_pipeline_parse import HEADER, give, lines

ROWS = 4000


@pytest.fixture
def impatient(monkeypatch):
    """Every moved byte is told, and written down, at once."""
    monkeypatch.setattr(progress, "PROGRESS_SECONDS", 0)
    monkeypatch.setattr(steps, "PROGRESS_SECONDS", 0.01)


class Held:
    """An archive, or an Amazon, whose bytes come a few thousand at a time, each when the one before was looked at."""

    def __init__(self):
        self.at = queue.Queue()
        self.go_on = queue.Queue()

    def pause(self, position):
        self.at.put(position)
        self.go_on.get(timeout=60)

    def each(self):
        """The places where the work waits, one by one; it goes on when the next is asked for."""
        while (position := self.at.get(timeout=60)) is not None:
            yield position
            self.go_on.put(None)

    def ended(self):
        self.at.put(None)


class HeldArchive(Held):
    def __init__(self, archive):
        super().__init__()
        self._archive = archive

    def exists(self, key):
        return self._archive.exists(key)

    def open(self, key):
        return HeldFile(self._archive.open(key), self)


class HeldFile:
    def __init__(self, file, held):
        self._file, self._held = file, held

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self._file.close()

    def __getattr__(self, name):
        return getattr(self._file, name)

    def read(self, _size):
        # What was read before has been told by now.
        if self._file.tell():
            self._held.pause(self._file.tell())
        return self._file.read(50_000)


def seen_while(held, work, look):
    """What another connection sees each time that the work waits: it looks until it sees how far that is."""
    thread = threading.Thread(target=work)
    thread.start()
    seen = []
    for position in held.each():
        while not (told := look()) or told["bytes"] != position:
            assert thread.is_alive(), f"nobody wrote down {position}"
        seen.append(told)
    thread.join(30)
    return seen


@pytest.mark.parametrize("short_way", [True, False])
def test_another_connection_sees_a_parse_move_while_its_rows_are_not_committed(
    drain, impatient, redis_url, tmp_path, monkeypatch, short_way
):
    """Whoever looks at a report of a million rows must see whether it moves, and how long it takes still. Where its
    lines are taken as they come, nobody has counted them before."""
    monkeypatch.setattr(flat_file, "may_be_usual", lambda *_: short_way)
    report_id = give(drain, HEADER + lines(ROWS))
    drain.run(until=lambda: any(step == "parse" for step, _ in drain.messages))
    drain.take_messages("parse")
    held, other = HeldArchive(drain.s.archive), open_services(drain.database_url, redis_url, tmp_path)
    shown = []

    def work():
        try:
            s = replace(drain.s, archive=held, tell=lambda progress: shown.append(str(progress)))
            pipeline.parse(s, ReportKey(ACME, "mws", report_id))
        finally:
            held.ended()
            drain.s.db.close()

    def look():
        (row,) = other.ledger.find(report_id)
        assert (row.state, other.db.query("SELECT count(*) FROM order_lines")) == ("downloaded", [(0,)])
        assert not row.progress or [told.report_id for told in other.ledger.under_way()] == [report_id]
        return row.progress

    seen = seen_while(held, work, look)

    size = drain.row(report_id).bytes
    assert {told["of_bytes"] for told in seen} == {size}
    assert all(told["remaining_seconds"] >= 0 for told in seen)
    counted = [told["rows"] for told in seen if "rows" in told]
    assert counted == sorted(counted)
    assert any(0 < rows < ROWS for rows in counted)
    assert {told.get("of_rows") for told in seen if "rows" in told} == {None if short_way else ROWS}
    rows = " rows, " if short_way else f" of {ROWS:,} rows, "
    assert [said for said in shown if rows in said and f" of {size:,} bytes, some " in said]
    assert drain.row(report_id).state == "parsed"
    assert other.ledger.under_way() == []
    other.db.close()


def test_another_connection_sees_a_download_move(drain, impatient, redis_url, tmp_path):
    """How much is to come nobody knows, how much came is told."""
    report_id = give(drain, HEADER + lines(ROWS))
    drain.run(until=lambda: any(step == "download" for step, _ in drain.messages))
    drain.take_messages("download")
    held, other = Held(), open_services(drain.database_url, redis_url, tmp_path)

    class HeldAmazon:
        def __init__(self, api):
            self._api = api

        def download(self, report_id, write):
            came = 0

            def held_write(block):
                nonlocal came
                write(block)
                came += len(block)
                held.pause(came)

            return self._api.download(report_id, held_write)

    def work():
        try:
            s = replace(drain.s, amazon=lambda connection: HeldAmazon(drain.s.amazon(connection)))
            pipeline.download(s, ReportKey(ACME, "mws", report_id))
        finally:
            held.ended()
            drain.s.db.close()

    seen = seen_while(held, work, lambda: other.ledger.find(report_id)[0].progress)

    assert [told["bytes"] for told in seen] == sorted({told["bytes"] for told in seen})
    assert len(seen) > 1
    assert seen[-1] == {"bytes": drain.row(report_id).bytes}
    other.db.close()


def test_a_replay_is_seen_to_move_by_show_and_status(drain, impatient, run, redis_url, tmp_path):
    """It holds no lease of its report's: it is told beside it."""
    report_id = give(drain, HEADER + lines(ROWS))
    drain.run()
    held, other = HeldArchive(drain.s.archive), open_services(drain.database_url, redis_url, tmp_path)

    def work():
        try:
            replaying.replay(replace(drain.s, archive=held), ReportKey(ACME, "mws", report_id), dry_run=True)
        finally:
            held.ended()
            drain.s.db.close()

    texts = []

    def look():
        replay = other.replays.of(ReportKey(ACME, "mws", report_id))
        if replay and replay.progress and "rows" in replay.progress and not texts:
            texts.extend([run("show", report_id).stdout, run("status").stderr])
        return replay and replay.progress

    seen = seen_while(held, work, look)

    assert seen[-1]["of_rows"] == ROWS
    shown, status = texts
    assert "to be rolled back: " in shown
    assert f" of {ROWS:,} rows" in shown
    assert f"report {report_id} (acme): replay: " in status
    assert f" of {ROWS:,} rows" in status
    assert other.replays.of(ReportKey(ACME, "mws", report_id)) is None
    other.db.close()


def test_show_says_how_far_a_parse_is_as_long_as_somebody_is_at_it(drain, run):
    """What a dead worker wrote down last says nothing of the one that comes after it."""
    report_id = give(drain, HEADER + lines(1))
    drain.run(until=lambda: any(step == "parse" for step, _ in drain.messages))
    key = ReportKey(ACME, "mws", report_id)
    lease = drain.s.ledger.lease(key, drain.s.ledger.find(report_id)[0].state, "worker:1")
    lease.progress.restart(2000)
    lease.progress.came(1000)
    assert drain.s.ledger.renew(lease)

    assert "Progress 1,000 of 2,000 bytes, some 0 s of reading remain" in run("show", report_id).stdout
    assert f"report {report_id} (acme): parse: 1,000 of 2,000 bytes" in run("status").stderr

    drain.s.ledger.give_back(lease, "told to end")
    assert "Progress" not in run("show", report_id).stdout
    drain.s.ledger.lease(key, lease.report.state, "worker:2")
    assert "Progress" not in run("show", report_id).stdout


def test_a_short_step_writes_nothing_of_how_far_it_is(drain):
    """Most end within a second: a row that is written once more for each would be a third of all writes."""
    report_id = give(drain, HEADER + lines(3))
    drain.run()
    assert drain.row(report_id).progress is None


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({}, "begun"),
        ({"bytes": 1234}, "1,234 bytes"),
        ({"bytes": 1, "of_bytes": 4, "remaining_seconds": 90}, "1 of 4 bytes, some 90 s of reading remain"),
        (
            {"bytes": 4, "of_bytes": 4, "remaining_seconds": 0, "rows": 7000, "of_rows": 7000},
            "7,000 of 7,000 rows, 4 of 4 bytes, all read, merging",
        ),
    ],
)
def test_how_far_it_is_in_one_sentence(told, said):
    """As the log, Flower and the terminal show it."""
    assert sentence(told) == said


def test_what_remains_goes_by_what_was_done_since_the_begin(monkeypatch):
    """Half of the bytes in ten seconds: ten seconds more."""
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    told = Progress()
    told.restart(1000)
    now = 110.0
    told.came(500)
    assert told.told() == {"bytes": 500, "of_bytes": 1000, "remaining_seconds": 10}
