"""`orderdrain` as a person and a script meet it: what it prints where, its exit codes, and what it never shows."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from orderdrain.amazon import RequestInfo
from orderdrain.cli import main
from orderdrain.notices import Kind, Notices
from orderdrain.notifications import Notice
from orderdrain.policy import MAX_ATTEMPTS
from orderdrain.reports import State
from tests.building import ACME, API, MADE, ORDERS, WORKER, Books, add_account, add_second_connection, enter, report_in
from tests.emulator_process import Emulator

NOWHERE = "postgresql://orderdrain:hidden-password@127.0.0.1:1/orders"
QUEUE = "https://sqs.us-east-1.amazonaws.com/123456789012/orderdrain"
CONVERGED = "_GET_CONVERGED_FLAT_FILE_ORDER_REPORT_DATA_"


@pytest.fixture
def books(database_url):
    return Books.open(database_url)


@pytest.fixture(scope="module")
def amazon():
    """An emulator whose address may be declared, one for all tests: none of them asks it for more."""
    with Emulator.start(orders_per_minute=0, backlog=0) as running:
        yield running


def process(environ, tmp_path, *words):
    """The installed command in a process of its own."""
    command = Path(sys.executable).with_name("orderdrain")
    return subprocess.run(
        [command, *words], cwd=tmp_path, env={**os.environ, **environ}, capture_output=True, text=True, check=False
    )


def lines(result):
    return result.stdout.splitlines()


def cells(result):
    return [line.split("\t") for line in lines(result)]


# -------------------------------------------------------------------------------------------------------- exit codes


def test_a_database_that_is_away_is_one_line_and_exit_3_within_seconds(environ, tmp_path):
    """A script may wait and try again; a person sees which server it is."""
    begun = time.monotonic()
    done = process({**environ, "ORDERDRAIN_DATABASE_URL": NOWHERE}, tmp_path, "status")

    assert (done.returncode, done.stdout) == (3, "")
    assert re.fullmatch(r"Postgres at 127\.0\.0\.1:1/orders does not answer: .*\n", done.stderr)
    assert "hidden-password" not in done.stderr
    assert time.monotonic() - begun < 10


def test_with_json_an_error_is_an_object_on_stderr(environ, tmp_path):
    """A program that reads stdout as JSON must not find an error there."""
    done = process({**environ, "ORDERDRAIN_DATABASE_URL": NOWHERE}, tmp_path, "status", "--json")

    assert (done.returncode, done.stdout) == (3, "")
    error = json.loads(done.stderr)["error"]
    assert error["code"] == "DependencyDown"
    assert error["message"].startswith("Postgres at 127.0.0.1:1/orders does not answer")


def test_redis_that_is_away_is_exit_3_too(run, books):
    """Where a step needs it."""
    add_account(books)
    done = run("list", ACME, ORDERDRAIN_REDIS_URL="redis://:hidden-password@127.0.0.1:1/0")

    assert done.exit_code == 3
    assert "Redis at 127.0.0.1:1/0 is needed for" in done.stderr
    assert "hidden-password" not in done.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["reports", "--state", "lost"], "'lost' is not one of 'listed'"),
        (["reports", "--limit", "0"], "--limit"),
        (["list", "--since", "2026-11-01"], "--since goes with --all"),
        (["list", "--all", "--since", "yesterday"], "yesterday"),
        (["sweep"], "--once"),
        (["account", "add"], "which account?"),
        (["account", "pause", "acme"], "--reason"),
        (["drainn"], "No such command"),
    ],
)
def test_wrong_usage_is_exit_2(tmp_path, monkeypatch, words, said):
    """With what would do, and before any server is asked: here there is none."""
    monkeypatch.chdir(tmp_path)
    env = {"ORDERDRAIN_DATABASE_URL": NOWHERE, "ORDERDRAIN_REDIS_URL": "redis://127.0.0.1:1/0"}
    done = CliRunner().invoke(main, words, env=env)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr


def test_a_missing_setting_is_exit_2(run):
    """One line that names it."""
    done = run("status", ORDERDRAIN_REDIS_URL="")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("ORDERDRAIN_REDIS_URL is not set. Example: ORDERDRAIN_REDIS_URL=redis://")


@pytest.mark.parametrize(
    "words",
    [
        ["show", "50123456789"],
        ["drain", "50123456789"],
        ["requeue", "50123456789"],
        ["list", "bravo"],
        ["request", "bravo"],
        ["schedule", "diff", "bravo"],
        ["account", "pause", "bravo", "--reason", "x"],
        ["account", "resume", "bravo"],
    ],
)
def test_what_does_not_exist_is_exit_4_with_where_to_look(run, words):
    """A look-up that found nothing must not look like a success."""
    done = run(*words)
    assert done.exit_code == 4
    assert "See: orderdrain " in done.output


def test_what_needs_a_person_is_exit_5(run, books, tmp_path):
    """A report that cannot be read, drained by hand."""
    add_account(books)
    report_in(books, State.DOWNLOADED)
    (tmp_path / "archive" / ACME).mkdir(parents=True)
    (tmp_path / "archive" / ACME / "50123456789").write_bytes(b"<html><body>Service unavailable</body></html>")

    done = run("drain", "50123456789")

    assert (done.exit_code, done.stdout) == (5, "")
    assert done.stderr.startswith("report 50123456789 (acme): quarantined at parse: ")
    assert done.stderr.endswith("Bytes kept. See: orderdrain show 50123456789\n")


def test_what_failed_and_is_tried_again_is_exit_1(run, books):
    """With the reason and when; nobody need do anything."""
    add_account(books)
    report_in(books, State.LISTED)

    done = run("drain", "50123456789")

    assert (done.exit_code, done.stdout) == (1, "")
    assert re.match(r"report 50123456789 \(acme\): download attempt 1 of 8 failed: .*; next try 2", done.stderr)


# ------------------------------------------------------------------------------------------------------------ looking


def test_status_without_accounts_says_what_to_do(run):
    """The first command of a newcomer."""
    done = run("status")
    assert done.exit_code == 0
    assert done.stdout == ""
    assert done.stderr.startswith("0 accounts, 0 paused.")
    assert "orderdrain account add --help" in done.stderr
    assert json.loads(run("status", "--json").stdout) == {
        "total": 0,
        "rows": [],
        "under_way": [],
        "notifications": {"removed": {}, "queues": []},
    }


def test_status_tells_every_account_its_counts_and_why_it_waits(run, books):
    """One line an account."""
    for account in (ACME, "bravo", "carol"):
        add_account(books, account)
    report_in(books, State.PARSED, "1")
    report_in(books, State.QUARANTINED, "2")
    enter(books, "3", "4", account="bravo")
    books.accounts.pause("bravo", "AccessDenied")
    books.accounts.wait_to_download("carol", API, books.now() + timedelta(minutes=2))

    done = run("status")

    assert done.stderr.startswith("3 accounts, 1 paused. 2 reports waiting, 1 quarantined.")
    told = {row[0]: row[1:] for row in cells(done)}
    assert told[ACME] == ["running", "0", "0", "1", "1", "0", "2026-11-24 12:00:00Z", "-", "-"]
    assert told["bravo"][:3] == ["paused", "2", "0"]
    assert told["bravo"][-1] == "AccessDenied"
    assert told["carol"][-1].startswith("throttled until ")


def test_status_tells_what_was_heard_and_which_queue_is_deaf(run, books):
    """Where orders come late, the first question is whether push has died."""
    add_account(books)
    notices = Notices(books.db)
    told = {"api": API, "seller_id": "AACME", "request_id": "1", "report_type": ORDERS}
    notices.hear(Notice(**told, report_id="404040404040", status="DONE"), message_id="m", queue=QUEUE)
    notices.removed(Counter({Kind.MALFORMED: 2, Kind.FOREIGN_SELLER: 1}))
    notices.queue_read(QUEUE)
    notices.queue_failed(QUEUE, f"the queue {QUEUE} refuses ReceiveMessage: AccessDenied")

    done = run("status")

    assert cells(done)[0][-2] == "not all"
    assert "Notifications of 7 days: 1 foreign seller, 2 malformed\n" in done.stderr
    assert f"the queue {QUEUE} refuses ReceiveMessage: AccessDenied; last read 20" in done.stderr
    told = json.loads(run("status", "--json").stdout)["notifications"]
    assert told["removed"] == {"foreign_seller": 1, "malformed": 2}
    assert [queue["url"] for queue in told["queues"]] == [QUEUE]


def test_a_table_for_a_pipe_has_tabs_and_no_header(run, books):
    """`cut -f1` must work, and nothing may be cut off."""
    add_account(books)
    enter(books, "50123456789")

    (row,) = cells(run("reports"))
    assert row[:5] == ["50123456789", ACME, ORDERS, "listed", "2026-11-24 12:00:00Z"]


def test_a_table_for_a_terminal_has_a_header_and_is_aligned(environ, books, tmp_path):
    """For people; on a real terminal, since that is what decides."""
    import pty

    add_account(books)
    enter(books, "50123456789")
    ours, theirs = pty.openpty()
    command = Path(sys.executable).with_name("orderdrain")
    done = subprocess.run([command, "reports"], cwd=tmp_path, env={**os.environ, **environ}, stdout=theirs, check=False)
    os.close(theirs)
    header, row = os.read(ours, 10_000).decode().splitlines()
    os.close(ours)

    assert done.returncode == 0
    assert header.split()[:4] == ["REPORT", "ID", "ACCOUNT", "REPORT"]
    assert row.index(ACME) == header.index("ACCOUNT")


def test_a_list_that_was_cut_says_so(run, books):
    """On stderr, where a pipe does not swallow it."""
    add_account(books)
    enter(books, "1", "2", "3")
    done = run("reports", "--limit", 2, "--ids")
    assert len(lines(done)) == 2
    assert "there are more: --limit" in done.stderr
    assert run("reports", "--limit", 3).stderr == ""


def test_reports_are_filtered(run, books):
    """By state, account and type, each alone."""
    add_account(books)
    add_account(books, "bravo")
    enter(books, "1")
    report_in(books, State.QUARANTINED, "2")
    enter(books, "3", account="bravo")

    assert lines(run("reports", "--ids", "--state", "quarantined")) == ["2"]
    assert lines(run("reports", "--ids", "--account", "bravo")) == ["3"]
    assert json.loads(run("reports", "--json", "--report-type", "_OTHER_").stdout)["rows"] == []


def test_show_tells_a_reports_whole_story(run, books):
    """Where it is, why, what comes next, and each thing that happened with Amazon's id of the call."""
    add_account(books)
    key = report_in(books, State.DOWNLOADED)
    books.ledger.fail(books.ledger.lease(key, State.DOWNLOADED, WORKER), "the disk is full")

    done = run("show", key.report_id)

    assert lines(done)[0] == f"Report 50123456789   acme · {ORDERS} · DOWNLOADED"
    assert "Reason   the disk is full" in done.stdout
    assert re.search(r"Next +parse, due 20", done.stdout)
    assert re.search(r"^Made +2026-11-24 12:00:00Z at Amazon$", done.stdout, re.MULTILINE)
    assert f"Attempt  1 of {MAX_ATTEMPTS} at this step" in done.stdout
    assert "48,213   sha256 000" in done.stdout
    events = [re.split(r" {2,}", line.strip())[1:3] for line in lines(done)[lines(done).index("History") + 1 :]]
    assert [event.split()[0] for _, event in events] == ["entered", "downloaded", "failed"]
    assert "Amazon request id download-request" in done.stdout

    told = json.loads(run("show", key.report_id, "--json").stdout)
    assert told["report"]["state"] == "downloaded"
    assert [entry["event"] for entry in told["history"]] == ["entered", "downloaded", "failed"]


