"""`make chaos SEED=1 MINUTES=2`: breaks a running system by a seeded plan, lets it heal, and counts broken promises.

The last line is one JSON object; the exit code is 0 when every count of a broken promise is 0. What went wrong, with
the stories of the reports it happened to, is in `.orderdrain/chaos/log`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path

from orderdrain.policy import (
    DAILY,
    FIRST_BACKOFF,
    LAST_BACKOFF,
    LAST_LOOK,
    MAX_ATTEMPTS,
    NOTICE_AGAIN,
    NOTICE_RECEIVES,
    OVERLAP,
    PUSH_GRACE,
    PUSHED_LISTINGS_RARER,
)
from tests.chaos.faults import Faults
from tests.chaos.plan import LEASE, make_plan
from tests.chaos.promises import OPEN_REQUEST, broken_promises, story
from tests.chaos.system import SPEED, shaken_system
from workers.judge import ask
from workers.local import HOME
from workers.processes import ending_on_signals

#: Real seconds that a worker may need to start, on a machine that starts several at once.
STARTING = 20
#: Real seconds between two sweeps, and two readings of the queue; between two listings of an account, and where push is
#: trusted.
SWEEP, LISTING = 1, 5 * 60 / SPEED
PUSHED_LISTING = PUSHED_LISTINGS_RARER * LISTING
#: GetReport gives one a minute (MWS documentation).
DOWNLOAD = 60 / SPEED


def run(folder, seed, seconds):
    """Runs the plan of that seed; returns what the last line tells."""
    plan = make_plan(seed, seconds)
    print(f"seed {seed}: {len(plan)} faults in {seconds:.0f} s; data and logs in {folder}", flush=True)
    with shaken_system(folder, seed) as system:
        faults = Faults(system)
        shake(system, faults, plan)
        bound = quiet_bound(system, faults)
        quiet_after = heal(system, bound)
        promises = broken_promises(system, faults)
        if any(promises.values()):
            print("the plan was:", *plan, sep="\n")
            _tell(system, promises)
        ((reports,),) = system.query("SELECT count(*) FROM reports")
        return {
            "ok": not any(promises.values()),
            "seed": seed,
            "minutes": round(seconds / 60, 2),
            "faults": dict(sorted(faults.done.items())),
            "amazon_faults": ask(system.amazon_url, "/_emulator/calls")["totals"]["faults"],
            "notice_faults": system.notifications()["faults"],
            "notices_heard": dict(system.query("SELECT kind, sum(n)::int FROM notice_counts GROUP BY 1 ORDER BY 1")),
            "promises": {name: len(broken) for name, broken in promises.items()},
            "reports": reports,
            "history": dict(system.query("SELECT event, count(*) FROM report_history GROUP BY 1 ORDER BY 1")),
            "ended_by_themselves": len(system.fell),
            "witness_could_not_look": system.unseen,
            "quiet_after_seconds": round(quiet_after, 1),
            "quiet_within_seconds": round(bound, 1),
        }


def shake(system, faults, plan):
    """Does what the plan says, each fault at its time, and then ends them all: whatever was stopped goes on, Amazon does
    nothing wrong any more, and nobody buys."""
    began = time.monotonic()
    for fault in plan:
        system.work(max(0.0, began + fault.at - time.monotonic()))
        late = time.monotonic() - began - fault.at
        done = faults.do(fault)
        print(
            f"{fault}{'' if done else ': not possible just then'}{f', {late:.1f} s late' if late > 1 else ''}",
            flush=True,
        )
    system.work(1)
    system.put_right()


def heal(system, bound):
    """A day passes, so that every account is listed without the filter and every wait is over; the rest is the
    system's own. Returns after how many real seconds it was quiet, or the bound if it never was."""
    print(f"all faults are over, and a day passes: everything must be done within {bound:.0f} s", flush=True)
    span, began = DAILY + OVERLAP["mws"], time.monotonic()
    system.amazon("advance", seconds=span.total_seconds())
    system.services().clock.advance(span)
    quiet, told = None, 0.0
    while (elapsed := time.monotonic() - began) < bound:
        system.work(0.5)
        left = waits(system)
        if left and elapsed >= told:
            told = elapsed + 5
            print(f"{elapsed:6.1f} s  {'; '.join(left)}", flush=True)
        quiet = None if left else quiet or (elapsed, *system.query("SELECT app_now()")[0])
        # It stays so through some sweeps, and a whole listing of each account.
        if quiet and elapsed - quiet[0] > LISTING and listed_since(system, quiet[1]):
            print(f"{quiet[0]:6.1f} s  quiet", flush=True)
            return quiet[0]
    return bound


