"""Where everything is measured: one Postgres and one Redis, an account whose reports wait to be parsed, and a copy
of its database for each round, so that each begins with the same tables.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit, urlunsplit

import psycopg2

from benchmarks.made import CONTENT_TYPE
from orderdrain.accounts import Account
from orderdrain.amazon import ListedReport
from orderdrain.archive import key_for
from orderdrain.db import migrate
from orderdrain.reports import ReportKey, State
from orderdrain.services import Services
from orderdrain.settings import load
from workers.processes import Janitor, Processes
from workers.servers import remove_data, start_postgres, start_redis

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.made import Made

CHECKOUT = Path(__file__).resolve().parents[1]
ACCOUNT, API = "acme", "sp-api"
#: Commits are synced, as in production. Checkpoints and vacuums come when the benchmark says so, or they would hit
#: whoever happens to run.
POSTGRES = ("shared_buffers=1GB", "max_wal_size=8GB", "checkpoint_timeout=1h", "autovacuum=off")
#: When Amazon finished the first report; the nth is a minute newer for each step of `age`.
_MADE_AT = datetime(2026, 11, 24, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Waiting:
    """A report that waits to be parsed. Of the same `age` (minutes), the one with the lower id is older."""

    report_id: str
    made: Made
    age: int = 0


@dataclass(frozen=True)
class Stage:
    """The servers, and a folder for files and the archive."""

    postgres_url: str
    redis_url: str
    folder: Path

    def env(self, database_url: str) -> dict[str, str]:
        """The settings of a process of ours."""
        return {
            "ORDERDRAIN_DATABASE_URL": database_url,
            "ORDERDRAIN_REDIS_URL": self.redis_url,
            "ORDERDRAIN_ARCHIVE": str(self.folder / "archive"),
            "ORDERDRAIN_LOG_LEVEL": "error",
        }

    @contextmanager
    def sellers(self, name: str, *reports: Waiting) -> Iterator[Sellers]:
        """A database in which an account has these reports, downloaded; to be copied."""
        with self.database("template0") as url:
            migrate(url)
            services = Services.from_settings(load(self.env(url), start=self.folder))
            _open_account(services)
            for report in reports:
                _bring(services, report, self.folder / "report.txt")
            services.db.close()
            yield Sellers(self, name, url)

    @contextmanager
    def database(self, template: str) -> Iterator[str]:
        """The URL of a copy of a database, gone at the end."""
        name = f"bench_{secrets.token_hex(6)}"
        _run(self.postgres_url, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        try:
            yield urlunsplit(urlsplit(self.postgres_url)._replace(path=f"/{name}"))
        finally:
            _run(self.postgres_url, f'DROP DATABASE "{name}" WITH (FORCE)')


@dataclass(frozen=True)
class Sellers:
    """A database with reports that wait."""

    stage: Stage
    name: str
    url: str

    @contextmanager
    def copied(self) -> Iterator[str]:
        """The URL of a copy, in which all begins anew. Everything before it is on disk."""
        _run(self.stage.postgres_url, "CHECKPOINT")
        with self.stage.database(urlsplit(self.url).path.lstrip("/")) as url:
            yield url


@contextmanager
def open_stage() -> Iterator[Stage]:
    """Servers of its own; all of it is gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="orderdrain-bench-"))
    folder.chmod(0o711)  # Postgres may run as another user
    try:
        with Janitor() as janitor, Processes(janitor, folder) as processes:
            url = start_postgres(processes, folder, options=POSTGRES)
            yield Stage(url, start_redis(processes, folder), folder)
    finally:
        remove_data(folder)


class Ended(Exception):
    """A process that was to answer has ended instead; the message holds the last line that it wrote."""


