"""A peer for the tests of `make bench`: it writes the rows that it gets; in a schema of that name it forgets one."""

from __future__ import annotations

from pathlib import Path

import psycopg2

from benchmarks.answering import answer


def work(url, schema, files, types, key):
    """Loads each file over what is there."""
    if schema == "of_dying":
        raise RuntimeError("a last line that says why")
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        columns = ", ".join(f"{name} {kind}" for name, kind in types.items())
        cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        cursor.execute(f"CREATE TABLE IF NOT EXISTS {schema}.lines ({columns}, UNIQUE ({', '.join(key)}))")
        cursor.execute(f"CREATE TEMPORARY TABLE staged (LIKE {schema}.lines)")
        for path in files:
            with Path(path).open(encoding="utf-8") as file:
                cursor.copy_expert("COPY staged FROM STDIN CSV HEADER", file)
        same = " AND ".join(f"l.{name} = s.{name}" for name in key)
        cursor.execute(f"DELETE FROM {schema}.lines l USING staged s WHERE {same}")
        cursor.execute(f"INSERT INTO {schema}.lines SELECT * FROM staged")
        if schema == "of_forgetful":
            cursor.execute(f"DELETE FROM {schema}.lines WHERE ctid = (SELECT max(ctid) FROM {schema}.lines)")
        cursor.execute("DROP TABLE staged")
    return {"seconds": [1.0] * len(files)}


if __name__ == "__main__":
    answer(work)
