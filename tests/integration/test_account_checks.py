"""`orderdrain account test` and `account add`: what a person who brings a first account is told and asked, by an emulated
Amazon's real answers."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.building import Books
from tests.emulator_process import Emulator

SHIPPING = "GET_FLAT_FILE_ORDER_REPORT_DATA_SHIPPING"
INVOICING = "GET_FLAT_FILE_ORDER_REPORT_DATA_INVOICING"
ORDERS = "_GET_FLAT_FILE_ORDERS_DATA_"


@pytest.fixture
def books(database_url):
    return Books.open(database_url)


@pytest.fixture
def amazon():
    """Acme sells at SP-API, bravo at MWS; nothing goes wrong but what a test says."""
    with Emulator.start(orders_per_minute=0, backlog=0, sellers=2, sp_api_sellers="acme") as running:
        yield running


def add_acme(run, amazon, *more, types=(f"{SHIPPING}=PT15M",), **changed):
    """The whole way in at SP-API, as the emulator's first line tells it."""
    told = amazon.account("acme") | changed
    run("application", "add", "app", "--client-id", told["client_id"], ORDERDRAIN_CLIENT_SECRET=told["client_secret"])
    words = ["account", "add", "acme", "--api", "sp-api", "--application", "app", "--seller-id", told["seller_id"]]
    words += ["--endpoint", amazon.first_line["sp_api"], "--login-url", amazon.first_line["lwa"]]
    words += [word for m in told["marketplaces"] for word in ("--marketplace", m)]
    words += [word for name in types for word in ("--type", name)]
    return run(*words, *more, ORDERDRAIN_REFRESH_TOKEN=told["refresh_token"])


def add_bravo(run, amazon, **changed):
    told = amazon.account("bravo") | changed
    run("application", "add", "mws", "--access-key", told["access_key"], ORDERDRAIN_SECRET_KEY=told["secret_key"])
    words = ["account", "add", "bravo", "--application", "mws", "--seller-id", told["seller_id"]]
    words += ["--endpoint", amazon.url, "--marketplace", told["marketplaces"][0], "--type", f"{ORDERS}=_15_MINUTES_"]
    return run(*words)


def fault(amazon, operation, kind, **told):
    amazon.post("/_emulator/faults", {"operation": operation, "fault": kind, **told})


def lines(done):
    return done.stdout.splitlines()


def test_what_works_at_sp_api_is_said_in_one_line_each(run, amazon):
    """The sentence that a person waits for, after all those forms at Amazon."""
    amazon.post("/_emulator/reports", {"account": "acme", "api": "sp-api"})
    added = add_acme(run, amazon)
    assert lines(added)[0] == "account acme: stored; its first listing is due now"
    assert added.exit_code == 0

    done = run("account", "test", "acme")

    assert done.exit_code == 0
    login, orders, buyers, schedules = lines(done)
    assert login == "sp-api login: ok"
    assert orders.startswith((f"sp-api {SHIPPING}: ok, the newest is of 20", f"sp-api {SHIPPING}: waits"))
    assert buyers.startswith("sp-api buyers' data: ok, ")
    assert schedules.startswith(("sp-api report schedules: ok, differs: ", "sp-api report schedules: waits"))
    assert lines(added)[1:4] == [
        "sp-api login: ok",
        lines(added)[2],
        "sp-api buyers' data: ok, the application has the role Direct-to-Consumer Shipping",
    ]
    assert {call["operation"] for call in amazon.calls()} == {
        "LWA",
        "getReports",
        "getReport",
        "createRestrictedDataToken",
        "getReportSchedules",
    }


def test_without_a_report_the_role_cannot_be_tried_and_that_is_no_lack(run, amazon):
    """A new seller has none yet."""
    done = add_acme(run, amazon)
    assert done.exit_code == 0
    assert f"sp-api {SHIPPING}: ok, none yet" in lines(done)
    assert "sp-api buyers' data: ok, not tried: there is no report with any yet" in lines(done)


def test_a_role_that_is_lacking_is_named_and_nothing_is_paused(run, books, amazon):
    """It is what most first accounts lack; a look must not stop what works."""
    amazon.post("/_emulator/reports", {"account": "acme", "api": "sp-api"})
    fault(amazon, "createRestrictedDataToken", "missing_role", account="acme")

    done = add_acme(run, amazon)

    assert done.exit_code == 5
    (lacking,) = [line for line in lines(done) if "lacking" in line]
    assert lacking.startswith(
        "sp-api buyers' data: lacking, Amazon gives no buyers' data: the application lacks the role"
    )
    assert "Direct-to-Consumer Shipping" in lacking
    assert books.accounts.table("acme")[0].paused_at is None


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"client_secret": "not-the-secret"}, "refuses the application's client id or secret"),
        ({"refresh_token": "Atzr|revoked"}, "let the seller authorise again"),
    ],
)
def test_without_a_login_nothing_else_is_tried(run, amazon, changed, said):
    """Each would say the same, and cost its quota."""
    done = add_acme(run, amazon, **changed)

    assert done.exit_code == 5
    stored, login = lines(done)
    assert stored.startswith("account acme: stored")
    assert login.startswith("sp-api login: lacking, ")
    assert said in login
    assert {call["operation"] for call in amazon.calls()} == {"LWA"}
    assert not any(secret in done.output for secret in changed.values())


