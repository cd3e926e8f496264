"""Lines that nothing but their number tells apart: which may stand in a file twice, in memory that stays flat."""

from __future__ import annotations

from functools import cached_property

#: Bits that remember what stood in the file before: four megabytes, whatever its size.
BITS = 1 << 25

#: What two such lines have in common.
Twin = tuple[int | str | None, ...]


class Twins:
    """First `stands` for each line of the file, then `may_stand_twice`: it may say so of one that stands once, and
    never misses one that stands twice. Only of those a count must be kept."""

    def __init__(self) -> None:
        self._twice: set[int] = set()

    @cached_property
    def _stood(self) -> bytearray:
        return bytearray(BITS // 8)

    def stands(self, twin: Twin) -> None:
        bit = hash(twin) % BITS
        if self._stood[bit >> 3] >> (bit & 7) & 1:
            self._twice.add(bit)
        self._stood[bit >> 3] |= 1 << (bit & 7)

    def may_stand_twice(self, twin: Twin) -> bool:
        return hash(twin) % BITS in self._twice
