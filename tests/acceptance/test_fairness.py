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
def test_small_accounts_are_done_in_twice_the_time_that_they_need_alone(
    stack_folder, large, accounts, each, sweep_seconds
):
    """A seller who joins with a backlog of months must not keep everybody else's orders back.

    The same accounts with as many new reports each, first alone, then beside the large one, which is listed first.
    """
    emulator = EmulatorOptions(sellers=1 + accounts, backlog=0, orders_per_minute=0, faults="none")
    with (
        running_stack(stack_folder, emulator=emulator, workers=0, beat=False, flower=False) as stack,
        two_processes(stack),
    ):
        system = System(stack, sweep_seconds)
        big, *small = system.accounts
        system.drain(small, 1)  # Each process has opened its connections, each small account has been listed.

        alone = system.drain(small, each)
        system.sell(big, large)
        beside = system.drain(small, each, first=[big])

        waiting = system.unfinished([big])
        print(f"alone {alone:.1f} s, beside the large one {beside:.1f} s, of which {waiting} were left")
        assert waiting > large / 10, "the large one was done before: nothing was shown"
        assert beside <= 2 * alone
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
        """Lists `first`, then `accounts` with as many new reports each; seconds until the last of these is finished."""
        for account in accounts:
            self.sell(account, each)
        expected = self._finished(accounts) + each * len(accounts)
        begun = swept = time.monotonic()
        for account in (*first, *accounts):
            self._app.send_task("reports.list", kwargs={"account": account})
        while self._finished(accounts) < expected:
            time.sleep(0.05)
            if time.monotonic() - swept > self._sweep_seconds:
                self._app.send_task("reports.sweep")
                swept = time.monotonic()
        return time.monotonic() - begun

    def unfinished(self, accounts):
        return self._count(accounts, "state IN ('listed', 'downloaded', 'parsed')")

    def close(self):
        self._app.close()
        self._services.db.close()

    def _finished(self, accounts):
        return self._count(accounts, "state = 'acknowledged'")

    def _count(self, accounts, which):
        sql = f"SELECT count(*) FROM reports WHERE account = ANY(%s) AND {which}"
        ((count,),) = self._services.db.query(sql, (list(accounts),))
        return count
