"""THE PATH OF ONE REPORT, top to bottom.

    list_reports    Amazon's ids are entered in the ledger            -> listed
    download        bytes to the archive, whole and checked           -> downloaded
    parse           rows, rejected rows and state in one commit       -> parsed
    acknowledge     Amazon is told, up to 100 at once                 -> acknowledged

Beside it: `schedule` and `request` make Amazon produce reports, `sweep` sends what is due and takes back what died,
and `drain_report` runs what is left of one report in this process. How a step begins and ends is in steps.py; each
returns one sentence about what became of it, and raises what errors.py says. No message is trusted: the row decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderdrain.accounts import check_turn
from orderdrain.amazon import ListedReport
from orderdrain.archive import key_for
from orderdrain.errors import (
    BadBody,
    GiveUp,
    NextTokenLost,
    NothingToDo,
    OrderdrainError,
    RetryLater,
    Throttled,
)
from orderdrain.parsers import open_report
from orderdrain.policy import DAILY, DOWNLOADS_AN_ATTEMPT, RESTARTS_A_LISTING, next_look
from orderdrain.redis_client import remember_word, remembered_word
from orderdrain.reports import ReportKey, State
from orderdrain.schedules import compare
from orderdrain.steps import (
    acknowledging_turn,
    comparing_schedules,
    leased,
    leased_request,
    listing_turn,
    request_id_of,
)
from orderdrain.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from orderdrain.accounts import Connection, Turn
    from orderdrain.amazon import ListingPage, ReportsApi, RequestInfo
    from orderdrain.archive import Stored
    from orderdrain.ledger import Lease
    from orderdrain.requests import Request
    from orderdrain.services import Services

log = logger(__name__)


# ---------------------------------------------------------------------------------------------------------- 1. list


def list_reports(s: Services, account: str, *, full: bool = False, since: datetime | None = None) -> str:
    """Enters every report of the account that Amazon offers and we do not know, and sends their downloads.

    `full`: without the Acknowledged filter (once a day by itself), back to `since`: what another program acknowledged,
    or what was acknowledged before a backup of ours was restored, is not lost.
    """
    return _each_connection(s, account, lambda connection: _list(s, connection, full, since))


def _each_connection(s: Services, account: str, work: Callable[[Connection], str]) -> str:
    """Does the work for each connection; what one of them raises is raised once the others have had their turn."""
    said, raised = [], []
    for connection in s.accounts.connections(account):
        try:
            said.append(work(connection))
        except OrderdrainError as error:
            raised.append(error)
    if raised:
        raise raised[0]
    return "; ".join(said)


def _list(s: Services, connection: Connection, full: bool, since: datetime | None) -> str:
    account, api = connection.account.account, s.amazon(connection)
    # Where Amazon is not told of acknowledgements, it cannot leave out what was acknowledged.
    with listing_turn(s, connection, full=full or not api.acknowledges, since=since) as turn:
        seen = entered = 0
        for page in _pages(api, connection, turn):
            seen += len(page.reports)
            entered += s.ledger.enter(
                account, api.api, page.reports, listing=turn.listing, worker=s.worker, request_id=page.request_id
            )
            send_due(s, account)
        s.accounts.end_listing(turn)
    send_acknowledge(s, account)
    return f"listed {seen:,} reports of {account}{' (all)' if turn.full else ''}: {entered:,} new"


def _pages(api: ReportsApi, connection: Connection, turn: Turn) -> Iterator[ListingPage]:
    """The pages of one listing to its end. A lost NextToken is never sent again: the listing begins anew."""
    restarts = 0
    while True:
        try:
            page = api.list_reports(
                report_types=sorted(connection.account.report_types),
                acknowledged=None if turn.full else False,
                since=turn.since if turn.full else None,
                next_token=turn.next_token,
            )
        except NextTokenLost as error:
            restarts += 1
            turn.next_token = None
            if restarts > RESTARTS_A_LISTING:
                raise
            log.info("listing begins anew", account=turn.account, reason=str(error))
            continue
        yield page
        if page.next_token is None:
            return
        if page.next_token == turn.next_token:
            raise RetryLater("Amazon gave the same NextToken twice: the listing would never end")
        turn.next_token = page.next_token


# ------------------------------------------------------------------------------------------------------ 2. download


def download(s: Services, key: ReportKey) -> str:
    """Brings a report's bytes to the archive, exactly as Amazon sent them, whole and checked."""
    with leased(s, key, State.LISTED) as lease:
        api = s.amazon(s.accounts.connection(key.account, key.api))
        stored, content_type, request_id = _download(s, api, lease)
        s.ledger.downloaded(
            lease,
            archive_key=stored.key,
            size=stored.size,
            sha256=stored.sha256,
            content_type=content_type,
            request_id=request_id,
        )
    send(s, key, "parse")
    return f"downloaded {stored.size:,} bytes"


