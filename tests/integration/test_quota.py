"""Quotas on a real Redis: never a call that Amazon must refuse, and never a wait without need."""

from __future__ import annotations

import multiprocessing
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.quota import Limit
from emulator.quota import Quotas as EmulatedQuotas
from orderdrain.amazon import mws, sp_api
from orderdrain.errors import DependencyDown, Throttled
from orderdrain.quota import FORGET_SECONDS, LATE_SECONDS, Quota, QuotaRule
from orderdrain.redis_client import connect

START = datetime(2026, 11, 24, 14, tzinfo=UTC)
RULES = {
    "GetReport": QuotaRule(15, 60, 60),
    "UpdateReportAcknowledgements": QuotaRule(10, 45, 80),
    "GetReportListByNextToken": QuotaRule(30, 2, 1800),
}


class HandClock:
    """Application time, moved by hand."""

    def __init__(self, moment=START):
        self.moment = moment

    def now(self):
        return self.moment

    def go_to(self, hours_minutes_seconds):
        self.moment = datetime.fromisoformat(f"2026-11-24T{hours_minutes_seconds}Z")

    def wait(self, seconds):
        self.moment += timedelta(seconds=seconds)


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def redis(redis_url):
    return connect(redis_url)


@pytest.fixture
def quota(redis, clock):
    return Quota(redis, clock).bound_to("acme:mws", RULES)


def takes(quota, operation="GetReport"):
    """How many calls may go now."""
    for n in range(10_000):
        try:
            quota.take(operation)
        except Throttled:
            return n
    raise AssertionError("no end of tokens")


def may_take(quota, operation="GetReport"):
    """Whether a call may go now; takes nothing."""
    try:
        quota.check(operation)
    except Throttled:
        return False
    return True


def not_before(quota, operation="GetReport"):
    """Until when a call must wait; it must."""
    with pytest.raises(Throttled) as caught:
        quota.take(operation)
    return caught.value.until


def fill(quota, clock, operation="GetReport"):
    """Uses the bucket's first token, and waits until the bucket is full and the hour is over."""
    quota.take(operation)
    clock.wait(3600 + LATE_SECONDS)


def at(text):
    return datetime.fromisoformat(f"2026-11-24T{text}Z")


# ---------------------------------------------------------------------------------------------------- the bucket


def test_a_new_bucket_begins_with_one_token(quota, clock):
    """After a flush nobody knows what was used: one call asks, its answer tells the rest."""
    assert takes(quota) == 1
    assert not_before(quota) == clock.now() + timedelta(seconds=60)


def test_the_worked_example_of_the_module_holds(quota, clock):
    """Documentation with numbers is a promise."""
    clock.go_to("12:00:00")
    quota.take("GetReport")
    clock.go_to("14:00:00")
    assert takes(quota) == 14
    assert not_before(quota) == at("14:00:10")
    clock.go_to("14:00:10")
    quota.take("GetReport")
    for _ in range(45):
        clock.wait(60)
        assert takes(quota) == 1
    assert clock.now() == at("14:45:10")
    clock.go_to("14:45:20")
    assert not_before(quota) == at("15:00:10")


def test_a_call_leaves_the_hour_when_no_late_one_can_share_it(redis, clock):
    """A call that reached Amazon late is in its hour until then; a moment longer would let reports wait for nothing."""
    quota = Quota(redis, clock).bound_to("acme:mws", {"GetReport": QuotaRule(15, 1, 2)})
    quota.take("GetReport")
    clock.wait(60)
    quota.take("GetReport")
    leaves = START + timedelta(seconds=3600 + LATE_SECONDS)

    assert not_before(quota) == leaves
    clock.moment = leaves - timedelta(milliseconds=1)
    assert not_before(quota) == leaves
    clock.moment = leaves
    quota.take("GetReport")
    assert not_before(quota) == leaves + timedelta(seconds=60)


