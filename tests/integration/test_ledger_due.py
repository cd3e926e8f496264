"""What is due, on a real Postgres: slots and their order, what is on its way, and acknowledging many at once."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest

from orderdrain import policy
from orderdrain.accounts import Account
from orderdrain.amazon import ListedReport
from orderdrain.errors import LeaseLost
from orderdrain.reports import ReportKey, State
from orderdrain.turns import check_turn
from tests.building import (
    ACME,
    API,
    MADE,
    OTHER,
    WORKER,
    Books,
    add_account,
    at_once,
    download,
    enter,
    expire,
    report_in,
)

SHIPPING = "GET_FLAT_FILE_ORDER_REPORT_DATA_SHIPPING"


@pytest.fixture
def books(database_url):
    books = Books.open(database_url, account_slots=4)
    add_account(books)
    return books


def sent(books, account=None):
    """`report_id step` of what one sweep sends, in its order."""
    return [f"{key.report_id} {step}" for key, step in books.dispatch.send_due(account)]


# ------------------------------------------------------------------------------------------------ slots and order


def test_no_more_of_an_account_is_sent_than_it_has_free_slots(books):
    """A big account's reports wait in the ledger, not in the queue before everybody else's."""
    enter(books, *map(str, range(10)))

    assert len(sent(books)) == 4
    assert sent(books) == []


def test_what_is_on_its_way_or_under_lease_holds_a_slot(books):
    """Both keep a worker busy; what is finished, waits or is set aside does not."""
    first, second, third, fourth, *_ = enter(books, *map(str, range(10)))
    sent(books)
    books.ledger.lease(first, State.LISTED, WORKER)
    assert sent(books) == []

    books.ledger.snooze(books.ledger.lease(second, State.LISTED, WORKER), "throttled", books.now() + timedelta(hours=1))
    books.ledger.quarantine(books.ledger.lease(third, State.LISTED, WORKER), "HTML")
    assert len(sent(books)) == 2

    # Its parse message went out in the moment that it was downloaded: it keeps its slot.
    download(books, books.ledger.lease(fourth, State.LISTED, WORKER))
    assert sent(books) == []


def test_slots_are_an_accounts_own(books):
    """That a neighbour is busy is no reason to wait."""
    add_account(books, "bravo")
    enter(books, *map(str, range(10)))
    sent(books)
    enter(books, "77", account="bravo")

    assert sent(books) == ["77 download"]


def test_a_step_that_ends_sends_the_next_of_its_own_account_only(books):
    """It keeps a big account at full speed between two sweeps, and is no sweep of all accounts."""
    add_account(books, "bravo")
    enter(books, "1")
    enter(books, "2", account="bravo")

    assert sent(books, ACME) == ["1 download"]
    assert sent(books) == ["2 download"]


def test_soon_lost_at_amazon_goes_first_then_bytes_we_hold_then_the_newest(books):
    """Amazon deletes a report after 90 days; a person looks at the newest orders."""
    now = books.now()
    report_in(books, State.DOWNLOADED, "20", available_at=now - timedelta(days=3))
    books.dispatch.not_sent([ReportKey(ACME, API, "20")])
    enter(books, "10", available_at=now - timedelta(days=2))
    enter(books, "11", available_at=now - timedelta(days=1))
    enter(books, "30", available_at=now - timedelta(days=84))

    assert sent(books) == ["30 download", "20 parse", "11 download", "10 download"]


@pytest.mark.parametrize(("api", "hurries"), [("mws", False), ("sp-api", True)])
def test_an_order_report_at_sp_api_is_soon_lost_after_a_month(books, api, hurries):
    """Amazon's help page on order reports says 30 days where its API reference says 90: the shorter one is believed."""
    if api == "sp-api":
        books.accounts.add_application("app", api=api, key_id="amzn1.id", secret="s")
        account = Account(ACME, "AACME", ("ATVPDKIKX0DER",), {SHIPPING: "PT15M"}, manage_schedules=False)
        told = {"api": api, "application": "app", "endpoint": "http://127.0.0.1:1", "token": "Atzr|"}
        books.accounts.add(account, **told, list_every=timedelta(minutes=15))
    now = books.now()
    made = [ListedReport(str(days), SHIPPING, now - timedelta(days=days), acknowledged=False) for days in (22, 24)]
    books.ledger.enter(ACME, api, made, listing=0, worker=WORKER, request_id=None)

    assert sent(books) == (["24 download", "22 download"] if hurries else ["22 download", "24 download"])