def missing(books):
    """A scheduled report that Amazon could not make, and could not make again: its window is a gap."""
    add_account(books)
    start, end = MADE - timedelta(hours=1), MADE

    def ends(amazon_id):
        told = RequestInfo(amazon_id, ORDERS, "FATAL", books.now(), start, end, scheduled=True, reason="no such data")
        due_at = books.now()
        with books.db.transaction() as cursor:
            return books.requests.seen(cursor, ACME, API, told, due_at)

    fatal = RequestInfo("700", ORDERS, "FATAL", books.now(), start, end, scheduled=True)
    books.requests.enter_come_to_nothing(ACME, API, [fatal])
    row, number = ends("700"), 700
    while row.asked_again_as:
        number += 1
        books.clock.advance(timedelta(days=1))
        wish = books.requests.lease(ACME, row.asked_again_as, WORKER)
        books.requests.submitted(wish, RequestInfo(str(number), ORDERS, "SUBMITTED", books.now()), books.now())
        row = ends(str(number))


def test_status_names_each_missing_window_and_how_to_ask_for_it(run, books):
    """A gap in what is covered is no quarantined report: nothing else would tell of it."""
    missing(books)

    done = run("status")

    assert "1 windows missing." in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "is missing" in line]
    assert line == (
        f"account acme: {ORDERS}, 2026-11-24 11:00:00Z to 2026-11-24 12:00:00Z, is missing: asked for 4 times: Amazon could"
        f" not make it: no such data. Ask by hand: orderdrain request acme --type {ORDERS} --from 2026-11-24T11:00:00Z"
        " --to 2026-11-24T12:00:00Z"
    )
    (row,) = json.loads(run("status", "--json").stdout)["rows"]
    assert (row["missing"], row["gaps"][0]["window_end"]) == (1, "2026-11-24T12:00:00Z")