def test_asking_in_vain_costs_nothing(quota, clock):
    """Many workers ask for the same account; those that are told to wait must not push the time on."""
    quota.take("GetReport")
    told = {not_before(quota) for _ in range(20)}

    assert told == {clock.now() + timedelta(seconds=60)}
    clock.wait(60)
    assert takes(quota) == 1


def test_looking_whether_a_call_may_go_takes_nothing_and_remembers_nothing(quota, redis, clock):
    """Who would make other calls first looks, and then takes."""
    quota.check("GetReport")
    quota.check("GetReport")
    assert redis.keys("*") == []
    quota.take("GetReport")
    with pytest.raises(Throttled, match=r"^throttled by GetReport, quota restores 1/min$") as caught:
        quota.check("GetReport")
    assert caught.value.until == clock.now() + timedelta(seconds=60)


def test_operations_and_connections_have_buckets_of_their_own(redis, clock):
    """Amazon counts by seller and operation: one's drain must not slow down the other."""
    acme, bravo = (Quota(redis, clock).bound_to(f"{name}:mws", RULES) for name in ("acme", "bravo"))

    assert takes(acme) == 1
    assert takes(bravo) == 1
    assert takes(acme, "UpdateReportAcknowledgements") == 1


def test_a_part_of_an_operation_has_a_bucket_beside_the_whole(quota, clock):
    """One report type's lower rate must not hold back the others; what all share is taken from by itself."""
    quota.take("GetReport:SLOW")
    quota.learned_rate("GetReport:SLOW", per_second=1 / 600)
    assert takes(quota) == 1
    clock.wait(60)
    assert (takes(quota), takes(quota, "GetReport:SLOW")) == (1, 0)
    assert not_before(quota, "GetReport:SLOW") >= START + timedelta(seconds=600)


def test_the_reason_says_which_operation_and_which_limit(quota, clock):
    """It is the line that an operator reads beside a waiting report."""
    quota.take("GetReport")
    with pytest.raises(Throttled, match=r"^throttled by GetReport, quota restores 1/min$"):
        quota.take("GetReport")
    quota.learned("GetReport", maximum=60.0, remaining=0.0, resets_at=START + timedelta(minutes=30))
    with pytest.raises(Throttled, match=r"^throttled by GetReport, its hourly quota of 60 is used up$"):
        quota.take("GetReport")
    quota.refused("GetReport", hourly=True, resets_at=START + timedelta(minutes=40))
    with pytest.raises(Throttled, match=r"^throttled by GetReport, Amazon refused a call before$"):
        quota.take("GetReport")


# ------------------------------------------------------------------------------------- any sequence of calls at all

#: Waits in milliseconds, most about as long as the limits: there the mistakes are.
WAITS = st.one_of(
    st.just(0),
    st.integers(0, 5_000),
    st.sampled_from(
        [1_999, 2_000, 9_999, 10_000, 44_999, 45_000, 59_999, 60_000, 60_001, 600_000, 3_609_999, 3_610_000]
    ),
    st.integers(0, 4_000_000),
)
SMALL_RULES = st.builds(
    QuotaRule,
    burst=st.integers(1, 15),
    restore_seconds=st.sampled_from([0.5, 1.0, 2.0, 45.0, 60.0]),
    hourly=st.one_of(st.none(), st.integers(1, 60)),
)