def _download(s: Services, api: ReportsApi, lease: Lease) -> tuple[Stored, str | None, str | None]:
    """A wrong or cut body is thrown away before anybody read it, and fetched again, three times in all."""
    report = lease.report
    archive_key = key_for(report.key.account, report.key.api, report.key.report_id, lease.fence, report.available_at)
    bad: BadBody | None = None
    for last in (False,) * (DOWNLOADS_AN_ATTEMPT - 1) + (True,):
        try:
            with s.archive.writer(archive_key) as writer:
                body = api.download(report.key.report_id, writer.write)
                return writer.commit(), body.content_type, body.request_id
        except BadBody as error:
            if last:
                raise
            bad = error
            log.info("body thrown away", reason=str(error))
        except Throttled:
            # Out of quota for the next try, the attempt has failed: given back, a body that is always bad would be
            # fetched for ever, and take every token that the account gets.
            if bad:
                raise bad from None
            raise
    raise AssertionError("the last download returns or raises")


# --------------------------------------------------------------------------------------------------------- 3. parse


def parse(s: Services, key: ReportKey) -> str:
    """Brings a report's rows to Postgres: newest wins, rejected rows set aside, all in one commit with the state."""
    with leased(s, key, State.DOWNLOADED) as lease:
        report = lease.report
        if report.archive_key is None or not s.archive.exists(report.archive_key):
            s.ledger.download_again(lease, "its bytes are not in the archive")
            raise NothingToDo(f"{key}: its bytes are gone from the archive; it is downloaded again")
        account = s.accounts.connection(key.account, key.api).account
        with (
            s.archive.open(report.archive_key) as file,
            open_report(
                file,
                report_type=report.report_type,
                content_type=report.content_type,
                marketplaces=account.marketplaces,
            ) as parsed,
            s.db.transaction() as cursor,
        ):
            counts = s.orders.merge(cursor, report, parsed)
            s.ledger.parsed(
                cursor,
                lease,
                outcome="rows" if counts.read else "empty",
                counts=counts,
                encoding=parsed.encoding,
                encoding_reason=parsed.encoding_reason,
            )
    if parsed.withheld:
        log.warning("no buyer's data in any row: does the application still have the right to see it?", **vars(key))
    send_due(s, key.account)
    send_acknowledge(s, key.account)
    return f"parsed {counts}"


# --------------------------------------------------------------------------------------------------- 4. acknowledge


def acknowledge(s: Services, account: str) -> str:
    """Tells Amazon which reports we have: rows committed, listing ended, up to 100 ids a call."""
    # The message is here, and whatever it finds, it is spent: the next one may be sent.
    s.acknowledgements.not_sent([account])
    return _each_connection(s, account, lambda connection: _acknowledge_all(s, connection))


def _acknowledge_all(s: Services, connection: Connection) -> str:
    account, told = connection.account.account, 0
    with acknowledging_turn(s, account, connection.api) as turn:
        api, asked = s.amazon(connection), set[str]()
        while batch := s.acknowledgements.begin(turn, skip=sorted(asked)):
            asked.update(batch)
            told += _acknowledge(s, api, turn, batch)
    return f"acknowledged {told:,} reports of {account}"


