"""Driving the SP-API side: reports that end in any way, and what the truth makes of them."""

from __future__ import annotations

import base64
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from emulator.clock import Clock
from emulator.control import Control
from emulator.documents import Documents
from emulator.faults import DEFAULT, Faults
from emulator.mws import Mws
from emulator.notifications import Notifications
from emulator.quota import Quotas
from emulator.record import Record
from emulator.sqs import Sqs
from emulator.world import World

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def world():
    return World(Clock(), seed=1, sellers=2, orders_per_minute=0, backlog=0, sp_api_sellers=["acme"])


@pytest.fixture
def control(world):
    quotas, faults, record = Quotas(), Faults(1), Record()
    mws = Mws(world, quotas, faults, record, seed=1, on_acknowledge=None)
    sqs = Sqs(world.clock, faults, seed=1, url="http://127.0.0.1:0")
    notifications = Notifications(world, faults, sqs.notifications, seed=1)
    return Control(world, quotas, faults, record, mws, notifications, {"accounts": []})


def make(control, **body):
    return control.post("reports", {"account": "acme", "api": "sp-api"} | body)["report_ids"]


def made(control, world, **body):
    (report_id,) = make(control, **body)
    return world.accounts["acme"].sp.reports[report_id]


def truth(control):
    return control.get("truth", "")


def test_a_report_tells_what_no_report_of_sp_api_has_told(control, world):
    """One order after the other; a requested one tells again and takes nothing from the schedule."""
    control.post("orders", {"account": "acme", "count": 2})
    (first,) = make(control, requested=True)
    (second,) = make(control)
    (third,) = make(control)
    files = {file.report_id: [order.serial for order, _ in file.told] for file in world.accounts["acme"].sp.files()}
    assert files == {first: [1, 2], second: [1, 2], third: [3]}
    told = truth(control)
    assert told["untold"] == []
    assert {line["report_id"] for line in told["families"]["new_orders"]} == {second, third}
    assert {line["api"] for line in told["families"]["new_orders"]} == {"sp-api"}
    flags = {(r["report_id"], r["requested"], r["acknowledged"]) for r in told["told_reports"]}
    assert flags == {(first, True, False), (second, False, False), (third, False, False)}


def test_many_reports_at_once_each_tell_something(control):
    """Scenarios of hundreds of reports begin with one call."""
    ids = make(control, count=230)
    assert len(set(ids)) == 230
    assert all(report["lines"] >= 1 for report in truth(control)["told_reports"])


def test_a_report_that_failed_is_no_truth_and_may_say_why(control, world):
    """FATAL with a document or without one, CANCELLED without: the orders stay untold."""
    control.post("orders", {"account": "acme", "count": 1})
    silent, cancelled = made(control, world, status="FATAL"), made(control, world, status="CANCELLED")
    said = made(control, world, status="FATAL", body_base64=base64.b64encode(b"why").decode())
    now = world.clock.now()
    assert [report.status(now) for report in (silent, cancelled, said)] == ["FATAL", "CANCELLED", "FATAL"]
    assert (silent.document, cancelled.document) == (None, None)
    assert said.document.file.render() == b"why"
    assert truth(control)["told_reports"] == []
    assert len({line["order_id"] for line in truth(control)["untold"]}) == 1


@pytest.mark.parametrize("announced", [True, False])
def test_given_bytes_are_served_as_they_are_whatever_is_announced(control, world, announced):
    """What Amazon says of bytes and what they are is up to the scenario."""
    body = base64.b64encode(b"<html>no report</html>").decode()
    report = made(control, world, body_base64=body, content_type="text/plain; charset=x", gzip=announced)
    document = report.document
    assert (document.announced, document.compressed) == (announced, False)
    assert (document.file.render(), document.file.content_type) == (
        b"<html>no report</html>",
        "text/plain; charset=x",
    )
    (told,) = truth(control)["told_reports"]
    assert (told["report_id"], told["lines"], told["api"]) == (report.request_id, None, "sp-api")


