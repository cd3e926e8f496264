"""The ledger on a real Postgres: entering, leases and their endings, and a report's way back from quarantine."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import psycopg2
import pytest

from orderdrain import policy
from orderdrain.errors import LeaseLost, NotFound, UsageError
from orderdrain.reports import ReportKey, State
from tests.building import (
    ACME,
    API,
    LEASE,
    OTHER,
    WORKER,
    Books,
    add_account,
    at_once,
    counted_as_parsed,
    download,
    enter,
    expire,
    listed,
    parse,
    report_in,
)


@pytest.fixture
def books(database_url):
    books = Books.open(database_url)
    add_account(books)
    return books


def lease(books, key, state=State.LISTED, owner=WORKER):
    return books.ledger.lease(key, state, owner)


# ------------------------------------------------------------------------------------------------------- entering


def test_entering_a_known_report_is_a_no_op(books):
    """Every listing tells every unacknowledged report again, also one that is half way."""
    key = report_in(books, State.DOWNLOADED)
    before = books.everything_of(key)

    entered = books.ledger.enter(ACME, API, [listed(key.report_id)], listing=7, worker=OTHER, request_id=None)

    assert entered == 0
    assert books.everything_of(key) == before


def test_the_marketplaces_that_amazon_told_reach_whoever_works_on_the_report(books):
    """Also on a page where other reports have none."""
    reports = [replace(listed("1"), marketplaces=("A", "B")), listed("2")]
    books.ledger.enter(ACME, API, reports, listing=0, worker=WORKER, request_id=None)

    told = {key: lease(books, ReportKey(ACME, API, key)).report.marketplaces for key in ("1", "2")}
    assert told == {"1": ("A", "B"), "2": ()}


def test_a_report_that_stands_twice_on_a_page_is_entered_once(books):
    """Amazon's pages repeat ids while reports arrive under the pager's feet."""
    entered = books.ledger.enter(
        ACME, API, [listed("1"), listed("2"), listed("1")], listing=1, worker=WORKER, request_id=None
    )

    assert entered == 2
    assert books.events(ReportKey(ACME, API, "1")) == ["entered"]


def test_two_who_enter_the_same_reports_at_once_enter_each_once(books):
    """They must neither double a report nor wait for each other in a circle, whatever the order of their pages."""
    page = [listed(str(number)) for number in range(400)]

    def entering(reports):
        return lambda: books.ledger.enter(ACME, API, reports, listing=1, worker=WORKER, request_id=None)

    counts = at_once(entering(page), entering(page[::-1]), entering(page[200:] + page[:200]))

    assert sum(counts) == 400
    assert all(books.events(ReportKey(ACME, API, report.report_id)) == ["entered"] for report in page[::50])


def test_the_same_id_in_two_accounts_is_two_reports(books):
    """Amazon's ids are unique only within an account."""
    add_account(books, "bravo")
    enter(books, "50123456789")
    enter(books, "50123456789", account="bravo")

    assert [row.account for row in books.ledger.find("50123456789")] == [ACME, "bravo"]
    assert [row.account for row in books.ledger.find("50123456789", "bravo")] == ["bravo"]


# -------------------------------------------------------------------------------------------------------- the lease


def test_a_lease_counts_its_attempt_before_the_work(books):
    """Only an attempt that is written before the work bounds a report which kills its worker."""
    key = report_in(books, State.LISTED)

    taken = lease(books, key)

    assert (taken.report.attempts, taken.owner) == (1, WORKER)
    row = books.row(key)
    assert (row.attempts, row.lease_owner, row.fence) == (1, WORKER, taken.fence)
    assert timedelta(0) < row.lease_until - books.now() <= LEASE


@pytest.mark.parametrize("state", [State.DOWNLOADED, State.PARSED])
def test_a_report_in_another_state_is_not_leased(books, state):
    """A message that comes late, or twice, finds the report moved on."""
    key = report_in(books, state)
    before = books.everything_of(key)

    assert lease(books, key) is None
    assert books.everything_of(key) == before


def test_a_report_under_lease_is_not_leased_again(books):
    """Two workers with the same message: one works."""
    key = report_in(books, State.LISTED)
    lease(books, key)

    assert lease(books, key, owner=OTHER) is None
    assert books.row(key).lease_owner == WORKER


