"""The embedded stack: Postgres, Redis, an emulated Amazon, workers, beat and Flower, from one command on one machine.

    python -m workers.local up             until Ctrl-C; `orderdrain` in another terminal of this checkout finds it
    python -m workers.local accounts URL   adds the sellers of an emulator that was started on its own

The order of starting is the order in which each needs the other; the stack ends in reverse. See workers/janitor.py for
why nothing is left running, however the stack ends.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orderdrain.db import migrate
from orderdrain.errors import DependencyDown, OrderdrainError
from orderdrain.services import Services
from orderdrain.settings import load
from orderdrain.vault import new_key
from workers.config import STEPS
from workers.folders import announced, locked
from workers.judge import ask
from workers.processes import Janitor, Processes, StackError, ending_on_signals, on_free_port
from workers.servers import elsewhere, remove_data, start_postgres, start_redis

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from workers.processes import Process

CHECKOUT = Path(__file__).resolve().parents[1]
#: What makes an embedded stack; each stack has a folder in it.
HOME = CHECKOUT / ".orderdrain"

#: Application seconds in a real one for `make up`: new orders come by the minute, and there is time to look at them.
UP_SPEED = 10


@dataclass(frozen=True)
class EmulatorOptions:
    """The emulator's own options; emulator/README.md says what they mean."""

    seed: int = 1
    sellers: int = 3
    orders_per_minute: float = 2
    backlog: int = 5
    speed: float = 1
    faults: str = "default"
    on_acknowledge: str | None = None
    sp_api_sellers: str | None = None
    families: str = "new_orders"

    def argv(self) -> list[str]:
        given = {name: value for name, value in asdict(self).items() if value is not None}
        return [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", str(value))]


class RunningStack:
    """What runs. `env` is the environment that makes any of our commands use it; `load(stack.env)` its settings."""

    def __init__(self, folder: Path, env: dict[str, str], programs: Processes) -> None:
        self.folder = folder
        self.env = env
        self.emulator: dict[str, Any] = {}
        self.flower_url: str | None = None
        self._programs = programs
        self._workers = 0

    @property
    def database_url(self) -> str:
        return self.env["ORDERDRAIN_DATABASE_URL"]

    @property
    def redis_url(self) -> str:
        return self.env["ORDERDRAIN_REDIS_URL"]

    @property
    def processes(self) -> list[Process]:
        """The emulator, workers, beat and Flower, as far as they run."""
        return list(self._programs)

    def start_emulator(self, options: EmulatorOptions, *, push: bool = False) -> None:
        """Starts the emulated Amazon; `emulator` is then what it tells: its addresses, its sellers with their keys.

        `push`: what is started after it listens to what Amazon announces.
        """
        argv = [sys.executable, "-m", "emulator", "--port", "0", *options.argv()]
        child = self._programs.spawn(
            "emulator", argv, env=self.env, cwd=CHECKOUT, ready=lambda child: bool(_told(child))
        )
        self.emulator = _told(child)
        if push:
            self.env["ORDERDRAIN_NOTIFICATIONS"] = self.emulator["sqs"]

    def start_beat(self, name: str = "beat", *, wait: bool = True) -> None:
        """Starts a beat; a second one needs another name. Without `wait` it may not be ready yet."""
        argv = [*_celery("beat"), "-s", str(self.folder / f"{name}-schedule")]
        self._spawn(name, argv, self.env, wait=wait)

    def add_worker(self, *, concurrency: int = 2, env: Mapping[str, str] | None = None, wait: bool = True) -> str:
        """Starts one more worker for all queues and returns its name. Without `wait` it may not be ready yet.

        `env`: what its environment has besides the stack's.
        """
        self._workers += 1
        name = f"worker-{self._workers}"
        queues = ",".join(f"reports.{step}" for step in STEPS)
        options = ["-Q", queues, "-c", str(concurrency), "-n", f"{name}@%h", "--without-gossip", "--without-mingle"]
        # Asked to end, a worker gives unfinished messages back at once after a while, instead of waiting for ever.
        whole_env = {**self.env, "REMAP_SIGTERM": "SIGQUIT", **(env or {})}
        self._spawn(name, [*_celery("worker"), *options], whole_env, wait=wait)
        return name

    def kill(self, name: str, number: signal.Signals) -> None:
        """Sends a signal to one of the processes, as `kill` would. After SIGKILL, waits until it is gone."""
        self._programs.kill(name, number)

    def watch(self) -> None:
        """Starts a new worker for each that ends, as a supervisor would. Raises StackError when another part ends."""
        while True:
            for process in self.processes:
                if not process.ended:
                    continue
                if not process.name.startswith("worker-"):
                    raise StackError(f"{process.name} ended ({process.ended}). The end of its log:\n{process.tail()}")
                self._programs.stop(process.name)
                print(f"{process.name} ended ({process.ended}); started {self.add_worker()}", flush=True)
            time.sleep(0.5)

    def _spawn(self, name: str, argv: list[str], env: dict[str, str], *, wait: bool) -> None:
        if wait:
            self._programs.spawn_telling(name, argv, env=env, cwd=CHECKOUT)
        else:
            self._programs.spawn(name, argv, env=env, cwd=CHECKOUT, ready=lambda _: True)


@contextmanager
def running_stack(
    folder: Path,
    *,
    emulator: EmulatorOptions | None = None,
    workers: int = 1,
    beat: bool = True,
    flower: bool = True,
    keep: bool = False,
    push: bool = False,
) -> Iterator[RunningStack]:
    """Runs a stack whose data and logs lie in `folder`; with `keep` it goes on with the data of the last time. `push`:
    the emulated Amazon's notifications are listened to.

    ORDERDRAIN_DATABASE_URL and ORDERDRAIN_REDIS_URL, where set, are used instead of starting that server. A stack in
    `.orderdrain/NAME` is told of in `.orderdrain/env`, where our commands look. Raises StackError when a part does not
    start, or when another stack uses the folder.
    """
    with ExitStack() as running:
        lock = running.enter_context(locked(folder))
        if not keep:
            remove_data(folder)
            running.callback(shutil.rmtree, elsewhere(folder), ignore_errors=True)
        (folder / "log").mkdir(parents=True, exist_ok=True)
        janitor = running.enter_context(Janitor(holding=[lock]))
        servers = running.enter_context(Processes(janitor, folder / "log"))
        env = {
            "ORDERDRAIN_ARCHIVE": str(folder / "archive"),
            "ORDERDRAIN_KEYS": _keys(folder / "keys"),
            "ORDERDRAIN_LOG_FORMAT": "text",
            "ORDERDRAIN_BEAT_SPEED": str(emulator.speed if emulator else 1),
            **os.environ,
        }
        env["ORDERDRAIN_DATABASE_URL"] = env.get("ORDERDRAIN_DATABASE_URL") or start_postgres(servers, folder)
        env["ORDERDRAIN_REDIS_URL"] = env.get("ORDERDRAIN_REDIS_URL") or start_redis(servers, folder)
        migrate(load(env).database_url)

        programs = running.enter_context(Processes(janitor, folder / "log"))
        stack = RunningStack(folder, env, programs)
        if emulator:
            stack.start_emulator(emulator, push=push)
        if beat:
            stack.start_beat()
        for _ in range(workers):
            stack.add_worker()
        if flower:
            stack.flower_url = on_free_port(lambda port: _start_flower(programs, env, port))
        if folder.parent.name == HOME.name:
            running.enter_context(announced(folder.with_name("env"), env))
        yield stack


def _keys(path: Path) -> str:
    """A file with a key of this stack's own, made when it is first started."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(f"{new_key('embedded')}\n", encoding="ascii")
    return str(path)


def up() -> None:
    """`make up`: the stack with emulated sellers that go on selling, until a signal."""
    from workers.demo import add_emulator_accounts

    print("starting Postgres, Redis, the emulated Amazon, a worker, beat and Flower ...", flush=True)
    # The emulator forgets, the ledger does not: with the seed of last time, new reports would come under known ids.
    emulator = EmulatorOptions(seed=int(time.time()), sellers=4, sp_api_sellers="delta", families="all", speed=UP_SPEED)
    with running_stack(HOME / "up", emulator=emulator, keep=True, push=True) as stack:
        services = Services.from_settings(load(stack.env))
        _catch_up(stack.emulator["mws"], services)
        accounts = add_emulator_accounts(services, stack.emulator, speed=UP_SPEED)
        print(
            f"Amazon (emulated, {UP_SPEED} times faster than life)  {stack.emulator['mws']}\n"
            f"Flower                                      {stack.flower_url}\n"
            f"logs                                        {stack.folder / 'log'}\n"
            f"accounts                                    {', '.join(accounts)}\n"
            "In another terminal of this folder: .venv/bin/orderdrain status, or make shell. Ctrl-C stops.",
            flush=True,
        )
        try:
            stack.watch()
        finally:
            # While the stack is down, the application's time passes no faster than life.
            services.clock.set(services.clock.now())


def add_accounts(emulator_url: str) -> None:
    """Adds the sellers of the emulator at `emulator_url` to the system that the settings name."""
    from workers.demo import add_emulator_accounts

    services = Services.from_settings(load())
    try:
        urls = {"mws": emulator_url, "sp_api": emulator_url, "lwa": f"{emulator_url}/auth/o2/token"}
        told = {**urls, "accounts": ask(emulator_url, "/_emulator/accounts")}
        speed = ask(emulator_url, "/_emulator/clock")["speed"]
    except OSError as error:
        raise DependencyDown(f"no emulator answers at {emulator_url}: {error}") from error
    _catch_up(emulator_url, services)
    print(f"added {', '.join(add_emulator_accounts(services, told, speed=speed))}")


def _told(emulator: Process) -> dict[str, Any]:
    for line in emulator.log.read_text("utf-8").splitlines(keepends=True):
        if line.startswith("{") and line.endswith("\n"):
            told: dict[str, Any] = json.loads(line)
            return told
    return {}


def _start_flower(programs: Processes, env: dict[str, str], port: int) -> str:
    options = [
        "--address=127.0.0.1",
        f"--port={port}",
        # For looking: its own retry and revoke would go past the ledger. Its history is memory, the ledger's lasts.
        "--read-only",
        "--persistent=False",
        "--max-tasks=20000",
        "--purge-offline-workers=300",
        "--tasks-columns=name,uuid,state,kwargs,result,received,runtime,worker",
    ]
    programs.spawn("flower", [*_celery("flower"), *options], env=env, cwd=CHECKOUT, ready=lambda _: _healthy(port))
    return f"http://127.0.0.1:{port}/"


def _healthy(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/healthcheck")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _catch_up(emulator_url: str, services: Services) -> None:
    """Time never runs backwards: a new emulator begins where the ledger's time has come to."""
    emulated = datetime.fromisoformat(ask(emulator_url, "/_emulator/clock")["now"])
    ahead = (services.clock.now() - emulated).total_seconds()
    if ahead > 0:
        ask(emulator_url, "/_emulator/advance", {"seconds": ahead})


def _celery(command: str) -> list[str]:
    return [sys.executable, "-m", "celery", "-A", "workers", command]


def main(arguments: list[str]) -> int:
    """Exit codes: 0 ended by Ctrl-C, 1 failed, 2 usage, 128 + n ended by signal n."""
    try:
        match arguments:
            case ["up"]:
                with ending_on_signals():
                    up()
            case ["accounts", url]:
                add_accounts(url)
            case _:
                print("usage: python -m workers.local up | accounts URL", file=sys.stderr)
                return 2
    except OrderdrainError as error:
        print(error, file=sys.stderr)
        return 1
    except SystemExit as ended:
        # Ctrl-C is the way to end it.
        return 0 if ended.code == 128 + signal.SIGINT else int(ended.code or 0)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
