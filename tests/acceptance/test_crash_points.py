"""Death by SIGKILL at every boundary of every step, one at a time: the rest of the system goes on to the same end."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.emulator_process import ROOT


@pytest.fixture
def sweep(postgres_server, redis_server):
    """Runs tests/crash/sweep.py (a process of its own, since it forks) on the servers of this test run."""

    def run(*options):
        servers = {"ORDERDRAIN_TEST_DATABASE_URL": postgres_server, "ORDERDRAIN_TEST_REDIS_URL": redis_server}
        argv = [sys.executable, "-m", "tests.crash.sweep", *options]
        return subprocess.run(
            argv, cwd=ROOT, env={**os.environ, **servers}, capture_output=True, text=True, check=False
        )

    return run


@pytest.mark.timeout(400)
def test_a_death_at_any_boundary_changes_nothing_in_the_end(sweep):
    """The first promise: a step that dies at any instruction leaves a row that says what is left to do."""
    done = sweep()

    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 red" in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not os.environ.get("ORDERDRAIN_TEST_FULL"), reason="set ORDERDRAIN_TEST_FULL=1: it takes minutes")
def test_a_death_at_every_single_effect_changes_nothing_in_the_end(sweep):
    """The short form takes one of each kind of effect; what it left out is the night's."""
    done = sweep("--full")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 red" in done.stdout
