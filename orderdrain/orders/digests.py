"""What a line is known by when it comes again: a digest of its bytes, of how they are read, and of the reading code."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: All that decides what a line says, and what becomes of it.
_CODE = ("parsers", "families", "orders", "marketplaces.py")


class Digests:
    """Digests of lines, keyed: an address may be guessed, and nobody shall find out that he has guessed right."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        # Now, while the files are those that this process runs: an update may replace them under it.
        self._code = code()

    def of(self, reading: bytes) -> Callable[[bytes], bytes]:
        """Gives the digest of a line, as 32 hexadecimal digits; `reading` is what beside it decides what it says."""
        begun = hashlib.blake2b(key=self._key, digest_size=16)
        begun.update(hashlib.sha256(self._code + reading).digest())

        def digest(line: bytes) -> bytes:
            own = begun.copy()
            own.update(line)
            return own.hexdigest().encode()

        return digest


@cache
def code() -> bytes:
    """A digest of the code that reads lines: what another version may read otherwise is not known to it."""
    found = hashlib.sha256()
    for name in _CODE:
        place = resources.files("orderdrain") / name
        for file in sorted(place.iterdir(), key=lambda file: file.name) if place.is_dir() else (place,):
            if file.name.endswith(".py"):
                found.update(file.read_bytes())
    return found.digest()
