"""Push: what Amazon announces over SQS makes a listing due, or the look at a request, seconds after a report is there.

A notice is a hint, and the listing the net: nothing is entered because a message says so, and what no message says is
found all the same (docs/adr/0016). Where a notice is awaited (its report cannot be listed yet, or its request is still
being made), its message stays in the queue and comes again; everything else is removed and counted.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import TYPE_CHECKING

from orderdrain.errors import DependencyDown, NothingToDo
from orderdrain.notices import Kind
from orderdrain.notifications import read_notice
from orderdrain.policy import LISTEN_SECONDS, LISTEN_WAIT_SECONDS, NOTICE_AGAIN, NOTICE_RECEIVES
from orderdrain.steps import held
from orderdrain.telemetry import logger

if TYPE_CHECKING:
    from orderdrain.notifications import Message, Queue
    from orderdrain.services import Services

log = logger(__name__)


def listen(s: Services) -> str:
    """Reads every queue until it is empty, or its time is over, and sends the listings that this makes due.

    One queue's trouble is not another's: what one raises is raised when the others have been read.
    """
    s.clock.refresh()
    until, heard, raised = time.monotonic() + LISTEN_SECONDS, Counter[Kind](), []
    # Not always in the same order: where they are too many for one task, each is the first at times.
    for queue in random.sample(s.queues, len(s.queues)):
        try:
            heard += _listen(s, queue, until)
        except NothingToDo:
            continue
        except DependencyDown as error:
            raised.append(error)
    if s.queues:
        s.notices.prune()
    if raised:
        raise raised[0]
    told = ", ".join(f"{n:,} {kind.replace('_', ' ')}" for kind, n in sorted(heard.items()))
    return f"removed {heard.total():,} notifications{': ' if told else ''}{told}"


def _listen(s: Services, queue: Queue, until: float) -> Counter[Kind]:
    """One queue. Returns what was removed from it."""
    heard, wait = Counter[Kind](), LISTEN_WAIT_SECONDS
    with held(s.locks.listening(queue.url), f"the queue {queue.url} is being read by another worker") as lock:
        while messages := _receive(s, queue, wait):
            kinds = {message: kind for message in messages if (kind := _kind(s, queue, message)) is not None}
            _send_listings(s)
            queue.delete(list(kinds))
            s.notices.removed(Counter(kinds.values()))
            heard.update(kinds.values())
            lock.extend()
            if time.monotonic() > until:
                break
            # Only the first wait is for what comes; then it is read to its end.
            wait = 0
        s.notices.queue_read(queue.url)
    return heard


def _receive(s: Services, queue: Queue, wait: int) -> list[Message]:
    try:
        return queue.receive(wait_seconds=wait, hidden_seconds=int(NOTICE_AGAIN.total_seconds()))
    except DependencyDown as error:
        for account in s.notices.queue_failed(queue.url, error.reason):
            log.warning("push is dead, listing at its own interval again", account=account, reason=error.reason)
        raise


def _kind(s: Services, queue: Queue, message: Message) -> Kind | None:
    """What a message is, once what it announces is due; None: it shall come again."""
    try:
        notice = read_notice(message.body)
    except ValueError as error:
        log.info("malformed notification", message_id=message.message_id, reason=str(error))
        return Kind.MALFORMED
    if notice is None:
        return Kind.FOREIGN_TYPE
    kind = s.notices.hear(notice, message_id=message.message_id, queue=queue.url)
    if kind is None and message.receives >= NOTICE_RECEIVES:
        log.info("what was announced is not there", report_id=notice.report_id, request_id=notice.request_id)
        return Kind.GIVEN_UP
    return kind


def _send_listings(s: Services) -> None:
    """As the tick of listings does. One that the broker does not take comes again with its notice."""
    for account in s.accounts.due_to_list():
        s.send("list", account=account)