def test_messages_of_accounts_alternate(books):
    """Four of one account in a row would make the others wait for four downloads."""
    for account in ("bravo", "carol"):
        add_account(books, account)
    enter(books, "1", "2", "3")
    enter(books, "4", "5", account="bravo")
    enter(books, "6", account="carol")

    assert [key.account for key, _ in books.dispatch.send_due()] == [ACME, "bravo", "carol", ACME, "bravo", ACME]


def test_five_thousand_reports_of_one_account_do_not_starve_five_hundred_small_ones(books):
    """Every small account is served by the very first sweep, whatever the big one has."""
    books.db.query(
        "INSERT INTO applications (application, api, key_id, secret) VALUES ('shared', 'mws', 'AKIA', 'secret')"
    )
    books.db.query(
        "INSERT INTO accounts (account, seller_id, marketplaces)"
        " SELECT 'small-' || n, 'A' || n, '{ATVPDKIKX0DER}' FROM generate_series(1, 500) n"
    )
    books.db.query(
        "INSERT INTO connections (account, api, application, endpoint)"
        " SELECT account, 'mws', 'shared', 'http://127.0.0.1:1' FROM accounts WHERE account LIKE 'small-%%'",
        {},
    )
    books.db.query(
        "INSERT INTO reports (account, api, report_id, report_type, available_at, listing)"
        " SELECT 'acme', 'mws', n::text, 't', now(), 0 FROM generate_series(1, 5000) n"
        " UNION ALL SELECT account, 'mws', n::text, 't', now() - interval '1 day', 0"
        " FROM accounts, generate_series(1, 2) n WHERE account LIKE 'small-%%'",
        {},
    )

    first_sweep = [key.account for key, _ in books.dispatch.send_due()]

    assert first_sweep.count(ACME) == 4
    assert {account: first_sweep.count(account) for account in set(first_sweep) - {ACME}} == {
        f"small-{n}": 2 for n in range(1, 501)
    }
    # Each has its first message before anybody has a second.
    assert set(first_sweep[:501]) == set(first_sweep)


def test_two_sweeps_at_once_send_nothing_twice(books):
    """Beat runs twice for a minute when a machine is replaced."""
    accounts = [f"a{number}" for number in range(8)]
    for account in accounts:
        add_account(books, account)
        enter(books, "1", "2", "3", account=account)

    sweeps = at_once(*[books.dispatch.send_due] * 3)

    keys = [key for sweep in sweeps for key, _ in sweep]
    assert len(keys) == len(set(keys)) == 24


def test_what_waits_is_not_sent_before_it_is_due(books):
    """The ledger remembers the wait; no message sits in the broker for it."""
    key = report_in(books, State.LISTED)
    books.ledger.snooze(books.ledger.lease(key, State.LISTED, WORKER), "throttled", books.now() + timedelta(hours=1))
    assert sent(books) == []

    books.clock.advance(timedelta(hours=1, seconds=1))
    assert len(sent(books)) == 1


def test_nothing_of_a_paused_account_is_sent(books):
    """Nor of an account whose application is paused."""
    enter(books, "1")
    books.accounts.pause(ACME, "AccessDenied")
    assert sent(books) == []
    books.accounts.resume(ACME)
    books.accounts.pause_application(books.accounts.connection(ACME, API), "InvalidAccessKeyId")
    assert sent(books) == []


def test_downloads_that_must_wait_for_quota_are_not_sent(books):
    """A message that is sure to find no quota would only wake a worker."""
    report_in(books, State.LISTED, "1")
    books.dispatch.not_sent([report_in(books, State.DOWNLOADED, "2")])
    books.accounts.wait_to_download(ACME, API, books.now() + timedelta(minutes=1))
    assert sent(books) == ["2 parse"]

    books.clock.advance(timedelta(minutes=1, seconds=1))
    assert sent(books) == ["1 download"]