def test_a_kept_token_does_not_hide_that_the_keys_are_wrong_by_now(run, books, amazon):
    """It lasts for an hour; the question is whether the next one will be given."""
    add_acme(run, amazon)
    fault(amazon, "LWA", "invalid_client", next=9)

    done = run("account", "test", "acme")

    assert done.exit_code == 5
    assert lines(done)[0].startswith("sp-api login: lacking, ")


def test_quota_that_says_not_now_is_said_and_is_no_lack(run, amazon):
    """It says nothing about what the account may do."""
    fault(amazon, "getReports", "throttle", next=9)

    done = add_acme(run, amazon)

    assert done.exit_code == 0
    assert any(line.startswith(f"sp-api {SHIPPING}: waits, throttled by getReports") for line in lines(done))


def test_several_types_that_are_refused_together_are_named_one_by_one(run, amazon):
    """All in one call costs one token; where that is refused, each is asked for alone, as far as quota goes."""
    add_acme(run, amazon, "--no-test", types=(f"{SHIPPING}=PT15M", f"{INVOICING}=_NEVER_"))
    fault(amazon, "getReports", "missing_role", account="acme")

    done = run("account", "test", "acme")

    assert done.exit_code == 5
    refused = [line.split(":")[0] for line in lines(done) if "getReports" in line]
    assert refused == [f"sp-api {INVOICING}", f"sp-api {SHIPPING}"]


def test_mws_is_asked_for_its_reports_and_schedules(run, amazon):
    """There is no login, and no report needs a role."""
    amazon.post("/_emulator/reports", {"account": "bravo"})

    done = add_bravo(run, amazon)

    assert done.exit_code == 0
    _, orders, schedules = lines(done)
    assert orders.startswith(f"mws {ORDERS}: ok, the newest is of 20")
    assert schedules.startswith("mws report schedules: ok, ")
    assert {call["operation"] for call in amazon.calls()} == {"GetReportList", "GetReportScheduleList"}


def test_keys_that_mws_refuses_are_lacking(run, amazon):
    """As a listing would find, but at once and to whom it concerns."""
    done = add_bravo(run, amazon, secret_key="not-the-secret")
    assert done.exit_code == 5
    assert [line.split(",")[0] for line in lines(done)[1:]] == [
        f"mws {ORDERS}: lacking",
        "mws report schedules: lacking",
    ]


def test_for_programs_it_is_one_object(run, amazon):
    """With the same exit code."""
    add_acme(run, amazon, "--no-test")
    fault(amazon, "LWA", "invalid_grant", next=9)
    done = run("account", "test", "acme", "--json")
    assert done.exit_code == 5
    (row,) = json.loads(done.stdout)["rows"]
    assert (row["api"], row["check"], row["outcome"]) == ("sp-api", "login", "lacking")


def test_who_is_told_not_to_test_asks_amazon_nothing(run, amazon):
    """A fleet is set up while Amazon is away."""
    done = add_acme(run, amazon, "--no-test")
    assert (done.exit_code, lines(done)) == (0, ["account acme: stored; its first listing is due now"])
    assert amazon.calls() == []


def test_an_account_that_does_not_exist_is_exit_4(run, amazon):
    """With where to look."""
    done = run("account", "test", "nobody")
    assert (done.exit_code, done.stdout) == (4, "")
    assert "orderdrain account list" in done.stderr


def test_at_a_terminal_it_asks_for_what_is_missing_and_shows_no_secret(environ, books, amazon, tmp_path):
    """A first account is typed in once, by somebody who has never seen a list of our options."""
    told = amazon.account("acme")
    ours, theirs = pty.openpty()
    words = ["account", "add", "acme", "--api", "sp-api", "--login-url", amazon.first_line["lwa"]]
    with subprocess.Popen(
        [Path(sys.executable).with_name("orderdrain"), *words],
        cwd=tmp_path,
        env={**os.environ, **environ},
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        asked = b""
        for question, answer in (
            ("Application", "app"),
            ("Seller id", told["seller_id"]),
            ("Endpoint", amazon.first_line["sp_api"]),
            ("Marketplace ids", ", ".join(told["marketplaces"])),
            ("Report type and how often", ""),
            ("Client id", told["client_id"]),
            ("Client secret", told["client_secret"]),
            ("Refresh token", told["refresh_token"]),
        ):
            # A terminal forgets what was typed before it hid what is typed.
            while not asked.partition(question.encode())[2].endswith(b": "):
                asked += os.read(process.stderr.fileno(), 1000)
            os.write(ours, f"{answer}\n".encode())
        stdout, stderr = process.communicate(timeout=60)
    os.close(theirs)
    os.close(ours)

    assert process.returncode == 0, stderr
    assert b"sp-api login: ok" in stdout
    shown = stdout + asked + stderr
    assert not [name for name in ("client_secret", "refresh_token") if told[name].encode() in shown]
    connection = books.accounts.connection("acme", "sp-api")
    assert (connection.secret, connection.token) == (told["client_secret"], told["refresh_token"])
    assert connection.account.report_types == {SHIPPING: "PT15M"}