@pytest.mark.parametrize("known_as", ["700", "702", "700-again-3"])
def test_show_of_what_came_to_nothing_tells_how_it_ended_each_time(run, books, known_as):
    """By Amazon's id of any of them, or by our key; with Amazon's words."""
    missing(books)

    done = run("show", known_as)

    heads = [line for line in lines(done) if "request 700" in line]
    assert [line.split(" · ")[-1] for line in heads] == ["FATAL", "FATAL", "FATAL", "REFUSED"]
    assert heads[0].startswith("Scheduled request 700 ")
    assert "Window   2026-11-24 11:00:00Z to 2026-11-24 12:00:00Z" in done.stdout
    assert "Reason   asked for 4 times: Amazon could not make it: no such data" in done.stdout
    assert "Again    700-again-2" in done.stdout
    told = json.loads(run("show", known_as, "--json").stdout)["requests"]
    assert [row["again"] for row in told] == [0, 1, 2, 3]


def test_show_of_a_finished_and_of_a_quarantined_report_says_what_comes_next(run, books):
    """Nothing by itself, and what a person can do."""
    add_account(books)
    report_in(books, State.QUARANTINED, "1")
    report_in(books, State.PARSED, "2")

    assert "a person decides: orderdrain requeue" in run("show", "1").stdout
    assert "3 read: 3 new" in run("show", "2").stdout


