"""The clean rows of a file as values of Python, for programs that take no text. A JSON column stays text."""

from __future__ import annotations

import csv
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_READ: dict[str, Callable[[str], Any]] = {
    "text": str,
    "jsonb": str,
    "integer": int,
    "numeric": Decimal,
    "boolean": "t".__eq__,
    "timestamptz": datetime.fromisoformat,
}


def typed(path: str, types: Mapping[str, str]) -> list[dict[str, Any]]:
    """The rows of a CSV file that COPY wrote, in which a blank is NULL."""
    with Path(path).open(encoding="utf-8", newline="") as file:
        return [
            {name: _READ[types[name]](cell) if cell else None for name, cell in row.items()}
            for row in csv.DictReader(file)
        ]