def listed_since(system, moment):
    """Whether each account was listed to the end, at each API, by a listing that began after that moment."""
    lacking = f"SELECT FROM connections WHERE coalesce(listed_at, '-infinity') <= '{moment.isoformat()}'"
    return not system.query(f"SELECT 1 WHERE EXISTS ({lacking})")


def quiet_bound(system, faults):
    """Real seconds within which everything must be done: a worker that has just been started; what has the most
    attempts before it, or is announced and never found; the downloads that quota allows one by one; a listing; two looks
    after a requested report."""
    finished = set(
        system.query("SELECT account, report_id FROM reports WHERE state IN ('acknowledged', 'quarantined')")
    )
    attempts = MAX_ATTEMPTS if faults.poisoned - finished else 1
    # The lease that follows the last attempt finds them used up.
    by_death = (attempts + 1) * (LEASE + 2 * SWEEP)
    backoffs = [min(FIRST_BACKOFF * 2**n, LAST_BACKOFF).total_seconds() for n in range(attempts - 1)]
    by_failure = sum(backoffs) / SPEED + attempts * SWEEP
    by_notice = NOTICE_RECEIVES * (NOTICE_AGAIN.total_seconds() / SPEED + SWEEP)
    told = ask(system.amazon_url, "/_emulator/truth")["told_reports"]
    unfinished = Counter(r["account"] for r in told if (r["account"], r["report_id"]) not in finished)
    downloads = DOWNLOAD * max(unfinished.values(), default=0)
    looks = 2 * LAST_LOOK.total_seconds() / SPEED
    return STARTING + max(by_death, by_failure, by_notice) + downloads + PUSHED_LISTING + looks


def waits(system):
    """What is still to be done, in words; empty when the system is quiet."""
    found = [
        f"{n} reports are {state}"
        for state, n in system.query(
            "SELECT state, count(*) FROM reports WHERE state IN ('listed', 'downloaded', 'parsed') GROUP BY 1"
        )
    ]
    ((requests,),) = system.query(f"SELECT count(*) FROM report_requests WHERE {OPEN_REQUEST}")
    found += [f"{requests} requests are open"] if requests else []
    found += [
        f"{account} has not been listed for a day"
        for (account,) in system.query("SELECT account FROM connections WHERE next_full_list_at <= app_now()")
    ]
    heard = system.notifications()
    if heard["oldest_seconds"] > PUSH_GRACE.total_seconds():
        found += [f"{heard['visible'] + heard['in_flight']} notifications are in the queue"]
    known = set(system.query("SELECT account, report_id FROM reports"))
    told = ask(system.amazon_url, "/_emulator/truth")["told_reports"]
    unknown = [report for report in told if (report["account"], report["report_id"]) not in known]
    found += [f"{len(unknown)} reports are unknown"] if unknown else []
    return found


def _tell(system, promises):
    """Says what was broken, and keeps the stories of some of the reports."""
    for name, broken in promises.items():
        for number, each in enumerate(broken[:20]):
            print(f"{name}: {each}")
            if each.report_id and number < 3:
                path = system.folder / "log" / f"broken-{name}-{each.report_id}.txt"
                path.write_text(f"{each}\n{story(system, each)}", "utf-8")
                print(f"  its story: {path}")


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.run", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--folder", type=Path, default=HOME / "chaos")
    options = parser.parse_args()
    with ending_on_signals():
        told = run(options.folder, options.seed, 60 * options.minutes)
    print(json.dumps(told), flush=True)
    return 0 if told["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
