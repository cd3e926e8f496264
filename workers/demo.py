"""`make demo`: an emulated Amazon sells, a real worker drains, and the emulator's own record is the judge.

The emulator and the application's clock run sixty times faster than life, so that Amazon's "one a minute" is one a
second here. Everything else is as it will be: a real Postgres, a real Redis, Celery's own worker and beat, Flower.
"""

from __future__ import annotations

import sys
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from orderdrain.amazon import NEVER
from orderdrain.db import Database
from orderdrain.declarations import declare
from orderdrain.families import api_of
from orderdrain.reports import State
from orderdrain.services import Services
from orderdrain.settings import load
from workers.judge import ask, judge, witness
from workers.judge_columns import FAMILIES
from workers.processes import ending_on_signals

if TYPE_CHECKING:
    from workers.judge import Verdict, Witness

#: Application seconds in a real one.
SPEED = 60
#: Reports that wait at Amazon for each of the four sellers when the demo begins.
BACKLOG = 14
#: Real seconds for which the sellers go on selling: at least one scheduled report of 15 minutes each is made.
SELLING = 20
#: Real seconds after which what is not drained counts as failed.
DEADLINE = 100


def add_emulator_accounts(services: Services, emulator: dict[str, Any], *, speed: float = 1) -> list[str]:
    """Adds the emulator's sellers, and sets the application's clock by the emulator's. Returns their names."""
    clock = ask(emulator["mws"], "/_emulator/clock")
    services.clock.set(datetime.fromisoformat(clock["now"]), speed=speed)
    for told in emulator["accounts"]:
        account, application = told["account"], f"emulator-{told['account']}"
        keys = {
            "application": application,
            "seller_id": told["seller_id"],
            "marketplaces": told["marketplaces"],
            "manage_schedules": True,
            "list_every_minutes": 5,
            # What it sells through; what Amazon makes on request alone has no schedule.
            "report_types": {name: every or NEVER for name, every in told["report_types"].items()},
        }
        if "client_id" in told:
            services.accounts.add_application(
                application, api="sp-api", key_id=told["client_id"], secret=told["client_secret"]
            )
            keys |= {"api": "sp-api", "endpoint": emulator["sp_api"], "login_url": emulator["lwa"]}
            declare(services, account, keys, token=told["refresh_token"])
        else:
            services.accounts.add_application(application, key_id=told["access_key"], secret=told["secret_key"])
            keys |= {"endpoint": emulator["mws"]}
            declare(services, account, keys, token=told.get("mws_auth_token"))
    return [told["account"] for told in emulator["accounts"]]


def main() -> int:
    """Runs the demo; 0 when everything that was told is in Postgres, once."""
    from workers.local import HOME, EmulatorOptions, running_stack

    print("starting Postgres, Redis, the emulated Amazon, a worker, beat and Flower ...", flush=True)
    with witness() as seen:
        options = EmulatorOptions(
            sellers=4,
            sp_api_sellers="delta",
            families="all",
            orders_per_minute=1,
            speed=SPEED,
            backlog=BACKLOG,
            on_acknowledge=seen.url,
        )
        with running_stack(HOME / "demo", emulator=options, push=True) as stack:
            seen.database_url = stack.database_url
            services = Services.from_settings(load(stack.env))
            accounts = add_emulator_accounts(services, stack.emulator, speed=SPEED)
            _ask(services, stack.emulator["accounts"])
            print(
                f"Amazon, emulated, {SPEED} times faster than life: {stack.emulator['mws']}\n"
                f"Flower, while this runs: {stack.flower_url}\n"
                f"{BACKLOG} reports wait for each of {', '.join(accounts)}, and they go on selling",
                flush=True,
            )
            verdict = _drain(stack, services, seen)
            _table(stack, services, verdict)
    print("To look around for longer: make up. What happened to a report: orderdrain show ID. The path of a report,")
    print("top to bottom: orderdrain/pipeline.py")
    print(f"demo: {verdict}", flush=True)
    return 0 if verdict.ok else 1


def _ask(services: Services, accounts: list[dict[str, Any]]) -> None:
    """Asks for one report of each type that Amazon makes on request alone."""
    end = services.clock.now().replace(microsecond=0)
    for told in accounts:
        for report_type in (name for name, every in told["report_types"].items() if every is None):
            api, start = api_of(report_type), end - timedelta(days=1)
            services.requests.enter(told["account"], api, report_type, start=start, end=end, options={})


def _drain(stack: Any, services: Services, seen: Witness) -> Verdict:
    """Shows the progress until the emulator has nothing more to give, and everything is finished."""
    began = time.monotonic()
    selling = True
    while True:
        elapsed = time.monotonic() - began
        if selling and elapsed > SELLING:
            ask(stack.emulator["mws"], "/_emulator/stop-selling", {})
            selling = False
        at_work = _progress(services, elapsed)
        if not selling and (not at_work or elapsed > DEADLINE):
            verdict = judge(stack.emulator["mws"], stack.database_url, acknowledged_before_commit=len(seen.too_early))
            if not verdict.unfinished or elapsed > DEADLINE:
                return verdict
        time.sleep(1)


def _progress(services: Services, elapsed: float) -> int:
    """Tells how many reports are in each state; returns how many are under way."""
    counts = dict(services.db.query("SELECT state, count(*) FROM reports GROUP BY state"))
    told = "  ".join(f"{state} {counts.get(state, 0):>3}" for state in State)
    print(f"{elapsed:5.0f} s  {told}", flush=True)
    return sum(counts.get(state, 0) for state in (State.LISTED, State.DOWNLOADED, State.PARSED))


def _table(stack: Any, services: Services, verdict: Verdict) -> None:
    """What became of it, account by account, beside the emulator's own record."""
    truth = ask(stack.emulator["mws"], "/_emulator/truth")
    database = Database(stack.database_url)
    print(f"\n{'account':<10}{'reports told':>14}{'acknowledged':>14}  lines of")
    for account in services.accounts.names():
        told = [r for r in truth["told_reports"] if r["account"] == account and r["family"]]
        ((finished,),) = database.query(
            "SELECT count(*) FROM reports WHERE account = %s AND state = 'acknowledged'", (account,)
        )
        lines = {name: sum(line["account"] == account for line in truth["families"][name]) for name in FAMILIES}
        of = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in lines.items() if n)
        print(f"{account:<10}{len(told):>14}{finished:>14}  {of}")
    types = {r["report_type"] for r in truth["told_reports"] if r["family"]}
    print(f"{len(types)} report types of {len([n for n in FAMILIES if truth['families'][n]])} families")
    totals = ask(stack.emulator["mws"], "/_emulator/calls?since=1000000000")["totals"]
    faults = ", ".join(f"{kind} {n}" for kind, n in sorted(totals["faults"].items())) or "none"
    heard = ", ".join(f"{kind} {n}" for kind, n in services.notices.counts(timedelta(days=7)).items()) or "none"
    print(f"notifications heard: {heard.replace('_', ' ')}")
    print(
        f"{totals['calls']} calls to Amazon; faults on the way: {faults}; {verdict.lines} lines compared cell by cell\n"
    )


if __name__ == "__main__":
    with ending_on_signals():
        sys.exit(main())
