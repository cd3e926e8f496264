"""Accounts on a real Postgres: declaring, pausing, when each is listed, and whose turn a connection is."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest

from orderdrain.accounts import Account
from orderdrain.errors import LeaseLost, NotFound, UsageError
from orderdrain.policy import DAILY, OVERLAP
from orderdrain.turns import check_turn
from tests.building import (
    ACME,
    API,
    LEASE,
    ORDERS,
    OTHER,
    WORKER,
    Books,
    add_account,
    add_second_connection,
    at_once,
    enter,
    expire,
)


@pytest.fixture
def books(database_url):
    return Books.open(database_url)


@pytest.fixture
def connection(books):
    return add_account(books)


def take_listing(books, connection, owner=WORKER, *, full=False, since=None):
    return books.turns.take_listing(connection, owner, full=full, since=since)


# ------------------------------------------------------------------------------------------------------ declaring


def test_an_account_comes_back_as_it_was_declared(books):
    """What signs and what is listed rests on it."""
    connection = add_account(books, report_types={ORDERS: "_30_MINUTES_"})

    assert connection.account == Account(ACME, "AACME", ("ATVPDKIKX0DER",), {ORDERS: "_30_MINUTES_"}, False)
    assert (connection.api, connection.key_id, connection.secret) == (API, "AKIAEXAMPLE", "not-a-real-key")
    assert "not-a-real-key" not in repr(connection)


def test_declaring_an_account_again_changes_it_and_keeps_its_reports(books, connection):
    """It is how an interval is changed; it must not be how a history is lost."""
    (key,) = enter(books, "1")

    again = add_account(books, report_types={ORDERS: "_1_HOUR_"})

    assert again.account.report_types == {ORDERS: "_1_HOUR_"}
    assert books.row(key).state == "listed"


def test_a_new_report_type_is_listed_as_far_back_as_amazon_keeps(books, connection):
    """Back to the last listing only, the type that it did not ask for would begin today."""
    books.turns.end_listing(take_listing(books, connection, full=True))
    add_account(books, report_types={ORDERS: "_1_HOUR_"})
    turn = take_listing(books, connection)
    assert turn.since is not None
    books.turns.end_listing(turn)

    add_account(books, report_types={ORDERS: "_1_HOUR_", "_GET_SOMETHING_NEW_": "_1_HOUR_"})

    turn = take_listing(books, connection)
    assert (turn.full, turn.since) == (True, None)


def test_an_account_needs_an_application(books):
    """The message says the command that adds it."""
    account = Account(ACME, "A1", ("ATVPDKIKX0DER",), {}, manage_schedules=False)
    with pytest.raises(UsageError, match="orderdrain application add main"):
        books.accounts.add(account, api=API, application="main", endpoint="http://h", token=None, list_every=DAILY)
    assert books.accounts.names() == []


@pytest.mark.parametrize("name", ["Acme Ltd", "", "-acme", "a" * 64])
def test_a_name_that_could_not_be_typed_is_refused(books, name):
    """Names stand in commands, metrics and file names."""
    with pytest.raises(UsageError, match="lower-case letters"):
        add_account(books, name)


def test_unknown_accounts_and_connections_are_not_found(books, connection):
    """With the command that lists the known ones."""
    for call in (books.accounts.connections, books.accounts.resume, lambda name: books.accounts.pause(name, "why")):
        with pytest.raises(NotFound, match=r"no account bravo\. See: orderdrain account list"):
            call("bravo")
    with pytest.raises(NotFound, match="no sp-api connection"):
        books.accounts.connection(ACME, "sp-api")


def test_applications_are_shown_without_their_secrets(books, connection):
    """They are shown on terminals that others look at."""
    (row,) = books.accounts.applications()
    assert (row.application, row.key_id, row.connections) == ("main", "AKIAEXAMPLE", 1)
    assert "not-a-real-key" not in str(row)


# --------------------------------------------------------------------------------------------------------- pausing


def test_bad_credentials_pause_one_account_alone(books, connection):
    """Its neighbours have keys of their own."""
    add_account(books, "bravo")
    books.accounts.pause_connection(books.accounts.connection(ACME, API), "AccessDenied")

    assert {row.account: row.paused_reason for row in books.accounts.table()} == {ACME: "AccessDenied", "bravo": None}
    assert books.accounts.due_to_list() == ["bravo"]
    assert books.accounts.due_to_schedule() == ["bravo"]


def test_an_applications_bad_keys_pause_all_that_use_it(books, connection):
    """As one fault, in one row, mended once."""
    add_account(books, "bravo")
    add_account(books, "carol", application="other")
    books.accounts.pause_application(books.accounts.connection(ACME, API), "InvalidAccessKeyId")

    assert books.accounts.due_to_list() == ["carol"]
    books.accounts.add_application("main", key_id="AKIANEW", secret="new")
    assert sorted(books.accounts.due_to_list()) == [ACME, "bravo"]


def test_whether_a_connection_is_paused_by_itself_or_with_its_application_is_one_question(books, connection):
    """What is begun without a lease of its own asks it first."""
    assert not books.accounts.is_paused(ACME, API)
    books.accounts.pause(ACME, "revoked")
    assert books.accounts.is_paused(ACME, API)
    books.accounts.resume(ACME)
    books.accounts.pause_application(books.accounts.connection(ACME, API), "a bad key")
    assert books.accounts.is_paused(ACME, API)


def test_pausing_twice_keeps_the_first_time_and_the_last_reason(books, connection):
    """How long it stands still counts from the beginning."""
    books.accounts.pause(ACME, "AccessDenied")
    ((since,),) = books.db.query("SELECT paused_at FROM connections")
    books.clock.advance(timedelta(hours=1))
    books.accounts.pause(ACME, "still denied")

    (row,) = books.accounts.table()
    assert (row.paused_at, row.paused_reason) == (since, "still denied")


def test_a_resumed_account_is_listed_at_once(books, connection):
    """Whoever mended it wants to see it work."""
    books.accounts.due_to_list()
    books.accounts.pause(ACME, "AccessDenied")
    books.accounts.pause_application(books.accounts.connection(ACME, API), "InvalidAccessKeyId")

    books.accounts.resume(ACME)

    assert books.accounts.due_to_list() == [ACME]
    assert books.accounts.table()[0].paused_reason is None


# -------------------------------------------------------------------------------------------------- when it is due


def test_a_new_account_is_listed_at_once_and_then_by_its_interval(books):
    """Its reports may have waited at Amazon for days."""
    add_account(books, list_every=timedelta(minutes=10))
    assert books.accounts.due_to_list() == [ACME]
    assert books.accounts.due_to_list() == []

    listed_in = []
    for minute in range(60):
        books.clock.advance(timedelta(minutes=1))
        listed_in += [minute] * len(books.accounts.due_to_list())
    # The first comes half an interval later at the soonest, one and a half at the latest: then it has its own time.
    assert 3 < listed_in[0] < 16
    assert {later - earlier for earlier, later in itertools.pairwise(listed_in)} <= {9, 10, 11}
    assert len(listed_in) in {5, 6}


def test_accounts_that_were_added_together_are_not_listed_together_for_ever(books):
    """A thousand listings in one minute, and none in the next fourteen, is what quotas and workers are worst at."""
    for number in range(40):
        add_account(books, f"a{number}")
    books.accounts.due_to_list()

    minutes = {row.next_list_at.minute for row in books.accounts.table()}
    assert len(minutes) >= 10
    now = books.now()
    assert all(timedelta(minutes=7) < row.next_list_at - now < timedelta(minutes=23) for row in books.accounts.table())


def test_two_beats_at_once_send_an_account_once(books):
    """Beat runs twice for a minute when a machine is replaced."""
    for number in range(20):
        add_account(books, f"a{number}")

    first, second, third = at_once(*[books.accounts.due_to_list] * 3)

    assert sorted(first + second + third) == sorted(f"a{number}" for number in range(20))


def test_after_three_hours_without_beat_an_account_is_listed_once(books, connection):
    """Not 36 times: a listing tells all that waits, however long it was."""
    books.accounts.due_to_list()
    books.clock.advance(timedelta(hours=3))

    assert [books.accounts.due_to_list() for _ in range(3)] == [[ACME], [], []]


def test_schedules_are_compared_once_a_day_however_often_beat_asks(books, connection):
    """The day is kept with the account: a beat that restarts every day would never get there."""
    assert books.accounts.due_to_schedule() == [ACME]
    assert books.accounts.due_to_schedule() == []
    books.accounts.wait_to_schedule(ACME, books.now() + DAILY)
    books.clock.advance(DAILY - timedelta(minutes=1))
    assert books.accounts.due_to_schedule() == []
    books.clock.advance(timedelta(minutes=2))
    assert books.accounts.due_to_schedule() == [ACME]


def test_schedules_whose_comparison_was_lost_are_compared_within_the_hour(books, connection):
    """Its worker died, or Redis forgot the message: an account just declared must not wait a day for its reports."""
    assert books.accounts.due_to_schedule() == [ACME]
    books.clock.advance(timedelta(hours=1, minutes=1))
    assert books.accounts.due_to_schedule() == [ACME]


# ------------------------------------------------------------------------------------------------------- the turn


def test_listing_and_acknowledging_exclude_each_other(books, connection):
    """Acknowledging changes the very set that a listing pages through."""
    listing = take_listing(books, connection)
    assert books.turns.take_acknowledging(ACME, API, OTHER) is None
    assert take_listing(books, connection, OTHER) is None

    books.turns.end_listing(listing)
    acknowledging = books.turns.take_acknowledging(ACME, API, OTHER)
    assert take_listing(books, connection) is None

    books.turns.release(acknowledging)
    assert take_listing(books, connection) is not None


def test_of_many_who_want_the_turn_at_once_one_gets_it(books, connection):
    """Whatever each of them wants it for."""
    for _ in range(5):
        turns = at_once(
            lambda: take_listing(books, connection),
            lambda: books.turns.take_acknowledging(ACME, API, OTHER),
            lambda: take_listing(books, connection, "worker:3"),
        )
        (got,) = [turn for turn in turns if turn is not None]
        books.turns.release(got)


def test_a_turn_that_ran_out_is_taken_over_and_its_old_owner_changes_nothing(books, connection):
    """It slept between two pages; what it saw is no complete listing any more."""
    old = take_listing(books, connection)
    expire(books)
    assert not books.turns.renew(old)
    new = take_listing(books, connection, OTHER)

    assert (new.fence, new.listing) == (old.fence + 1, old.listing + 1)
    for end in (
        lambda: books.turns.end_listing(old),
        lambda: books.turns.wait_to_list(old, books.now(), next_token="old", failed=False),
    ):
        with pytest.raises(LeaseLost, match="another worker has its turn"):
            end()
    books.turns.release(old)
    assert not books.turns.renew(old)

    with books.db.transaction() as cursor:
        check_turn(cursor, new)
    (row,) = books.db.query("SELECT turn_owner, listed, listing_token FROM connections")
    assert row == (OTHER, 0, None)


def test_renewing_extends_a_turn(books, connection):
    """A listing of many pages keeps its turn."""
    turn = take_listing(books, connection)
    books.clock.advance(LEASE - timedelta(seconds=10))
    assert books.turns.renew(turn)
    books.clock.advance(LEASE - timedelta(seconds=10))

    assert take_listing(books, connection, OTHER) is None


def test_a_turn_lasts_real_seconds(books, connection):
    """It watches a process, as a lease does."""
    books.clock.set(books.now(), speed=60)
    take_listing(books, connection)
    books.clock.advance(timedelta(minutes=100))

    assert take_listing(books, connection, OTHER) is None


def test_nobody_gets_the_turn_of_a_paused_connection(books, connection):
    """Neither by its own pause nor by its application's."""
    books.accounts.pause(ACME, "AccessDenied")
    assert take_listing(books, connection) is None
    assert books.turns.take_acknowledging(ACME, API, WORKER) is None

    books.accounts.resume(ACME)
    books.accounts.pause_application(books.accounts.connection(ACME, API), "InvalidAccessKeyId")
    assert take_listing(books, connection) is None
    assert books.turns.take_acknowledging(ACME, API, WORKER) is None


