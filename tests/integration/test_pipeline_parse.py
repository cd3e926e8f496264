"""From bytes to rows: what cannot be read is set aside with its reason, what can be is committed whole or not at all."""

from __future__ import annotations

import base64
import itertools
import json
import subprocess
import sys
import threading
import time

import psycopg2
import pytest

from tests.building import ORDERS
from tests.emulator_process import ROOT

HEADER = "order-id\torder-item-id\tsku\tquantity-purchased\tproduct-name\tbuyer-name\n"


def lines(count, *, first=0, name="Teapot"):
    return "".join(
        f"999-{n:07}-0000000\t{n:015}\tSKU-{n}\t1\t{name}\tBuyer Number {n}\n" for n in range(first, first + count)
    )


def give(drain, body, *, content_type="text/plain;charset=Cp1252", account="acme"):
    """A report of these very bytes; returns its id."""
    data = body if isinstance(body, bytes) else body.encode("cp1252")
    (report_id,) = drain.amazon(
        "reports",
        account=account,
        report_type=ORDERS,
        body_base64=base64.b64encode(data).decode(),
        content_type=content_type,
    )["report_ids"]
    return report_id


@pytest.mark.parametrize("body", ["", HEADER, HEADER.replace("\n", "\r\n")])
def test_an_empty_report_is_an_outcome_and_goes_on_to_acknowledged(drain, body):
    """Nothing was sold: Amazon must be told that we have it, or it is listed for ever."""
    drain.amazon("reports", account="bravo")
    report_id = give(drain, body)

    drain.run()

    report = drain.row(report_id)
    assert (report.state, report.outcome, report.rows_read) == ("acknowledged", "empty", 0)
    drain.assert_judged()


@pytest.mark.parametrize(
    ("body", "content_type", "reason"),
    [
        (b"<html><body>Service Unavailable</body></html>", "text/html", "HTML"),
        (HEADER.replace("order-item-id", "item").encode() + b"1\t2\t3\t4\t5\t6\n", "text/plain", "order-item-id"),
        (HEADER.encode() + b"999-1\t1\tS\t1\t\x81\x8d\x90\tB\n", "text/plain;charset=UTF-8", "charset is unknown"),
        (HEADER.encode() + lines(3).replace("\tSKU", "").encode(), "text/plain", "3 of 3 rows are rejected"),
    ],
    ids=["a web page", "a required column is missing", "bytes of no charset", "no row can be stored"],
)
def test_what_is_no_report_is_set_aside_with_its_reason_and_its_bytes(drain, body, content_type, reason):
    """A person must be able to see what came, and Amazon must not be told that we have it."""
    drain.amazon("reports", account="bravo")
    report_id = give(drain, body, content_type=content_type)

    drain.run()

    report = drain.row(report_id)
    assert (report.state, report.quarantined_from) == ("quarantined", "downloaded")
    assert reason.lower() in report.reason.lower()
    with drain.s.archive.open(report.archive_key) as file:
        assert file.read() == body
    assert drain.calls("UpdateReportAcknowledgements", account="acme") == []
    drain.assert_judged(quarantined=1)


def test_one_bad_row_of_a_hundred_is_set_aside_and_the_others_are_stored(drain):
    """One odd cell must not cost ninety-nine orders; where and why is told, what it held is not."""
    drain.amazon("reports", account="bravo")
    bad = "999-7777777-0000000\t7\tSKU-7\tone hundred\tTeapot\tBuyer Number 7\n"
    report_id = give(drain, HEADER + lines(50) + bad + lines(49, first=50))

    drain.run()

    report = drain.row(report_id)
    assert (report.state, report.rows_read, report.rows_new, report.rows_rejected) == ("acknowledged", 100, 99, 1)
    (rejected,) = drain.s.db.query("SELECT * FROM rejected_rows WHERE report_id = %s", (report_id,))
    assert (rejected.line, rejected.column, rejected.order_id) == (52, "quantity-purchased", "999-7777777-0000000")
    assert "one hundred" not in str(rejected)
    drain.assert_judged(given=99)


def test_versions_of_an_order_parsed_in_all_orders_end_in_one_table(drain):
    """Reports overtake each other: whatever the order, and however often, the newest wins and a blank erases nothing."""
    order = {"order_id": "111-1111111-1111111", "lines": [{"quantity-purchased": "3"}, {}]}
    drain.amazon("orders", account="acme", orders=[order])
    reports = []
    for cells in ({"quantity-purchased": "2"}, {"ship-service-level": "Expedited"}, {"buyer-name": "Zoë Late"}):
        reports += drain.amazon("reports", account="acme", order_ids=[order["order_id"]])["report_ids"]
        drain.advance(minutes=2)
        drain.amazon("orders", account="acme", orders=[{"order_id": order["order_id"], "lines": [cells]}])
    reports += drain.amazon("reports", account="acme", order_ids=[order["order_id"]])["report_ids"]
    drain.run()
    drain.assert_judged()
    told = table(drain)

    for permutation in itertools.permutations(reports):
        drain.s.db.query("TRUNCATE order_lines, buyers")
        for report_id in (*permutation, reports[2], reports[2]):
            again(drain, report_id)
        assert table(drain) == told, permutation
        assert drain.row(reports[2]).rows_new == drain.row(reports[2]).rows_changed == 0


