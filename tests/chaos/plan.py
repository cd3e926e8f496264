"""What goes wrong, and when: the same seed gives the same plan.

Every part of the system has its kinds of fault in KINDS; what befalls notifications and their queue is in PUSH, and what
Amazon does wrong, call by call, in AMAZON.

A plan is dealt like cards: every kind of fault once before any comes a second time, in an order of the seed's own. PUSH
is a deck beside that of all others: half a minute can hold each of its kinds. Two things stand at a place of their own: the
reports that kill their worker come first, since eight attempts take a while, and a backup of Postgres is made well
before it is restored.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

#: Real seconds that a leased report is safe from others, in a run: short, so that two minutes hold many recoveries.
LEASE = 5
#: Real seconds between two faults, on average; those of push come beside them.
PACE = 2.2
#: Real seconds of a run from which on reports kill their worker: each needs nine leases until it is quarantined.
DEADLY_FROM = 60
#: Of Amazon's own faults so many come between two of each other kind: there are more of them.
AMAZON_FAULTS = 6


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong, `at` real seconds after the begin and, where it lasts, for `seconds`.

    `pick` chooses among what there is by then (which worker, which account), `how` is the variant.
    """

    at: float
    kind: str
    how: str
    seconds: float
    pick: int

    def __str__(self) -> str:
        lasts = f" for {self.seconds:.1f} s" if self.seconds else ""
        return f"{self.at:6.1f} s  {self.kind}{f' ({self.how})' if self.how else ''}{lasts} [{self.pick}]"


#: Kind: how it may be done, and how long it lasts at least and at most.
KINDS: dict[str, tuple[tuple[str, ...], float, float]] = {
    "worker_killed": (("main process",), 0, 0),
    "pool_process_killed": (("at a report", "at a listing"), 0, 0),
    # Longer than a lease: it wakes up to find its work in other hands.
    "worker_stopped": (("all its processes", "main process"), LEASE + 1, 2 * LEASE),
    "pool_process_stopped": (("at a report", "at a listing"), LEASE + 1, 2 * LEASE),
    "worker_ended": (("SIGTERM",), 0, 0),
    "worker_clock_off": (("10 minutes fast", "10 minutes slow"), 8, 15),
    "beat_killed": (("",), 0, 0),
    "beat_stopped": (("",), LEASE, 2 * LEASE),
    "beat_doubled": (("",), 8, 15),
    "redis_flushed": (("",), 0, 0),
    "redis_restarted": (("stopped", "killed"), 0.5, 4),
    "redis_cut": (("",), 0, 0),
    "redis_stalled": (("",), 2, 8),
    "postgres_restarted": (("fast", "immediate"), 0.2, 3),
    "postgres_cut": (("",), 0, 0),
    "postgres_stalled": (("then cut", ""), 2, LEASE + 2),
    "amazon_cut": (("",), 0, 0),
    "amazon_stalled": (("then cut", ""), 1, LEASE + 1),
    # The endpoint that gives access tokens, at the moment at which they have all ended.
    "login_cut": (("",), 0, 0),
    "login_stalled": (("then cut", ""), 1, LEASE + 1),
    "login_refused": (("the seller", "the application"), 2, 6),
    "role_missing": (("of buyers' data", "of reports"), 2, 6),
    "message_doubled": (("",), 0, 0),
    "message_delayed": (("",), 3, 10),
    "message_dropped": (("",), 0, 0),
    "message_senseless": (("unknown task", "unknown report", "wrong arguments"), 0, 0),
    "archive_full": (("",), 2, 6),
}

#: The same of push. A notice that is late or early is so by minutes: a real second is one.
PUSH: dict[str, tuple[tuple[str, ...], float, float]] = {
    "notice_lost": (("",), 0, 0),
    "notice_doubled": (("",), 0, 0),
    "notice_late": (("",), 3, 10),
    "notice_early": (("",), 2, 4),
    "notice_forged": (("beside a true one", "a flood"), 0, 0),
    "notice_malformed": (("",), 0, 0),
    "notice_foreign": (("another type", "another seller"), 0, 0),
    "queue_cut": (("",), 0, 0),
    "queue_stalled": (("then cut", ""), 1, LEASE + 1),
    # At times for longer than push is trusted without a word.
    "queue_refusing": (("",), LEASE - 1, 2 * LEASE),
}

#: What Amazon does wrong, once by order beside what it does by chance: the operation and the kind.
AMAZON = tuple(
    (operation, kind)
    for operation, kinds in {
        "GetReport": "cut_body cut_without_length stalled_body wrong_md5 late_answer throttle quota_exceeded html",
        "GetReportList": "duplicate_listing empty_page late_answer no_answer internal_error quota_exceeded",
        "GetReportListByNextToken": "token_corrupted duplicate_listing unavailable",
        "UpdateReportAcknowledgements": "late_answer no_answer throttle unavailable",
        "RequestReport": "late_answer stuck_request internal_error",
        "GetReportRequestList": "duplicate_listing html",
        "getReports": "duplicate_listing empty_page token_corrupted expired_access_token late_answer throttle html",
        "getReport": "expired_access_token internal_error no_answer",
        "getReportDocument": "gzip_announced_plain gzip_unannounced expired_access_token late_answer throttle html",
        "document": "cut_body cut_without_length stalled_body gzip_on_gzip expired_url unavailable no_answer",
        "createRestrictedDataToken": "expired_access_token late_answer throttle",
        "createReport": "late_answer stuck_request cancelled fatal fatal_with_reason internal_error",
        "LWA": "no_answer",
    }.items()
    for kind in kinds.split()
)


def make_plan(seed: int, seconds: float) -> list[Fault]:
    """The faults of a run of that many real seconds, in order of time."""
    random = Random(f"chaos/{seed}")
    # Restored last of all, so that what it undoes was done by all the rest; and the run still goes on for a while.
    restored = 0.7 * seconds
    deadly = ("SIGKILL", "SIGSEGV", "MemoryError") if seconds >= DEADLY_FROM else ()
    faults = [
        *(Fault(1 + n, "report_kills_worker", how, 0, 2 * n) for n, how in enumerate(deadly)),
        Fault(0.35 * seconds, "postgres_backed_up", "", 0, 0),
        Fault(restored, "postgres_restored", f"from {(restored - 0.35 * seconds):.0f} s ago", 0, 0),
    ]
    amazon, kinds = _shuffled_for_ever(random, AMAZON), KINDS | PUSH
    dealt = [
        *_dealt(random, [*KINDS, *["amazon_fault"] * AMAZON_FAULTS], seconds, PACE),
        # What is announced costs a listing a minute, which is a second here: no more than a run needs to hold each kind.
        *_dealt(random, PUSH, seconds, PACE if seconds < DEADLY_FROM else 2 * PACE),
    ]
    for at, kind in dealt:
        pick = random.randrange(1_000_000)
        if kind == "amazon_fault":
            faults.append(Fault(at, kind, " ".join(next(amazon)), 0, pick))
        else:
            ways, least, most = kinds[kind]
            faults.append(Fault(at, kind, random.choice(ways), round(random.uniform(least, most), 1), pick))
    return sorted(faults, key=lambda fault: fault.at)


def _dealt(random: Random, deck, seconds, pace):
    """When each card falls, and which, until the run ends."""
    at = 5.0
    for card in _shuffled_for_ever(random, deck):
        if at >= seconds - 1:
            return
        yield at, card
        at += random.uniform(0.4 * pace, 1.6 * pace)


def _shuffled_for_ever(random: Random, deck):
    while True:
        yield from random.sample(list(deck), k=len(deck))
