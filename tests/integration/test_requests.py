"""Requested reports on a real Postgres: one wish becomes one report, whatever is lost on the way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg2
import pytest

from orderdrain import policy
from orderdrain.amazon import RequestInfo
from orderdrain.errors import LeaseLost
from tests.building import ACME, API, ORDERS, OTHER, WORKER, Books, add_account, at_once, expire

START = datetime(2026, 11, 1, tzinfo=UTC)
END = datetime(2026, 11, 2, tzinfo=UTC)


@pytest.fixture
def books(database_url):
    books = Books.open(database_url)
    add_account(books)
    return books


@pytest.fixture
def request_key(books):
    return wish(books)


def wish(books, account=ACME):
    return books.requests.enter(account, API, ORDERS, start=START, end=END, options={"ShowSalesChannel": "true"})


def lease(books, request_key, owner=WORKER):
    return books.requests.lease(ACME, request_key, owner)


def row(books, request_key):
    return next(row for row in books.requests.table(ACME) if row.request_key == request_key)


def at_amazon(books, status, amazon_id="900", **told):
    return RequestInfo(amazon_id, ORDERS, status, books.now(), START, END, **told)


def submitted(books, request_key, status="SUBMITTED", amazon_id="900"):
    """Amazon has it, and it is due to be looked after at once."""
    books.requests.submitted(lease(books, request_key), at_amazon(books, status, amazon_id), books.now())


def seen(books, info):
    due_at = books.now()
    with books.db.transaction() as cursor:
        books.requests.seen(cursor, ACME, API, info, due_at)


def ask_again(books):
    with books.db.transaction() as cursor:
        return books.requests.ask_again_for_stuck(cursor, ACME)


def test_a_wish_is_written_down_before_amazon_is_asked(books, request_key):
    """A worker that dies in the call leaves a row that says what was asked for."""
    asked = row(books, request_key)
    assert (asked.status, asked.amazon_request_id, asked.attempts) == ("asked", None, 0)
    assert (asked.window_start, asked.window_end, asked.options) == (START, END, {"ShowSalesChannel": "true"})


def test_the_first_attempt_need_not_look_and_every_later_one_must(books, request_key):
    """`attempts` beyond 1 says that an earlier call may have gone through: then Amazon is asked before it is told."""
    assert lease(books, request_key).attempts == 1
    expire(books)
    assert lease(books, request_key).attempts == 2


def test_a_refused_quota_is_no_call_that_may_have_gone_through(books, request_key):
    """Throttled requests have had no effect: waiting for quota must not make us look for what is not there."""
    until = books.now() + timedelta(minutes=1)
    books.requests.wait(lease(books, request_key), "throttled", until)
    assert row(books, request_key).next_attempt_at == until
    assert lease(books, request_key) is None

    books.clock.advance(timedelta(minutes=1, seconds=1))
    assert lease(books, request_key).attempts == 1


def test_a_lost_answer_is_an_attempt_and_waits(books, request_key):
    """It is asked again after a backoff, and then looks."""
    books.requests.fail(lease(books, request_key), "no answer")
    waiting = row(books, request_key)
    assert waiting.reason == "no answer"
    assert timedelta(seconds=2) < waiting.next_attempt_at - books.now() <= policy.FIRST_BACKOFF

    books.clock.advance(policy.FIRST_BACKOFF)
    assert lease(books, request_key).attempts == 2


def test_after_eight_failures_a_request_is_refused_with_the_reason(books, request_key):
    """It is an end that a person sees, and nothing asks for ever."""
    for _ in range(policy.MAX_ATTEMPTS):
        books.requests.fail(lease(books, request_key), "500 from Amazon")
        books.clock.advance(policy.LAST_BACKOFF)

    ended = row(books, request_key)
    assert (ended.status, ended.reason) == ("refused", "attempt 8 of 8: 500 from Amazon")
    assert ended.ended_at is not None
    assert lease(books, request_key) is None


def test_of_two_workers_at_once_one_asks(books):
    """Two calls would be two reports."""
    for _ in range(8):
        key = wish(books)
        leases = at_once(*(lambda key=key, n=n: lease(books, key, f"worker:{n}") for n in range(3)))
        assert sum(taken is not None for taken in leases) == 1


def test_a_worker_that_lost_its_lease_changes_nothing(books, request_key):
    """Another one has asked in the meantime."""
    old = lease(books, request_key)
    expire(books)
    lease(books, request_key, OTHER)
    before = row(books, request_key)

    for end in (
        lambda: books.requests.submitted(old, at_amazon(books, "SUBMITTED"), books.now()),
        lambda: books.requests.wait(old, "throttled", books.now()),
        lambda: books.requests.fail(old, "no answer"),
        lambda: books.requests.refuse(old, "no such type"),
    ):
        with pytest.raises(LeaseLost, match="another worker has it now"):
            end()
    assert row(books, request_key) == before


def test_a_paused_account_asks_for_nothing(books, request_key):
    """Its credentials are refused."""
    books.accounts.pause(ACME, "AccessDenied")
    assert lease(books, request_key) is None
    assert books.requests.send_due() == []


def test_what_amazon_has_is_followed_by_amazons_id(books, request_key):
    """Its attempts begin anew: asking and following are two things."""
    submitted(books, request_key)

    following = row(books, request_key)
    assert (following.status, following.amazon_request_id, following.attempts) == ("submitted", "900", 0)
    assert books.requests.known_at_amazon(ACME, API) == {"900"}
    assert books.requests.open_at_amazon(ACME, API) == ["900"]


@pytest.mark.parametrize(
    ("status", "stored"),
    [("DONE", "done"), ("NO_DATA", "no_data"), ("CANCELLED", "cancelled"), ("FATAL", "fatal")],
)
def test_amazons_ends_are_ends(books, request_key, status, stored):
    """No data and cancelled are answers, not failures: nothing asks again."""
    submitted(books, request_key)
    seen(books, at_amazon(books, status, report_id="501" if status == "DONE" else None))

    ended = row(books, request_key)
    assert (ended.status, ended.report_id) == (stored, "501" if status == "DONE" else None)
    assert ended.ended_at is not None
    assert books.requests.open_at_amazon(ACME, API) == []
    assert books.requests.send_due() == []
    assert lease(books, request_key) is None
    # An answer that comes late, from a page read earlier, does not open it again.
    seen(books, at_amazon(books, "IN_PROGRESS"))
    assert row(books, request_key).status == stored


def test_a_word_of_amazons_that_we_do_not_know_is_followed_on(books, request_key):
    """A new status must neither end a request nor stop the others."""
    submitted(books, request_key)
    seen(books, at_amazon(books, "IN_REVIEW"))
    assert row(books, request_key).status == "in_progress"


def test_a_report_that_was_made_while_the_answer_was_lost_is_still_looked_after(books, request_key):
    """The look that follows enters it in the ledger: a wish that ends here without its report would never be drained."""
    submitted(books, request_key, status="DONE")

    assert row(books, request_key).status == "in_progress"
    assert books.requests.open_at_amazon(ACME, API) == ["900"]
    assert lease(books, request_key) is not None


def test_a_report_of_amazons_that_is_not_ours_is_left_alone(books, request_key):
    """The seller's other programs ask for reports too."""
    before = row(books, request_key)
    seen(books, at_amazon(books, "DONE", "777", report_id="501"))
    assert row(books, request_key) == before


