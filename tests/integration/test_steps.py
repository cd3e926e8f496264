"""How a step begins and ends, on real Postgres and Redis: what each error does to the row, and what a person reads."""

from __future__ import annotations

import threading
import traceback
from dataclasses import replace
from datetime import timedelta

import pytest
from redis.exceptions import RedisError
from structlog.testing import capture_logs

from orderdrain.errors import (
    DependencyDown,
    Evidence,
    GiveUp,
    LeaseLost,
    NotAReport,
    NotFound,
    NothingToDo,
    OperatorNeeded,
    RetryLater,
    ServiceFault,
    Snooze,
    Throttled,
)
from orderdrain.policy import DEPENDENCY_WAIT, FIRST_BACKOFF, MAX_ATTEMPTS
from orderdrain.reports import State
from orderdrain.steps import acknowledging_turn, comparing_schedules, leased, leased_request, listing_turn
from tests.building import ACME, API, ORDERS, OTHER, Books, add_account, download, expire, open_services, report_in

BUYER = "Zoë Buyer, 1 Elm Street"
SAID = Evidence("GetReport", 503, "RequestThrottled", "r-51af")


@pytest.fixture
def s(database_url, redis_url, tmp_path):
    services = open_services(database_url, redis_url, tmp_path)
    add_account(services)
    return services


@pytest.fixture
def books(database_url):
    """The same database, seen by somebody else."""
    return Books.open(database_url)


@pytest.fixture
def key(s):
    return report_in(s, State.LISTED)


@pytest.fixture
def connection(s):
    return s.accounts.connection(ACME, API)


def raised(s, key, error, state=State.LISTED):
    """What leaves a step whose work raises `error`."""
    try:
        with leased(s, key, state):
            raise error
    except BaseException as left:
        return left


def later(books, **span):
    return books.now() + timedelta(**span)


# ------------------------------------------------------------------------------------------------ one report's step


def test_work_that_ends_well_leaves_a_free_report_and_a_free_lock(s, books, key):
    """The next step can begin at once."""
    with leased(s, key, State.LISTED) as (lease, _):
        assert books.row(key).lease_owner == s.worker
        download(s, lease)

    assert books.row(key).state == "downloaded"
    with leased(s, key, State.DOWNLOADED) as (lease, _):
        assert lease.report.attempts == 1


def test_a_lock_held_elsewhere_is_a_quiet_no_op(s, books, key):
    """The same message twice: the second worker must not even ask the ledger for an attempt."""
    held = s.locks.report(ACME, API, key.report_id, "download")
    assert held.acquire()

    with pytest.raises(NothingToDo, match="another worker is at it"), leased(s, key, State.LISTED):
        pytest.fail("the work began")
    assert books.row(key).attempts == 0


def test_a_message_for_a_report_that_moved_on_says_where_it_is(s, key):
    """A doubled message is no error; its line must not look like one."""
    with leased(s, key, State.LISTED) as (lease, _):
        download(s, lease)
    with pytest.raises(NothingToDo, match="already downloaded, nothing done"), leased(s, key, State.LISTED):
        pytest.fail("the work began")


def test_waiting_writes_when_it_is_due_and_costs_nothing(s, books, key):
    """Until then no message of it is sent."""
    until = later(books, minutes=3)

    error = raised(s, key, Snooze("the report is not ready", until=until, evidence=SAID))

    row = books.row(key)
    assert (row.attempts, row.next_attempt_at, row.lease_owner) == (0, until, None)
    assert books.history.of(key)[-1].request_id == "r-51af"
    assert str(error).startswith(
        f"{key}: waits until {until:%Y-%m-%d %H:%M:%SZ}: the report is not ready; attempt not counted"
    )


def test_a_throttled_download_holds_back_the_connections_other_downloads(s, books, key):
    """They would find the same empty bucket."""
    second = report_in(s, State.LISTED, "2")
    until = later(books, minutes=3)
    raised(s, key, Throttled("quota", until=until))

    assert books.dispatch.send_due() == []
    with pytest.raises(NothingToDo), leased(s, second, State.LISTED):
        pytest.fail("the work began")
    assert books.row(second).attempts == 0
    assert books.accounts.table()[0].download_after == until


