"""THE PATH OF ONE REPORT, top to bottom.

    list_reports    Amazon's ids are entered in the ledger            -> listed
    download        bytes to the archive, whole and checked           -> downloaded
    parse           rows, rejected rows and state in one commit       -> parsed
    acknowledge     Amazon is told, up to 100 at once                 -> acknowledged

Beside it: `sweep` sends what is due and takes back what died, and `drain_report` runs what is left of one report in
this process. What makes Amazon produce reports is in requesting.py, what Amazon announces is heard in listening.py. How
a step begins and ends is in steps.py; each returns one sentence about what became of it, and raises what errors.py
says. No message is trusted: the row decides.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

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
from orderdrain.policy import DOWNLOADS_AN_ATTEMPT, RESTARTS_A_LISTING
from orderdrain.redis_client import remember_word, remembered_word
from orderdrain.reports import ReportKey, State
from orderdrain.steps import (
    acknowledging_turn,
    each_connection,
    leased,
    listing_turn,
    request_id_of,
)
from orderdrain.telemetry import logger
from orderdrain.turns import check_turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from orderdrain.accounts import Account, Connection
    from orderdrain.amazon import ListingPage, ReportsApi
    from orderdrain.archive import Stored, Writer
    from orderdrain.ledger import Lease
    from orderdrain.notices import Push
    from orderdrain.parsers import ParsedReport
    from orderdrain.progress import Progress
    from orderdrain.reports import Report
    from orderdrain.services import Services
    from orderdrain.turns import Turn

log = logger(__name__)


# ---------------------------------------------------------------------------------------------------------- 1. list


def list_reports(s: Services, account: str, *, full: bool = False, since: datetime | None = None) -> str:
    """Enters every report of the account that Amazon offers and we do not know, and sends their downloads.

    `full`: without the Acknowledged filter (once a day by itself), back to `since`: what another program acknowledged,
    or what was acknowledged before a backup of ours was restored, is not lost.
    """
    return each_connection(s, account, lambda connection: _list(s, connection, full, since))


def _list(s: Services, connection: Connection, full: bool, since: datetime | None) -> str:
    account, api = connection.account.account, s.amazon(connection)
    # Where Amazon is not told of acknowledgements, it cannot leave out what was acknowledged.
    with listing_turn(s, connection, full=full or not api.acknowledges, since=since) as turn:
        seen = entered = 0
        for page in _pages(api, connection, turn):
            seen += len(page.reports)
            new = s.ledger.enter(
                account, api.api, page.reports, listing=turn.listing, worker=s.worker, request_id=page.request_id
            )
            missed = s.requests.enter_come_to_nothing(account, api.api, page.came_to_nothing)
            if missed:
                log.info("scheduled reports came to nothing", account=account, count=missed)
            # Most listings find nothing: what else is due is for the sweep.
            if new:
                send_due(s, account)
            entered += new
        push = s.notices.judge(turn)
        s.turns.end_listing(turn)
    if push.works != push.worked:
        _tell_push(connection, push)
    send_acknowledge(s, account)
    return f"listed {seen:,} reports of {account}{' (all)' if turn.full else ''}: {entered:,} new"


def _tell_push(connection: Connection, push: Push) -> None:
    """Push is a hint, and the listing the net: how often the net is cast depends on whether the hints are whole."""
    names = {"account": connection.account.account, "api": connection.api}
    if push.works:
        log.info("push announces all reports, listing more rarely", **names)
    else:
        log.warning("push did not announce all reports, listing at its own interval again", missed=push.missed, **names)


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
    with leased(s, key, State.LISTED) as (lease, connection):
        stored, content_type, request_id = _download(s, s.amazon(connection), lease)
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
                lease.progress.restart()
                body = api.download(report.key.report_id, _counted(writer, lease.progress))
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


def _counted(writer: Writer, progress: Progress) -> Callable[[bytes], None]:
    def write(block: bytes) -> None:
        writer.write(block)
        progress.came(len(block))

    return write


# --------------------------------------------------------------------------------------------------------- 3. parse


def parse(s: Services, key: ReportKey) -> str:
    """Brings a report's rows to Postgres: newest wins, rejected rows set aside, all in one commit with the state."""
    with leased(s, key, State.DOWNLOADED) as (lease, connection):
        report = lease.report
        if report.archive_key is None or not s.archive.exists(report.archive_key):
            s.ledger.download_again(lease, "its bytes are not in the archive")
            raise NothingToDo(f"{key}: its bytes are gone from the archive; it is downloaded again")
        with opened(s, report, connection.account, lease.progress) as parsed, s.db.transaction() as cursor:
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