class Answering:
    """A process that answers lines of JSON (benchmarks/answering.py)."""

    def __init__(self, module: str, *, python: str = sys.executable, env: dict[str, str] | None = None) -> None:
        self._module = module
        self._said = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - closed at exit
        self._popen = subprocess.Popen(
            [python, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            cwd=CHECKOUT,
            # What the person at this terminal has set for a stack of theirs must not reach what is measured.
            env={name: value for name, value in os.environ.items() if not name.startswith("ORDERDRAIN_")} | (env or {}),
            text=True,
        )

    def __enter__(self) -> Self:
        self.hear()
        return self

    def __exit__(self, error: object, *_: object) -> None:
        if error:
            self._popen.kill()  # it may have minutes to go, and nobody waits for what it will say
        with suppress(BrokenPipeError):
            self._popen.stdin.close()
        self._popen.stdout.close()
        self._popen.wait()
        self._said.close()

    def ask(self, **what: Any) -> dict[str, Any]:
        """What it says to that. Raises Ended."""
        self.tell(**what)
        return self.hear()

    def tell(self, **what: Any) -> None:
        """Lets it begin; `hear` waits for what it says."""
        with suppress(BrokenPipeError):  # it has ended: `hear` says why
            self._popen.stdin.write(json.dumps(what) + "\n")
            self._popen.stdin.flush()

    def hear(self) -> dict[str, Any]:
        line = self._popen.stdout.readline()
        if not line:
            self._popen.wait()
            self._said.seek(0)
            last = (self._said.read().strip().splitlines() or ["it said nothing"])[-1]
            raise Ended(f"{self._module} has ended: {last}")
        return dict(json.loads(line))


class Ours(Answering):
    """A process of ours, on one database."""

    def __init__(self, stage: Stage, database_url: str) -> None:
        super().__init__("benchmarks.ours", env=stage.env(database_url))

    def parse(self, *report_ids: str) -> dict[str, Any]:
        """{"seconds": [one a report], "steps": [with lock and lease], "failed": [why], "peak_mb": ...}"""
        return self.ask(account=ACCOUNT, api=API, reports=report_ids)


def again(cursor: Any, report_id: str) -> None:
    """The report waits to be parsed once more, as after a restored backup."""
    cursor.execute("UPDATE reports SET state = 'downloaded' WHERE report_id = %s", (report_id,))


def _open_account(services: Services) -> None:
    """An account that nobody would let call Amazon: nothing here does."""
    services.accounts.add_application("main", api=API, key_id="none", secret="none")  # noqa: S106 - there is none
    account = Account(ACCOUNT, "ACME", ("ATVPDKIKX0DER",), {}, manage_schedules=False)
    told = {"api": API, "application": "main", "endpoint": "http://127.0.0.1:1", "token": "none"}
    services.accounts.add(account, **told, list_every=timedelta(days=1))


def _bring(services: Services, waiting: Waiting, path: Path) -> None:
    """Lists and downloads a report, so to say."""
    waiting.made.write(path)
    available_at = _MADE_AT + timedelta(minutes=waiting.age)
    listed = ListedReport(waiting.report_id, waiting.made.report_type, available_at, acknowledged=False)
    services.ledger.enter(ACCOUNT, API, [listed], listing=0, worker="bench", request_id=None)
    lease = services.ledger.lease(ReportKey(ACCOUNT, API, waiting.report_id), State.LISTED, "bench")
    if lease is None:
        raise RuntimeError(f"report {waiting.report_id} cannot be leased")
    archive_key = key_for(ACCOUNT, API, waiting.report_id, lease.fence, available_at)
    with services.archive.writer(archive_key) as writer, path.open("rb") as file:
        while block := file.read(1 << 20):
            writer.write(block)
        stored = writer.commit()
    services.ledger.downloaded(
        lease,
        archive_key=stored.key,
        size=stored.size,
        sha256=stored.sha256,
        content_type=CONTENT_TYPE,
        request_id=None,
    )


def _run(url: str, statement: str) -> None:
    connection = psycopg2.connect(url)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()