def test_a_listing_that_waits_for_quota_goes_on_where_it_was(books, connection):
    """The same listing, with the same number and the token it had; nothing is acknowledged in between."""
    first = take_listing(books, connection, full=True)
    until = books.now() + timedelta(minutes=2)
    books.turns.wait_to_list(first, until, next_token="page-3", failed=False)

    assert books.accounts.table()[0].next_list_at == until
    assert books.turns.take_acknowledging(ACME, API, OTHER) is None
    again = take_listing(books, connection, OTHER)
    assert (again.listing, again.next_token, again.full, again.attempts) == (first.listing, "page-3", True, 1)

    books.turns.end_listing(again)
    assert books.turns.take_acknowledging(ACME, API, OTHER) is not None


def test_a_listing_that_failed_begins_anew_and_counts(books, connection):
    """A token that Amazon has forgotten is never sent again, and the waits grow."""
    for attempt in (1, 2, 3):
        turn = take_listing(books, connection)
        assert (turn.attempts, turn.next_token, turn.listing) == (attempt, None, attempt)
        books.turns.wait_to_list(turn, books.now(), next_token=None, failed=True)

    books.turns.end_listing(take_listing(books, connection))
    assert take_listing(books, connection).attempts == 1


def test_each_of_two_connections_waits_for_as_long_as_it_must(books, connection):
    """The trouble of the one is not the other's, and is not tried at the other's pace."""
    other = add_second_connection(books)
    assert books.accounts.due_to_list() == [ACME]
    hour = books.now() + timedelta(hours=1)
    books.turns.wait_to_list(take_listing(books, connection), hour, next_token=None, failed=True)
    books.turns.end_listing(take_listing(books, other))

    expire(books, seconds=30 * 60)
    assert books.accounts.due_to_list() == [ACME], "at its interval, for the other one"
    assert take_listing(books, connection) is None
    books.turns.end_listing(take_listing(books, other))
    expire(books, seconds=31 * 60)
    assert take_listing(books, connection).attempts == 2