def test_a_report_may_be_done_long_after_it_was_asked_for(control, world):
    """A listing by creation must reach back that far."""
    now = world.clock.now()
    report = made(control, world, created_at=(now - timedelta(hours=26)).isoformat())
    assert report.done_at - report.submitted_at == timedelta(hours=26)
    assert report.status(now - timedelta(hours=1)) == "IN_PROGRESS"
    (told,) = truth(control)["told_reports"]
    assert told["available_at"] == report.done_at.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize(
    "body",
    [
        {"status": "READY"},
        {"status": "CANCELLED", "body_base64": ""},
        {"report_type": "GET_FBA_INVENTORY_PLANNING_DATA"},
        {"created_at": "2099-01-01T00:00:00Z"},
        {"body_base64": "no base64"},
    ],
)
def test_a_report_that_makes_no_sense_is_refused(control, world, body):
    """A harness with a mistake must hear of it, and nothing is made."""
    with pytest.raises(ValueError, match=r"\w"):
        make(control, **body)
    assert not world.accounts["acme"].sp.reports


@pytest.mark.parametrize(("scheme", "host"), [("http", "127.0.0.1:8400"), ("https", "[::1]:8400")])
def test_a_documents_url_has_the_servers_scheme_and_the_host_by_which_it_was_reached(control, world, scheme, host):
    """Where the port is https, clients fetch documents by https too; and through the proxy that they know."""
    report, account = made(control, world), world.accounts["acme"]
    documents = Documents(world, Faults(1), Record(), seed=1, url=f"{scheme}://127.0.0.1:9")
    now = world.clock.now()

    def sign(at=now, *, packed=False):
        return documents.sign(account, report.document, at, compressed=packed, host=host)

    plain, packed = sign(), sign(packed=True)
    assert plain.startswith(f"{scheme}://{host}/tortuga/")
    assert plain.partition("?")[0] != packed.partition("?")[0]
    again = sign(now + timedelta(seconds=1))
    assert again != plain
    assert again.partition("?")[0] == plain.partition("?")[0]


def test_the_keys_of_both_apis_are_shown_to_who_asks_for_them(control):
    """A seller that moves to the other API needs the keys that the first line does not show."""
    accounts = control.get("accounts", "keys=all")
    assert [account["account"] for account in accounts] == ["acme", "bravo"]
    assert all({"access_key", "refresh_token"} <= account.keys() for account in accounts)


def test_a_first_page_never_meets_a_corrupted_token():
    """There is none; the order waits for a call that brings one."""
    faults = Faults(1)
    faults.order("getReports", "token_corrupted", 1, None)
    unfit = frozenset(("token_corrupted",))
    assert faults.draw("acme", "getReports", "", unfit=unfit) is None
    assert faults.draw("acme", "getReports", "") == "token_corrupted"
    faults.load({"rates": {"token_corrupted": 1.0}})
    assert faults.draw("acme", "getReports", "", unfit=unfit) is None
    assert faults.draw("acme", "getReports", "") == "token_corrupted"


def test_a_missing_role_lasts_until_it_is_ended():
    """Nobody but a person mends it, and ending it leaves other orders alone."""
    faults = Faults(1)
    faults.order("getReports", "missing_role", None, "acme")
    faults.order("getReport", "html", None, "acme")
    assert {faults.draw("acme", "getReports", "") for _ in range(50)} == {"missing_role"}
    assert faults.draw("bravo", "getReports", "") is None
    faults.order("getReports", "missing_role", 0, "acme")
    assert faults.draw("acme", "getReports", "") is None
    assert [faults.draw("acme", "getReport", "") for _ in range(2)] == ["html", None]


def test_the_default_faults_are_modest_and_never_need_a_person():
    """A demo meets most kinds, most calls go through, and no account is paused by chance."""
    faults = Faults(1)
    faults.load(DEFAULT)
    kinds: Counter[str | None] = Counter()
    for operation in ("getReports", "createReport", "getReportDocument", "document", "LWA"):
        drawn = Counter(faults.draw("acme", operation, str(number)) for number in range(400))
        assert drawn[None] > 280
        kinds.update(drawn)
    assert not {"missing_role", "invalid_grant", "invalid_client"} & kinds.keys()
    assert {"throttle", "expired_url", "gzip_announced_plain", "gzip_unannounced", "fatal", "cut_body"} <= kinds.keys()


def test_a_seller_that_does_not_exist_ends_the_start_with_one_line():
    """A misspelt name must not give a run without an SP-API seller."""
    command = [sys.executable, "-m", "emulator", "--port", "0", "--sp-api-sellers", "acme,nobody"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "nobody" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
