"""Postgres: one connection a thread of a process, transactions, and the migrations.

Nothing connects before it is used, and a connection never crosses a fork: Celery's prefork children each open their
own. Within a step the work uses one thread's connection and the renewal of its lease another's.
"""

from __future__ import annotations

import hashlib
import os
import threading
from contextlib import contextmanager, suppress
from importlib import resources
from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg2
import psycopg2.extensions
import psycopg2.extras
from psycopg2.extensions import TRANSACTION_STATUS_INERROR, TRANSACTION_STATUS_INTRANS

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

_BEGIN = b"BEGIN;"
#: A session that is within a transaction.
_WITHIN = (TRANSACTION_STATUS_INTRANS, TRANSACTION_STATUS_INERROR)

#: Statements that a session keeps planned: more than there are, unless reports come in layouts without end.
MAX_PREPARED = 200

#: `_Cursor` below: rows are read by name. psycopg2's published types know neither its methods nor the names.
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
        with self._reaching() as connection, connection.cursor() as cursor:
            cursor.begin()
            try:
                yield cursor
                cursor.commit()
            except BaseException:
                # Any of them: a time limit strikes wherever it likes.
                with suppress(psycopg2.Error):  # then the session is gone, and why says the first error
                    cursor.rollback()
                raise

    @contextmanager
    def for_show(self) -> Iterator[Cursor]:
        """A cursor in a transaction that is rolled back at its end, in a session of its own: what this thread does
        meanwhile by `self` is committed as always."""
        own = Database(self.url)
        try:
            with own.transaction() as cursor:
                yield cursor
                cursor.rollback()
                cursor.begin()
        finally:
            own.close()

    def query(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = (), *, prepared: bool = False) -> list[Any]:
        """The rows of one statement in a transaction of its own; `prepared` as `execute_prepared`. Postgres begins and
        commits it by itself, in one round trip; `transaction` takes two."""
        with self._reaching() as connection, connection.cursor() as cursor:
            (cursor.execute_prepared if prepared else cursor.execute)(sql, parameters)
            return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        """Closes this thread's connection; the next use opens a new one."""
        connection = getattr(self._local, "connection", None)
        self._local.connection = None
        if connection is not None and self._local.pid == os.getpid():
            connection.close()

    @contextmanager
    def _reaching(self) -> Iterator[Any]:
        try:
            connection = self._connection()
            if connection.info.transaction_status in _WITHIN:
                raise AssertionError("this thread is within a transaction: what it does must go through its cursor")
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
                connection_factory=_Connection,
                cursor_factory=_Cursor,
                connect_timeout=5,
                application_name="orderdrain",
                options=f"-c timezone=UTC -c jit=off -c idle_in_transaction_session_timeout={IDLE_SECONDS}s {_MISSED}",
                keepalives_idle=10,
                keepalives_interval=5,
                keepalives_count=4,
                tcp_user_timeout=30_000,
            )
            # Transactions are begun by `_Cursor`: psycopg2 would take a round trip of its own for that.
            local.connection.autocommit = True
            local.pid = os.getpid()
        return local.connection


class _Connection(psycopg2.extensions.connection):
    """A session, with what it knows for as long as it lasts."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        #: Statement -> what executes it, of those that are prepared.
        self.prepared: dict[str, str] = {}
        #: Names for them. None is taken twice: whom a time limit strikes does not know whether his was.
        self.names = (f"prepared_{n}" for n in count())
        #: What was seen committed and never changes, by whoever has seen it.
        self.seen: dict[Any, Any] = {}


class _Cursor(psycopg2.extras.NamedTupleCursor):
    """psycopg2's cursor whose rows are read by name, with fewer round trips: a transaction begins with its first
    statement, and long statements are planned once a session."""

    connection: _Connection

    #: What goes before the next statement, in its round trip.
    _first = b""

    def begin(self) -> None:
        """The next statement begins a transaction."""
        self._first = _BEGIN

    def commit(self) -> None:
        """Ends the transaction; where nothing was said in it, nothing is sent."""
        if self._first != _BEGIN:
            self.execute("COMMIT")

    def rollback(self) -> None:
        """Undoes the transaction, if a statement has begun it."""
        self._first = b""
        if not self.connection.closed and self.connection.info.transaction_status in _WITHIN:
            self.execute("ROLLBACK")

    def with_next(self, sql: str, parameters: Any = None) -> None:
        """As `execute`, in the round trip of the next statement; nobody hears what it says."""
        self._first += self.mogrify(sql, parameters) + b";"

    def execute(self, query: Any, parameters: Any = None) -> None:
        first, self._first = self._first, b""
        if first:
            query, parameters = first + self.mogrify(query, parameters), None
        super().execute(query, parameters)  # type: ignore[no-untyped-call]

    def copy_expert(self, *told: Any, **options: Any) -> None:
        first, self._first = self._first, b""
        if first:
            self.execute(first)
        super().copy_expert(*told, **options)

    def execute_prepared(self, sql: str, parameters: Any) -> None:
        """As `execute`, for what each step executes: of a long statement the planning takes longer than the rest.

        Postgres plans it anew where its tables have changed, so its result must name its columns: with `*` it would be
        refused in the sessions that are older than a migration. The types of parameters are found by their places.
        """
        self.execute(self.prepared(sql), parameters)

    def prepared(self, sql: str) -> str:
        """What executes it, prepared in this session."""
        known = self.connection.prepared
        if sql not in known:
            if len(known) >= MAX_PREPARED:
                self.execute("DEALLOCATE ALL")
                known.clear()
            places, name = _Places(), next(self.connection.names)
            self.execute(f"PREPARE {name} AS {sql % places}")
            given = ", ".join(f"%({place})s" for place in places)
            known[sql] = f"EXECUTE {name}" + f" ({given})" * bool(given)
        return known[sql]


class _Places(dict[str, str]):
    """Parameter -> its place in a prepared statement, in the order in which they are asked for."""

    def __missing__(self, name: str) -> str:
        return self.setdefault(name, f"${len(self) + 1}")


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
