"""The one door to HTTP: urllib3, bounded in time and in size, safe across a fork.

Nothing is repeated and no redirect is followed here. What failed is told by two exceptions, so that the caller can
say what that means: NoAnswer (the request may have had its effect all the same) and BodyCut.
"""

from __future__ import annotations

import json
import logging
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ReadTimeoutError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from urllib3.response import BaseHTTPResponse

# urllib3 writes urls to its log, at debug level all of them and in warnings some: whoever has the url of an SP-API
# document has the document.
logging.getLogger("urllib3").setLevel(logging.ERROR)

#: Bytes asked of the socket at once: a report is never whole in memory.
BLOCK_BYTES = 64 * 1024


class NoAnswer(Exception):
    """No status line came: no connection, or nothing within the time limit. One line, without the address."""


class BodyCut(Exception):
    """The body broke off, stalled, or went on beyond its limit of time or size."""


class Response:
    """An answer whose body has not been read yet. Header names are looked up in any case."""

    def __init__(self, raw: BaseHTTPResponse, *, deadline: float, max_bytes: int) -> None:
        self.status = raw.status
        self.headers: Mapping[str, str] = raw.headers
        self._raw = raw
        self._deadline = deadline
        self._max_bytes = max_bytes
        self._head = bytearray()
        self._cut: BodyCut | None = None
        self._rest = self._stream()

    @property
    def framed(self) -> bool:
        """Whether a body that broke off can be told from a whole one by its length or chunks."""
        return "Content-Length" in self.headers or "chunked" in self.headers.get("Transfer-Encoding", "").lower()

    def peek(self, size: int) -> bytes:
        """At least the first `size` bytes, or all that come; `blocks` begins with them all the same."""
        try:
            while len(self._head) < size and (block := next(self._rest, b"")):
                self._head += block
        except BodyCut as error:
            self._cut = error
        return bytes(self._head)

    def blocks(self) -> Iterator[bytes]:
        """The body as sent, never decompressed. Raises BodyCut."""
        if self._head:
            yield bytes(self._head)
        if self._cut:
            raise self._cut
        yield from self._rest

    def read(self) -> bytes:
        """The whole body. Raises BodyCut."""
        return b"".join(self.blocks())

    def _stream(self) -> Iterator[bytes]:
        size = 0
        try:
            # read1 returns what is there: a body that trickles is measured against the deadline at every piece.
            while block := self._raw.read1(BLOCK_BYTES, decode_content=False):
                size += len(block)
                if size > self._max_bytes:
                    raise BodyCut(f"the body is larger than {self._max_bytes:,} bytes")
                if time.monotonic() > self._deadline:
                    raise BodyCut(f"the body was not complete in time, {size:,} bytes had come")
                yield block
        except ReadTimeoutError as error:
            raise BodyCut(f"the body stalled after {size:,} bytes") from error
        except HTTPError as error:
            raise BodyCut(f"the body broke off after {size:,} bytes") from error


class Http:
    """Connections of this process, kept alive. Makes none before the first request, and never uses a parent's."""

    def __init__(
        self, *, connect_seconds: float = 5.0, read_seconds: float = 60.0, total_seconds: float = 900.0
    ) -> None:
        self._timeout = urllib3.Timeout(connect=connect_seconds, read=read_seconds)
        self._total_seconds = total_seconds
        self._mine = (os.getpid(), urllib3.PoolManager())

    @contextmanager
    def send(
        self, method: str, url: str, *, max_bytes: int, headers: Mapping[str, str], body: str | None = None
    ) -> Iterator[Response]:
        """Sends, and lends the answer. A body that was not read to its end costs the connection, never its meaning.

        Raises NoAnswer.
        """
        deadline = time.monotonic() + self._total_seconds
        try:
            raw = self._pool().request(
                method,
                url,
                body=body,
                headers=headers,
                timeout=self._timeout,
                retries=False,  # neither repeats nor follows: a redirect would carry a seller's request elsewhere
                preload_content=False,
            )
        except HTTPError as error:
            raise NoAnswer(_reason(error)) from error
        try:
            yield Response(raw, deadline=deadline, max_bytes=max_bytes)
        finally:
            raw.close()  # a connection whose body was read to the end is already back in the pool

    def _pool(self) -> urllib3.PoolManager:
        # Parent and child of a fork that share a socket get each other's answers, hence one pool a process.
        pid, pool = self._mine
        if pid != os.getpid():
            pool = urllib3.PoolManager()
            self._mine = (os.getpid(), pool)
        return pool


def emulator_at(endpoint: str) -> bool:
    """Whether orderdrain's own emulator answers at `endpoint`. Anything else, and silence, is no."""
    if not endpoint.startswith(("http://", "https://")):
        return False
    http = Http(connect_seconds=2, read_seconds=2, total_seconds=4)
    url = endpoint.rstrip("/") + "/_emulator/clock"
    try:
        with http.send("GET", url, headers={}, max_bytes=BLOCK_BYTES) as response:
            said = json.loads(response.read())
    except (NoAnswer, BodyCut, ValueError):
        return False
    return isinstance(said, dict) and said.get("emulator") == "orderdrain"


def _reason(error: HTTPError) -> str:
    # urllib3's own text tells addresses and urls; a kind of failure is enough to act on.
    if isinstance(error, ConnectTimeoutError):
        return "no connection in time"
    if isinstance(error, NewConnectionError):
        return "no connection"
    if isinstance(error, ReadTimeoutError):
        return "connected, but nothing came in time"
    return f"the connection failed: {type(error).__name__}"