def test_a_connection_whose_wait_is_short_is_not_kept_waiting_by_the_other(books, connection):
    """An interval is a quarter of an hour; a backoff begins with half a minute."""
    other = add_second_connection(books)
    assert books.accounts.due_to_list() == [ACME]
    books.turns.end_listing(take_listing(books, other))
    soon = books.now() + timedelta(seconds=30)
    books.turns.wait_to_list(take_listing(books, connection), soon, next_token=None, failed=True)

    expire(books, seconds=31)

    assert books.accounts.due_to_list() == [ACME]
    assert take_listing(books, connection).attempts == 2


def test_once_a_day_a_listing_is_without_the_filter(books, connection):
    """What another program acknowledged, or what was acknowledged before our backup, is not lost."""
    books.clock.advance(timedelta(minutes=16))
    # Postgres's own word: what a clock tells of it is off by half a round trip.
    ((began,),) = books.db.query("SELECT app_now()")
    full = take_listing(books, connection)
    assert full.full
    assert full.since is None, "the first one reaches back as far as Amazon keeps reports"
    books.turns.end_listing(full)

    plain = take_listing(books, connection)
    assert not plain.full
    books.turns.end_listing(plain)

    books.clock.advance(DAILY)
    again = take_listing(books, connection)
    assert again.full
    assert timedelta(0) <= again.since - (began - OVERLAP["mws"]) < timedelta(seconds=5)