class ByTheBook:
    """The same limits, told over the whole list of calls so far: slow and plain. All in whole milliseconds."""

    def __init__(self, rule):
        self.rule = rule
        self.calls = []
        self.token = rule.pace_milliseconds
        self.held = self.token
        self.filled = None

    def may(self, now):
        # The bucket begins with its first call.
        gained = 0 if self.filled is None else now - self.filled
        self.held, self.filled = min(self.rule.room_milliseconds, self.held + gained), now
        hour = [call for call in self.calls if call > now - 3_600_000 - LATE_SECONDS * 1000]
        if self.held < self.token or (self.rule.hourly is not None and len(hour) >= self.rule.hourly):
            return False
        self.held -= self.token
        self.calls.append(now)
        return True


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rule=SMALL_RULES, waits=st.lists(WAITS, min_size=1, max_size=80))
def test_a_call_goes_exactly_when_the_limits_allow_it(redis, rule, waits):
    """Not once too often, which Amazon would refuse; not once too rarely, which would let reports wait."""
    redis.flushdb()
    clock = HandClock()
    quota = Quota(redis, clock).bound_to("acme:mws", {"GetReport": rule})
    book = ByTheBook(rule)
    for wait in waits:
        clock.wait(wait / 1000)
        expected = book.may((clock.now() - START) // timedelta(milliseconds=1))
        assert may_take(quota) == expected
        assert bool(takes_one(quota)) == expected


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rule=SMALL_RULES,
    steps=st.lists(st.tuples(WAITS, st.integers(1, 20), st.integers(0, 9_999)), min_size=1, max_size=25),
)
def test_amazon_never_sees_too_many_in_any_window(redis, rule, steps):
    """Whatever the calls, and whichever of them reach Amazon late: its bucket and its hour are never overdrawn."""
    redis.flushdb()
    clock = HandClock()
    quota = Quota(redis, clock).bound_to("acme:mws", {"GetReport": rule})
    arrivals = []
    for wait, attempts, late in steps:
        clock.wait(wait / 1000)
        arrivals += [clock.now() + timedelta(milliseconds=late)] * sum(takes_one(quota) for _ in range(attempts))

    amazon = EmulatedQuotas()
    amazon.change(["acme"], "GetReport", Limit(rule.burst, rule.restore_seconds, rule.hourly or sys.maxsize))
    assert {amazon.take("acme", "GetReport", arrival) for arrival in sorted(arrivals)} <= {None}
    seconds = sorted((arrival - START).total_seconds() for arrival in arrivals)
    for first, begin in enumerate(seconds):
        for last in range(first, len(seconds)):
            span, calls = seconds[last] - begin, last - first + 1
            assert calls <= rule.burst + span / rule.restore_seconds + 1e-6
            assert rule.hourly is None or span >= 3600 or calls <= rule.hourly


@pytest.mark.parametrize(
    "rule",
    [*dict.fromkeys((*mws.QUOTAS.values(), *sp_api.QUOTAS.values())), QuotaRule(1, 1, None), QuotaRule(2, 45, None)],
    ids=lambda rule: f"{rule.burst} and {rule.restores}",
)
def test_calls_that_all_arrive_together_with_the_latest_overdraw_no_documented_bucket(redis, clock, rule):
    """The worst that a slow network can do: ten seconds of calls arrive at once, and those after them without delay."""
    quota = Quota(redis, clock).bound_to("acme:mws", {"GetReport": rule})
    amazon = EmulatedQuotas()
    amazon.change(["acme"], "GetReport", Limit(rule.burst, rule.restore_seconds))
    fill(quota, clock)
    begin, together = clock.now(), clock.now() + timedelta(seconds=LATE_SECONDS)
    taken = 0
    while clock.now() < begin + timedelta(minutes=3):
        if takes_one(quota):
            taken += 1
            assert amazon.take("acme", "GetReport", max(clock.now(), together)) is None, f"call {taken}"
        else:
            clock.moment = not_before(quota)
    assert taken >= rule.burst / 2


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rule=SMALL_RULES,
    before=st.lists(WAITS, max_size=60),
    refusal=st.sampled_from([None, "burst", "hour"]),
)
def test_who_waits_until_the_time_he_was_told_gets_his_token(redis, rule, before, refusal):
    """Asking again exactly then must succeed, else every wait would be paid for twice."""
    redis.flushdb()
    clock = HandClock()
    quota = Quota(redis, clock).bound_to("acme:mws", {"GetReport": rule})
    for wait in before:
        clock.wait(wait / 1000)
        takes_one(quota)
    if refusal:
        quota.refused("GetReport", hourly=refusal == "hour", resets_at=clock.now() + timedelta(minutes=7))
    takes(quota)
    until = not_before(quota)

    clock.moment = until - timedelta(milliseconds=1)
    assert not_before(quota) == until
    clock.moment = until
    quota.take("GetReport")