def _acknowledge(s: Services, api: ReportsApi, turn: Turn, ids: list[str]) -> int:
    """One call; a refused batch is halved until the bad id stands alone. Returns how many advanced."""
    told, batches, halved = 0, [ids], False
    while batches:
        batch = batches.pop()
        try:
            answer = api.acknowledge(batch)
        except GiveUp as error:
            if len(batch) > 1:
                half, halved = len(batch) // 2, True
                batches += [batch[half:], batch[:half]]
                continue
            log.warning("Amazon refuses to acknowledge", report_id=batch[0], account=turn.account, reason=str(error))
            with s.db.transaction() as cursor:
                check_turn(cursor, turn)
                s.acknowledgements.refused(cursor, turn, batch, str(error), request_id_of(error))
            continue
        except OrderdrainError as error:
            # The lost answer of a call that had its effect looks the same: told again, it is harmless.
            failed = isinstance(error, RetryLater)
            with s.db.transaction() as cursor:
                check_turn(cursor, turn)
                for rest in (batch, *batches):
                    # Where quota ends the halving, its rest is counted too: it comes again in a smaller batch.
                    waits = not halved and not (failed and rest is batch)
                    s.acknowledgements.not_done(
                        cursor, turn, rest, str(error), waits=waits, request_id=request_id_of(error)
                    )
            raise
        named = sorted(answer.report_ids.intersection(batch))
        missing = sorted(set(batch).difference(named))
        with s.db.transaction() as cursor:
            check_turn(cursor, turn)
            detail = f"in a call of {len(batch)}"
            told += s.acknowledgements.done(cursor, turn, named, detail=detail, request_id=answer.request_id)
            reason = "Amazon's answer does not name it as acknowledged"
            s.acknowledgements.not_done(cursor, turn, missing, reason, waits=False, request_id=answer.request_id)
    return told


# ------------------------------------------------------------------------------- beside the path: schedule, request


def schedule(s: Services, account: str, *, apply: bool = True) -> str:
    """Compares Amazon's report schedules with the declared ones and, for an account marked `manage_schedules`, makes
    Amazon's side agree. What we did not declare is never touched."""
    told = _each_connection(s, account, lambda connection: _schedule(s, connection, apply=apply))
    if apply:
        s.accounts.wait_to_schedule(account, s.clock.now() + DAILY)
    return f"schedules of {account}: {told}"


def _schedule(s: Services, connection: Connection, *, apply: bool) -> str:
    said = []
    api, declared = s.amazon(connection), connection.account
    with comparing_schedules(s, connection):
        for change in compare(declared.report_types, api.list_schedules()):
            if change.blocked or not (apply and declared.manage_schedules):
                said.append(f"differs: {change}")
                continue
            request_id = api.set_schedule(change.report_type, change.declared)
            log.info("report schedule changed", account=declared.account, change=str(change), request_id=request_id)
            said.append(f"changed: {change}")
    return "; ".join(said) or "as declared"


def request(s: Services, account: str, request_key: str) -> str:
    """Moves a requested report on: asks Amazon for it, or looks how far it is with all that the account waits for."""
    with leased_request(s, account, request_key) as wish:
        api = s.amazon(s.accounts.connection(account, wish.api))
        if wish.amazon_request_id is None:
            info = _ours_at_amazon(s, api, wish) or api.request_report(
                wish.report_type,
                start=wish.window_start,
                end=wish.window_end,
                marketplaces=(),
                options=wish.options,
            )
            s.requests.submitted(wish, info, s.clock.now() + next_look(s.clock.now() - wish.asked_at))
            return f"{wish}: at Amazon as {info.request_id_at_amazon}, {info.status}"
        ended = _look_after_requests(s, api, wish)
    send_due(s, account)
    return f"requests of {account}: {ended:,} ended"


def _ours_at_amazon(s: Services, api: ReportsApi, wish: Request) -> RequestInfo | None:
    """The request that an earlier attempt made, if its answer was lost: same type and window, and no other of ours."""
    if wish.attempts == 1:
        return None
    known = s.requests.known_at_amazon(wish.account, wish.api)
    next_token = None
    while True:
        page = api.list_requests(report_types=[wish.report_type], since=wish.asked_at, next_token=next_token)
        for info in page.requests:
            same_window = wish.window_start is None or (wish.window_start, wish.window_end) == (
                info.window_start,
                info.window_end,
            )
            if same_window and not info.scheduled and info.request_id_at_amazon not in known:
                return info
        next_token = page.next_token
        if next_token is None:
            return None