def test_a_full_listing_that_did_not_end_does_not_count(books, connection):
    """The day begins anew only when everything was seen."""
    books.clock.advance(timedelta(minutes=16))
    turn = take_listing(books, connection)
    books.turns.wait_to_list(turn, books.now(), next_token=None, failed=True)

    assert take_listing(books, connection).full


def test_a_person_may_list_without_the_filter_back_to_any_day(books, connection):
    """`orderdrain list --all --since D`, after a backup was restored."""
    since = books.now() - timedelta(days=30)
    turn = take_listing(books, connection, full=True, since=since)
    assert (turn.full, turn.since) == (True, since)


def test_a_throttled_acknowledgement_waits_and_listing_goes_on(books, connection):
    """Each operation has a quota of its own."""
    turn = books.turns.take_acknowledging(ACME, API, WORKER)
    books.turns.release(turn, acknowledge_after=books.now() + timedelta(minutes=1))

    assert books.turns.take_acknowledging(ACME, API, WORKER) is None
    books.turns.end_listing(take_listing(books, connection))
    books.clock.advance(timedelta(minutes=1, seconds=1))
    assert books.turns.take_acknowledging(ACME, API, WORKER) is not None


def test_waiting_for_quota_is_never_shortened(books, connection):
    """Two workers learn of it one after the other, and the later answer may name the earlier time."""
    late = books.now() + timedelta(minutes=5)
    books.accounts.wait_to_download(ACME, API, late)
    books.accounts.wait_to_download(ACME, API, late - timedelta(minutes=3))

    assert books.accounts.table()[0].download_after == late