def test_a_failed_attempt_says_which_of_how_many_and_when_the_next_is(s, books, key):
    """What a person wants to know of a red line."""
    error = raised(s, key, ServiceFault("503 from Amazon", evidence=SAID))

    row = books.row(key)
    assert isinstance(error, RetryLater)
    assert row.attempts == 1
    assert timedelta(0) < row.next_attempt_at - books.now() <= FIRST_BACKOFF
    assert (
        f"{key}: download attempt 1 of 8 failed: 503 from Amazon; next try {row.next_attempt_at:%Y-%m-%d %H:%M:%SZ}"
        in str(error)
    )
    assert "(request id r-51af)" in str(error)


def test_the_last_failed_attempt_says_where_to_look(s, books, key):
    """Nothing more happens by itself."""
    books.db.query("UPDATE reports SET attempts = %s", (MAX_ATTEMPTS - 1,))

    error = raised(s, key, ServiceFault("503 from Amazon"))

    assert books.row(key).state == "quarantined"
    assert "attempt 8 of 8 failed: 503 from Amazon; quarantined. See: orderdrain show 50123456789" in str(error)


def test_what_cannot_succeed_is_quarantined_with_its_bytes(s, books):
    """The reason stays with the report; a person looks."""
    key = report_in(s, State.DOWNLOADED, "7")

    error = raised(s, key, NotAReport("it is HTML"), State.DOWNLOADED)

    row = books.row(key)
    assert (row.state, row.quarantined_from, row.reason) == ("quarantined", "downloaded", "it is HTML")
    assert str(error) == "report 7 (acme): quarantined at parse: it is HTML. Bytes kept. See: orderdrain show 7"


def test_refused_credentials_pause_the_connection_and_cost_no_attempt(s, books, key):
    """It alone, until a person acts."""
    add_account(s, "bravo")

    error = raised(
        s, key, OperatorNeeded("Amazon refuses the credentials", evidence=Evidence("GetReport", 401, "AccessDenied"))
    )

    row = books.row(key)
    assert (row.state, row.attempts, row.lease_owner) == ("listed", 0, None)
    paused = {r.account: r.paused_reason for r in books.accounts.table()}
    assert "AccessDenied" in paused[ACME]
    assert paused["bravo"] is None
    assert "When it is mended: orderdrain account resume acme" in str(error)


def test_refused_keys_pause_the_application(s, books, key):
    """One fault of many accounts is one alert."""
    add_account(s, "bravo")

    error = raised(s, key, OperatorNeeded("Amazon does not know the key", scope="application"))

    assert all("does not know the key" in row.paused_reason for row in books.accounts.table())
    assert "orderdrain application add main" in str(error)


def refused(work, scope, *, meanwhile=None):
    """A step in which Amazon refuses the credentials, after something has happened elsewhere."""
    with work:
        if meanwhile:
            meanwhile()
        raise OperatorNeeded("Amazon refuses the credentials", scope=scope)


def store_keys(s):
    s.accounts.add_application("main", key_id="AKIAOTHER", secret="other")


@pytest.fixture(params=["connection", "application"])
def scope(request):
    return request.param


@pytest.mark.parametrize("step", ["report", "listing", "acknowledging", "schedules", "request"])
def test_a_refusal_that_comes_when_the_person_was_here_pauses_nothing(s, books, key, scope, step):
    """It was earned with what is no longer stored: paused for it, the account would wait for the same person again."""
    request_key = s.requests.enter(ACME, API, ORDERS, start=None, end=None, options={})
    work = {
        "report": lambda: leased(s, key, State.LISTED),
        "listing": lambda: listing_turn(s, s.accounts.connection(ACME, API), full=False, since=None),
        "acknowledging": lambda: acknowledging_turn(s, s.accounts.connection(ACME, API)),
        "schedules": lambda: comparing_schedules(s, s.accounts.connection(ACME, API)),
        "request": lambda: leased_request(s, ACME, request_key),
    }[step]
    mend = {"connection": lambda: add_account(books), "application": lambda: store_keys(books)}[scope]

    with pytest.raises(OperatorNeeded, match="was stored anew or resumed meanwhile, and is tried again"):
        refused(work(), scope, meanwhile=mend)

    assert not books.accounts.is_paused(ACME, API)
    with pytest.raises(OperatorNeeded, match=f"{scope.replace('connection', 'account')} .*: paused"):
        refused(work(), scope)
    assert books.accounts.is_paused(ACME, API)


def test_a_refusal_that_comes_after_the_resuming_pauses_nothing(s, books, key, scope):
    """What was mended at Amazon is seen at the next try."""
    with pytest.raises(OperatorNeeded, match="resumed meanwhile"):
        refused(leased(s, key, State.LISTED), scope, meanwhile=lambda: books.accounts.resume(ACME))

    assert not books.accounts.is_paused(ACME, API)
    with leased(s, key, State.LISTED):
        pass


