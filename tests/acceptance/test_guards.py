"""What holds the promises is itself tested: without any one guard, the crash harness must see a promise broken."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.crash.guards import GUARDS
from tests.emulator_process import ROOT


@pytest.fixture(scope="module")
def told(postgres_server, redis_server):
    """What tests/crash/selfcheck.py says of each guard; a process of its own, since it forks."""
    servers = {"ORDERDRAIN_TEST_DATABASE_URL": postgres_server, "ORDERDRAIN_TEST_REDIS_URL": redis_server}
    argv = [sys.executable, "-m", "tests.crash.selfcheck"]
    done = subprocess.run(argv, cwd=ROOT, env={**os.environ, **servers}, capture_output=True, text=True, check=False)
    assert "guards" in done.stdout, done.stderr
    return dict(line.rsplit(": ", 1) for line in done.stdout.splitlines())


@pytest.mark.timeout(300)
@pytest.mark.parametrize("guard", [guard.name for guard in GUARDS])
def test_without_a_guard_a_promise_is_broken(told, guard):
    """A guard whose removal nothing notices is either not needed, or not tested."""
    assert told[f"guard {guard}"].startswith("red ("), told


@pytest.mark.timeout(300)
def test_with_every_guard_the_same_days_end_well(told):
    """Red must come from the missing guard, not from the day."""
    days = {day: said for day, said in told.items() if day.startswith("every guard")}
    assert set(days.values()) == {"green"}, days
