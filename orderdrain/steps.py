"""How a step begins and ends, whatever it does: lock, lease, work, and what the errors of the work mean.

    with leased(services, key, State.LISTED) as (lease, connection):   # a lock, then a committed row: attempt counted
        ...                                                            # it ends by advancing the row under the fence
                                                                       # an error: snoozed, failed, or quarantined

What is raised leaves with one sentence for a person: what happened to which thing, the evidence, what comes next.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from pathlib import Path
from traceback import extract_tb
from typing import TYPE_CHECKING

from orderdrain.errors import (
    DependencyDown,
    GiveUp,
    LeaseLost,
    NothingToDo,
    OperatorNeeded,
    OrderdrainError,
    RetryLater,
    Snooze,
    Throttled,
)
from orderdrain.policy import DEPENDENCY_WAIT, LAST_BACKOFF, MAX_ATTEMPTS, PROGRESS_SECONDS, backoff
from orderdrain.reports import STEP_FROM, ReportKey, State
from orderdrain.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from orderdrain.accounts import Connection
    from orderdrain.ledger import Lease
    from orderdrain.locks import Lock
    from orderdrain.progress import Progress
    from orderdrain.replays import Replay
    from orderdrain.requests import Request
    from orderdrain.services import Services
    from orderdrain.turns import Turn

log = logger(__name__)


@contextmanager
def leased(s: Services, key: ReportKey, state: State) -> Iterator[tuple[Lease, Connection]]:
    """The right to move one report on from `state`, and its connection. Raises NothingToDo when there is nothing to do
    (now)."""
    step = STEP_FROM[state]
    with held(s.locks.report(key.account, key.api, key.report_id, step), f"{key}: another worker is at it") as lock:
        s.clock.refresh()
        lease = s.ledger.lease(key, state, s.worker)
        if lease is None:
            raise NothingToDo(_why_not(s, key, state))
        lease.progress.listener = s.tell
        connection = None
        try:
            connection = s.accounts.connection(key.account, key.api)
            with renewed(s, lambda: s.ledger.renew(lease), lambda: lock.extend() or True, progress=lease.progress):
                yield lease, connection
        except BaseException as error:  # noqa: BLE001 - raised again, with what it means
            # From None: what it came from may quote a buyer's data, and whoever prints a stack trace prints that too.
            raise _settled(s, lease, connection, error) from None


@contextmanager
def leased_replay(s: Services, key: ReportKey, *, dry_run: bool) -> Iterator[Replay]:
    """The right to parse an ended report again. What goes wrong changes nothing: its rows and its state stay."""
    # The lock of its parse: a report that is requeued meanwhile is not parsed by two.
    lock = s.locks.report(key.account, key.api, key.report_id, "parse")
    with held(lock, f"{key}: another worker is at it") as lock:
        s.clock.refresh()
        replay = s.replays.begin(key, s.worker, dry_run=dry_run)
        replay.progress.listener = s.tell
        try:
            with renewed(s, lambda: s.replays.renew(replay), lambda: lock.extend() or True, progress=replay.progress):
                yield replay
        except LeaseLost:
            raise
        except GiveUp as error:
            if dry_run:
                s.replays.end(replay)
            else:
                s.replays.refused(replay, error.reason)
            error.reason = f"{key}: not replayed: {error.reason}. It stays {replay.report.state}, its rows as they were"
            raise
        except BaseException as error:
            s.replays.end(replay)
            if isinstance(error, OrderdrainError) or not isinstance(error, Exception):
                raise
            # From None, as above: what it came from may quote a buyer's data.
            raise RetryLater(f"{key}: not replayed: {_failure(s, error).reason}; nothing was changed") from None


def each_connection(s: Services, account: str, work: Callable[[Connection], str]) -> str:
    """Does the work for each connection; what one of them raises is raised once the others have had their turn, unless
    it says no more than that there was nothing to do for it."""
    said, raised = [], []
    for connection in s.accounts.connections(account):
        try:
            said.append(work(connection))
        except OrderdrainError as error:
            raised.append(error)
    raised.sort(key=lambda error: isinstance(error, NothingToDo))
    if raised and not (said and isinstance(raised[0], NothingToDo)):
        raise raised[0]
    return "; ".join(said)


@contextmanager
def listing_turn(s: Services, connection: Connection, *, full: bool, since: datetime | None) -> Iterator[Turn]:
    """The right to list a connection. Where quota or Amazon makes it wait, the ledger says from where it goes on."""
    account = connection.account.account
    with held(
        s.locks.listing(account), f"account {account}: is being listed or acknowledged by another worker"
    ) as lock:
        s.clock.refresh()
        turn = s.turns.take_listing(connection, s.worker, full=full, since=since)
        if turn is None:
            raise NothingToDo(
                f"account {account}: {connection.api} waits, is paused, or another worker lists or acknowledges it"
            )
        try:
            with renewed(s, lambda: s.turns.renew(turn), lambda: lock.extend() or True):
                yield turn
        except LeaseLost:
            raise
        except Snooze as error:
            s.turns.wait_to_list(turn, error.until, next_token=turn.next_token, failed=False)
            error.reason = f"account {account}: listing waits until {_clock(error.until)}: {error.reason}"
            raise
        except OperatorNeeded as error:
            s.turns.release(turn)
            error.reason = pause(s, connection, error)
            raise
        except DependencyDown:
            s.turns.release(turn)
            raise
        except Exception as error:  # noqa: BLE001 - raised again, as what it means
            failure = _failure(s, error)
            until = s.clock.now() + backoff(turn.attempts)
            s.turns.wait_to_list(turn, until, next_token=None, failed=True)
            failure.reason = f"account {account}: listing failed: {failure.reason}; next try {_clock(until)}"
            raise failure from None
        except BaseException:
            s.turns.release(turn)
            raise


@contextmanager
def acknowledging_turn(s: Services, connection: Connection) -> Iterator[Turn]:
    """The right to acknowledge a connection's reports, never while it is listed."""
    account = connection.account.account
    busy = f"account {account}: is being listed or acknowledged by another worker"
    with held(s.locks.listing(account), busy) as lock:
        s.clock.refresh()
        turn = s.turns.take_acknowledging(account, connection.api, s.worker)
        if turn is None:
            raise NothingToDo(f"account {account}: nothing may be acknowledged now (listed, paused or out of quota)")
        try:
            with renewed(s, lambda: s.turns.renew(turn), lambda: lock.extend() or True):
                yield turn
        except Snooze as error:
            s.turns.release(turn, acknowledge_after=error.until)
            error.reason = f"account {account}: acknowledging waits until {_clock(error.until)}: {error.reason}"
            raise
        except OperatorNeeded as error:
            s.turns.release(turn)
            error.reason = pause(s, connection, error)
            raise
        except BaseException:
            s.turns.release(turn)
            raise
        s.turns.release(turn)


