"""Postgres: one connection a thread of a process, transactions, and the migrations.

Nothing connects before it is used, and a connection never crosses a fork: Celery's prefork children each open their
own. Within a step the work uses one thread's connection and the renewal of its lease another's.
"""

from __future__ import annotations

import hashlib
import os
import threading
from contextlib import contextmanager
from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg2
import psycopg2.extensions
import psycopg2.extras

from orderdrain.errors import DependencyDown, OrderdrainError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Any number that no other program takes on this database as an advisory lock: two migrations must not run at once.
MIGRATION_LOCK = 7_203_110_409

#: Real seconds after which Postgres ends a session that stands still within a transaction. A worker that is paused then
#: holds its row locks no longer; without it, whoever needs one of these rows would wait until it goes on.
IDLE_SECONDS = 60

#: Either side misses the other half a minute after it has vanished without a word (power, network); the kernel's own
#: default is two hours. These are the server's part, the client's are said where it connects.
_MISSED = "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=4"

#: psycopg2's NamedTupleCursor: rows are read by name. Its published types know neither its methods nor the names.
Cursor = Any

psycopg2.extensions.register_adapter(dict, psycopg2.extras.Json)


class Database:
    """The way to Postgres. `url` is a libpq URL; its password never appears in an error."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._local = threading.local()

    @contextmanager
    def transaction(self) -> Iterator[Cursor]:
        """A cursor in a transaction of its own: committed at the end, rolled back by any exception.

        Raises DependencyDown when Postgres does not answer or goes away in the middle.
        """
        with self._reaching() as connection, connection, _cursor(connection) as cursor:
            yield cursor

    def query(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[Any]:
        """The rows of one statement in a transaction of its own. Postgres begins and commits it by itself, in one round
        trip; `transaction` takes three."""
        with self._reaching(autocommit=True) as connection, _cursor(connection) as cursor:
            cursor.execute(sql, parameters)
            return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        """Closes this thread's connection; the next use opens a new one."""
        connection = getattr(self._local, "connection", None)
        self._local.connection = None
        if connection is not None and self._local.pid == os.getpid():
            connection.close()

    @contextmanager
    def _reaching(self, *, autocommit: bool = False) -> Iterator[Any]:
        try:
            connection = self._connection()
            connection.autocommit = autocommit
            yield connection
        except psycopg2.Error as error:
            if not _went_away(error):
                raise
            self.close()
            raise DependencyDown(f"Postgres at {where(self.url)} does not answer: {_first_line(error)}") from error

    def _connection(self) -> Any:
        local = self._local
        # After a fork the parent's connection belongs to the parent: closing it here would end its session.
        if getattr(local, "connection", None) is None or local.pid != os.getpid() or local.connection.closed:
            local.connection = psycopg2.connect(
                self.url,
                connect_timeout=5,
                application_name="orderdrain",
                options=f"-c timezone=UTC -c jit=off -c idle_in_transaction_session_timeout={IDLE_SECONDS}s {_MISSED}",
                keepalives_idle=10,
                keepalives_interval=5,
                keepalives_count=4,
                tcp_user_timeout=30_000,
            )
            local.pid = os.getpid()
        return local.connection


def migrate(url: str) -> list[str]:
    """Applies what is missing of migrations/*.sql, in one transaction; returns the names applied.

    Two at once wait for each other. Raises OrderdrainError when a file that was applied has changed since or is gone:
    then this code and that database are not of one history.
    """
    database = Database(url)
    try:
        with database.transaction() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '60s'")
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))
            cursor.execute(
                "CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, sha256 text NOT NULL,"
                " applied_at timestamptz NOT NULL DEFAULT now())"
            )
            cursor.execute("SELECT name, sha256 FROM migrations")
            applied: dict[str, str] = dict(cursor.fetchall())
            files = _migration_files()
            _same_history(applied, files)
            missing = sorted(files.keys() - applied.keys())
            for name in missing:
                cursor.execute(files[name])
                cursor.execute("INSERT INTO migrations (name, sha256) VALUES (%s, %s)", (name, _sha256(files[name])))
            return missing
    finally:
        database.close()


def pending_migrations(url: str) -> list[str]:
    """The names that `migrate` would apply."""
    database = Database(url)
    try:
        with database.transaction() as cursor:
            cursor.execute("SELECT to_regclass('migrations') IS NOT NULL AS there")
            row = cursor.fetchone()
            if not row or not row.there:
                return sorted(_migration_files())
            cursor.execute("SELECT name, sha256 FROM migrations")
            return sorted(_migration_files().keys() - dict(cursor.fetchall()).keys())
    finally:
        database.close()


def where(url: str) -> str:
    """`host:port/database` of a URL, for messages."""
    parts = urlsplit(url)
    return f"{parts.hostname or 'local socket'}:{parts.port or 5432}{parts.path}"


def _went_away(error: psycopg2.Error) -> bool:
    """Whether it says that the connection broke. In the middle of an answer psycopg2 has no class of its own for that
    (seen in a chaos run); an error of the server's has a code."""
    nameless = type(error) is psycopg2.DatabaseError and error.pgcode is None
    return nameless or isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)


def _cursor(connection: Any) -> Any:
    return connection.cursor(cursor_factory=psycopg2.extras.NamedTupleCursor)


def _migration_files() -> dict[str, str]:
    folder = resources.files("orderdrain") / "migrations"
    return {item.name: item.read_text("utf-8") for item in folder.iterdir() if item.name.endswith(".sql")}


def _same_history(applied: dict[str, str], files: dict[str, str]) -> None:
    for name, digest in sorted(applied.items()):
        if name not in files:
            raise OrderdrainError(f"migration {name} was applied to this database, but this version has no such file")
        if _sha256(files[name]) != digest:
            raise OrderdrainError(f"migration {name} was changed after it was applied to this database")


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
