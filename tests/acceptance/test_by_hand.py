"""What a person does beside the running system: the Python shell, Flower, one message too many, a beat that comes late."""

from __future__ import annotations

import json
import os
import re
import signal
import urllib.parse
import urllib.request
from datetime import timedelta

import psycopg2
import pytest

from orderdrain.amazon import ListedReport
from tests.acceptance.live import living, wait_for
from tests.building import ORDERS
from tests.emulator_process import ROOT
from tests.services import scratch_folder


@pytest.fixture(scope="module")
def live():
    """Two workers and Flower, and no beat: nothing happens that a test has not asked for."""
    with scratch_folder() as folder, living(folder / "stack", beat=False, workers=0) as running:
        for _ in range(2):
            running.add_worker(concurrency=1)
        yield running


def listed(live, account="acme"):
    """A report that the ledger has as listed, and that nobody was told of."""
    (report_id,) = live.make_reports(account)
    report = ListedReport(report_id, ORDERS, live.s.clock.now().replace(microsecond=0), acknowledged=False)
    live.s.ledger.enter(account, "mws", [report], listing=0, worker="a test", request_id=None)
    return report_id


def page(live, path):
    with urllib.request.urlopen(live.stack.flower_url + path, timeout=10) as answer:
        return answer.read().decode()


def tasks_in_flower(live):
    """The rows of Flower's table of tasks."""
    columns = ("name", "uuid", "state", "kwargs", "result", "received")
    query = {"draw": 1, "start": 0, "length": 200, "search[value]": "", "order[0][column]": 5, "order[0][dir]": "desc"}
    query |= {f"columns[{n}][data]": name for n, name in enumerate(columns)}
    return json.loads(page(live, f"tasks/datatable?{urllib.parse.urlencode(query)}"))["data"]


def test_the_lines_of_the_python_shell_work_as_printed(live):
    """Somebody who debugs at night copies them from the documentation."""
    (offered,) = live.make_reports("acme")
    report_id = listed(live, "bravo")

    (said,) = live.shell(
        "import tasks",
        'tasks.list_reports.delay(account="acme")',
        f'print(tasks.trigger(tasks.download_report, account="bravo", api="mws", report_id="{report_id}", wait=60))',
    )

    size = live.s.ledger.find(report_id, "bravo")[0].bytes
    assert said == f"downloaded {size:,} bytes"
    wait_for(lambda: live.state(offered) == "acknowledged", "the listed report to be drained")
    wait_for(lambda: live.state(report_id, "bravo") == "acknowledged", "the downloaded report to be drained")
    live.wait_judged()


def test_flower_shows_readable_names_and_ids_and_never_a_buyer(live):
    """It is open to everybody on call: report ids help them, names and addresses are none of their business."""
    (report_id,) = live.make_reports("cedar")
    live.shell("import tasks", 'tasks.trigger(tasks.list_reports, account="cedar")')
    wait_for(lambda: live.state(report_id, "cedar") == "acknowledged", "the report to be drained")

    def shown():
        rows = [row for row in tasks_in_flower(live) if report_id in row["kwargs"] and row["state"] == "SUCCESS"]
        return rows if len(rows) == 2 else None

    rows = wait_for(shown, "Flower to show both tasks")
    assert {row["name"] for row in rows} == {"reports.download", "reports.parse"}
    for row in rows:
        step = row["name"].removeprefix("reports.")
        assert row["uuid"].startswith(f"{report_id}.{step}.")
        assert "cedar" in row["kwargs"]
        detail = page(live, f"task/{row['uuid']}")
        assert report_id in detail
        live.assert_no_buyer_in(detail)
    assert "rows" in next(row["result"] for row in rows if row["name"] == "reports.parse")
    live.assert_no_buyer_in(str(tasks_in_flower(live)) + page(live, "tasks") + page(live, "workers"))


def test_flower_sees_a_long_parse_move(live):
    """How far it is stands where the result will: a report of a million rows must not look like one that hangs."""
    shim = live.stack.folder / "impatient"
    shim.mkdir()
    (shim / "sitecustomize.py").write_text("from orderdrain import policy\npolicy.PROGRESS_SECONDS = 0\n")
    live.stack.kill(live.workers.pop(), signal.SIGKILL)
    live.stack.kill(live.workers.pop(), signal.SIGKILL)
    live.add_worker(concurrency=1, env={"PYTHONPATH": f"{shim}{os.pathsep}{ROOT}"})
    report_id = listed(live, "bravo")
    download = f'tasks.download_report.delay(account="bravo", api="mws", report_id="{report_id}")'
    connection = psycopg2.connect(live.stack.database_url)

    def shown(state):
        rows = (row for row in tasks_in_flower(live) if report_id in row["kwargs"] and row["name"] == "reports.parse")
        return next((row for row in rows if row["state"] == state), None)

    with connection, connection.cursor() as cursor:
        # Its bytes are read, and the merge of its rows waits for this lock.
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('bravo', 0))")
        live.shell("import tasks", download)
        moving = wait_for(lambda: shown("PROGRESS"), "Flower to show how far it is")
        assert re.search(r"[\d,]+ of [\d,]+ bytes", moving["result"])
        live.assert_no_buyer_in(str(moving))
    connection.close()
    wait_for(lambda: shown("SUCCESS"), "Flower to show its end")
    live.add_worker(concurrency=1)


def test_one_message_delivered_to_two_workers_at_once_is_one_download(live):
    """Redis delivers a message twice whenever a connection breaks: the second worker must see that the first is at
    it, and Amazon must be asked once."""
    # Nothing sweeps here: with its quota used up by the tests before, a snoozed download would never go on.
    live.amazon("advance", seconds=120)
    live.s.clock.advance(timedelta(minutes=2))
    report_id = listed(live)
    connection = psycopg2.connect(live.stack.database_url)
    send = f'tasks.download_report.delay(account="acme", api="mws", report_id="{report_id}")'
    try:
        with connection, connection.cursor() as cursor:
            # While this lasts, the worker that came first has its lock and waits for its lease.
            cursor.execute("SELECT FROM reports WHERE report_id = %s FOR UPDATE", (report_id,))
            live.shell("import tasks", send, send)
            wait_for(
                lambda: any(f"{report_id} (acme): another worker is at it" in live.log(name) for name in live.workers),
                "the second worker to find the first",
            )
            assert live.calls("GetReport", account="acme")[-1]["report_ids"] != [report_id]
    finally:
        connection.close()

    wait_for(lambda: live.state(report_id) == "acknowledged", "the report to be drained")
    assert [report_id in call["report_ids"] for call in live.calls("GetReport")].count(True) == 1
    assert live.events(report_id) == ["entered", "downloaded", "parsed", "acknowledged"]
    live.wait_judged()


def test_a_beat_that_was_down_for_hours_catches_up_with_one_listing(live):
    """A deployment that went wrong in the evening: in the morning it is one listing, not one for each missed tick."""
    live.amazon("advance", seconds=3 * 3600)
    live.s.clock.advance(timedelta(hours=3))
    made = live.make_reports("acme", 3)
    before = len(live.calls("GetReportList", account="acme"))

    live.stack.start_beat("late-beat")

    wait_for(lambda: all(live.state(report_id) == "acknowledged" for report_id in made), "the reports to be drained")
    assert len(live.calls("GetReportList", account="acme")) - before <= 3
    live.wait_judged()
