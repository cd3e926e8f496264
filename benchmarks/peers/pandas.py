"""pandas: read_csv, to_sql into a staging table, and one INSERT ... ON CONFLICT from there, as its users do it."""

from __future__ import annotations

import time
from typing import Any

import pandas as pd
import sqlalchemy as sa

from benchmarks.answering import answer

_TYPES: dict[str, Any] = {
    "text": sa.Text(),
    "jsonb": sa.Text(),
    "integer": sa.Integer(),
    "numeric": sa.Numeric(),
    "boolean": sa.Boolean(),
    "timestamptz": sa.DateTime(timezone=True),
}
#: What read_csv must not guess. Money stays text: a float would not be the amount that Amazon wrote.
_READ = {"text": "string", "jsonb": "string", "numeric": "string", "integer": "Int64", "boolean": "boolean"}


def main() -> None:
    """Answers {"url": ..., "schema": ..., "files": [...], "types": {column: type}, "key": [...]}."""

    def work(url: str, schema: str, files: list[str], types: dict[str, str], key: list[str]) -> dict[str, Any]:
        engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg2://"))
        lines = sa.Table(
            "lines",
            sa.MetaData(schema=schema),
            *(sa.Column(name, _TYPES[kind], primary_key=name in key) for name, kind in types.items()),
        )
        with engine.begin() as connection:
            connection.execute(sa.text(f"CREATE SCHEMA IF NOT EXISTS {schema}"))
            lines.create(connection, checkfirst=True)
        told = ", ".join(types)
        sets = ", ".join(f"{name} = EXCLUDED.{name}" for name in types if name not in key)
        merge = (
            f"INSERT INTO {schema}.lines ({told}) SELECT {told} FROM {schema}.staged"
            f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET {sets}"
        )
        seconds = []
        for path in files:
            began = time.perf_counter()
            frame = pd.read_csv(
                path,
                dtype={name: _READ[kind] for name, kind in types.items() if kind in _READ},
                parse_dates=[name for name, kind in types.items() if kind == "timestamptz"],
                true_values=["t"],
                false_values=["f"],
                keep_default_na=False,
                na_values=[""],
            )
            with engine.begin() as connection:
                dtype = {name: _TYPES[kind] for name, kind in types.items()}
                frame.to_sql("staged", connection, schema=schema, if_exists="replace", index=False, dtype=dtype)
                connection.execute(sa.text(merge))
            seconds.append(time.perf_counter() - began)
        return {"seconds": seconds}

    answer(work)


if __name__ == "__main__":
    main()
