"""Lines of a report, so many at a time as are asked for at once: whether they are known, by key and digest."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from orderdrain.families import Family
    from orderdrain.parsers import UsualLines
    from orderdrain.parsers.usual import RawLine

#: Lines that are asked for at once, and bytes of them: memory stays flat.
BATCH_LINES, BATCH_BYTES = 8_000, 8_000_000


class Batch(NamedTuple):
    """Lines that are asked for at once: each key once, since of a second line nobody knows yet what the first does."""

    lines: list[RawLine]
    asked: dict[str, str]
    #: As UsualLayout.key_of gives them, one for each of the digests.
    keys: list[bytes]
    #: By the numbers of the lines that are asked for.
    digests: dict[int, bytes]
    again: set[int]
    odd: list[RawLine]


def batches(usual: UsualLines, digest: Callable[[bytes], bytes]) -> Generator[Batch]:
    """The batches, of which a thread makes the next one while the server judges one; the first is made here, since most
    reports have no other. Close it before the file is read again."""
    made = _made(usual, digest)
    batch = next(made, None)
    if batch is None or len(batch.lines) < BATCH_LINES // 2:
        yield from () if batch is None else chain((batch,), made)
        return
    with ThreadPoolExecutor(1) as thread:
        while batch is not None:
            following = thread.submit(next, made, None)
            yield batch
            batch = following.result()


def _made(usual: UsualLines, digest: Callable[[bytes], bytes]) -> Iterator[Batch]:
    lines: list[RawLine] = []
    size = 0
    for block in usual.blocks():
        lines += block
        size += sum([len(line) for _, line in block])
        if len(lines) >= BATCH_LINES or size >= BATCH_BYTES:
            yield _batch(usual, digest, lines)
            lines, size = [], 0
    if lines:
        yield _batch(usual, digest, lines)


def _batch(usual: UsualLines, digest: Callable[[bytes], bytes], lines: list[RawLine]) -> Batch:
    keys: dict[bytes, bytes] = {}
    key_of = usual.layout.key_of
    odd, again, digests, identity = [], set(), {}, identity_in(usual.layout.family)
    for number, line in lines:
        key = key_of(line)
        if key is None:
            odd.append((number, line))
        elif keys.setdefault(identity(key), key) is not key:
            again.add(number)
        else:
            digests[number] = digest(line)
    orders, own = zip(*[key.split(b"\t") for key in keys.values()], strict=True) if keys else ((), ())
    asked = {
        "numbers": f"{{{','.join(map(str, digests))}}}",
        "orders": _array(orders),
        "keys": _array(own),
        "digests": _array(digests.values()),
    }
    return Batch(lines, asked, list(keys.values()), digests, again, odd)


def identity_in(family: Family) -> Callable[[bytes], bytes]:
    """What of an order's id and a line's own makes two lines the same row: both, or the latter alone."""
    return (lambda key: key) if len(family.key) > 1 else (lambda key: key.partition(b"\t")[2])


def _array(items: Iterable[bytes]) -> str:
    """An array of what needs no quotes: ids and digests."""
    return f"{{{b','.join(items).decode()}}}"
