"""A chaos run of half a minute, and that its judges see what is broken. `make chaos` is the long one."""

from __future__ import annotations

import select
import socket
import threading
from collections import Counter
from contextlib import suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer
from types import SimpleNamespace

import pytest

from tests.chaos import promises
from tests.chaos.faults import Faults
from tests.chaos.plan import AMAZON, KINDS, PUSH, make_plan
from tests.chaos.proxy import proxies
from tests.chaos.run import heal, quiet_bound, shake, waits
from tests.chaos.system import shaken_system

#: This seed's half minute holds each kind of what befalls push, and a role that is missing for a while.
SEED, SECONDS = 9, 30

#: What a person with bad luck, or a bug, would do to the tables: each breaks one promise.
TAMPERING = {
    "lost": "DELETE FROM order_lines WHERE ctid IN (SELECT ctid FROM order_lines ORDER BY order_id LIMIT 1)",
    "doubled": "UPDATE order_lines SET order_item_id = '1' WHERE ctid IN (SELECT ctid FROM order_lines ORDER BY order_id LIMIT 1)",
    "wrong": "UPDATE order_lines SET quantity = 77 WHERE ctid IN (SELECT ctid FROM order_lines ORDER BY order_id DESC LIMIT 1)",
    "invented": (
        'INSERT INTO reports SELECT (jsonb_populate_record(r, \'{"report_id": "404040404040"}\')).* FROM reports r LIMIT 1'
    ),
    "left": "UPDATE reports SET state = 'quarantined', quarantined_from = 'parsed' WHERE ctid IN (SELECT ctid FROM reports LIMIT 1)",
    "buyers_seen": "UPDATE reports SET reason = (SELECT max(buyer_email) FROM buyers)",
    "secrets_seen": "UPDATE connections SET access_token = 'Atza|IwEBIExample'",
    "bugs": "UPDATE report_history SET detail = 'unexpected KeyError at orders.py:7 (a bug: please report it)'",
}


@pytest.mark.timeout(300)
def test_half_a_minute_of_chaos_breaks_no_promise_and_a_broken_one_would_be_seen(stack_folder):
    """The two promises hold while everything around fails; and a judge that finds nothing must be able to."""
    with shaken_system(stack_folder / "stack", SEED) as system:
        faults, plan = Faults(system), make_plan(SEED, SECONDS)
        shake(system, faults, plan)
        bound = quiet_bound(system, faults)

        assert heal(system, bound) < bound, waits(system)
        kept = promises.broken_promises(system, faults)

        assert {name: [str(each) for each in broken] for name, broken in kept.items() if broken} == {}
        assert faults.done["postgres_restored"] == 1
        assert faults.done.total() >= 16, faults.done
        planned = {fault.kind for fault in plan}
        assert {*PUSH, "role_missing"} <= planned
        assert {*PUSH, "role_missing"} <= faults.done.keys(), faults.done
        # By what was said when they were heard: the backup that was restored has forgotten some.
        said = "".join(promises._logs(system).values())
        assert "malformed notification" in said
        assert "what was announced is not there" in said

        for tampering in TAMPERING.values():
            system.query(tampering)
        seen = promises.broken_promises(system, faults)
        assert [name for name in TAMPERING if not seen[name]] == []


def test_the_same_seed_gives_the_same_plan_and_two_minutes_hold_every_kind_of_fault():
    """A failing run must be repeated, and a kind that is never dealt is never shown."""
    assert make_plan(7, 120) == make_plan(7, 120)
    assert make_plan(7, 120) != make_plan(8, 120)
    for seed in range(1, 6):
        kinds = {fault.kind for fault in make_plan(seed, 120)}
        assert kinds == {
            *KINDS,
            *PUSH,
            "amazon_fault",
            "report_kills_worker",
            "postgres_backed_up",
            "postgres_restored",
        }
    ordered = {fault.how for fault in make_plan(1, 1200) if fault.kind == "amazon_fault"}
    assert ordered == {f"{operation} {kind}" for operation, kind in AMAZON}