@pytest.mark.parametrize("words", [["show"], ["drain"], ["requeue"]])
def test_an_id_of_several_accounts_lists_them_and_is_exit_2(run, books, words):
    """Ids are unique only within an account: guessing would be worse than asking."""
    for account in (ACME, "bravo"):
        add_account(books, account)
        report_in(books, State.QUARANTINED, "50123456789", account=account)

    done = run(*words, "50123456789")

    assert done.exit_code == 2
    assert "acme (mws, quarantined), bravo (mws, quarantined). Say which: --account, --api" in done.output
    assert run(*words, "50123456789", "--account", "bravo").exit_code == 0


@pytest.mark.parametrize("words", [["show"], ["drain"], ["requeue"]])
def test_an_id_of_both_apis_of_an_account_is_told_apart_by_the_api(run, books, words):
    """While an account moves from one API to the other it has both, and Amazon's ids are unique in neither's eyes."""
    add_account(books)
    report_in(books, State.QUARANTINED)
    add_second_connection(books)
    books.db.query(
        "INSERT INTO reports (account, api, report_id, report_type, available_at, listing, state, quarantined_from)"
        " SELECT account, 'sp-api', report_id, 'GET_SOMETHING', available_at, listing, state, quarantined_from"
        " FROM reports"
    )

    done = run(*words, "50123456789", "--account", ACME)

    assert done.exit_code == 2
    assert "acme (mws, quarantined), acme (sp-api, quarantined). Say which: --account, --api" in done.output
    assert run(*words, "50123456789", "--api", "sp-api").exit_code == 0


def test_rejected_rows_are_listed_without_what_they_held(run, books):
    """Where and why; the cell itself may be a buyer's."""
    add_account(books)
    key = report_in(books, State.PARSED)
    books.db.query(
        'INSERT INTO rejected_rows (account, api, report_id, line, "column", reason, order_id)'
        " VALUES ('acme', 'mws', %s, 7, 'quantity-purchased', 'no whole number', '111-1')",
        (key.report_id,),
    )
    (row,) = cells(run("rejected"))
    assert row == [ACME, key.report_id, "7", "quantity-purchased", "111-1", "-", "no whole number", ORDERS]
    assert cells(run("rejected", "--report", "1")) == []


