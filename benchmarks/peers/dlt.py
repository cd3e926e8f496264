"""dlt, merge with the strategy upsert. It gets typed rows in lists of 5,000, already in memory."""

from __future__ import annotations

import os
import tempfile
import time
from typing import TYPE_CHECKING, Any

from benchmarks.answering import answer
from benchmarks.peers.typed import typed

if TYPE_CHECKING:
    from collections.abc import Iterator

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"

import dlt

_TYPES = {
    "text": "text",
    "jsonb": "text",
    "integer": "bigint",
    "numeric": "decimal",
    "boolean": "bool",
    "timestamptz": "timestamp",
}


def main() -> None:
    """Answers {"url": ..., "schema": ..., "files": [...], "types": {column: type}, "key": [...]}."""

    def work(url: str, schema: str, files: list[str], types: dict[str, str], key: list[str]) -> dict[str, Any]:
        pipeline = dlt.pipeline(
            pipeline_name=schema,
            pipelines_dir=state,
            dataset_name=schema,
            destination=dlt.destinations.postgres(credentials=url),
        )
        hints: Any = {name: {"data_type": _TYPES[kind], "name": name} for name, kind in types.items()}
        seconds = []
        for path in files:
            lines = dlt.resource(
                _lists(typed(path, types)),
                name="lines",
                primary_key=key,
                write_disposition={"disposition": "merge", "strategy": "upsert"},
                columns=hints,
            )
            began = time.perf_counter()
            pipeline.run(lines).raise_on_failed_jobs()
            seconds.append(time.perf_counter() - began)
        return {"seconds": seconds}

    with tempfile.TemporaryDirectory(prefix="orderdrain-bench-dlt-") as state:
        answer(work)


def _lists(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    for at in range(0, len(rows), 5_000):
        yield rows[at : at + 5_000]


if __name__ == "__main__":
    main()
