"""Rows: whether ours are those that the report tells, a peer's those of ours, and how fast COPY alone writes them."""

from __future__ import annotations

import io
import time
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

import psycopg2

from orderdrain.families import EXTRA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from benchmarks.made import Made
    from orderdrain.families import Family

#: Where COPY alone writes: `bare_order_lines` beside `order_lines`.
BARE = "bare_"


class Differ(Exception):
    """Somebody wrote other rows than they had to: how long they took means nothing."""


@contextmanager
def session(url: str) -> Iterator[Any]:
    """A cursor; each statement commits by itself."""
    with closing(psycopg2.connect(url, options="-c timezone=UTC")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor


def one(cursor: Any, sql: str, parameters: Sequence[Any] = ()) -> Any:
    """The one value of a query."""
    cursor.execute(sql, parameters)
    return cursor.fetchone()[0]


def tables(family: Family) -> dict[str, list[str]]:
    """The tables that a family fills, each with the columns that reports decide: key, version and content."""
    groups = [field for fields in family.buyer_groups.values() for field in fields]
    return {
        family.table: list(dict.fromkeys(["account", *family.key, *family.version, *family.line_fields])),
        "buyers": ["account", "family", "order_id", "line_key", "versions", *groups],
    }


def fingerprint(cursor: Any, family: Family, prefix: str = "") -> dict[str, tuple[int, int]]:
    """Table -> number of rows, and a sum that is the same for the same rows in any order."""
    told = {}
    for table, columns in tables(family).items():
        cursor.execute(
            f"SELECT count(*), coalesce(sum(hashtextextended(row({', '.join(columns)})::text, 0)::numeric), 0)"
            f" FROM {prefix}{table}"
        )
        told[table] = cursor.fetchone()
    return told


def same(what: str, expected: object, actual: object) -> None:
    """Raises Differ where they are not equal."""
    if expected != actual:
        raise Differ(f"{what}: {actual}, where it should be {expected}")


# ----------------------------------------------------------------------------------------------- ours, by the report


def as_told(cursor: Any, made: Made) -> int:
    """How many rows of ours are not what the report says, or are missing, in both tables."""
    lines, buyers = list(made.family.line_fields), [*sum(made.family.buyer_groups.values(), ())]
    said = list(made.expected())
    whole = [buyer for _, buyer in said if any(buyer.get(f) for f in buyers if f != EXTRA) or buyer[EXTRA] != "{}"]
    key = [k for k in made.family.key if k not in lines]
    return _unlike(cursor, made.family.table, [*key, *lines], (line for line, _ in said)) + _unlike(
        cursor, "buyers", ["order_id", "line_key", *buyers], whole
    )


def _unlike(cursor: Any, table: str, columns: Sequence[str], rows: Iterable[Mapping[str, str | None]]) -> int:
    names = ", ".join(columns)
    cursor.execute(f"CREATE TEMPORARY TABLE expected AS SELECT {names} FROM {table} LIMIT 0")
    body = io.StringIO()
    for row in rows:
        body.write("\t".join(_cell(row.get(column)) for column in columns) + "\n")
    body.seek(0)
    cursor.copy_expert(f"COPY expected ({names}) FROM STDIN", body)
    count = differing(cursor, f"SELECT {names} FROM {table}", "SELECT * FROM expected")
    cursor.execute("DROP TABLE expected")
    return count


def differing(cursor: Any, these: str, those: str) -> int:
    """How many rows are in one of two queries and not in the other."""
    return one(
        cursor,
        f"SELECT (SELECT count(*) FROM ({these} EXCEPT ALL {those}) a)"
        f" + (SELECT count(*) FROM ({those} EXCEPT ALL {these}) b)",
    )


def _cell(value: str | None) -> str:
    return "\\N" if value is None else value.replace("\\", "\\\\")


# ------------------------------------------------------------------------------------------------------ COPY alone


def dump(cursor: Any, source: str, path: Path, form: str = "") -> Path:
    """Writes a table, or a query in parentheses, to a file, ready to be copied back."""
    with path.open("wb") as file:
        cursor.copy_expert(f"COPY {source} TO STDOUT {form}", file)
    return path


def make_bare(cursor: Any, table: str, like: str = "INCLUDING ALL") -> str:
    """An empty table with the same columns, key and settings; its name."""
    options = one(cursor, "SELECT array_to_string(reloptions, ', ') FROM pg_class WHERE oid = %s::regclass", (table,))
    cursor.execute(f"DROP TABLE IF EXISTS {BARE}{table}")
    cursor.execute(f"CREATE TABLE {BARE}{table} (LIKE {table} {like}) WITH ({options or 'fillfactor = 100'})")
    return f"{BARE}{table}"


@contextmanager
def copier(url: str) -> Iterator[Callable[[Mapping[str, BinaryIO]], float]]:
    """Copies files into their tables, in a transaction with its commit, and tells how long that took: in one session,
    which is there before."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        connection.commit()

        def copied(files: Mapping[str, BinaryIO]) -> float:
            began = time.perf_counter()
            for table, file in files.items():
                cursor.copy_expert(f"COPY {table} FROM STDIN", file, 1 << 18)
            connection.commit()
            return time.perf_counter() - began

        yield copied


def copy_seconds(url: str, paths: Mapping[str, Path]) -> float:
    """How long COPY of each file into its table takes, and the commit of all."""
    with copier(url) as copied, ExitStack() as open_files:
        return copied({table: open_files.enter_context(path.open("rb")) for table, path in paths.items()})
