"""The whole stack: found by our commands, one a folder, watched while it runs, gone when its parent is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from orderdrain.clock import Clock
from orderdrain.db import Database
from orderdrain.errors import SettingsError
from orderdrain.settings import load
from workers.local import EmulatorOptions, running_stack
from workers.processes import StackError

CHECKOUT = Path(__file__).resolve().parents[2]

#: A program that runs everything there is, tells what it runs, and watches over it.
PARENT = """
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from workers.local import *
with ending_on_signals(), running_stack(Path(sys.argv[1]), emulator=EmulatorOptions(faults="none")) as stack:
    print(*(f"{process.name}={process.pid}" for process in stack.processes), flush=True)
    stack.watch()
"""


@pytest.fixture
def folder(stack_folder):
    return stack_folder / ".orderdrain" / "stack"


def test_commands_in_the_checkout_find_a_running_stack_and_no_stopped_one(folder):
    """`orderdrain` in another terminal needs no setting."""
    with running_stack(folder, workers=0, beat=False, flower=False) as stack:
        settings = load({}, start=folder.parent.parent)
        assert (settings.database_url, settings.redis_url) == (stack.database_url, stack.redis_url)
        assert (folder.parent / "env").stat().st_mode & 0o777 == 0o600
    with pytest.raises(SettingsError, match="ORDERDRAIN_DATABASE_URL is not set"):
        load({}, start=folder.parent.parent)


def test_servers_that_the_user_names_are_used_and_not_started(folder, database_url, redis_url, monkeypatch):
    """Somebody who has a Postgres wants the orders in that one."""
    monkeypatch.setenv("ORDERDRAIN_DATABASE_URL", database_url)
    monkeypatch.setenv("ORDERDRAIN_REDIS_URL", redis_url)
    with running_stack(folder, workers=0, beat=False, flower=False) as stack:
        assert (stack.database_url, stack.redis_url) == (database_url, redis_url)
        assert not list((folder / "log").iterdir())


def test_a_second_stack_in_the_same_folder_is_refused(folder, database_url, redis_url, monkeypatch):
    """Two Postgres on one set of files would spoil it."""
    monkeypatch.setenv("ORDERDRAIN_DATABASE_URL", database_url)
    monkeypatch.setenv("ORDERDRAIN_REDIS_URL", redis_url)
    with running_stack(folder, workers=0, beat=False, flower=False):
        with (
            pytest.raises(StackError, match=r"a stack already runs in .* \(process \d+\)"),
            running_stack(folder, workers=0, beat=False, flower=False),
        ):
            pass
        # The one that was refused must not have taken away what the first one wrote.
        assert (folder.parent / "env").exists()


def test_a_part_that_cannot_start_ends_the_stack_with_the_reason(folder, database_url, redis_url, monkeypatch):
    """The emulator's own words, not a time-out."""
    monkeypatch.setenv("ORDERDRAIN_DATABASE_URL", database_url)
    monkeypatch.setenv("ORDERDRAIN_REDIS_URL", redis_url)
    emulator = EmulatorOptions(faults="/no/such/file")
    with pytest.raises(StackError, match=r"emulator ended while starting (.|\n)*/no/such/file"):
        running_stack(folder, emulator=emulator).__enter__()


def test_a_killed_worker_is_replaced_and_a_killed_stack_leaves_nothing(folder):
    """What a supervisor does in production; and SIGKILL must end the emulator, beat, Flower and pools, too."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(folder)], cwd=CHECKOUT, stdout=subprocess.PIPE)
    pids = dict(word.split("=") for word in parent.stdout.readline().decode().split())
    assert set(pids) == {"emulator", "beat", "worker-1", "flower"}
    psutil.Process(int(pids["worker-1"])).kill()
    assert parent.stdout.readline() == b"worker-1 ended (SIGKILL); started worker-2\n"
    descendants = psutil.Process(parent.pid).children(recursive=True)
    assert len(descendants) > 12
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs(descendants, timeout=10)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []
    # Its folder is free at once: whoever restarts it is not told that it still runs.
    with running_stack(folder, workers=0, beat=False, flower=False) as stack:
        assert stack.database_url


def test_the_end_of_a_part_ends_the_stack_with_its_log(folder):
    """A stack without its emulator or its beat looks alive and drains nothing."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(folder)], cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    pids = dict(word.split("=") for word in parent.stdout.readline().decode().split())
    psutil.Process(int(pids["beat"])).send_signal(signal.SIGKILL)
    _, told = parent.communicate(timeout=30)
    assert "beat ended (SIGKILL). The end of its log:" in told.decode()
    assert parent.returncode == 1


def test_an_emulator_that_runs_on_its_own_gives_its_sellers_and_never_sets_time_back(database_url, redis_url, emulator):
    """What compose's emulator profile does; a ledger whose time ran back would wait for hours that have passed."""
    ahead = datetime.now(UTC) + timedelta(hours=5)
    Clock(Database(database_url)).set(ahead)
    env = {**os.environ, "ORDERDRAIN_DATABASE_URL": database_url, "ORDERDRAIN_REDIS_URL": redis_url}
    command = [sys.executable, "-m", "workers.local", "accounts", emulator.url]
    told = subprocess.run(command, cwd=CHECKOUT, env=env, capture_output=True, text=True, check=True).stdout
    assert told == "added acme, bravo, cedar\n"
    accounts = Database(database_url).query("SELECT account FROM accounts ORDER BY account")
    assert [account for (account,) in accounts] == ["acme", "bravo", "cedar"]
    assert datetime.fromisoformat(emulator.get("/_emulator/clock")["now"]) > ahead
    assert Clock(Database(database_url)).now() > ahead