# -------------------------------------------------------------------------------------------------- lost messages


def test_a_message_that_nobody_took_is_sent_again_after_a_leases_time(books):
    """A broker loses a message with each half-open connection; the ledger loses nothing."""
    enter(books, "1")
    assert sent(books) == ["1 download"]
    expire(books, 119)
    assert sent(books) == []

    expire(books, 2)
    assert sent(books) == ["1 download"]


def test_a_message_on_its_way_is_measured_in_real_seconds(books):
    """At sixty times the speed it would else count as lost after 2 s, and be sent again and again."""
    books.clock.set(books.now(), speed=60)
    enter(books, "1")
    sent(books)
    books.clock.advance(timedelta(minutes=100))
    assert sent(books) == []

    books.clock.advance(timedelta(minutes=21))
    assert sent(books) == ["1 download"]


def test_what_the_broker_did_not_take_is_due_again_at_once(books):
    """The next sweep sends it; nothing waits for a message that was never sent."""
    keys = enter(books, "1", "2")
    sent(books)

    books.dispatch.not_sent(keys)

    assert len(sent(books)) == 2


def test_a_broker_that_forgot_everything_gets_everything_again(books):
    """A flushed Redis has lost every message: waiting a lease's time for each would be two minutes of nothing."""
    add_account(books, "bravo")
    report_in(books, State.DOWNLOADED, "1")
    enter(books, "2", account="bravo")
    sent(books)
    request_key = books.requests.enter(ACME, API, "t", start=None, end=None, options={})
    books.requests.send_due()

    word = books.dispatch.broker_forgot(None)

    assert word
    assert sorted(sent(books)) == ["1 parse", "2 download"]
    assert books.requests.send_due() == [(ACME, request_key)]
    assert books.dispatch.broker_forgot(word) is None
    assert sent(books) == []


def test_a_broker_with_another_word_has_forgotten_too(books):
    """A Redis that was restored from a backup knows an old word, and none of the messages since."""
    old = books.dispatch.broker_forgot(None)
    new = books.dispatch.broker_forgot("something else")

    assert new not in {None, old}
    assert books.dispatch.broker_forgot(old) not in {None, old, new}


def test_a_report_under_lease_is_not_sent_when_the_broker_forgot(books):
    """Its worker still works: the message was spent, not lost."""
    key = report_in(books, State.LISTED)
    books.ledger.lease(key, State.LISTED, WORKER)
    books.dispatch.broker_forgot(None)

    assert sent(books) == []


# -------------------------------------------------------------------------------------------------- acknowledging


def to_acknowledge(books, account=None, *, complete=False):
    """The accounts that a message would go to now; it comes at once, and is spent."""
    due = books.acknowledgements.send_due(account, complete=complete)
    books.acknowledgements.not_sent(due)
    return due


def test_a_batch_is_complete_when_nothing_of_the_account_is_on_its_way(books):
    """The last report of a batch acknowledges all: one call instead of a hundred."""
    add_account(books, "bravo")
    enter(books, "9", account="bravo")
    report_in(books, State.PARSED, "1")
    enter(books, "2")
    # Due but not sent: it may wait for long.
    assert to_acknowledge(books, ACME, complete=True) == [ACME]

    sent(books)
    assert to_acknowledge(books, ACME, complete=True) == []
    assert to_acknowledge(books) == [ACME], "the sweep takes what is left over"

    lease = books.ledger.lease(ReportKey(ACME, API, "2"), State.LISTED, WORKER)
    assert to_acknowledge(books, ACME, complete=True) == []
    books.ledger.quarantine(lease, "HTML")
    assert to_acknowledge(books, ACME, complete=True) == [ACME]


def test_while_a_message_to_acknowledge_waits_no_other_is_sent(books):
    """In a long queue each sweep would add one for each account: tens of thousands that find nothing to do."""
    add_account(books, "bravo")
    report_in(books, State.PARSED, "1")
    report_in(books, State.PARSED, "2", account="bravo")
    due = books.acknowledgements.send_due

    assert due(ACME, complete=True) == [ACME]
    assert due() == ["bravo"]
    assert due() == []

    books.acknowledgements.not_sent([ACME])
    assert due() == [ACME], "it came, and found the account busy"

    expire(books, 121)
    assert due() == [ACME, "bravo"], "nobody took them for a lease's time: they are lost"

    books.dispatch.broker_forgot(None)
    assert due() == [ACME, "bravo"], "they are gone with all others"