def _look_after_requests(s: Services, api: ReportsApi, wish: Request) -> int:
    """One look at all of the account's requests still being made, this one first. Returns how many ended."""
    ended = 0
    # This one first: where each is a call of its own (SP-API), quota may end the answer before it has named all.
    ids = [wish.amazon_request_id, *s.requests.open_at_amazon(wish.account, wish.api)]
    page = api.list_requests(request_ids=list(dict.fromkeys(filter(None, ids))))
    now = s.clock.now()
    for info in page.requests:
        if info.status == "DONE" and info.report_id:
            made = ListedReport(
                info.report_id,
                info.report_type,
                info.completed_at or now,
                acknowledged=False,
                report_request_id=info.request_id_at_amazon,
                marketplaces=info.marketplaces,
            )
            # Found by no listing: listing 0 has always ended, so nothing but its rows stands before acknowledging it.
            s.ledger.enter(wish.account, wish.api, [made], listing=0, worker=s.worker, request_id=page.request_id)
        with s.db.transaction() as cursor:
            due_at = now + next_look(now - info.submitted_at)
            s.requests.seen(cursor, wish.account, wish.api, info, due_at)
            if info.status == "NO_DATA":
                s.orders.nothing_there(cursor, wish.account, wish.api, info, now)
        ended += info.status not in {"SUBMITTED", "IN_PROGRESS"}
    with s.db.transaction() as cursor:
        for stuck in s.requests.ask_again_for_stuck(cursor, wish.account):
            log.error("requested report is stuck, asked for once more", account=wish.account, request_key=stuck)
    if wish.amazon_request_id not in {info.request_id_at_amazon for info in page.requests}:
        raise RetryLater(f"Amazon's list does not name request {wish.amazon_request_id}")
    return ended


# ---------------------------------------------------------------------------------------- sweep, and what comes next


def sweep(s: Services) -> str:
    """Sends what is due and takes back what died: whatever message is lost, the next sweep sends it again."""
    s.clock.refresh()
    new_word = s.ledger.broker_forgot(remembered_word(s.redis))
    if new_word:
        remember_word(s.redis, new_word)
        log.warning("the broker has forgotten its messages: what was on its way is sent again")
    taken_back = s.ledger.take_back()
    for key in taken_back:
        log.warning("lease ran out, taken back", report_id=key.report_id, account=key.account)
    sent = send_due(s)
    sent += send_acknowledge(s)
    for account, request_key in s.requests.send_due():
        if s.send("request", account=account, request_key=request_key):
            sent += 1
        else:
            s.requests.not_sent(account, request_key)
    return f"swept: {sent:,} sent, {len(taken_back):,} leases taken back"


def send_due(s: Services, account: str | None = None) -> int:
    """Sends what is due, of one account or of all, within each account's free slots. Returns how many went."""
    due = s.ledger.send_due(account)
    for place, (key, step) in enumerate(due):
        if not s.send(step, account=key.account, api=key.api, report_id=key.report_id):
            # The first failure ends the loop: each further try would wait for the broker's timeout again.
            s.ledger.not_sent([key for key, _ in due[place:]])
            return place
    return len(due)


def send(s: Services, key: ReportKey, step: str) -> None:
    """Sends a report's next step at once; what the broker does not take is due for the sweep."""
    if not s.send(step, account=key.account, api=key.api, report_id=key.report_id):
        s.ledger.not_sent([key])


def send_acknowledge(s: Services, account: str | None = None) -> int:
    """Sends the message to acknowledge: of one account once the last report of its batch is parsed, so that all go in
    one call; or, as the sweep does, of all accounts with something left over. Returns how many went."""
    due = s.acknowledgements.send_due(account, complete=account is not None)
    for place, name in enumerate(due):
        if not s.send("acknowledge", account=name):
            s.acknowledgements.not_sent(due[place:])
            return place
    return len(due)


def drain_report(s: Services, key: ReportKey) -> Iterator[str]:
    """Runs the remaining steps of one report in this process, and yields a sentence after each."""
    while True:
        rows = [row for row in s.ledger.find(key.report_id, key.account) if row.api == key.api]
        state = State(rows[0].state) if rows else None
        if state is State.LISTED:
            yield download(s, key)
        elif state is State.DOWNLOADED:
            yield parse(s, key)
        elif state is State.PARSED:
            yield acknowledge(s, key.account)
            if s.ledger.find(key.report_id, key.account)[0].state == State.PARSED:
                yield f"{key}: stays parsed; the sweep acknowledges it when its listing has ended and it is due"
                return
        else:
            yield f"{key}: {state or 'unknown here'}"
            return
