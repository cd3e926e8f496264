"""How far a long step is: its work says it here, the thread that renews its lease writes it down, a person is told.

progress.listener = print                  # in the thread of the work, every few seconds
file = progress.watching(file)             # reading moves it on
progress.of_rows(lambda: (12, 1000))
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, BinaryIO, cast

from orderdrain.policy import PROGRESS_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

#: What a step says of how far it is: {"rows", "of_rows", "bytes", "of_bytes", "remaining_seconds"}, as far as known.
Told = dict[str, int]


class Progress:
    """Counters of one step. Set by its thread alone; read by any."""

    def __init__(self) -> None:
        self.listener: Callable[[Progress], None] = lambda _progress: None
        self._heard_at = time.monotonic()
        self._written: Told = {}
        self._count_rows: Callable[[], tuple[int, int | None]] | None = None
        self.restart()

    def restart(self, of_bytes: int | None = None) -> None:
        """The bytes come from the begin, once more: `of_bytes` in all, where that is known."""
        self._begun = time.monotonic()
        self._bytes, self._of_bytes = 0, of_bytes

    def came(self, size: int) -> None:
        """So many bytes more. Every few seconds the listener is told."""
        self._bytes += size
        if time.monotonic() - self._heard_at >= PROGRESS_SECONDS:
            self._heard_at = time.monotonic()
            self.listener(self)

    def of_rows(self, count: Callable[[], tuple[int, int | None]]) -> None:
        """`count` says how many rows were read, of how many; None while nobody has counted them."""
        self._count_rows = count

    def watching(self, file: BinaryIO) -> BinaryIO:
        """The same file: reading it is progress, and going back to its begin starts anew."""
        return cast("BinaryIO", _Watched(file, self))

    def told(self) -> Told:
        """How far it is now; nothing where nothing has come yet."""
        if not self._bytes:
            return {}
        told = {"bytes": self._bytes}
        rows, of_rows = self._count_rows() if self._count_rows else (0, None)
        if of_rows is not None:
            told |= {"rows": rows, "of_rows": of_rows}
        elif rows:
            told["rows"] = rows
        if self._of_bytes:
            left = max(self._of_bytes - self._bytes, 0)
            told |= {
                "of_bytes": self._of_bytes,
                "remaining_seconds": round((time.monotonic() - self._begun) * left / self._bytes),
            }
        return told

    def moved(self) -> bool:
        """Whether there is more to tell than was written down last. What remains is only an estimate."""
        told = self.told()
        return any(told[name] != self._written.get(name) for name in ("rows", "bytes") if name in told)

    def to_write(self) -> Told | None:
        """What is to be written down; None where there is nothing yet."""
        self._written = self.told()
        return self._written or None

    def __str__(self) -> str:
        return sentence(self.told())


def sentence(told: Told) -> str:
    """`12,000 of 80,000 rows, 5,242,880 of 31,000,000 bytes, some 12 s remain`, of what was told or written down."""
    parts = []
    for name in ("rows", "bytes"):
        if name in told:
            of = f" of {told[f'of_{name}']:,}" if f"of_{name}" in told else ""
            parts.append(f"{told[name]:,}{of} {name}")
    if told.get("of_rows") and told["rows"] == told["of_rows"]:
        parts.append("all read, merging")
    elif "remaining_seconds" in told:
        parts.append(f"some {told['remaining_seconds']:,} s of reading remain")
    return ", ".join(parts) or "begun"


class _Watched:
    """A file whose reader may be watched."""

    def __init__(self, file: BinaryIO, progress: Progress) -> None:
        self._file = file
        self._progress = progress
        self._size: int | None = None

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._progress.came(len(data))
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        at = self._file.seek(offset, whence)
        if whence == 2:
            self._size = at
        elif offset == 0:
            self._progress.restart(self._size)
        return at

    def tell(self) -> int:
        return self._file.tell()