def test_of_two_workers_at_once_exactly_one_gets_the_lease(books):
    """The row decides, not the order in which they looked at it."""
    keys = enter(books, *(str(number) for number in range(20)))

    for key in keys:
        leases = at_once(*(lambda key=key, n=n: lease(books, key, owner=f"worker:{n}") for n in range(3)))
        (got,) = [taken for taken in leases if taken is not None]
        row = books.row(key)
        assert (row.attempts, row.fence, row.lease_owner) == (1, 1, got.owner)


def test_a_report_that_waits_is_not_leased_before_it_is_due(books):
    """A message may lie in the broker while the report is put off."""
    key = report_in(books, State.LISTED)
    books.ledger.snooze(lease(books, key), "throttled", books.now() + timedelta(minutes=5))

    assert lease(books, key) is None
    books.clock.advance(timedelta(minutes=5, seconds=1))
    assert lease(books, key) is not None


def test_nothing_of_a_paused_account_is_leased(books):
    """Refused credentials must not be tried a thousand times more by messages that are on their way."""
    key = report_in(books, State.LISTED)
    books.accounts.pause(ACME, "AccessDenied")
    assert lease(books, key) is None

    books.accounts.resume(ACME)
    books.accounts.pause_application(books.accounts.connection(ACME, API), "InvalidAccessKeyId")
    assert lease(books, key) is None

    books.accounts.resume(ACME)
    assert lease(books, key) is not None


def test_downloads_wait_for_quota_and_parsing_does_not(books):
    """Bytes that we hold need nothing of Amazon."""
    fresh = report_in(books, State.LISTED, "1")
    held = report_in(books, State.DOWNLOADED, "2")
    books.accounts.wait_to_download(ACME, API, books.now() + timedelta(minutes=1))

    assert lease(books, fresh) is None
    assert lease(books, held, State.DOWNLOADED) is not None


def test_a_message_that_finds_nothing_to_do_no_longer_counts_as_on_its_way(books):
    """Else a report whose message came a second too early would wait for a whole lease."""
    key = report_in(books, State.LISTED)
    assert [sent for sent, _ in books.dispatch.send_due()] == [key]
    books.accounts.pause(ACME, "a person looks")
    assert lease(books, key) is None

    books.accounts.resume(ACME)
    assert [sent for sent, _ in books.dispatch.send_due()] == [key]


def test_a_late_download_message_says_nothing_about_the_parse_that_is_on_its_way(books):
    """Else each doubled message would send the next step once more."""
    key = report_in(books, State.DOWNLOADED)
    assert lease(books, key, State.LISTED) is None

    assert books.dispatch.send_due() == []


def test_the_fence_grows_with_each_lease(books):
    """It tells an owner from the owner before, also where both are the same process."""
    key = report_in(books, State.LISTED)
    first = lease(books, key)
    books.ledger.give_back(first, "stopped")
    second = lease(books, key)

    assert second.fence == first.fence + 1
    with pytest.raises(LeaseLost):
        books.ledger.give_back(first, "stopped")


ENDINGS = {
    "downloaded": (State.LISTED, download),
    "parsed": (State.DOWNLOADED, parse),
    "snoozed": (State.LISTED, lambda books, old: books.ledger.snooze(old, "throttled", books.now())),
    "failed": (State.LISTED, lambda books, old: books.ledger.fail(old, "503")),
    "given back": (State.LISTED, lambda books, old: books.ledger.give_back(old, "stopped")),
    "quarantined": (State.LISTED, lambda books, old: books.ledger.quarantine(old, "HTML")),
}


@pytest.mark.parametrize("since", ["taken over", "finished by another", "taken back by the sweep"])
def test_a_worker_that_lost_its_lease_changes_nothing(books, since):
    """It slept, its lease ran out, and what it knows of the report is old: however it would have ended."""
    for number, (state, end) in enumerate(ENDINGS.values()):
        key = report_in(books, state, str(number))
        old = lease(books, key, state)
        expire(books)
        if since == "taken back by the sweep":
            books.dispatch.take_back()
        else:
            new = lease(books, key, state, owner=OTHER)
            if since == "finished by another":
                (download if state is State.LISTED else parse)(books, new)
        before = books.everything_of(key)

        with pytest.raises(LeaseLost, match="lost its lease"):
            end(books, old)

        assert books.everything_of(key) == before


def test_rows_are_rolled_back_with_a_lost_lease(books):
    """The rows of a report and its state are one commit: neither is there without the other."""
    key = report_in(books, State.DOWNLOADED)
    old = lease(books, key, State.DOWNLOADED)
    expire(books)
    lease(books, key, State.DOWNLOADED, owner=OTHER)

    def commit_rows_and_state():
        with books.db.transaction() as cursor:
            cursor.execute("INSERT INTO layouts (family, columns) VALUES ('new_orders', '{sku}')")
            counted_as_parsed(books, cursor, old)

    with pytest.raises(LeaseLost):
        commit_rows_and_state()
    assert books.db.query("SELECT layout FROM layouts") == []