def takes_one(quota, operation="GetReport"):
    try:
        quota.take(operation)
    except Throttled:
        return False
    return True


# ------------------------------------------------------------------------------------------------- many workers


def test_many_threads_together_take_no_more_than_one_would(redis_url, clock):
    """The fleet is one caller to Amazon."""
    fill(Quota(connect(redis_url), clock).bound_to("acme:mws", RULES), clock)
    counts = []

    def worker():
        counts.append(takes(Quota(connect(redis_url), clock).bound_to("acme:mws", RULES)))

    threads = [threading.Thread(target=worker) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(counts) == 14


def test_forked_workers_share_a_bucket_and_not_a_connection(quota, clock):
    """Celery forks its workers after the client was used: two that shared a socket would read each other's answers."""
    fill(quota, clock)
    fork = multiprocessing.get_context("fork")
    results = fork.SimpleQueue()
    workers = [fork.Process(target=lambda: results.put(takes(quota))) for _ in range(4)]
    for worker in workers:
        worker.start()
    counts = [results.get() for _ in workers]
    for worker in workers:
        worker.join()

    assert sum(counts) == 14


# ---------------------------------------------------------------------------------------- what Amazon's headers tell


def test_after_a_flush_the_first_answer_tells_what_is_left_of_the_hour(quota, clock, redis):
    """57 calls are forgotten; the three that Amazon has left must not become sixty."""
    redis.flushdb()
    quota.take("GetReport")
    quota.learned("GetReport", maximum=60.0, remaining=3.0, resets_at=START + timedelta(minutes=50))
    went = 0
    while clock.now() < START + timedelta(minutes=50):
        clock.wait(60)
        went += takes(quota)

    assert went == 3
    assert not_before(quota) == START + timedelta(minutes=50, seconds=LATE_SECONDS)


def test_headers_that_lag_behind_never_raise_what_is_left(quota, clock):
    """Recorded answers say "60 of 60" several times over: they must not give back calls that were made."""
    ends = START + timedelta(minutes=50)
    quota.take("GetReport")
    quota.learned("GetReport", maximum=60.0, remaining=2.0, resets_at=ends)
    clock.wait(120)
    quota.take("GetReport")
    quota.learned("GetReport", maximum=60.0, remaining=60.0, resets_at=ends)
    quota.take("GetReport")
    clock.wait(60)

    assert not_before(quota) == ends + timedelta(seconds=LATE_SECONDS)


def test_calls_of_another_program_are_seen_in_the_hour(quota, clock):
    """The same keys may serve a second program; what it used is gone for us too."""
    fill(quota, clock)
    ends = clock.now() + timedelta(minutes=30)
    quota.take("GetReport")
    quota.learned("GetReport", maximum=60.0, remaining=59.0, resets_at=ends)
    quota.take("GetReport")
    quota.learned("GetReport", maximum=60.0, remaining=5.0, resets_at=ends)

    assert takes(quota) == 5
    assert not_before(quota) == ends + timedelta(seconds=LATE_SECONDS)
    clock.moment = ends + timedelta(seconds=LATE_SECONDS)
    assert takes(quota) > 5


def test_a_smaller_hour_than_documented_is_kept(quota, clock):
    """Amazon's word on the wire is newer than its documents."""
    fill(quota, clock)
    quota.learned("GetReport", maximum=5.0, remaining=None, resets_at=None)

    assert takes(quota) == 5


@pytest.mark.parametrize(
    ("maximum", "remaining", "minutes"),
    [
        (None, None, None),
        (60.0, 0.0, -1),
        (60.0, 0.0, 66),
        (60.0, None, 30),
        (0.0, float("nan"), 30),
        (float("inf"), -1.0, 30),
    ],
)
def test_headers_without_sense_change_nothing(quota, clock, maximum, remaining, minutes):
    """A missing or absurd header must neither stop an account nor break a call that has succeeded."""
    fill(quota, clock)
    resets_at = None if minutes is None else clock.now() + timedelta(minutes=minutes)
    quota.learned("GetReport", maximum=maximum, remaining=remaining, resets_at=resets_at)

    assert takes(quota) == 14


# ----------------------------------------------------------------------------------------- refused all the same


def test_a_throttled_call_empties_the_bucket_for_everybody(redis, quota, clock):
    """Another program took the tokens: our other workers must not find that out one by one."""
    fill(quota, clock)
    until = quota.refused("GetReport", hourly=False, resets_at=None)
    other_worker = Quota(redis, clock).bound_to("acme:mws", RULES)

    assert until == clock.now() + timedelta(seconds=60)
    assert not_before(other_worker) == until
    clock.moment = until
    assert takes(other_worker) == 1


def test_a_used_up_hour_waits_for_its_end(quota, clock):
    """QuotaExceeded names the end of Amazon's hour: no call before it, however full our bucket is."""
    fill(quota, clock)
    ends = clock.now() + timedelta(minutes=25)

    assert quota.refused("GetReport", hourly=True, resets_at=ends) == ends
    assert not_before(quota) == ends
    clock.moment = ends
    quota.take("GetReport")


@pytest.mark.parametrize("minutes", [None, -5, 0])
def test_a_used_up_hour_without_an_end_to_come_waits_until_the_end_told_before(quota, clock, minutes):
    """The refusal may lack the header, an answer before it had it."""
    quota.take("GetReport")
    ends = clock.now() + timedelta(minutes=25)
    quota.learned("GetReport", maximum=60.0, remaining=1.0, resets_at=ends)
    resets_at = None if minutes is None else clock.now() + timedelta(minutes=minutes)

    assert quota.refused("GetReport", hourly=True, resets_at=resets_at) == ends


@pytest.mark.parametrize("minutes", [None, -5, 24 * 60])
def test_a_used_up_hour_never_waits_longer_than_an_hour(quota, clock, minutes):
    """No hour of Amazon's ends later than 60 minutes from now, whatever a header says."""
    resets_at = None if minutes is None else clock.now() + timedelta(minutes=minutes)

    assert quota.refused("GetReport", hourly=True, resets_at=resets_at) == clock.now() + timedelta(minutes=60)


def test_a_late_throttle_does_not_shorten_the_wait_for_the_hour(quota, clock):
    """Answers to calls under way arrive after the refusal: the longer wait holds."""
    ends = clock.now() + timedelta(minutes=25)
    quota.refused("GetReport", hourly=True, resets_at=ends)

    assert quota.refused("GetReport", hourly=False, resets_at=None) == ends
    quota.learned("GetReport", maximum=60.0, remaining=60.0, resets_at=ends)
    assert not_before(quota) == ends


# ------------------------------------------------------------------------------------------ a rate that is told


@pytest.mark.parametrize("restores", [61, 180, 600])
def test_a_lower_rate_than_documented_is_kept_once_it_is_told(quota, clock, restores):
    """Amazon gives some sellers less, and tells it in four digits: at exactly what is told, a call now and then would
    be too early."""
    amazon = EmulatedQuotas()
    amazon.change(["acme"], "GetReport", Limit(1, restores))
    quota.take("GetReport")
    amazon.take("acme", "GetReport", clock.now())
    quota.learned_rate("GetReport", per_second=round(1 / restores, 4))
    for _ in range(50):
        clock.moment = not_before(quota)
        quota.take("GetReport")
        assert amazon.take("acme", "GetReport", clock.now()) is None
    assert clock.now() - START < timedelta(seconds=50 * restores * 1.05)


def test_a_higher_rate_than_documented_is_used_once_it_is_told(redis, clock):
    """And some more: waiting without need would make every report later."""
    quota = Quota(redis, clock).bound_to("acme:sp-api", {"GetReport": QuotaRule(10, 45, None)})
    quota.take("GetReport")
    quota.learned_rate("GetReport", per_second=1)
    clock.wait(2)
    assert takes(quota) == 1
    clock.wait(3600)
    assert takes(quota) == 5, "half of its bucket is kept back, as of any that Amazon fills so fast"


def test_the_rate_that_was_told_last_holds(quota, clock):
    """It may change, and change back."""
    quota.take("GetReport")
    quota.learned_rate("GetReport", per_second=1 / 180)
    quota.learned_rate("GetReport", per_second=1 / 60)
    clock.wait(60)
    assert takes(quota) == 1


@pytest.mark.parametrize("per_second", [1e-9, 1e9])
def test_a_rate_far_from_the_documented_one_is_not_believed(quota, clock, per_second):
    """A slip in a header must neither stop an account for years nor let it call without end."""
    quota.take("GetReport")
    quota.learned_rate("GetReport", per_second=per_second)
    clock.wait(60)
    assert takes(quota) == 1


def test_a_rate_that_was_told_does_not_outweigh_a_refusal(quota, clock):
    """It is best effort (SP-API documentation): what is refused all the same stops everybody."""
    quota.take("GetReport")
    clock.wait(600)
    quota.learned_rate("GetReport", per_second=1)
    until = quota.refused("GetReport", hourly=False, resets_at=None)
    assert until > clock.now()
    assert not_before(quota) == until


# -------------------------------------------------------------------------------------- clocks, flushes, outages


def test_two_clocks_a_little_apart_gain_no_tokens(quota, clock):
    """Workers' ideas of the time differ by a little; asking by turns must not refill a bucket twice."""
    quota.take("GetReport")
    for _ in range(200):
        clock.wait(0.3)
        assert not takes_one(quota)
        clock.wait(-0.3)
        assert not takes_one(quota)
    assert not_before(quota) == START + timedelta(seconds=60)


@pytest.mark.parametrize("back", [timedelta(seconds=30), timedelta(minutes=6), timedelta(days=400)])
def test_a_clock_set_back_locks_nobody_out(quota, clock, back):
    """Neither a full hour nor a refusal that lies far ahead may hold an account until the clock has caught up."""
    fill(quota, clock)
    for _ in range(70):
        takes(quota)
        clock.wait(30)
    quota.refused("GetReport", hourly=True, resets_at=None)
    clock.moment -= back

    waited_until = clock.now() + timedelta(minutes=61)
    while clock.now() < waited_until and not takes_one(quota):
        clock.wait(30)
    assert clock.now() < waited_until


def test_a_jump_ahead_fills_the_bucket_to_its_size_and_no_further(quota, clock):
    """The demo's clock jumps by hours."""
    quota.take("GetReport")
    clock.wait(90 * 24 * 3600)

    assert takes(quota) == 14


def test_redis_keeps_no_bucket_for_ever(quota, redis):
    """10,000 accounts that are gone must not stay in its memory."""
    quota.take("GetReport")
    quota.learned("GetReport", maximum=60.0, remaining=59.0, resets_at=START + timedelta(minutes=50))
    quota.refused("UpdateReportAcknowledgements", hourly=False, resets_at=None)

    keys = redis.keys("*")
    assert sorted(keys) == [
        b"od:quota:{acme:mws}:GetReport",
        b"od:quota:{acme:mws}:GetReport:hour",
        b"od:quota:{acme:mws}:UpdateReportAcknowledgements",
    ]
    assert all(0 < redis.ttl(key) <= FORGET_SECONDS for key in keys)


def test_without_redis_no_call_goes(clock):
    """A call that nobody has counted could be the one too many. The error is one line without the password."""
    quota = Quota(connect("redis://:hidden-password@127.0.0.1:1/3"), clock).bound_to("acme:mws", RULES)

    with pytest.raises(DependencyDown) as caught:
        quota.take("GetReport")

    assert str(caught.value).startswith("Redis at 127.0.0.1:1/3 is needed for the quota of GetReport: ")
    assert "hidden-password" not in str(caught.value)


def test_scripts_that_redis_forgot_are_sent_again(quota, redis, clock):
    """A restarted Redis knows no scripts."""
    quota.take("GetReport")
    redis.script_flush()
    clock.wait(60)

    quota.take("GetReport")
