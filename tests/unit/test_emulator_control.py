"""The control paths: driving the emulated Amazon, and what its truth says then."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path

import pytest

from emulator.clock import Clock
from emulator.control import Control, NoSuchPath
from emulator.faults import Faults
from emulator.mws import Mws
from emulator.notifications import Notifications
from emulator.quota import Quotas
from emulator.record import Record
from emulator.sqs import Sqs
from emulator.world import World

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def control():
    world = World(Clock(), seed=1, sellers=2, orders_per_minute=0, backlog=0)
    quotas, faults, record = Quotas(), Faults(1), Record()
    mws = Mws(world, quotas, faults, record, seed=1, on_acknowledge=None)
    sqs = Sqs(world.clock, faults, seed=1, url="http://127.0.0.1:0")
    notifications = Notifications(world, faults, sqs.notifications, seed=1)
    return Control(world, quotas, faults, record, mws, notifications, {"mws": "http://127.0.0.1:0", "accounts": []})


def truth(control):
    return control.get("truth", "")


def test_what_no_report_has_told_is_not_told(control):
    """The judge counts only what a client could have seen."""
    (order_id,) = control.post("orders", {"account": "acme", "count": 1})["order_ids"]
    assert {line["order_id"] for line in truth(control)["untold"]} == {order_id}
    assert truth(control)["families"]["new_orders"] == []
    (report_id,) = control.post("reports", {"account": "acme"})["report_ids"]
    told = truth(control)
    assert told["untold"] == []
    assert {(line["order_id"], line["report_id"]) for line in told["families"]["new_orders"]} == {(order_id, report_id)}
    (report,) = told["told_reports"]
    assert (report["report_id"], report["lines"]) == (report_id, len(told["families"]["new_orders"]))
    assert (report["acknowledged"], report["requested"]) == (False, False)


def test_an_order_is_sold_and_changed_with_the_cells_that_are_given(control):
    """What is not given is believable, and stays as it was when the order changes."""
    given = {"order_id": "111-1", "lines": [{"sku": "A", "ship-city": "Here"}, {"sku": "B"}]}
    control.post("orders", {"account": "acme", "orders": [given]})
    control.post("reports", {"account": "acme"})
    first = {line["cells"]["sku"]: line for line in truth(control)["families"]["new_orders"]}
    assert (first["A"]["cells"]["ship-city"], first["B"]["cells"]["currency"]) == ("Here", "USD")
    changed = {"order-item-id": first["B"]["order_item_id"], "quantity-purchased": "7"}
    control.post("orders", {"account": "acme", "orders": [{"order_id": "111-1", "lines": [changed]}]})
    assert {line["cells"]["sku"]: line for line in truth(control)["families"]["new_orders"]} == first
    control.post("reports", {"account": "acme", "order_ids": ["111-1"], "requested": True})
    second = {line["cells"]["sku"]: line["cells"] for line in truth(control)["families"]["new_orders"]}
    assert second["B"]["quantity-purchased"] == "7"
    assert second["A"]["order-item-id"] == first["A"]["order_item_id"]


def test_the_newest_report_counts_not_the_last_made(control):
    """Newest by when it was available, then by number: reports may be made in any order."""
    control.post("orders", {"account": "acme", "orders": [{"order_id": "111-1", "lines": [{"ship-city": "New"}]}]})
    (newer,) = control.post("reports", {"account": "acme", "order_ids": ["111-1"]})["report_ids"]
    early = {"account": "acme", "order_ids": ["111-1"], "available_at": "2026-01-01T00:00:00Z"}
    control.post("reports", early)
    (line,) = truth(control)["families"]["new_orders"]
    assert line["report_id"] == newer


def test_given_bytes_are_served_as_they_are_and_are_no_truth(control):
    """Damage for scenarios: the report is there, its lines are nobody's."""
    body = b"<html>no report</html>"
    made = {"account": "acme", "body_base64": base64.b64encode(body).decode(), "content_type": "text/plain"}
    (report_id,) = control.post("reports", made)["report_ids"]
    (told,) = truth(control)["told_reports"]
    assert (told["report_id"], told["lines"]) == (report_id, None)
    assert truth(control)["families"]["new_orders"] == []


def test_many_reports_at_once_each_tell_something(control):
    """Scenarios of hundreds of reports begin with one call."""
    ids = control.post("reports", {"account": "bravo", "count": 230})["report_ids"]
    assert len(set(ids)) == 230
    assert all(report["lines"] >= 1 for report in truth(control)["told_reports"])


def test_selling_stops_and_resumes(control):
    """A run must be able to come to an end."""
    account = control._world.accounts["acme"]
    account._rate = 1.0
    control.post("resume-selling", {"account": "acme"})
    control.post("advance", {"seconds": 600})
    control.post("stop-selling", {})
    sold = len(account.orders)
    assert sold > 300
    control.post("advance", {"seconds": 600})
    truth(control)
    assert len(account.orders) == sold


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("orders", {"account": "nobody"}),
        ("orders", {"account": "acme", "orders": [{"order_id": "1", "lines": [{"sku": "a\tb"}]}]}),
        ("orders", {"account": "acme", "orders": [{"order_id": "1", "lines": [{"sku": "見本"}]}]}),
        ("reports", {"account": "acme", "report_type": "FeedSummaryReport"}),
        ("orders", {"account": "acme", "orders": [{"order_id": "1", "status": "Lost"}]}),
        ("acknowledge", {"account": "acme", "report_ids": ["1"]}),
        ("advance", {"seconds": -1}),
        ("quota", {"operation": "GetNothing", "max": 1, "restore_seconds": 1, "hourly": 1}),
        ("quota", {"operation": "getReports", "report_type": "A", "max": 1, "restore_seconds": 1}),
        ("headers", {"resets_on": "2020"}),
    ],
)
def test_what_makes_no_sense_is_refused(control, path, body):
    """A harness with a mistake must hear of it."""
    with pytest.raises(ValueError, match=r"\w"):
        control.post(path, body)


def test_unknown_paths_are_named():
    """GET /_emulator/ lists those that exist."""
    with pytest.raises(NoSuchPath):
        Control(None, None, None, None, None, None, {}).get("nothing", "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--host", "0.0.0.0"], "--control-token"),
        (["--faults", "/nowhere.json"], "/nowhere.json"),
        (["--sellers", "0"], "at least 1"),
    ],
)
def test_a_start_that_makes_no_sense_ends_with_one_line(words, said):
    """Beyond loopback nobody drives it without the token."""
    command = [sys.executable, "-m", "emulator", "--port", "0", *words]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert said in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