def test_a_request_of_amazons_belongs_to_one_wish(books, request_key):
    """Two wishes that share a report would leave one of them unmade."""
    submitted(books, request_key)
    with pytest.raises(psycopg2.errors.UniqueViolation):
        submitted(books, wish(books))


def test_a_request_in_progress_for_a_day_is_asked_for_once_more_and_only_once(books, request_key):
    """Amazon loses one now and then; asking every day again would be a loop without end."""
    submitted(books, request_key, "IN_PROGRESS")
    books.clock.advance(policy.STUCK_AFTER - timedelta(minutes=1))
    assert ask_again(books) == []

    books.clock.advance(timedelta(minutes=2))
    assert ask_again(books) == [request_key]
    assert ask_again(books) == []

    stuck, again = row(books, request_key), row(books, f"{request_key}-again")
    assert stuck.stuck_at is not None
    books.clock.advance(timedelta(hours=1))
    ask_again(books)
    assert row(books, request_key).stuck_at == stuck.stuck_at, "since when it is stuck does not move"
    assert (stuck.status, stuck.asked_again_as) == ("in_progress", again.request_key)
    assert (again.status, again.window_start, again.window_end, again.options) == ("asked", START, END, stuck.options)

    submitted(books, again.request_key, "IN_PROGRESS", "901")
    books.clock.advance(policy.STUCK_AFTER * 2)
    assert ask_again(books) == []
    assert len(books.requests.table(ACME)) == 2