def again(drain, report_id):
    """Parses a report once more, from its archived bytes."""
    drain.s.db.query("UPDATE reports SET state = 'downloaded' WHERE report_id = %s", (report_id,))
    said = drain.run_message("parse", {"account": "acme", "api": "mws", "report_id": report_id})
    assert said.startswith("parsed 2 rows")


def table(drain):
    """What the tables say, without how it got there."""
    own = drain.s.db.query("SELECT * FROM order_lines ORDER BY order_item_id")
    buyers = drain.s.db.query("SELECT * FROM buyers ORDER BY line_key")
    return [{k: v for k, v in row._asdict().items() if k != "layout"} for row in [*own, *buyers]]


def test_postgres_killed_in_the_middle_of_a_copy_leaves_no_half_report(drain):
    """Half of a report's rows, or an acknowledgement without them, would be orders lost."""
    drain.amazon("orders", account="acme", count=6000)
    drain.amazon("reports", account="acme")
    drain.run(until=lambda: any(step == "parse" for step, _ in drain.messages))
    ((_, ids),) = [message for message in drain.messages if message[0] == "parse"]
    drain.take_messages("parse")

    worker = threading.Thread(target=drain.run_message, args=("parse", ids))
    worker.start()
    killed = kill_backend_that_runs(drain, "COPY order_lines%")
    worker.join(60)

    assert killed
    (said,) = drain.sentences("parse")
    assert "Postgres at" in said
    assert "does not answer" in said
    report = drain.row(ids["report_id"])
    assert (report.state, report.attempts) == ("downloaded", 0)
    assert drain.s.db.query("SELECT count(*) FROM order_lines") == [(0,)]
    drain.run()
    assert drain.events(ids["report_id"]).count("parsed") == 1
    drain.assert_judged()


def kill_backend_that_runs(drain, query):
    """Ends the session that runs such a statement, as an administrator or a failing server would."""
    connection = psycopg2.connect(drain.database_url)
    connection.autocommit = True
    deadline = time.monotonic() + 20
    try:
        with connection.cursor() as cursor:
            while time.monotonic() < deadline:
                cursor.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                    " AND pid <> pg_backend_pid() AND query ILIKE %s",
                    (query,),
                )
                if cursor.fetchall():
                    return True
    finally:
        connection.close()
    return False


MEASURE = """
import json, resource, sys
from pathlib import Path
from orderdrain import pipeline
from orderdrain.reports import ReportKey
from tests.building import open_services
database_url, redis_url, folder, *report_ids = sys.argv[1:]
s = open_services(database_url, redis_url, Path(folder))
for report_id in report_ids:
    pipeline.parse(s, ReportKey("acme", "mws", report_id))
    print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
"""


def test_a_report_ten_times_as_long_takes_no_more_memory(drain, redis_url, tmp_path):
    """A year's report has hundreds of thousands of lines: a worker that holds them all is killed by its container."""
    drain.amazon("reports", account="bravo")
    ids = [give(drain, HEADER + lines(count, first=count)) for count in (5_000, 50_000)]
    drain.run_message("list", {"account": "acme"})
    for report_id in ids:
        drain.run_message("download", {"account": "acme", "api": "mws", "report_id": report_id})
        drain.advance(minutes=1)
    drain.messages.clear()

    argv = [sys.executable, "-c", MEASURE, drain.database_url, redis_url, str(tmp_path), *ids]
    told = subprocess.run(argv, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, timeout=120).stdout

    small, big = (json.loads(line) / 1024 for line in told.splitlines() if line.isdigit())
    assert big - small < 60, f"{small:.0f} MB for 5,000 lines, {big:.0f} MB for 50,000"
    drain.run()
    assert [drain.row(report_id).rows_new for report_id in ids] == [5_000, 50_000]
    drain.assert_judged(given=55_000)


def test_bytes_that_the_archive_has_lost_are_downloaded_again(drain, tmp_path):
    """A lost disk of the archive must not lose orders that Amazon still has."""
    drain.amazon("reports", account="bravo")
    report_id = give(drain, HEADER + lines(3))
    drain.run(until=lambda: drain.states("acme").get("downloaded") == 1)
    (tmp_path / "archive" / drain.row(report_id).archive_key).unlink()

    drain.run()

    assert drain.row(report_id).state == "acknowledged"
    assert len(drain.calls("GetReport", account="acme")) == 2
    drain.assert_judged(given=3)