@contextmanager
def comparing_schedules(s: Services, connection: Connection) -> Iterator[None]:
    """The daily comparison of one connection's report schedules. What it could not do today it tries again soon."""
    account = connection.account.account
    s.clock.refresh()
    if s.accounts.is_paused(account, connection.api):
        raise NothingToDo(f"account {account}: {connection.api} is paused, its report schedules are not compared")
    try:
        yield
    except OperatorNeeded as error:
        error.reason = pause(s, connection, error)
        raise
    except (Snooze, RetryLater, GiveUp) as error:
        until = error.until if isinstance(error, Snooze) else s.clock.now() + LAST_BACKOFF
        s.accounts.wait_to_schedule(account, until)
        error.reason = f"account {account}: report schedules not compared: {error.reason}; next try {_clock(until)}"
        raise


@contextmanager
def leased_request(s: Services, account: str, request_key: str) -> Iterator[tuple[Request, Connection]]:
    """The right to move one requested report on, and its connection. Raises NothingToDo when there is nothing to do
    (now)."""
    s.clock.refresh()
    request = s.requests.lease(account, request_key, s.worker)
    if request is None:
        raise NothingToDo(f"request {request_key} ({account}): nothing to do now")
    try:
        connection = s.accounts.connection(account, request.api)
        with renewed(s, lambda: s.requests.renew(request)):
            yield request, connection
    except LeaseLost:
        raise
    except Snooze as error:
        s.requests.wait(request, error.reason, error.until)
        error.reason = f"{request}: waits until {_clock(error.until)}: {error.reason}; attempt not counted"
        raise
    except DependencyDown as error:
        # Postgres may have gone away between Amazon's answer and its commit.
        s.requests.wait(request, error.reason, s.clock.now() + DEPENDENCY_WAIT, asked=True)
        raise
    except OperatorNeeded as error:
        s.requests.wait(request, error.reason, s.clock.now())
        error.reason = f"{request}: waits. {pause(s, connection, error)}"
        raise
    except GiveUp as error:
        s.requests.refuse(request, error.reason)
        error.reason = f"{request}: refused: {error.reason}"
        raise
    except Exception as error:  # noqa: BLE001 - raised again, as what it means
        failure = _failure(s, error)
        s.requests.fail(request, failure.reason)
        failure.reason = f"{request}: attempt {request.attempts} of {MAX_ATTEMPTS} failed: {failure.reason}"
        raise failure from None


@contextmanager
def held(lock: Lock, otherwise: str) -> Iterator[Lock]:
    """A Redis lock: it keeps two workers from doing the same work at once. Correctness rests on the lease alone."""
    if not lock.acquire():
        raise NothingToDo(otherwise)
    try:
        yield lock
    finally:
        lock.release()