def acknowledging(books):
    return books.turns.take_acknowledging(ACME, API, WORKER)


def test_only_parsed_reports_whose_listing_has_ended_are_acknowledged(books):
    """Acknowledging changes what a listing pages through: Amazon would skip reports under the pager's feet."""
    report_in(books, State.PARSED, "1")
    report_in(books, State.DOWNLOADED, "2")
    report_in(books, State.PARSED, "3", listing=1)
    assert to_acknowledge(books) == [ACME]

    assert books.acknowledgements.begin(acknowledging(books)) == ["1"]


def test_a_report_of_a_listing_that_died_is_acknowledged_after_the_next_complete_one(books):
    """Else it would wait for ever for a listing that never ends."""
    connection = books.accounts.connection(ACME, API)
    dead = books.turns.take_listing(connection, WORKER, full=False, since=None)
    report_in(books, State.PARSED, "1", listing=dead.listing)
    expire(books)
    assert to_acknowledge(books) == []

    books.turns.end_listing(books.turns.take_listing(connection, OTHER, full=False, since=None))

    assert to_acknowledge(books) == [ACME]
    assert books.acknowledgements.begin(acknowledging(books)) == ["1"]


def test_a_hundred_ids_go_in_one_call_oldest_first(books):
    """Amazon takes up to 100; the oldest are the nearest to being asked for again."""
    parsed(books, 250)
    turn, asked = acknowledging(books), []

    while batch := books.acknowledgements.begin(turn, skip=asked):
        asked += batch
        assert len(batch) in {100, 50}
        assert batch == sorted(batch)

    assert asked == [f"{number:03}" for number in range(250)]


def parsed(books, count):
    """As many parsed reports, "000" the oldest."""
    books.db.query(
        "INSERT INTO reports (account, api, report_id, report_type, available_at, listing, state, archive_key, outcome,"
        " rows_read, rows_new, rows_changed, rows_same, rows_older, rows_joined, rows_rejected)"
        " SELECT 'acme', 'mws', to_char(n, 'FM000'), 't', %s + n * interval '1 s', 0, 'parsed', 'k', 'rows',"
        " 0, 0, 0, 0, 0, 0, 0 FROM generate_series(0, %s) n",
        (MADE, count - 1),
    )


def test_acknowledged_is_the_end_and_says_how(books):
    """Only what the answer names advances; the rest stays."""
    parsed(books, 3)
    turn = acknowledging(books)
    batch = books.acknowledgements.begin(turn)

    with books.db.transaction() as cursor:
        check_turn(cursor, turn)
        count = books.acknowledgements.done(cursor, turn, batch[:2], detail="in a call of 3", request_id="ack-1")

    assert count == 2
    states = [row.state for row in books.ledger.reports(account=ACME)]
    assert states == ["parsed", "acknowledged", "acknowledged"]
    line = books.history.of(ReportKey(ACME, API, "000"))[-1]
    assert (line.event, line.attempt, line.detail, line.request_id, line.worker) == (
        "acknowledged",
        1,
        "in a call of 3",
        "ack-1",
        WORKER,
    )


def not_acknowledged(books, *, waits):
    turn = acknowledging(books)
    batch = books.acknowledgements.begin(turn)
    with books.db.transaction() as cursor:
        books.acknowledgements.not_done(cursor, turn, batch, "no answer", waits=waits, request_id=None)
    books.turns.release(turn)
    return batch


def test_acknowledging_that_waits_costs_no_attempt(books):
    """A quota that is used up is no failure."""
    parsed(books, 1)
    for _ in range(policy.MAX_ATTEMPTS + 1):
        assert not_acknowledged(books, waits=True) == ["000"]
    assert books.row(ReportKey(ACME, API, "000")).attempts == 0