# ------------------------------------------------------------------------------------------------------------- doing


def test_requeueing_says_from_where_to_where(run, books):
    """And does what it says."""
    add_account(books)
    key = report_in(books, State.QUARANTINED)

    assert lines(run("requeue", "50123456789", "--dry-run")) == [
        "would requeue 50123456789 (acme): quarantined > where it was"
    ]
    assert books.row(key).state == "quarantined"
    assert lines(run("requeue", "50123456789")) == ["requeued 50123456789 (acme): quarantined > listed"]
    assert books.row(key).state == "listed"
    assert run("requeue", "50123456789").exit_code == 2


def test_many_are_requeued_from_a_pipe(run, books):
    """`reports --ids | requeue -`: without a terminal nobody can be asked, so --yes must be said."""
    add_account(books)
    report_in(books, State.QUARANTINED, "1")
    report_in(books, State.QUARANTINED, "2")
    enter(books, "3")

    refused = run("requeue", "-", stdin="1\n2\n3\n")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "say --yes" in refused.stderr

    done = run("requeue", "-", "--yes", stdin="1\n2\n3\n")
    assert done.exit_code == 0
    assert [line.split()[:2] for line in lines(done)] == [["requeued", "1"], ["requeued", "2"], ["skipped", "3:"]]
    assert "2 requeued, 1 skipped." in done.stderr


def test_a_sweep_takes_back_what_died(run, books):
    """By hand, where no worker runs."""
    add_account(books)
    key = report_in(books, State.LISTED)
    books.ledger.lease(key, State.LISTED, WORKER)
    books.clock.advance(timedelta(minutes=3))

    assert lines(run("sweep", "--once")) == ["swept: 0 sent, 1 leases taken back"]
    # Nothing was sent, so nothing may count as on its way.
    assert len(books.dispatch.send_due()) == 1


def test_listing_by_hand_names_each_accounts_trouble_and_goes_on(run, books):
    """The worst of them is the exit code."""
    add_account(books)
    add_account(books, "bravo")
    done = run("list")

    assert done.exit_code == 1
    assert "account acme: listing failed" in done.stderr
    assert "account bravo: listing failed" in done.stderr


# ------------------------------------------------------------------------------------------- accounts, applications


def test_secrets_come_from_files_the_environment_or_a_prompt_and_are_shown_nowhere(run, books, tmp_path):
    """Arguments stand in the process list and in the shell's history."""
    (tmp_path / "key").write_text("from-a-file\n")
    assert run("application", "add", "one", "--access-key", "AK1", "--secret-key-file", tmp_path / "key").exit_code == 0
    assert run("application", "add", "two", "--access-key", "AK2", ORDERDRAIN_SECRET_KEY="from-the-env").exit_code == 0
    asked = run("application", "add", "three", "--access-key", "AK3", stdin="from-a-prompt\n")
    assert asked.exit_code == 0

    stored = [row.secret for row in books.db.query("SELECT secret FROM applications ORDER BY key_id")]
    assert stored == ["from-a-file", "from-the-env", "from-a-prompt"]
    shown = [run(*words).output for words in (["application", "list"], ["application", "list", "--json"], ["config"])]
    assert not any(secret in text for secret in stored for text in [*shown, asked.output])
    option_names = {opt for command in all_commands().values() for param in command.params for opt in param.opts}
    assert (
        not {"--secret", "--secret-key", "--client-secret", "--auth-token", "--refresh-token", "--token", "--password"}
        & option_names
    )


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"", "is empty: it must hold a secret"), (b" \n", "is empty"), (b"\xff\xfes3cret", "no text")],
)
def test_a_file_that_holds_no_secret_is_refused_and_nothing_is_stored(run, books, tmp_path, content, told):
    """Found out here it is one word; found out at Amazon it is a pause of every account."""
    (tmp_path / "secret").write_bytes(content)
    (tmp_path / "accounts.toml").write_text(
        f'[applications.app]\nclient_id = "amzn1.id"\nclient_secret_file = "{tmp_path / "secret"}"\n'
    )
    for words in (
        ["application", "add", "app", "--client-id", "amzn1.id", "--client-secret-file", tmp_path / "secret"],
        ["account", "add", "--file", tmp_path / "accounts.toml"],
    ):
        done = run(*words)
        assert (done.exit_code, told in done.stderr, "s3cret" in done.output) == (2, True, False), done.output
    assert books.accounts.applications() == []