def test_what_several_workers_were_refused_is_told_once(s, key, scope):
    """One fault, one alert, however many were at it."""
    another = report_in(s, State.LISTED, "7")
    with (
        capture_logs() as logs,
        pytest.raises(OperatorNeeded, match=": paused: "),
        leased(s, key, State.LISTED),
        leased(s, another, State.LISTED),
    ):
        raise OperatorNeeded("Amazon refuses the credentials", scope=scope)
    assert [log["event"] for log in logs] == ["paused"]


def test_a_part_of_ours_that_is_away_costs_no_attempt(s, books, key):
    """The archive's trouble is no fault of the report."""
    raised(s, key, DependencyDown("the archive does not answer"))

    row = books.row(key)
    assert (row.state, row.attempts) == ("listed", 0)
    assert timedelta(0) < row.next_attempt_at - books.now() <= DEPENDENCY_WAIT


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_a_worker_that_is_stopped_gives_its_attempt_back(s, books, key, stop):
    """Another one goes on at once: a deployment is no failure."""
    error = raised(s, key, stop())

    row = books.row(key)
    assert isinstance(error, stop)
    assert (row.attempts, row.lease_owner) == (0, None)
    assert "was stopped" in row.reason
    with leased(s, key, State.LISTED):
        pass


@pytest.mark.parametrize(
    "error",
    [
        ValueError(f"cannot read {BUYER}"),
        UnicodeDecodeError("utf-8", BUYER.encode(), 0, 1, BUYER),
        KeyError(BUYER),
    ],
)
def test_an_unexpected_error_leaves_its_name_and_place_and_none_of_its_text(s, books, key, error, capsys):
    """A driver's error quotes the cell that it could not store: a buyer's name must not end in Flower or in a log."""
    try:
        raise error from LookupError(BUYER)
    except Exception as cause:
        left = raised(s, key, cause)

    assert isinstance(left, RetryLater)
    # The place is the last line of ours on the way to it; here that is the step itself.
    assert f"attempt 1 of 8 failed: unexpected {type(error).__name__} at steps.py:" in str(left)
    assert books.row(key).attempts == 1
    seen = [str(left), *traceback.format_exception(left), *map(str, books.everything_of(key)), *capsys.readouterr()]
    assert not any("Buyer" in text for text in seen)


def test_an_error_of_ours_that_no_step_expects_keeps_its_sentence(s, books, key):
    """It was written for a person, holds no buyer's data, and is no bug of the step."""
    left = raised(s, key, NotFound("there is no account acme"))

    assert isinstance(left, RetryLater)
    assert "download attempt 1 of 8 failed: there is no account acme; next try " in str(left)
    assert books.row(key).attempts == 1


def test_what_an_expected_error_came_from_does_not_leave_with_it(s, key):
    """Celery prints an exception with all that it came from."""
    try:
        raise NotAReport("its charset is unknown") from ValueError(BUYER)
    except NotAReport as error:
        left = raised(s, key, error)
    assert "Buyer" not in "".join(traceback.format_exception(left))


def test_a_worker_that_lost_its_lease_says_so_and_changes_nothing(s, books, key):
    """It was stopped for longer than a lease, and wakes up into another's work."""
    left, before = in_lost_work(s, books, key, lambda lease: download(s, lease))

    assert isinstance(left, LeaseLost)
    assert str(left) == f"{key}: lost its lease, another worker has it now; nothing was changed"
    assert books.everything_of(key) == before


def in_lost_work(s, books, key, work):
    """What leaves a step that loses its lease while it works, and what was known of the report before `work` ended."""
    try:
        with leased(s, key, State.LISTED) as (lease, _):
            expire(books)
            books.ledger.lease(key, State.LISTED, OTHER)
            before = books.everything_of(key)
            work(lease)
    except BaseException as left:
        return left, before


@pytest.mark.parametrize(
    "error", [ServiceFault("503"), GiveUp("HTML"), Snooze("not ready", until=None), KeyboardInterrupt()]
)
def test_an_error_of_a_worker_that_lost_its_lease_is_nobodys(s, books, key, error):
    """The report is another's now: neither its attempts nor its state are touched."""
    if isinstance(error, Snooze):
        error.until = later(books, minutes=1)

    def fail(_lease):
        raise error

    left, before = in_lost_work(s, books, key, fail)

    assert isinstance(left, LeaseLost)
    assert books.everything_of(key) == before


