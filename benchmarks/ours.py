"""The process that parses reports as a worker does: `orderdrain.pipeline.parse`, whole, for one report after the other.

What is timed is what the step does under its lease: from the moment the archived bytes are opened until they are
closed, after the commit of the rows with the report's new state. The step as a whole is told beside it.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from benchmarks.answering import answer
from orderdrain.errors import OrderdrainError
from orderdrain.pipeline import parse
from orderdrain.reports import ReportKey
from orderdrain.services import Services
from orderdrain.settings import load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orderdrain.archive import Archive


class Timed:
    """The archive; `seconds` is for how long the last file was open."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._archive, name)

    @contextmanager
    def open(self, key: str) -> Iterator[BinaryIO]:
        began = time.perf_counter()
        with self._archive.open(key) as file:
            yield file
        self.seconds = time.perf_counter() - began


def main() -> None:
    """Answers {"account": ..., "api": ..., "reports": [ids]}."""
    # No settings but those that were given: a running `make up` leaves some in this folder.
    services = Services.from_settings(load(os.environ, start=Path(os.environ["ORDERDRAIN_ARCHIVE"]).parent))
    archive = Timed(services.archive)
    services = replace(services, archive=archive)

    def work(account: str, api: str, reports: list[str]) -> dict[str, Any]:
        seconds, steps, failed = [], [], []
        for report_id in reports:
            began = time.perf_counter()
            try:
                parse(services, ReportKey(account, api, report_id))
            except OrderdrainError as error:
                failed.append(str(error))
            steps.append(time.perf_counter() - began)
            seconds.append(archive.seconds)
        return {"seconds": seconds, "steps": steps, "failed": failed}

    answer(work)


if __name__ == "__main__":
    main()
