"""Meltano's target-postgres, load method upsert. Its messages are made beforehand, and its start is not counted."""

from __future__ import annotations

import io
import json
import logging
import time
from typing import Any
from urllib.parse import urlsplit

from target_postgres.target import TargetPostgres

from benchmarks.answering import answer
from benchmarks.peers.typed import typed

_TYPES: dict[str, dict[str, Any]] = {
    "text": {"type": ["string", "null"]},
    "jsonb": {"type": ["string", "null"]},
    "integer": {"type": ["integer", "null"]},
    "numeric": {"type": ["number", "null"]},
    "boolean": {"type": ["boolean", "null"]},
    "timestamptz": {"type": ["string", "null"], "format": "date-time"},
}


def main() -> None:
    """Answers {"url": ..., "schema": ..., "files": [...], "types": {column: type}, "key": [...]}."""
    logging.disable(logging.INFO)

    def work(url: str, schema: str, files: list[str], types: dict[str, str], key: list[str]) -> dict[str, Any]:
        server = urlsplit(url)
        config = {
            "host": server.hostname,
            "port": server.port,
            "user": server.username,
            "password": server.password,
            "database": server.path.lstrip("/"),
            "default_target_schema": schema,
            "activate_version": False,  # else it looks for rows of older versions after each load
            "add_record_metadata": False,
            "load_method": "upsert",
        }
        seconds = []
        for path in files:
            messages = io.StringIO(_messages(path, types, key))
            began = time.perf_counter()
            TargetPostgres(config=config).listen(messages)
            seconds.append(time.perf_counter() - began)
        return {"seconds": seconds}

    answer(work)


def _messages(path: str, types: dict[str, str], key: list[str]) -> str:
    """One SCHEMA message, and a RECORD message for each row."""
    properties = {name: _TYPES[kind] for name, kind in types.items()}
    schema = {"type": "SCHEMA", "stream": "lines", "schema": {"properties": properties}, "key_properties": key}
    records = ({"type": "RECORD", "stream": "lines", "record": row} for row in typed(path, types))
    return "\n".join(json.dumps(message, default=_text) for message in (schema, *records)) + "\n"


def _text(value: Any) -> Any:
    """Amounts as JSON's numbers, times as ISO 8601."""
    return value.isoformat() if hasattr(value, "isoformat") else float(value)


if __name__ == "__main__":
    main()