def test_a_secret_that_does_not_come_is_asked_for_in_words(run, books):
    """In a script nobody is there to type it."""
    done = run("application", "add", "app", "--client-id", "amzn1.id", ORDERDRAIN_CLIENT_SECRET="")
    assert done.exit_code == 2
    assert (
        "Client secret is missing: name a file that holds it (--help says how), or set ORDERDRAIN_CLIENT" in done.stderr
    )
    assert books.accounts.applications() == []


def test_an_emulators_account_whose_login_is_amazons_is_a_real_one(run, books, amazon):
    """Its tokens would go to Amazon, and lie here in clear."""
    books.accounts.add_application("main", api="sp-api", key_id="amzn1.id", secret="s")
    told = ["--type", "GET_FLAT_FILE_ORDER_REPORT_DATA_SHIPPING=PT15M", "--api", "sp-api"]
    done = run(*add(amazon.url, amazon.accounts[0]), *told, ORDERDRAIN_REFRESH_TOKEN="Atzr|real")
    assert done.exit_code == 2
    assert "https://api.amazon.com/auth/o2/token is no running emulator" in done.stderr
    assert books.accounts.names() == []


def test_an_account_of_an_emulator_is_added_and_listed(run, books, amazon):
    """The whole way in, with what the emulator's first line tells."""
    told = amazon.accounts[0]
    run("application", "add", "main", "--access-key", told["access_key"], ORDERDRAIN_SECRET_KEY=told["secret_key"])
    done = run(*add(amazon.url, told), "--type", f"{ORDERS}=_15_MINUTES_", "--list-every", 0.75)

    assert (done.exit_code, lines(done)) == (
        0,
        [
            "account acme: stored; its first listing is due now",
            f"mws {ORDERS}: ok, none yet",
            "mws report schedules: ok, as declared",
        ],
    )
    assert books.accounts.connection(ACME, API).account.seller_id == told["seller_id"]
    (row,) = cells(run("account", "list"))
    assert row[:4] == [ACME, "mws", "main", told["seller_id"]]
    assert books.accounts.table()[0].list_every == timedelta(seconds=45)


def add(endpoint, told=None):
    told = told or {"seller_id": "A1EXAMPLE", "marketplaces": ["ATVPDKIKX0DER"]}
    words = ["account", "add", ACME, "--application", "main", "--seller-id", told["seller_id"], "--endpoint", endpoint]
    return [*words, *(word for m in told["marketplaces"] for word in ("--marketplace", m))]


@pytest.mark.parametrize("endpoint", ["https://mws.amazonservices.com", "http://127.0.0.1:1", "file:///etc/passwd"])
def test_an_endpoint_that_is_no_emulator_is_refused(run, books, endpoint, monkeypatch):
    """A real seller's keys must not lie in clear in a database."""
    # What answers for Amazon here is nothing at all: the test asks nobody outside.
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    books.accounts.add_application("main", key_id="AK", secret="s")
    if "amazonservices" in endpoint:
        monkeypatch.setattr("socket.getaddrinfo", _nobody)

    done = run(*add(endpoint), "--type", f"{ORDERS}=_15_MINUTES_")

    assert done.exit_code == 2
    assert "only an emulator's address is accepted" in done.stderr
    assert books.accounts.names() == []


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [("https://sellingpartnerapi-na.amazon.com", None), ("http://127.0.0.1:1", "neither https nor")],
)
def test_with_a_key_a_real_sellers_account_is_accepted_and_sealed(run, books, tmp_path, monkeypatch, endpoint, said):
    """Its secrets lie nowhere in clear, nor travel so."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setattr("orderdrain.declarations.emulator_at", lambda _: False)
    (tmp_path / "keys").write_text(run("key", "now").stdout)
    keys = {"ORDERDRAIN_KEYS": str(tmp_path / "keys")}
    run("application", "add", "main", "--client-id", "amzn1.id", ORDERDRAIN_CLIENT_SECRET="c1ient-s3cret", **keys)
    words = [*add(endpoint), "--api", "sp-api", "--type", "GET_FLAT_FILE_ORDER_REPORT_DATA_SHIPPING=PT15M", "--no-test"]

    done = run(*words, ORDERDRAIN_REFRESH_TOKEN="Atzr|t0ken", **keys)

    if said:
        assert (done.exit_code, books.accounts.names()) == (2, [])
        assert said in done.stderr
        return
    assert done.exit_code == 0
    stored = str(books.db.query("SELECT * FROM applications")) + str(books.db.query("SELECT * FROM connections"))
    assert "amzn1.id" in stored
    assert "s3cret" not in stored
    assert "t0ken" not in stored


def _nobody(*_args, **_options):
    raise OSError("no name is resolved in this test")


@pytest.mark.parametrize(
    ("types", "said"),
    [
        ([f"{ORDERS}=_15_MINUTES_", f"{CONVERGED}=_15_MINUTES_"], "cannot both be scheduled"),
        ([f"{ORDERS}=every hour"], "is no interval of Amazon's"),
        (["_GET_MERCHANT_LISTINGS_DATA_=_15_MINUTES_"], "no report type that this version drains"),
        ([ORDERS], "it must be NAME=VALUE"),
        ([], "report_types is missing"),
    ],
)
def test_report_types_that_cannot_be_drained_together_are_refused(run, books, types, said):
    """At the declaration, with what would do."""
    books.accounts.add_application("main", key_id="AK", secret="s")
    done = run(*add("http://127.0.0.1:1"), *(word for told in types for word in ("--type", told)))

    assert done.exit_code == 2
    assert said in done.stderr
    assert books.accounts.names() == []


ACCOUNTS_TOML = """
[applications.main]
access_key = "AKIAEXAMPLE"
secret_key_env = "KEY_OF_MAIN"