# ------------------------------------------------------------------------------------------------------- renewing


@pytest.fixture
def hasty(database_url, redis_url, tmp_path):
    """Services whose leases last two seconds."""
    services = open_services(database_url, redis_url, tmp_path, lease_seconds=2)
    add_account(services)
    return services


def held_until(books, key):
    """When the lease of a report runs out now."""
    return books.row(key).lease_until


def test_long_work_keeps_its_lease_and_its_lock(hasty, books):
    """A parse of an hour is one lease, however short the lease is."""
    key = report_in(hasty, State.LISTED)
    with leased(hasty, key, State.LISTED) as (lease, _):
        begun = books.row(key).lease_until
        deadline, waiting = books.now() + timedelta(seconds=20), threading.Event()
        while held_until(books, key) < begun + timedelta(seconds=3):
            assert books.now() < deadline, "nobody renews"
            waiting.wait(0.1)
        # More than its length has passed, and it is ours.
        assert books.ledger.lease(key, State.LISTED, OTHER) is None
        assert not hasty.locks.report(ACME, API, key.report_id, "download").acquire()
        download(hasty, lease)
    assert books.row(key).state == "downloaded"


def test_a_lease_outlasts_an_outage_of_redis(hasty, books):
    """Nothing that is right rests on Redis: work that goes on must not be lost because Redis is away."""
    key = report_in(hasty, State.LISTED)
    with leased(hasty, key, State.LISTED) as (lease, _):
        begun = books.row(key).lease_until
        hasty.redis.connection_pool.connection_kwargs["port"] = 1
        hasty.redis.connection_pool.reset()
        with pytest.raises(RedisError):
            hasty.redis.ping()
        deadline, waiting = books.now() + timedelta(seconds=20), threading.Event()
        while held_until(books, key) < begun + timedelta(seconds=2):
            assert books.now() < deadline, "nobody renews"
            waiting.wait(0.1)
        download(hasty, lease)
    assert books.row(key).state == "downloaded"


def test_no_renewal_outlives_its_work(s, key):
    """A thread that renews for ever would keep a report that nobody works on."""
    with leased(s, key, State.LISTED) as (lease, _):
        assert "renewal" in {thread.name for thread in threading.enumerate()}
        download(s, lease)
    assert "renewal" not in {thread.name for thread in threading.enumerate()}


# -------------------------------------------------------------------------------------------- listing, acknowledging


def list_with(s, connection, error):
    try:
        with listing_turn(s, connection, full=False, since=None) as turn:
            turn.next_token = "page-2"
            raise error
    except (type(error), RetryLater) as left:
        return str(left)


def test_an_account_is_listed_by_one_worker(s, connection):
    """By the lock, and where Redis has forgotten that, by the turn."""
    with listing_turn(s, connection, full=False, since=None):
        for _ in ("locked", "forgotten"):
            with pytest.raises(NothingToDo), listing_turn(s, connection, full=False, since=None):
                pytest.fail("listed twice at once")
            with pytest.raises(NothingToDo), acknowledging_turn(s, s.accounts.connection(ACME, API)):
                pytest.fail("acknowledged under a listing")
            s.redis.flushdb()


def test_a_listing_without_quota_goes_on_from_its_page(s, books, connection):
    """The pages before it are not asked for again."""
    until = later(books, minutes=1)
    said = list_with(s, connection, Throttled("quota", until=until))

    assert f"account acme: listing waits until {until:%Y-%m-%d %H:%M:%SZ}: quota" in said
    assert books.accounts.table()[0].next_list_at == until
    with listing_turn(s, connection, full=False, since=None) as turn:
        assert (turn.next_token, turn.listing) == ("page-2", 1)


def test_a_listing_that_failed_begins_anew_after_a_wait(s, books, connection):
    """Its token may be what is wrong."""
    said = list_with(s, connection, ServiceFault("503"))

    assert "account acme: listing failed: 503; next try " in said
    assert timedelta(0) < books.accounts.table()[0].next_list_at - books.now() <= FIRST_BACKOFF
    with listing_turn(s, connection, full=False, since=None) as turn:
        assert (turn.next_token, turn.listing, turn.attempts) == (None, 2, 2)


def test_a_listing_that_meets_refused_credentials_pauses_its_account(s, books, connection):
    """And gives its turn back: after `resume` it lists at once."""
    said = list_with(s, connection, OperatorNeeded("AccessDenied"))

    assert "account acme: paused: AccessDenied" in said
    with pytest.raises(NothingToDo, match="paused"), listing_turn(s, connection, full=False, since=None):
        pytest.fail("listed while paused")
    books.accounts.resume(ACME)
    with listing_turn(s, connection, full=False, since=None):
        pass


