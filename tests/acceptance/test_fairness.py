"""One account with thousands of reports beside many small ones: real workers, an emulated Amazon, quotas wide open."""

from __future__ import annotations

import time

import pytest
from celery import Celery

from benchmarks.engine import two_processes
from orderdrain.services import Services
from orderdrain.settings import load
from workers.config import configuration
from workers.demo import add_emulator_accounts
from workers.judge import ask
from workers.local import EmulatorOptions, running_stack


@pytest.mark.parametrize(
    ("large", "accounts", "each", "sweep_seconds"),
    [
        pytest.param(500, 50, 4, 1, id="500 beside 50 x 4", marks=pytest.mark.timeout(300)),
        pytest.param(5000, 500, 10, 10, id="5000 beside 500 x 10", marks=[pytest.mark.slow, pytest.mark.timeout(2400)]),
    ],
)
def test_while_small_accounts_are_drained_a_large_one_gets_no_more_done_than_they(
    stack_folder, large, accounts, each, sweep_seconds
):
    """A seller who joins with a backlog of months must not keep everybody else's orders back: at the worst they wait
    twice as long as they would alone. The large one is listed first."""
    emulator = EmulatorOptions(sellers=1 + accounts, backlog=0, orders_per_minute=0, faults="none")
    with (
        running_stack(stack_folder, emulator=emulator, workers=0, beat=False, flower=False) as stack,
        two_processes(stack),
    ):
        system = System(stack, sweep_seconds)
        big, *small = system.accounts
        system.drain(small, 1)  # Each process has opened its connections, each small account has been listed.

        system.sell(big, large)
        system.drain(small, each, first=[big])

        # Reports, not seconds: how fast the machine is changes neither.
        known, begun = system.count([big], "true"), system.count([big], "state <> 'listed'")
        print(f"beside {each * len(small)} small ones {begun} of {known} large ones were downloaded")
        assert known > each * len(small), "the large one could not have got more: nothing was shown"
        assert begun <= each * len(small)
        system.close()


class System:
    """A running stack, driven as beat and the sellers would."""

    def __init__(self, stack, sweep_seconds):
        self._amazon, self._sweep_seconds = stack.emulator["mws"], sweep_seconds
        settings = load(stack.env)
        self._services = Services.from_settings(settings)
        self._app = Celery("fairness", set_as_current=False)
        self._app.conf.update(configuration(settings))
        self.accounts = add_emulator_accounts(self._services, stack.emulator)
        for operation in ("GetReport", "GetReportList", "GetReportListByNextToken", "UpdateReportAcknowledgements"):
            limit = {"operation": operation, "max": 1_000_000, "restore_seconds": 0.001, "hourly": 10_000_000}
            ask(self._amazon, "/_emulator/quota", limit)

    def sell(self, account, reports):
        ask(self._amazon, "/_emulator/reports", {"account": account, "count": reports})

    def drain(self, accounts, each, *, first=()):
        """Lists `first`, then `accounts` with as many new reports each, until the last of these is finished."""
        for account in accounts:
            self.sell(account, each)
        expected = self._finished(accounts) + each * len(accounts)
        swept = time.monotonic()
        for account in (*first, *accounts):
            self._app.send_task("reports.list", kwargs={"account": account})
        while self._finished(accounts) < expected:
            time.sleep(0.05)
            if time.monotonic() - swept > self._sweep_seconds:
                self._app.send_task("reports.sweep")
                swept = time.monotonic()

    def count(self, accounts, which):
        sql = f"SELECT count(*) FROM reports WHERE account = ANY(%s) AND {which}"
        ((count,),) = self._services.db.query(sql, (list(accounts),))
        return count

    def close(self):
        self._app.close()
        self._services.db.close()

    def _finished(self, accounts):
        return self.count(accounts, "state = 'acknowledged'")