def call(operation, at, *, code=None, fault=None, over_quota=False, report_ids=(), used=None, given=None, by=()):
    """One entry of Amazon's record, as far as the judges read it: `used` and `given` are the tokens of pages."""
    return {
        "at": f"2026-11-25T{at}Z",
        "account": "acme",
        "operation": operation,
        "code": code,
        "fault": fault,
        "applied": code is None,
        "over_quota": over_quota,
        "token_used": used,
        "token_given": given,
        "parameters": list(by),
        "report_ids": list(report_ids),
    }


def nothing_done(**done):
    return SimpleNamespace(done=Counter(done), excuses=[], at_backup=Counter(), at_restore=Counter())


@pytest.mark.parametrize(("operation", "spoilt"), [("GetReport", "wrong_md5"), ("document", "cut_body")])
def test_a_second_download_in_one_attempt_is_seen_and_one_after_a_bad_body_is_not(operation, spoilt):
    """A body that came wrong is fetched again within the attempt; anything else is work done twice."""
    once = SimpleNamespace(query=lambda _: [("acme", "1", 1)])
    bad, good = (call(operation, "10:00:00", report_ids="1", fault=fault) for fault in (spoilt, None))
    assert promises._downloaded_twice(once, [bad, good], nothing_done()) == []
    assert len(promises._downloaded_twice(once, [good, good], nothing_done())) == 1


def test_a_document_that_says_why_there_is_no_report_is_no_second_download():
    """It is read at the look after a request that ended FATAL: no lease, and nothing of it in the ledger of reports."""
    listed = SimpleNamespace(query=lambda _: [("acme", "1", 0)])
    assert promises._downloaded_twice(listed, [call("document", "10:00:00", report_ids="2")], nothing_done()) == []
    assert len(promises._downloaded_twice(listed, [call("document", "10:00:00", report_ids="1")], nothing_done())) == 1


@pytest.mark.parametrize(("first", "follows"), [("GetReportList", "GetReportListByNextToken"), ("getReports",) * 2])
def test_two_listings_of_an_account_at_once_are_seen_and_one_begun_anew_is_not(first, follows):
    """Whoever asks for the next page of a listing after another one has begun still went on with his own."""
    by = ["processingStatuses"]
    anew = [
        call(first, "10:00:00", given="a", by=by),
        call(first, "10:00:01", given="b", by=by),
        call(follows, "10:00:02", used="b", given="c", by=["nextToken"]),
        call("getReports", "10:00:03", given="d"),  # no listing: a requested report is looked for
        call("getReports", "10:00:04", used="d"),
        call(follows, "10:00:05", used="c", by=["nextToken"]),
    ]
    assert promises._listed_twice(anew, nothing_done()) == []
    assert len(promises._listed_twice([*anew, call(follows, "10:00:06", used="a")], nothing_done())) == 1


def test_a_flushed_redis_excuses_one_refusal_a_bucket_and_no_more():
    """Its bucket begins with one token, and Amazon's may be empty; from then on it knows."""
    refused = [call("GetReport", f"10:00:0{n}", code="RequestThrottled", over_quota=True) for n in range(2)]
    assert len(promises._over_quota(refused, nothing_done())) == 2
    assert len(promises._over_quota(refused, nothing_done(redis_flushed=1))) == 1


class Answering(BaseRequestHandler):
    """A server that answers each byte with eight."""

    def handle(self):
        with suppress(ConnectionError):
            while self.request.recv(1):
                self.request.sendall(b"12345678")


def test_a_proxy_cuts_an_answer_in_the_middle_and_holds_one_up():
    """What the run does to connections must be what it says that it does."""
    with ThreadingTCPServer(("127.0.0.1", 0), Answering) as server, proxies("one") as between:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        proxy = between["one"]
        proxy.target = server.server_address
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as client:
            client.sendall(b"?")
            assert client.recv(100) == b"12345678"

            proxy.stall()
            client.sendall(b"?")
            assert select.select([client], [], [], 0.3)[0] == []
            proxy.flow()
            assert client.recv(100) == b"12345678"

            assert proxy.cut() == 1
            client.sendall(b"?")
            assert client.recv(100) == b"1234"
            with pytest.raises(ConnectionResetError):
                client.recv(100)
        server.shutdown()