@contextmanager
def renewed(s: Services, *renewals: Callable[[], bool], progress: Progress | None = None) -> Iterator[None]:
    """Keeps what was taken for as long as the work lasts: from another thread, over connections of its own. Renewing
    also writes down how far the work is, so it comes sooner where that has moved.

    In the order given: a lease comes before its Redis lock, since it must last through an outage of Redis.
    """
    done = threading.Event()
    every = s.settings.lease_seconds / 4

    def keep() -> None:
        renewed_at = time.monotonic()
        while not done.wait(min(every, PROGRESS_SECONDS) if progress else every):
            if time.monotonic() - renewed_at < every and not (progress and progress.moved()):
                continue
            renewed_at = time.monotonic()
            try:
                if not all(renew() for renew in renewals):
                    return
            except DependencyDown as error:
                # Four renewals may fail before the lease runs out; the commit that ends the step checks the fence.
                log.warning("not renewed", reason=str(error))
        s.db.close()

    thread = threading.Thread(target=keep, name="renewal", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def pause(s: Services, connection: Connection, error: OperatorNeeded) -> str:
    """Pauses what a person must mend, it alone, and returns the sentence that says how. Whoever is first tells it.

    A refusal may come after the person was here: then nothing pauses, and the next try shows whether it is mended.
    """
    account = connection.account.account
    if error.scope == "application":
        paused = s.accounts.pause_application(connection, str(error))
        sentence = (
            f"application {connection.application}: paused: {error.reason}."
            f" Store the right keys: orderdrain application add {connection.application}"
        )
    else:
        paused = s.accounts.pause_connection(connection, str(error))
        sentence = f"account {account}: paused: {error.reason}. When it is mended: orderdrain account resume {account}"
    if not paused and not s.accounts.is_paused(account, connection.api):
        return f"account {account}: was stored anew or resumed meanwhile, and is tried again: {error.reason}"
    if paused:
        log.error("paused", account=account, api=connection.api, scope=error.scope, reason=str(error))
    return sentence


def _settled(s: Services, lease: Lease, connection: Connection | None, error: BaseException) -> BaseException:
    """Writes down what an error of the work means for its report; returns what to raise, with the whole sentence."""
    key, step, state = lease.key, STEP_FROM[lease.report.state], lease.report.state
    match error:
        case LeaseLost() | NothingToDo():
            pass
        case Snooze():
            if isinstance(error, Throttled) and state is State.LISTED:
                s.accounts.wait_to_download(key.account, key.api, error.until)
            s.ledger.snooze(lease, error.reason, error.until, request_id=request_id_of(error))
            error.reason = f"{key}: waits until {_clock(error.until)}: {error.reason}; attempt not counted"
        case DependencyDown():
            s.ledger.snooze(lease, error.reason, s.clock.now() + DEPENDENCY_WAIT)
        case OperatorNeeded() if connection:
            paused = pause(s, connection, error)
            s.ledger.give_back(lease, error.reason)
            error.reason = f"{key}: waits. {paused}"
        case GiveUp():
            s.ledger.quarantine(lease, error.reason, request_id=request_id_of(error))
            kept = " Bytes kept." if state is not State.LISTED else ""
            error.reason = f"{key}: quarantined at {step}: {error.reason}.{kept} See: orderdrain show {key.report_id}"
        case Exception():
            failure = _failure(s, error)
            due_at = s.ledger.fail(lease, failure.reason, request_id=request_id_of(failure))
            then = f"next try {_clock(due_at)}" if due_at else f"quarantined. See: orderdrain show {key.report_id}"
            attempt = f"{step} attempt {lease.report.attempts} of {MAX_ATTEMPTS}"
            failure.reason = f"{key}: {attempt} failed: {failure.reason}; {then}"
            return failure
        case _:
            # The process is told to end: the work goes on elsewhere at once, and nobody's attempt is spent.
            s.ledger.give_back(lease, f"{s.worker} was stopped")
    return error


def _why_not(s: Services, key: ReportKey, state: State) -> str:
    """One sentence on why a message found nothing to do."""
    for row in s.ledger.find(key.report_id, key.account, key.api):
        if row.state != state:
            return f"{key}: already {row.state}, nothing done"
        return f"{key}: not due before {_clock(row.next_attempt_at)}, or another worker has it; nothing done"
    return f"{key}: unknown here, nothing done"


def request_id_of(error: OrderdrainError) -> str | None:
    """Amazon's id of the call that went wrong, where there was one."""
    return error.evidence.request_id if error.evidence else None


def _failure(s: Services, error: Exception) -> RetryLater:
    """What any other error is to the ledger: a failed attempt."""
    if isinstance(error, RetryLater):
        return error
    if isinstance(error, s.out_of_time):
        return RetryLater("it took longer than its time limit")
    return RetryLater(str(error) if isinstance(error, OrderdrainError) else _unexpected(error))


def _unexpected(error: Exception) -> str:
    """A bug's name and place. Its text is left out: a driver's error may quote a buyer's data."""
    frames = extract_tb(error.__traceback__)
    ours = [f for f in frames if Path(f.filename).is_relative_to(Path(__file__).parent)] or frames
    where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "nowhere"
    log.error("unexpected error", error=type(error).__name__, frames=[f"{f.filename}:{f.lineno}" for f in frames])
    return f"unexpected {type(error).__name__} at {where} (a bug: please report it)"


def _clock(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%SZ}"