def test_the_stuck_one_is_still_followed(books, request_key):
    """It may come late, and its report is as good as any."""
    submitted(books, request_key, "IN_PROGRESS")
    books.clock.advance(policy.STUCK_AFTER + timedelta(minutes=1))
    ask_again(books)
    assert books.requests.open_at_amazon(ACME, API) == ["900"]

    seen(books, at_amazon(books, "DONE", report_id="501"))
    assert row(books, request_key).status == "done"


def test_one_message_an_account_looks_after_all_its_requests(books):
    """One GetReportRequestList answers for a hundred: a message for each would ask a hundred times."""
    add_account(books, "bravo")
    for number in range(3):
        submitted(books, wish(books), amazon_id=str(900 + number))
    fresh = wish(books)
    elsewhere = wish(books, "bravo")

    due = books.requests.send_due()

    assert len(due) == 3
    assert {(ACME, fresh), ("bravo", elsewhere)} < set(due)


def test_two_sweeps_at_once_send_a_request_once(books):
    """The second would only find the lease taken."""
    for number in range(10):
        add_account(books, f"a{number}")
        wish(books, f"a{number}")

    first, second = at_once(books.requests.send_due, books.requests.send_due)
    assert len(first + second) == len(set(first + second)) == 10


def test_a_lost_message_is_sent_again_and_one_that_was_not_sent_at_once(books, request_key):
    """As it is with reports."""
    assert books.requests.send_due() == [(ACME, request_key)]
    assert books.requests.send_due() == []
    books.requests.not_sent(ACME, request_key)
    assert books.requests.send_due() == [(ACME, request_key)]
    expire(books)
    assert books.requests.send_due() == [(ACME, request_key)]


def test_a_window_that_ends_before_it_begins_cannot_be_written(books):
    """The database refuses it, whoever asks."""
    with pytest.raises(psycopg2.errors.CheckViolation):
        books.requests.enter(ACME, API, ORDERS, start=END, end=START, options={})


def test_a_scheduled_report_whose_window_amazon_does_not_state_is_missing_at_once(books):
    """There is nothing to ask for again; it is entered once, however often the listings name it."""
    info = RequestInfo("700", ORDERS, "FATAL", books.now(), START, START, scheduled=True, reason="no such data")
    assert [books.requests.enter_come_to_nothing(ACME, API, [info]) for _ in range(2)] == [1, 0]

    seen(books, info)

    (only,) = books.requests.table(ACME)
    assert (only.status, only.reason) == ("refused", "Amazon could not make it: no such data")
    (gap,) = books.requests.gaps()
    assert (gap.window_start, gap.amazon_request_id) == (None, "700")


def test_a_window_that_amazon_tells_in_milliseconds_is_asked_for_again_whole(books):
    """It is asked for in whole seconds (recorded 2024 windows end at .677Z): what was cut off would be missed for ever."""
    told = timedelta(milliseconds=677)
    info = RequestInfo("700", ORDERS, "FATAL", books.now(), START + told, END + told, scheduled=True)
    books.requests.enter_come_to_nothing(ACME, API, [info])
    seen(books, info)

    again = max(books.requests.table(ACME), key=lambda row: row.again)
    assert (again.window_start, again.window_end) == (START, END + timedelta(seconds=1))


def test_two_who_look_at_once_ask_again_once(books, request_key):
    """The end and the asking again are one commit."""
    submitted(books, request_key)
    info, due_at = at_amazon(books, "FATAL"), books.now()

    def look():
        with books.db.transaction() as cursor:
            return books.requests.seen(cursor, ACME, API, info, due_at)

    told = at_once(look, look)
    assert [row.asked_again_as for row in told if row] == [f"{request_key}-again"]
    assert len(books.requests.table(ACME)) == 2


def test_a_scheduled_report_is_neither_stuck_nor_a_request_of_ours(books):
    """It was made by a schedule a day ago, and is followed for no more than to hear how it ended."""
    info = RequestInfo("700", ORDERS, "FATAL", books.now() - policy.STUCK_AFTER * 2, START, END, scheduled=True)
    books.requests.enter_come_to_nothing(ACME, API, [info])
    assert ask_again(books) == []
    assert books.requests.known_at_amazon(ACME, API) == set()
    assert books.requests.open_at_amazon(ACME, API) == ["700"]