def test_acknowledging_that_fails_waits_longer_each_time_and_ends_with_a_person(books):
    """Half a day of Amazon's trouble must be ridden out, and a report that is never named must not be told for ever."""
    parsed(books, 2)
    key = ReportKey(ACME, API, "000")
    waits = []
    for _ in range(policy.MAX_ATTEMPTS - 1):
        assert not_acknowledged(books, waits=False) == ["000", "001"]
        assert not_acknowledged(books, waits=False) == []
        rows = books.ledger.reports(account=ACME)
        assert len({row.next_attempt_at for row in rows}) == 1, "what was told in one call is told in one call again"
        waits.append(rows[0].next_attempt_at - books.now())
        books.clock.advance(policy.LAST_BACKOFF)
    # With full jitter each wait is at least a tenth of its ceiling, which doubles from 30 s.
    assert all(
        wait >= min(policy.FIRST_BACKOFF * 2**n, policy.LAST_BACKOFF) / 10 - timedelta(seconds=1)
        for n, wait in enumerate(waits)
    )

    not_acknowledged(books, waits=False)

    row = books.row(key)
    assert (row.state, row.quarantined_from) == ("quarantined", "parsed")
    assert row.reason == "attempt 8 of 8: no answer"
    assert books.events(key).count("failed") == policy.MAX_ATTEMPTS - 1


def test_a_report_whose_acknowledging_kills_every_worker_ends_with_a_person(books):
    """Each death is told in its history, and counted: it is not begun again for ever."""
    key = report_in(books, State.PARSED)
    for _ in range(policy.MAX_ATTEMPTS):
        assert books.acknowledgements.begin(acknowledging(books)) == [key.report_id]
        expire(books)

    assert books.acknowledgements.begin(acknowledging(books)) == []

    row = books.row(key)
    assert (row.state, row.quarantined_from) == ("quarantined", "parsed")
    assert row.reason == "8 attempts at acknowledge, the last without a word"
    deaths = [entry for entry in books.history.of(key) if entry.event == "lease ran out"]
    assert [entry.attempt for entry in deaths] == list(range(1, policy.MAX_ATTEMPTS + 1))
    assert {entry.worker for entry in deaths} == {WORKER}


def test_what_amazon_refuses_to_acknowledge_keeps_its_rows_and_its_reason(books):
    """Its orders are stored: only the telling is left to a person."""
    key = report_in(books, State.PARSED)
    turn = acknowledging(books)
    books.acknowledgements.begin(turn)
    with books.db.transaction() as cursor:
        books.acknowledgements.refused(cursor, turn, [key.report_id], "unknown id", "ack-2")

    row = books.row(key)
    assert (row.state, row.quarantined_from, row.reason, row.rows_read) == ("quarantined", "parsed", "unknown id", 3)
    assert books.ledger.requeue(key, note="by hand") is State.PARSED


def test_a_worker_that_lost_its_turn_begins_nothing_and_advances_nothing(books):
    """Another one lists now, and its pages change under an acknowledgement."""
    report_in(books, State.PARSED)
    old = acknowledging(books)
    expire(books)
    books.turns.take_listing(books.accounts.connection(ACME, API), OTHER, full=False, since=None)

    assert books.acknowledgements.begin(old) == []
    with pytest.raises(LeaseLost), books.db.transaction() as cursor:
        check_turn(cursor, old)


def test_nothing_is_to_acknowledge_while_the_account_is_listed_paused_or_out_of_quota(books):
    """The sweep asks before it sends: a message that can do nothing is not sent."""
    report_in(books, State.PARSED)
    connection = books.accounts.connection(ACME, API)
    due = partial(to_acknowledge, books)
    assert due() == [ACME]

    turn = books.turns.take_listing(connection, WORKER, full=False, since=None)
    assert due() == []
    books.turns.wait_to_list(turn, books.now() + timedelta(minutes=1), next_token="next", failed=False)
    assert due() == [], "a listing that waits between two pages is under way"
    books.turns.end_listing(books.turns.take_listing(connection, WORKER, full=False, since=None))
    assert due() == [ACME]

    books.turns.release(acknowledging(books), acknowledge_after=books.now() + timedelta(minutes=1))
    assert due() == []
    books.clock.advance(timedelta(minutes=1, seconds=1))
    assert due() == [ACME]

    books.accounts.pause(ACME, "AccessDenied")
    assert due() == []