@pytest.mark.parametrize("error", [KeyboardInterrupt(), DependencyDown("Redis"), ValueError("a bug")])
def test_a_turn_is_given_back_whatever_ends_the_listing(s, connection, error):
    """The account must not wait out a lease for nothing."""
    said = list_with(s, connection, error)
    assert "a bug" not in said.replace("(a bug: please report it)", ""), "the text of an unexpected error"
    with listing_turn(s, connection, full=False, since=None):
        pass


class TimeIsUp(Exception):
    """As Celery's soft time limit is raised: anywhere."""


def test_a_step_whose_time_is_up_has_failed_and_is_no_bug(s, books, key):
    """A soft time limit is expected: its line must not ask anybody to report a bug."""
    limited = replace(s, out_of_time=(TimeIsUp,))
    with pytest.raises(RetryLater, match="longer than its time limit"), leased(limited, key, State.LISTED):
        raise TimeIsUp
    assert books.row(key).attempts == 1


def test_acknowledging_without_quota_waits_and_gives_its_turn_back(s, books, connection):
    """Listing is another operation, with a quota of its own."""
    until = later(books, minutes=1)
    with (
        pytest.raises(Throttled, match="account acme: acknowledging waits until"),
        acknowledging_turn(s, s.accounts.connection(ACME, API)),
    ):
        raise Throttled("quota", until=until)

    with pytest.raises(NothingToDo), acknowledging_turn(s, s.accounts.connection(ACME, API)):
        pytest.fail("acknowledged without quota")
    with listing_turn(s, connection, full=False, since=None):
        pass


def test_a_turn_is_given_back_whatever_ends_the_acknowledging(s):
    """The next batch comes soon."""
    for error in (ServiceFault("503"), ValueError("a bug"), KeyboardInterrupt()):
        with pytest.raises(type(error)), acknowledging_turn(s, s.accounts.connection(ACME, API)):
            raise error
    for _ in range(2):
        with acknowledging_turn(s, s.accounts.connection(ACME, API)):
            pass


# ------------------------------------------------------------------------------------------------ a request's step


@pytest.fixture
def request_key(s):
    return s.requests.enter(ACME, API, ORDERS, start=None, end=None, options={})


def request_with(s, request_key, error):
    with pytest.raises(type(error)) as told, leased_request(s, ACME, request_key):
        raise error
    (row,) = s.requests.table(ACME)
    return row, str(told.value)


def test_a_request_that_waits_says_until_when(s, books, request_key):
    """And its attempt is not counted: Amazon has not been asked."""
    until = later(books, minutes=1)
    row, said = request_with(s, request_key, Throttled("quota", until=until))

    assert (row.attempts, row.next_attempt_at, row.lease_owner) == (0, until, None)
    assert f"request {request_key} (acme): waits until" in said


def test_a_request_that_failed_counts(s, request_key):
    """From now on it looks at Amazon before it asks: the lost answer may have been a yes."""
    row, said = request_with(s, request_key, ServiceFault("no answer"))

    assert (row.status, row.attempts, row.reason) == ("asked", 1, "no answer")
    assert f"request {request_key} (acme): attempt 1 of 8 failed: no answer" in said


def test_a_request_that_amazon_refuses_is_an_end(s, request_key):
    """With Amazon's reason."""
    row, said = request_with(s, request_key, GiveUp("no such option"))

    assert (row.status, row.reason) == ("refused", "no such option")
    assert "refused: no such option" in said


def test_a_request_under_way_is_not_moved_by_another(s, request_key):
    """Two RequestReport calls would be two reports."""
    with leased_request(s, ACME, request_key), pytest.raises(NothingToDo), leased_request(s, ACME, request_key):
        pytest.fail("asked twice at once")


def test_a_lost_answer_of_our_own_database_counts_as_an_attempt(s, books, request_key):
    """Amazon may have made the request before Postgres went away: the next attempt must look first."""
    row, _ = request_with(s, request_key, DependencyDown("Postgres does not answer"))
    assert timedelta(0) < row.next_attempt_at - books.now() <= DEPENDENCY_WAIT
    books.clock.advance(DEPENDENCY_WAIT)
    with leased_request(s, ACME, request_key) as (wish, _):
        assert wish.attempts == 2