def test_a_lease_that_ran_out_is_still_good_while_nobody_took_it(books):
    """A slow commit whose work is whole is no reason to do it all again."""
    key = report_in(books, State.LISTED)
    slow = lease(books, key)
    expire(books)

    download(books, slow)

    assert books.row(key).state == State.DOWNLOADED


def test_renewing_extends_a_lease(books):
    """Long work keeps its report."""
    key = report_in(books, State.LISTED)
    taken = lease(books, key)
    books.clock.advance(timedelta(seconds=100))

    assert books.ledger.renew(taken)
    books.clock.advance(timedelta(seconds=100))
    assert lease(books, key, owner=OTHER) is None


def test_a_lost_lease_is_not_renewed(books):
    """Neither when it ran out, nor when another has it: the worker must learn that it has none."""
    key = report_in(books, State.LISTED)
    old = lease(books, key)
    expire(books)
    assert not books.ledger.renew(old)

    new = lease(books, key, owner=OTHER)
    until = books.row(key).lease_until
    assert not books.ledger.renew(old)
    assert books.row(key).lease_until == until
    assert books.ledger.renew(new)


def test_a_lease_lasts_real_seconds_when_the_application_runs_sixty_times_faster(books):
    """It watches a process, and processes do not run faster in a demo: else each would lose its lease after 2 s."""
    books.clock.set(books.now(), speed=60)
    key = report_in(books, State.LISTED)
    lease(books, key)

    left = books.row(key).lease_until - books.now()
    assert timedelta(seconds=110 * 60) < left <= timedelta(seconds=120 * 60)


def test_waiting_runs_in_application_time(books):
    """Amazon's minute is a second in the demo, and waiting for it must be one too."""
    books.clock.set(books.now(), speed=60)
    key = report_in(books, State.LISTED)
    until = books.now() + timedelta(minutes=1)
    books.ledger.snooze(lease(books, key), "throttled", until)

    assert books.row(key).next_attempt_at == until


# --------------------------------------------------------------------------------------------------------- its ends


def test_a_report_goes_through_its_states_and_each_step_leaves_a_line(books):
    """The history is what `orderdrain show` tells, with Amazon's id of each call."""
    key = report_in(books, State.PARSED)

    assert books.events(key) == ["entered", "downloaded", "parsed"]
    told = [(line.step, line.from_state, line.to_state, line.attempt) for line in books.history.of(key)]
    assert told == [
        ("list", None, "listed", None),
        ("download", "listed", "downloaded", 1),
        ("parse", "downloaded", "parsed", 1),
    ]
    assert [line.request_id for line in books.history.of(key)] == ["listing-request", "download-request", None]
    row = books.row(key)
    assert (row.attempts, row.lease_owner, row.reason, row.rows_read, row.rows_new) == (0, None, None, 3, 3)


def test_rows_that_do_not_add_up_are_refused_by_the_database(books):
    """rows_read is the sum of what its rows became, checked in the commit itself."""
    key = report_in(books, State.PARSED)
    with pytest.raises(psycopg2.errors.CheckViolation, match="every_row_is_accounted_for"):
        books.db.query("UPDATE reports SET rows_new = rows_new - 1")
    assert books.row(key).rows_new == 3


def test_a_snooze_gives_the_attempt_back(books):
    """Waiting is not failing: a day of throttling must not quarantine anything."""
    key = report_in(books, State.LISTED)
    until = books.now() + timedelta(minutes=1)

    books.ledger.snooze(lease(books, key), "throttled by GetReport", until, request_id="r-1")

    row = books.row(key)
    assert (row.state, row.attempts, row.next_attempt_at, row.lease_owner) == ("listed", 0, until, None)
    line = books.history.of(key)[-1]
    assert (line.event, line.request_id) == ("snoozed", "r-1")
    assert "throttled by GetReport" in line.detail


def test_a_failed_attempt_counts_and_waits(books):
    """It comes again after its backoff, not at once: what is broken now is broken in a second too."""
    key = report_in(books, State.LISTED)

    due_at = books.ledger.fail(lease(books, key), "503")

    row = books.row(key)
    assert (row.attempts, row.reason, row.next_attempt_at) == (1, "503", due_at)
    assert timedelta(seconds=2) < due_at - books.now() <= policy.FIRST_BACKOFF
    assert lease(books, key) is None


