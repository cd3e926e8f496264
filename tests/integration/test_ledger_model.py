"""The ledger on a real Postgres against a model of it: several workers, jumping clocks, and whatever order comes."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from orderdrain.errors import LeaseLost
from orderdrain.policy import ACKNOWLEDGE_AT_ONCE, MAX_ATTEMPTS
from orderdrain.reports import STEP_FROM, ReportKey, State
from orderdrain.turns import check_turn
from tests.building import ACME, API, LEASE, Books, add_account, at_once, download, enter, parse

LISTED, DOWNLOADED, PARSED, ACKNOWLEDGED, QUARANTINED = State
WORKERS = ("worker:1", "worker:2", "worker:3")
SLOTS = 2
IDS = ("1", "2", "3")
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
#: No deadline may lie so near to a step of the machine that the model cannot say on which side of it the step is.
NEAR = timedelta(seconds=3)


#: From Amazon to its end: the least that a run must have walked.
PATH = {(None, "listed"), ("listed", "downloaded"), ("downloaded", "parsed"), ("parsed", "acknowledged")}


def test_the_ledger_does_what_its_model_does(database_url):
    """Two workers, a late commit and a sweep can meet in more ways than anybody writes down one by one."""
    assert walked_by(database_url, settings(max_examples=50, stateful_step_count=40)) >= PATH


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_ledger_does_what_its_model_does_for_longer(database_url):
    """At night: so many stories that each arrow of the page is walked."""
    assert walked_by(database_url, settings(max_examples=800, stateful_step_count=60)) == ARROWS


def walked_by(database_url, how):
    """Runs the machine; returns the arrows that reports have walked in it."""
    workers = [Books.open(database_url, account_slots=SLOTS) for _ in WORKERS]
    walked = set()
    try:
        run_state_machine_as_test(
            lambda: TheLedger(workers, walked),
            settings=settings(how, deadline=None, suppress_health_check=list(HealthCheck)),
        )
    finally:
        for books in workers:
            books.db.close()
    return walked


# --------------------------------------------------------------------------------------------------- what is allowed


def arrows():
    """The arrows of the picture in docs/states.md, as (from, to); what Amazon has comes from None."""
    page = (Path(__file__).resolve().parents[2] / "docs/states.md").read_text("utf-8")
    path, *crossing = re.search(r"```\n[^\n]*\n( +Amazon .*?)┌", page, re.DOTALL)[1].splitlines()
    words = [(found[0], range(*found.span())) for found in re.finditer(r"[A-Za-z]+", path)]
    found = set()
    for (left, before), (right, after) in itertools.pairwise(words):
        drawn = path[before.stop : after.start]
        found |= {(left, right)} if ">" in drawn else set()
        found |= {(right, left)} if "<" in drawn else set()
    for line in crossing:
        for head in re.finditer(r"[v^]", line):
            (state,) = [word for word, span in words if head.start() in span]
            found.add((state, "quarantined") if head[0] == "v" else ("quarantined", state))
    return {(None if left == "Amazon" else left, right) for left, right in found}


ARROWS = arrows()


def test_the_picture_of_the_states_says_what_its_arrows_are():
    """The model takes them from the page: read wrongly, it would allow what it should forbid."""
    assert {left for left, _ in ARROWS} == {None, "listed", "downloaded", "parsed", "quarantined"}
    assert {right for left, right in ARROWS if left is None} == {"listed"}
    assert {left for left, right in ARROWS if right == "acknowledged"} == {"parsed"}
    assert {left for left, right in ARROWS if right == "quarantined"} == {"listed", "downloaded", "parsed"}


# -------------------------------------------------------------------------------------------------------- the model


@dataclass
class Expected:
    """What a report must look like. All that the ledger promises of one report is in these few lines."""

    state: State = LISTED
    came_from: State | None = None
    attempts: int = 0
    due: datetime = LONG_AGO
    sent: datetime = LONG_AGO
    fence: int = 0
    owner: str | None = None
    lease_until: datetime = LONG_AGO

    def in_flight(self, now):
        return self.state in (LISTED, DOWNLOADED) and (self.lease_until > now or self.sent > now - LEASE)

    def leased(self, owner, now):
        self.fence, self.attempts, self.owner, self.lease_until = self.fence + 1, self.attempts + 1, owner, now + LEASE
        self.sent = LONG_AGO
        if self.attempts > MAX_ATTEMPTS:
            self.moved(QUARANTINED)

    def told(self, owner, now):
        self.attempts, self.owner, self.lease_until, self.sent = self.attempts + 1, owner, now + LEASE, LONG_AGO

    def let_go(self):
        self.owner, self.lease_until = None, LONG_AGO

    def waits(self, due, *, given_back):
        self.due, self.attempts = due, self.attempts - given_back
        self.let_go()

    def moved(self, state, sent=LONG_AGO):
        self.came_from = self.state if state is QUARANTINED else None
        self.state, self.sent = state, sent
        if state is not QUARANTINED:
            self.attempts, self.due = 0, LONG_AGO
        self.let_go()


def replayed(history):
    """State and attempts as the history alone tells them; fails where a line does not follow from those before."""
    state, attempts = None, 0
    for line in history:
        assert line.from_state == state, f"{line.event} from {line.from_state}, but it was {state}"
        assert line.from_state == line.to_state or (line.from_state, line.to_state) in ARROWS
        if line.attempt is not None:
            assert line.attempt == attempts + 1, f"{line.event} of attempt {line.attempt} after attempt {attempts}"
        if line.event == "quarantined":
            attempts = line.attempt
        elif line.to_state != state:
            attempts = 0
        elif line.event in {"failed", "lease ran out"}:
            attempts += 1
        state = line.to_state
    return state, attempts


# ------------------------------------------------------------------------------------------------------ the machine

workers = st.integers(0, len(WORKERS) - 1)
places = st.integers(0, 99)
#: Of what was given out, mostly the last, and at times one of long ago.
lately = st.sampled_from([0, 0, 0, 0, 1, 1, 2, 3, 5, 8, 13])
#: How a step may end.
ENDS = ("advances", "snoozes", "fails", "gives back", "gives up", "downloads again")
ends = st.sampled_from((*ENDS, "advances", "gives up", "fails"))


class TheLedger(RuleBasedStateMachine):
    """Each rule does one thing to the real ledger and to the model; after each, both are compared."""

    def __init__(self, workers, walked):
        super().__init__()
        self.workers, self.walked = workers, walked
        self.books = workers[0]
        self.books.db.query("TRUNCATE accounts, applications CASCADE")
        self.books.clock.set(datetime(2026, 11, 24, 12, tzinfo=UTC))
        add_account(self.books)
        self.expected: dict[ReportKey, Expected] = {}
        #: Every lease that was ever given out: a worker may come back late with any of them.
        self.leases = []
        #: Acknowledgements that are under way, or whose worker was thought dead: (books, turn, ids).
        self.tellings = []
        self.turn, self.turn_until = None, LONG_AGO
        self.seen: dict[str, State] = {}

    # ------------------------------------------------------------------------------------------------ the world

    @initialize(ids=st.sets(st.sampled_from(IDS), min_size=1))
    def a_first_listing(self, ids):
        self.a_listing(ids)

    @rule(ids=st.sets(st.sampled_from(IDS), min_size=1))
    def a_listing(self, ids):
        for key in enter(self.books, *sorted(ids)):
            self.expected.setdefault(key, Expected())

    @rule(span=st.sampled_from([timedelta(seconds=50), LEASE + timedelta(seconds=1), timedelta(hours=1)]))
    def time_passes(self, span):
        self.books.clock.advance(span)

    @rule()
    def redis_is_flushed(self):
        assert self.books.dispatch.broker_forgot("a word of before")
        for report in self.expected.values():
            report.sent = LONG_AGO if report.state in (LISTED, DOWNLOADED) else report.sent

    # ----------------------------------------------------------------------------------------------- the workers

    @rule(worker=workers, place=places, state=st.sampled_from([LISTED, DOWNLOADED]))
    def a_message_comes(self, worker, place, state):
        """Any message, in time, late or doubled: the row decides."""
        key, _ = self.one(place)
        self.lease(key, state, worker, at=self.now())

    @rule(place=places)
    def two_workers_and_the_sweep_meet(self, place):
        """All at once, each over its own connection: one gets the report, and a death is told once."""
        key, report = self.one(place)
        if report.state not in (LISTED, DOWNLOADED) or report.attempts >= MAX_ATTEMPTS:
            return
        now = self.now()
        over, may = self.run_out(now), self.may_be_leased(report, report.state, now)
        first, second, sweep = self.workers
        *leases, taken_back = at_once(
            alone(first, lambda: first.ledger.lease(key, report.state, WORKERS[0])),
            alone(second, lambda: second.ledger.lease(key, report.state, WORKERS[1])),
            alone(sweep, sweep.dispatch.take_back),
        )
        assert over - {key} <= set(taken_back) <= over
        for other in over:
            self.expected[other].let_go()
        report.sent = LONG_AGO
        got = [lease for lease in leases if lease]
        assert len(got) == may
        for lease in got:
            report.leased(lease.owner, now)
            self.leases.append((first if lease.owner == WORKERS[0] else second, lease))

    @rule(worker=workers, places=st.lists(places, min_size=1, max_size=4))
    def steps_go_well(self, worker, places):
        """A few reports, or one of them a few times, moved on without trouble: else few stories would get far."""
        for place in places:
            key, report = self.one(place)
            if report.state is PARSED:
                self.begin_to_acknowledge(worker)
                if self.tellings:
                    self.amazon_answers(0, "named")
            elif report.state in (LISTED, DOWNLOADED) and self.lease(key, report.state, worker, at=self.now()):
                self.end(*self.leases[-1], "advances")
            self.the_ledger_agrees()

    @precondition(lambda self: self.leases)
    @rule(place=lately, how=ends)
    def a_worker_ends(self, place, how):
        """Any worker that ever had a lease: in time, late, or twice."""
        self.end(*self.leases[-1 - place % len(self.leases)], how)

    @precondition(lambda self: self.leases)
    @rule(place=lately, taker=workers)
    def a_worker_ends_after_another_took_over(self, place, taker):
        """The worst moment to come late, however it ends: another is at the same step of the same report."""
        late, lease = self.leases[-1 - place % len(self.leases)]
        if self.holds(lease) and lease.report.attempts < MAX_ATTEMPTS:
            self.books.clock.advance(LEASE + NEAR)
            assert self.lease(lease.key, lease.report.state, taker, at=self.now())
            for how in ENDS:
                self.end(late, lease, how)

    @precondition(lambda self: self.leases)
    @rule(place=lately)
    def a_worker_renews(self, place):
        books, lease = self.leases[-1 - place % len(self.leases)]
        report, now = self.expected[lease.key], self.now()
        in_time = self.holds(lease) and report.lease_until > now
        assert books.ledger.renew(lease) == in_time
        if in_time:
            report.lease_until = now + LEASE

    # ------------------------------------------------------------------------------------------ sweep and person

    @rule()
    def take_back(self):
        over = self.run_out(self.now())
        assert set(self.books.dispatch.take_back()) == over
        for key in over:
            self.expected[key].let_go()

    @rule(lost=st.booleans())
    def send_due(self, lost):
        """Two sweeps at once; or the broker does not take the messages."""
        now = self.now()
        in_flight = sum(report.in_flight(now) for report in self.expected.values())
        due = {
            key: STEP_FROM[report.state]
            for key, report in self.expected.items()
            if report.state in (LISTED, DOWNLOADED) and report.due <= now and not report.in_flight(now)
        }
        sweeps = at_once(*(alone(books, books.dispatch.send_due) for books in self.workers[:2]))
        sent = list(itertools.chain(*sweeps))
        assert len(sent) == max(0, min(SLOTS - in_flight, len(due)))
        assert set(sent) <= set(due.items())
        assert len(dict(sent)) == len(sent)
        for key, _ in sent:
            self.expected[key].sent = LONG_AGO if lost else now
        if lost:
            self.books.dispatch.not_sent([key for key, _ in sent])

    @precondition(lambda self: any(report.state is QUARANTINED for report in self.expected.values()))
    @rule(place=places)
    def a_person_requeues(self, place):
        quarantined = [key for key, report in self.expected.items() if report.state is QUARANTINED]
        key = quarantined[place % len(quarantined)]
        self.books.ledger.requeue(key, note="mended")
        self.expected[key].moved(self.expected[key].came_from)

    # ---------------------------------------------------------------------------------------------- acknowledging

    @rule(worker=workers)
    def begin_to_acknowledge(self, worker):
        books, now = self.workers[worker], self.now()
        turn = books.turns.take_acknowledging(ACME, API, WORKERS[worker])
        assert (turn is not None) == (self.turn_until <= now)
        if turn is None:
            return
        self.turn, self.turn_until = turn.fence, now + LEASE
        may = {key.report_id: r for key, r in self.expected.items() if r.state is PARSED and r.due <= now}
        most = max((report.attempts for report in may.values()), default=0)
        fits = max(1, ACKNOWLEDGE_AT_ONCE >> max(most - 1, 0))
        batch = books.acknowledgements.begin(turn)
        used_up = [row.report_id for row in self.rows() if row.state == QUARANTINED and row.report_id in may]
        begun = [may[report_id] for report_id in batch + used_up]
        assert {report.attempts for report in begun} <= {most}
        assert len(begun) == min(fits, sum(report.attempts == most for report in may.values()))
        for report in begun:
            report.told(WORKERS[worker], now)
        for report_id in used_up:
            assert may[report_id].attempts > MAX_ATTEMPTS
            may[report_id].moved(QUARANTINED)
        self.tellings.append((books, turn, batch))

    @precondition(lambda self: self.tellings)
    @rule(place=lately, answer=st.sampled_from(["named", "waits", "no answer", "refused"]))
    def amazon_answers(self, place, answer):
        """To the worker whose turn it is, or to one that was away for too long."""
        books, turn, ids = self.tellings.pop(-1 - place % len(self.tellings))
        late = turn.fence != self.turn
        before = self.everything()
        try:
            with books.db.transaction() as cursor:
                check_turn(cursor, turn)
                told = (cursor, turn, ids)
                if answer == "named":
                    books.acknowledgements.done(*told, detail="in a call", request_id=None)
                elif answer == "refused":
                    books.acknowledgements.refused(*told, "refused", None)
                else:
                    books.acknowledgements.not_done(*told, "503", waits=answer == "waits", request_id=None)
        except LeaseLost:
            assert late
            assert self.everything() == before
            return
        assert not late
        books.turns.release(turn)
        self.turn, self.turn_until = None, LONG_AGO
        for report in (self.expected[ReportKey(ACME, API, report_id)] for report_id in ids):
            if answer == "named":
                report.moved(ACKNOWLEDGED)
            elif answer == "refused" or (answer == "no answer" and report.attempts >= MAX_ATTEMPTS):
                report.moved(QUARANTINED)
            else:
                report.waits(report.due, given_back=answer == "waits")
        self.learn_backoffs(ids if answer == "no answer" else ())

    # ------------------------------------------------------------------------------------------------- compared

    @invariant()
    def the_ledger_agrees(self):
        lines = self.books.db.query("SELECT * FROM report_history ORDER BY history_id")
        rows = self.rows()
        assert {row.report_id for row in rows} == {key.report_id for key in self.expected}
        for row in rows:
            want = self.expected[ReportKey(row.account, row.api, row.report_id)]
            self.row_is_as_expected(row, want)
            self.state_only_moved_along_an_arrow(row)
            self.at_most_one_lease_is_live(row)
            self.history_explains([line for line in lines if line.report_id == row.report_id], want)

    def row_is_as_expected(self, row, want):
        told = (row.state, row.attempts, row.fence, row.lease_owner, row.quarantined_from)
        assert told == (want.state, want.attempts, want.fence, want.owner, want.came_from)
        assert abs((row.sent_at or LONG_AGO) - want.sent) < NEAR
        assert abs((row.lease_until or LONG_AGO) - want.lease_until) < NEAR

    def state_only_moved_along_an_arrow(self, row):
        before = self.seen.get(row.report_id)
        if row.state != before:
            assert (before, row.state) in ARROWS
            self.walked.add((before, row.state))
        self.seen[row.report_id] = row.state

    def at_most_one_lease_is_live(self, row):
        """Of all that were given out for a report, only the one with its fence can still change it."""
        fences = [lease.fence for _, lease in self.leases if lease.key.report_id == row.report_id]
        assert len(set(fences)) == len(fences)
        assert fences.count(row.fence) == 1 or row.lease_owner is None

    def history_explains(self, lines, want):
        state, attempts = replayed(lines)
        assert state == want.state
        assert attempts + (want.owner is not None) == want.attempts

    # -------------------------------------------------------------------------------------------------- helpers

    def rows(self):
        return self.books.db.query("SELECT * FROM reports")

    def everything(self):
        """What a late worker must not change."""
        return self.rows(), self.books.db.query("SELECT * FROM report_history"), self.books.accounts.table()

    def one(self, place):
        keys = list(self.expected)
        key = keys[place % len(keys)]
        return key, self.expected[key]

    def now(self):
        """The application's time, at which every deadline is clearly past or clearly to come."""
        while True:
            now = self.books.now()
            reports = self.expected.values()
            deadlines = [
                self.turn_until,
                *(moment for r in reports for moment in (r.due, r.lease_until, r.sent + LEASE)),
            ]
            if not any(abs(deadline - now) < NEAR for deadline in deadlines):
                return now
            self.books.clock.advance(2 * NEAR)

    def holds(self, lease):
        report = self.expected[lease.key]
        return report.owner is not None and (report.fence, report.state) == (lease.fence, lease.report.state)

    def run_out(self, now):
        """Of reports, not of those that are being acknowledged: they last as long as their connection's turn."""
        path = (LISTED, DOWNLOADED)
        return {key for key, r in self.expected.items() if r.state in path and r.owner and r.lease_until <= now}

    def may_be_leased(self, report, state, now):
        return report.state is state and report.due <= now and report.lease_until <= now

    def lease(self, key, state, worker, *, at):
        report, books = self.expected[key], self.workers[worker]
        may = self.may_be_leased(report, state, at)
        taken = books.ledger.lease(key, state, WORKERS[worker])
        if may:
            report.leased(WORKERS[worker], at)
        elif report.state is state:
            report.sent = LONG_AGO
        assert (taken is not None) == (may and report.state is state)
        if taken:
            assert (taken.report.attempts, taken.fence) == (report.attempts, report.fence)
            self.leases.append((books, taken))
        return taken

    def end(self, books, lease, how):
        report, now = self.expected[lease.key], self.now()
        if how == "downloads again" and lease.report.state is LISTED:
            return
        lost = not self.holds(lease)
        before, until = self.everything(), now + timedelta(minutes=1)
        try:
            _ends(books, lease, how, until)
        except LeaseLost:
            assert lost
            assert self.everything() == before
            return
        assert not lost, "a worker that lost its lease changed something"
        if how == "advances":
            report.moved(*((DOWNLOADED, now) if lease.report.state is LISTED else (PARSED,)))
        elif how == "downloads again":
            report.moved(LISTED)
        elif how == "gives up" or (how == "fails" and report.attempts >= MAX_ATTEMPTS):
            report.moved(QUARANTINED)
        else:
            report.waits(until if how == "snoozes" else LONG_AGO, given_back=how != "fails")
        self.learn_backoffs([lease.key.report_id] if how == "fails" else ())

    def learn_backoffs(self, ids):
        """The wait after a failure is drawn by lot: the ledger says how long, the model that there is one."""
        for report_id in ids:
            key = ReportKey(ACME, API, report_id)
            if self.expected[key].state is not QUARANTINED:
                self.expected[key].due = self.books.row(key).next_attempt_at
                assert timedelta(seconds=2) < self.expected[key].due - self.books.now() <= timedelta(hours=1)


def _ends(books, lease, how, until):
    if how == "advances":
        (download if lease.report.state is LISTED else parse)(books, lease)
    elif how == "downloads again":
        books.ledger.download_again(lease, "its bytes are not in the archive")
    elif how == "snoozes":
        books.ledger.snooze(lease, "throttled", until)
    elif how == "fails":
        books.ledger.fail(lease, "503")
    elif how == "gives back":
        books.ledger.give_back(lease, "stopped")
    else:
        books.ledger.quarantine(lease, "HTML")


def alone(books, call):
    """`call` for a thread of its own: its connection ends with it."""

    def run():
        try:
            return call()
        finally:
            books.db.close()

    return run