[accounts.acme]
application = "main"
seller_id = "A1"
endpoint = "{url}"
marketplaces = ["ATVPDKIKX0DER"]
report_types = {{ _GET_FLAT_FILE_ORDERS_DATA_ = "_15_MINUTES_" }}

[accounts.bravo]
application = "main"
seller_id = "A2"
endpoint = "{url}"
marketplaces = ["A1PA6795UKMFR9"]
report_types = {{ _GET_FLAT_FILE_ORDERS_DATA_ = "_30_MINUTES_" }}
manage_schedules = true
{more}
"""


def test_many_accounts_come_from_a_file(run, books, amazon, tmp_path):
    """A fleet of sellers is not typed in."""
    (tmp_path / "accounts.toml").write_text(ACCOUNTS_TOML.format(url=amazon.url, more=""))
    done = run("account", "add", "--file", tmp_path / "accounts.toml", KEY_OF_MAIN="s3cret")

    assert lines(done) == ["application main: stored", "account acme: stored", "account bravo: stored"]
    bravo = books.accounts.connection("bravo", API)
    assert (bravo.account.manage_schedules, bravo.secret) == (True, "s3cret")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("manage_schedule = true", "manage_schedule is no key known here"),
        ("[account.carol]", "account is no key known here"),
        ("[accounts.carol]\napplication = 'main'", "account carol: seller_id is missing"),
        ("list_every_minutes = 0", "list_every_minutes must be from 0.5 to 1,440"),
        ("list_every_minutes = nan", "list_every_minutes must be from 0.5 to 1,440"),
        ("list_every_minutes = 1e9", "list_every_minutes must be from 0.5 to 1,440"),
        ("list_every_minutes = true", "list_every_minutes must be a number"),
        ("list_every_minutes = 'often'", "list_every_minutes must be a number"),
        ("[accounts.carol]\nmarketplaces = 'ATVPDKIKX0DER'", "account carol: marketplaces must be an array"),
        ("[accounts]\nacme = 1", "accounts.toml: "),
        ("[applications.other]\naccess_key = 'AK'", "application other: it needs secret_key_file or secret_key_env"),
        ("[applications.other]\naccess_key = 'AK'\nsecret_key = 's'", "secret_key is no key known here"),
        ("not toml", "accounts.toml: "),
    ],
)
def test_a_file_with_one_mistake_adds_nothing(run, books, amazon, tmp_path, more, said):
    """Half of a file would leave a person to find out which half."""
    (tmp_path / "accounts.toml").write_text(ACCOUNTS_TOML.format(url=amazon.url, more=more))
    done = run("account", "add", "--file", tmp_path / "accounts.toml", KEY_OF_MAIN="s3cret")

    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
    assert books.accounts.names() == []
    assert books.accounts.applications() == []


def test_pausing_and_resuming_an_account(run, books):
    """By its name, with the reason that others will read."""
    add_account(books)
    assert lines(run("account", "pause", ACME, "--reason", "Amazon is asked")) == [
        "account acme: paused: Amazon is asked"
    ]
    assert books.accounts.table()[0].paused_reason == "Amazon is asked"
    assert lines(run("account", "resume", ACME)) == ["account acme: resumed; listed next"]
    assert books.accounts.table()[0].paused_reason is None


# --------------------------------------------------------------------------------------------------- running, helping


def test_check_says_ok_for_each_need(run):
    """One line a thing."""
    done = run("check")
    assert (done.exit_code, lines(done)) == (0, ["postgres: ok", "migrations: ok", "redis: ok", "archive: ok"])


def test_check_asks_the_queues_that_are_set(run, amazon):
    """A misspelt queue hears nothing, and says nothing."""
    queue = amazon.first_line["sqs"]
    done = run("check", ORDERDRAIN_NOTIFICATIONS=queue)
    assert (done.exit_code, lines(done)[-1]) == (0, "notifications: ok")

    done = run("check", ORDERDRAIN_NOTIFICATIONS=f"{queue},{queue}-misspelt")
    assert done.exit_code == 3
    assert f"notifications: the queue {queue}-misspelt refuses GetQueueAttributes: " in done.stdout

    done = run("check", ORDERDRAIN_NOTIFICATIONS="arn:aws:sqs:us-east-1:123456789012:orderdrain")
    assert done.exit_code == 2
    assert "ORDERDRAIN_NOTIFICATIONS is malformed" in done.output


def test_check_names_what_is_away_and_asks_the_rest(run):
    """Its exit code is that of the worst."""
    done = run("check", ORDERDRAIN_DATABASE_URL=NOWHERE)
    assert done.exit_code == 3
    assert [line.split(": ")[0] for line in lines(done)] == ["postgres", "migrations", "redis", "archive"]
    assert lines(done)[2:] == ["redis: ok", "archive: ok"]
    assert "hidden-password" not in done.output


def test_migrate_says_what_it_did_and_that_nothing_is_left(run):
    """It may stand in every start script."""
    assert (run("migrate").exit_code, run("migrate").stdout) == (0, "up to date\n")
    assert (run("migrate", "--check").exit_code, run("migrate", "--check").stdout) == (0, "up to date\n")


def test_migrate_check_is_exit_1_when_something_is_missing(run, books):
    """A deployment waits on it."""
    books.db.query("DELETE FROM migrations WHERE name LIKE '0003%%'", {})
    done = run("migrate", "--check")
    assert done.exit_code == 1
    assert lines(done) == ["missing 0003_orders.sql"]


def test_config_shows_every_setting_where_it_came_from_and_no_password(run, environ):
    """Which database am I on? is the first question of a bad day."""
    done = run("config")
    told = {row[0]: row for row in cells(done)}
    assert told["ORDERDRAIN_DATABASE_URL"][2] == "environment"
    assert told["ORDERDRAIN_LEASE_SECONDS"][1:3] == ["120", "default"]
    for url in (environ["ORDERDRAIN_DATABASE_URL"], environ["ORDERDRAIN_REDIS_URL"]):
        password = re.search(r":([^:@/]+)@", url)[1]
        assert password not in done.output
    assert {row["variable"] for row in json.loads(run("config", "--json").stdout)["rows"]} == set(told)


def all_commands(group=main, name="orderdrain"):
    found = {}
    for word, command in group.commands.items():
        path = f"{name} {word}"
        found |= all_commands(command, path) if isinstance(command, click.Group) else {path: command}
    return found


def test_every_command_has_help(run):
    """And every option of it too."""
    for path, command in all_commands().items():
        assert command.help, path
        assert run(*path.split()[1:], "--help").exit_code == 0
        for param in command.params:
            if isinstance(param, click.Option) and param.name not in {
                "state",
                "report_type",
                "limit",
                "application_",
                "seller_id",
                "endpoint",
                "marketplaces",
                "reason",
            }:
                assert param.help, (path, param.name)


def test_asking_for_help_needs_no_settings():
    """It is what one asks for before anything is set up."""
    assert CliRunner().invoke(main, ["-h"]).exit_code == 0
    assert CliRunner().invoke(main, ["status", "-h"]).exit_code == 0