def test_the_eighth_failure_quarantines_with_its_reason(books):
    """A person gets the last reason, and nothing tries for ever."""
    key = report_in(books, State.LISTED)
    for _ in range(policy.MAX_ATTEMPTS - 1):
        assert books.ledger.fail(lease(books, key), "503 from Amazon") is not None
        books.clock.advance(policy.LAST_BACKOFF)

    assert books.ledger.fail(lease(books, key), "the last straw") is None

    row = books.row(key)
    assert (row.state, row.quarantined_from) == ("quarantined", "listed")
    assert "attempt 8 of 8 at download: the last straw" in row.reason
    assert lease(books, key) is None


def test_a_report_that_kills_its_worker_each_time_is_quarantined(books):
    """A parse that needs more memory than there is would else kill one worker after the other, for ever."""
    key = report_in(books, State.DOWNLOADED)
    for attempt in range(1, policy.MAX_ATTEMPTS + 1):
        assert lease(books, key, State.DOWNLOADED).report.attempts == attempt
        expire(books)
        books.dispatch.take_back()

    assert lease(books, key, State.DOWNLOADED) is None

    row = books.row(key)
    assert (row.state, row.quarantined_from) == ("quarantined", "downloaded")
    assert "8 attempts at parse" in row.reason
    assert WORKER in row.reason


def test_what_is_given_back_is_due_at_once_and_costs_nothing(books):
    """A deployment that stops workers must not use up attempts."""
    key = report_in(books, State.LISTED)
    for _ in range(policy.MAX_ATTEMPTS + 2):
        books.ledger.give_back(lease(books, key), "worker was stopped")

    assert books.row(key).attempts == 0
    assert lease(books, key) is not None


def test_each_step_has_attempts_of_its_own(books):
    """Seven bad downloads say nothing about the parse."""
    key = report_in(books, State.LISTED)
    books.ledger.fail(lease(books, key), "503")
    books.clock.advance(policy.LAST_BACKOFF)
    download(books, lease(books, key))

    assert lease(books, key, State.DOWNLOADED).report.attempts == 1


def test_taking_back_writes_who_died_and_leaves_the_attempt_counted(books):
    """The history must say why a report was begun twice."""
    key = report_in(books, State.LISTED)
    alive = report_in(books, State.LISTED, "2")
    lease(books, key)
    expire(books)
    lease(books, alive)

    assert books.dispatch.take_back() == [key]

    row, line = books.row(key), books.history.of(key)[-1]
    assert (row.attempts, row.lease_owner) == (1, None)
    assert (line.step, line.event, line.worker, line.attempt) == ("sweep", "lease ran out", WORKER, 1)
    assert books.dispatch.take_back() == []
    assert books.row(alive).lease_owner == WORKER


# ------------------------------------------------------------------------------------------- a person's way back


@pytest.mark.parametrize("state", [State.LISTED, State.DOWNLOADED])
def test_requeueing_brings_a_report_back_to_where_it_was(books, state):
    """Bytes that lie in the archive are not downloaded again."""
    key = report_in(books, state)
    books.ledger.quarantine(lease(books, key, state), "HTML")

    assert books.ledger.requeue(key, note="mended") is state

    row = books.row(key)
    assert (row.state, row.attempts, row.reason, row.quarantined_from) == (state, 0, None, None)
    assert books.history.of(key)[-1].detail == "mended"
    assert lease(books, key, state) is not None


def test_only_a_quarantined_report_is_requeued(books):
    """Requeueing a report that is under way would throw away what its worker does."""
    key = report_in(books, State.DOWNLOADED)

    with pytest.raises(UsageError, match="is downloaded: only a quarantined report"):
        books.ledger.requeue(key, note="by hand")
    with pytest.raises(NotFound, match="there is no report 1"):
        books.ledger.requeue(ReportKey(ACME, API, "1"), note="by hand")


def test_the_summary_counts_an_account_without_reports_too(books):
    """An account of which nothing was ever listed is the one to look at."""
    add_account(books, "bravo")
    report_in(books, State.LISTED, "1")
    report_in(books, State.QUARANTINED, "2")

    counts = [(r.account, r.listed, r.downloaded, r.parsed, r.quarantined) for r in books.ledger.summary()]
    assert counts == [(ACME, 1, 0, 0, 1), ("bravo", 0, 0, 0, 0)]
