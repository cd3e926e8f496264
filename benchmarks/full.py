"""A table of many rows: what a report costs there, against COPY there, and against a fresh table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.large import Phase, Values, in_turns, parse, settle
from benchmarks.made import Made
from benchmarks.rows import as_told, copy_seconds, differing, dump, make_bare, same, session, tables
from benchmarks.stage import Ours, Waiting, again
from orderdrain.families import ALL_ORDERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.options import Options
    from benchmarks.stage import Stage

TABLE = ALL_ORDERS.table
#: The one older report that has told all of them.
OLD = "40000000000"


def full(stage: Stage, options: Options, told: Callable[[str], None]) -> Values:
    """A fifth of the rows of a large report into an account that has 5,000,000; and that report again."""
    made = Made(ALL_ORDERS, options.numbers(options.rows // 5))
    load, repeat = Phase("full", "50000000002", made), Phase("full", "50000000002", made, repeats=True)
    columns = ", ".join(tables(ALL_ORDERS)[TABLE])
    values: Values = {"full load": [], "full again": []}
    with stage.sellers("fresh", Waiting("50000000002", made)) as fresh, fresh.copied() as url:
        path = stage.folder / "full"
        with Ours(stage, url) as ours, session(url) as cursor:
            parse(ours, cursor, load)
            same("rows unlike those of the report", 0, as_told(cursor, made))
            dump(cursor, TABLE, path)
            told(f"filling a table with {options.table_rows:,} rows, and one for COPY alone ...")
            bare = _fill(cursor, options.table_rows)
        for number in range(1, options.rounds + 1):
            with Ours(stage, url) as ours, session(url) as cursor:
                for who in in_turns(number, "copy", "ours"):
                    if who == "copy":
                        alone = copy_seconds(url, {bare: path})
                    else:
                        again(cursor, load.report_id)
                        took = parse(ours, cursor, load)
                        repeated = parse(ours, cursor, repeat)
                told_by = f"SELECT {columns} FROM {{}} WHERE report_id = '{load.report_id}'"
                unlike = differing(cursor, told_by.format(TABLE), told_by.format(bare))
                same("rows unlike those that were copied", 0, unlike)
                _remove(cursor, load.report_id, TABLE, bare)
            with fresh.copied() as empty, Ours(stage, empty) as ours, session(empty) as cursor:
                parse(ours, cursor, load)
                settle(cursor, ALL_ORDERS)
                at_first = parse(ours, cursor, repeat)
            values["full load"].append(alone / took)
            values["full again"].append(repeated / at_first)
            seconds = f"COPY {alone:.2f} s, ours {took:.2f} s, again {repeated:.2f} s (fresh table: {at_first:.2f} s)"
            told(f"round {number}, full: {seconds}")
    return values


def _fill(cursor: Any, rows: int) -> str:
    """Many rows of one older report, in our table and in the one for COPY alone, among whose keys the new ones fall.
    The keys' index is made at the end: that is the fast way. Returns the bare table."""
    cursor.execute("SET session_replication_role = replica")
    bare = make_bare(cursor, TABLE, "INCLUDING DEFAULTS")
    cursor.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped", (TABLE,)
    )
    made = {
        "order_id": "concat_ws('-', 701 + n %% 7, lpad((n * 7919 %% 10000000)::text, 7, '0'), lpad(n::text, 7, '0'))",
        "line_key": "(20000000000000 + n)::text",
        "order_item_id": "(20000000000000 + n)::text",
        "report_id": f"'{OLD}'",
        "as_of": "s.as_of - interval '1 day'",
    }
    names = [name for (name,) in cursor.fetchall()]
    values = ", ".join(made.get(name, f"s.{name}") for name in names)
    cursor.execute(f"ALTER TABLE {TABLE} DROP CONSTRAINT {TABLE}_pkey")
    cursor.execute(
        f"INSERT INTO {TABLE} ({', '.join(names)}) SELECT {values}"
        f" FROM (SELECT * FROM {TABLE} LIMIT 1) s, generate_series(1::bigint, %s) n",
        (rows,),
    )
    cursor.execute(f"DELETE FROM {TABLE} WHERE report_id <> '{OLD}'")
    cursor.execute(f"INSERT INTO {bare} SELECT * FROM {TABLE}")
    for table in (TABLE, bare):
        cursor.execute(f"ALTER TABLE {table} ADD PRIMARY KEY (account, {', '.join(ALL_ORDERS.key)})")
        cursor.execute(f"VACUUM ANALYZE {table}")
    cursor.execute("CHECKPOINT")
    return bare


def _remove(cursor: Any, report_id: str, *tables: str) -> None:
    """Takes a report's rows out again."""
    for table in tables:
        cursor.execute(f"DELETE FROM {table} WHERE report_id = %s", (report_id,))
        cursor.execute(f"VACUUM {table}")
    cursor.execute("CHECKPOINT")