@contextmanager
def opened(s: Services, report: Report, account: Account, progress: Progress) -> Iterator[ParsedReport]:
    """A report's archived bytes, as this version reads them. Raises NotFound, GiveUp."""
    with (
        s.archive.open(report.archive_key or "") as file,
        open_report(
            progress.watching(file),
            report_type=report.report_type,
            content_type=report.content_type,
            marketplaces=account.marketplaces,
        ) as parsed,
    ):
        progress.of_rows(lambda: parsed.so_far)
        yield parsed


# --------------------------------------------------------------------------------------------------- 4. acknowledge


def acknowledge(s: Services, account: str) -> str:
    """Tells Amazon which reports we have: rows committed, listing ended, up to 100 ids a call."""
    # The message is here, and whatever it finds, it is spent: the next one may be sent.
    s.acknowledgements.not_sent([account])
    return each_connection(s, account, lambda connection: _acknowledge_all(s, connection))


def _acknowledge_all(s: Services, connection: Connection) -> str:
    account, told = connection.account.account, 0
    with acknowledging_turn(s, connection) as turn:
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
            detail = f"in a call of {len(batch)}" if api.acknowledges else "nothing to tell Amazon"
            told += s.acknowledgements.done(cursor, turn, named, detail=detail, request_id=answer.request_id)
            reason = "Amazon's answer does not name it as acknowledged"
            s.acknowledgements.not_done(cursor, turn, missing, reason, waits=False, request_id=answer.request_id)
    return told


# ---------------------------------------------------------------------------------------- sweep, and what comes next


def sweep(s: Services) -> str:
    """Sends what is due and takes back what died: whatever message is lost, the next sweep sends it again."""
    s.clock.refresh()
    new_word = s.dispatch.broker_forgot(remembered_word(s.redis))
    if new_word:
        remember_word(s.redis, new_word)
        log.warning("the broker has forgotten its messages: what was on its way is sent again")
    taken_back = s.dispatch.take_back()
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
    """Sends what is due, of one account or of all, within each connection's free slots. Returns how many went."""
    due = s.dispatch.send_due(account)
    for place, (key, step) in enumerate(due):
        if not s.send(step, account=key.account, api=key.api, report_id=key.report_id):
            # The first failure ends the loop: each further try would wait for the broker's timeout again.
            s.dispatch.not_sent([key for key, _ in due[place:]])
            return place
    return len(due)


def send(s: Services, key: ReportKey, step: str) -> None:
    """Sends a report's next step at once; what the broker does not take is due for the sweep."""
    if not s.send(step, account=key.account, api=key.api, report_id=key.report_id):
        s.dispatch.not_sent([key])


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
        state = _state(s, key)
        if state is State.LISTED:
            yield download(s, key)
        elif state is State.DOWNLOADED:
            yield parse(s, key)
        elif state is State.PARSED:
            yield acknowledge(s, key.account)
            if _state(s, key) is State.PARSED:
                yield f"{key}: stays parsed; the sweep acknowledges it when its listing has ended and it is due"
                return
        else:
            yield f"{key}: {state or 'unknown here'}"
            return


def _state(s: Services, key: ReportKey) -> State | None:
    rows = s.ledger.find(key.report_id, key.account, key.api)
    return State(rows[0].state) if rows else None
