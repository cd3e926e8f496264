"""Small reports: what a report costs however few rows it has, and what it leaves in the catalog."""

from __future__ import annotations

import io
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.large import in_turns
from benchmarks.made import Made
from benchmarks.rows import BARE, as_told, copier, dump, make_bare, one, same, session
from benchmarks.stage import Ours, Waiting
from orderdrain.families import ALL_ORDERS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.large import Values
    from benchmarks.options import Options
    from benchmarks.stage import Sellers, Stage

ROWS = 50
#: Reports that come before those that count: a session's first has its temporary tables to make.
WARM = 10
TABLE = ALL_ORDERS.table
_CATALOG = (
    "pg_attribute",
    "pg_class",
    "pg_type",
    "pg_depend",
    "pg_index",
    "pg_constraint",
    "pg_attrdef",
    "pg_statistic",
)


def small(stage: Stage, options: Options, told: Callable[[str], None]) -> Values:
    """Reports of 50 rows, one after the other in one session, against COPY and commit of the rows of each."""
    count = WARM + options.small_reports
    ids = [f"{50_000_000_000 + n}" for n in range(count)]
    made = [Made(ALL_ORDERS, options.numbers(ROWS, ROWS * n)) for n in range(count)]
    whole = Made(ALL_ORDERS, options.numbers(ROWS * count))
    values: Values = {"small": [], "small step": [], "small catalog": []}
    with stage.sellers("small", *(Waiting(*pair) for pair in zip(ids, made, strict=True))) as sellers:
        files = _files(sellers, ids)
        for number in range(1, options.rounds + 1):
            with sellers.copied() as url, Ours(stage, url) as ours, session(url) as cursor:
                make_bare(cursor, TABLE)
                for who in in_turns(number, "copy", "ours"):
                    if who == "copy":
                        alone = median(copy_each(url, files)[WARM:])
                    else:
                        ours.parse(*ids[:WARM])
                        before = _catalog_bytes(cursor)
                        said = ours.parse(*ids[WARM:])
                        grown = _catalog_bytes(cursor) - before
                same("rows unlike those of the reports", 0, as_told(cursor, whole))
            took, step = median(said["seconds"]), median(said["steps"])
            values["small"].append(took / alone)
            values["small step"].append(step / alone)
            values["small catalog"].append(grown / options.small_reports)
            ms = f"COPY {1000 * alone:.2f} ms, ours {1000 * took:.2f} ms, the whole step {1000 * step:.2f} ms"
            told(f"round {number}, small: {ms}, catalog {grown:+,} bytes")
    return values


def _files(sellers: Sellers, ids: list[str]) -> list[Path]:
    with sellers.copied() as url, Ours(sellers.stage, url) as ours, session(url) as cursor:
        ours.parse(*ids)
        return [
            dump(cursor, f"(SELECT * FROM {TABLE} WHERE report_id = '{id_}')", sellers.stage.folder / f"small-{id_}")
            for id_ in ids
        ]


def copy_each(url: str, files: list[Path]) -> list[float]:
    """Seconds of COPY and commit of each file, in one session, its bytes already in memory."""
    with copier(url) as copied:
        return [copied({f"{BARE}{TABLE}": io.BytesIO(path.read_bytes())}) for path in files]


def _catalog_bytes(cursor: Any) -> int:
    return sum(one(cursor, "SELECT pg_total_relation_size(%s::regclass)", (name,)) for name in _CATALOG)
