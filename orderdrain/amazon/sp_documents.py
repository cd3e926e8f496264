"""The store that SP-API's documents lie in: whoever has a document's url has the document, for five minutes.

So a url is used at once and told to nobody: it stands in no error, no log line and no table, and nothing of ours goes
with it, since the store is not the API. Amazon sends no Content-MD5 here (recorded 2025 traffic): that a body is whole
is known by its length or chunks and, where it is gzip by its bytes, by the checksum at the end of it.
"""

from __future__ import annotations

import json
import re
import zlib
from typing import TYPE_CHECKING

from orderdrain.amazon import Downloaded
from orderdrain.amazon.http import BLOCK_BYTES, BodyCut, NoAnswer
from orderdrain.amazon.wire import MAX_REPORT_BYTES, USER_AGENT
from orderdrain.errors import BadBody, Evidence, ServiceFault
from orderdrain.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from orderdrain.amazon.http import Http, Response

log = logger(__name__)

#: Why a report could not be made is told in a sentence or two.
MAX_REASON_BYTES = 64 * 1024

_GZIP = b"\x1f\x8b\x08"


class UrlExpired(Exception):
    """The url was good for five minutes, and they are over: getReportDocument gives a new one."""


def fetch(http: Http, url: str, sink: Callable[[bytes], object], *, max_bytes: int = MAX_REPORT_BYTES) -> Downloaded:
    """Hands a document to `sink` as sent, compressed or not. Raises UrlExpired; BadBody where the body is not whole
    (what the sink has must then be thrown away), ServiceFault where there is none."""
    try:
        with http.send("GET", url, headers={"User-Agent": USER_AGENT}, max_bytes=max_bytes) as response:
            request_id = response.headers.get("x-amz-request-id")
            log.info("Amazon answered", operation="document", status=response.status, request_id=request_id)
            if response.status != 200:
                raise _refusal(response, request_id)
            evidence = Evidence("document", response.status, None, request_id)
            if "html" in response.headers.get("Content-Type", "").lower():
                raise ServiceFault("a page of something between came in place of the document", evidence=evidence)
            return _streamed(response, sink, evidence)
    except NoAnswer as error:
        raise ServiceFault(f"the store of documents gave no answer: {error}", evidence=Evidence("document")) from error


def stated_reason(http: Http, url: str) -> str | None:
    """Why Amazon could not make a report, in one line of its own words; None where its document does not say.

    Only a sentence is taken for one: what looks like rows may be a buyer's data. Raises as `fetch` does.
    """
    body = bytearray()
    fetch(http, url, body.extend, max_bytes=MAX_REASON_BYTES)
    if body.startswith(_GZIP):
        body = bytearray(zlib.decompressobj(wbits=31).decompress(body, MAX_REASON_BYTES))
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        return "the document that states the reason is no text in UTF-8"
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        sentence = text.strip()
        return sentence if sentence.isprintable() and 0 < len(sentence) <= 300 else None
    details = told.get("errorDetails") if isinstance(told, dict) else None
    return " ".join(details.split())[:300] if isinstance(details, str) and details.strip() else None


def _refusal(response: Response, request_id: str | None) -> UrlExpired | ServiceFault:
    said = response.peek(BLOCK_BYTES)
    # `AccessDenied`, `Request has expired` (recorded 2025 traffic); a url signed by a session ends with that session:
    # `ExpiredToken`. The refusals that no new url mends do not say so.
    if response.status in {400, 403} and b"expired" in said.lower():
        return UrlExpired()
    code = re.search(rb"<Code>(\w{1,60})</Code>", said)
    evidence = Evidence("document", response.status, code[1].decode() if code else None, request_id)
    return ServiceFault("the store of documents gave none", evidence=evidence)


def _streamed(response: Response, sink: Callable[[bytes], object], evidence: Evidence) -> Downloaded:
    size, gzip = 0, _GzipEnd()
    try:
        for block in response.blocks():
            size += len(block)
            gzip.feed(block)
            sink(block)
    except BodyCut as error:
        raise BadBody(f"the report is not whole: {error}; thrown away", evidence=evidence) from error
    except zlib.error:
        raise BadBody(
            f"the report is not whole: its gzip is damaged within {size:,} bytes; thrown away", evidence=evidence
        ) from None
    # A length proves no more than that all came of what was there: a file that was cut before it was stored has one.
    if gzip.whole is False:
        raise BadBody(
            f"the report is not whole: its gzip breaks off after {size:,} bytes; thrown away", evidence=evidence
        )
    if gzip.whole is None and not response.framed:
        raise BadBody(
            f"nothing shows that the report is whole: {size:,} bytes came with neither a length nor a checksum; "
            "thrown away",
            evidence=evidence,
        )
    return Downloaded(response.headers.get("Content-Type"), evidence.request_id)


class _GzipEnd:
    """Reads a gzip body along as it passes, checksums included, and keeps nothing of it."""

    def __init__(self) -> None:
        self._head = b""
        self._inflate: zlib._Decompress | None = None

    @property
    def whole(self) -> bool | None:
        """Whether what was fed ends where a gzip ends; None when it is no gzip by its first bytes."""
        return None if self._inflate is None else self._inflate.eof

    def feed(self, data: bytes) -> None:
        """Raises zlib.error where the bytes or a checksum are wrong."""
        if self._inflate is None:
            if len(self._head) >= len(_GZIP):
                return
            data = self._head + data
            self._head = data[: len(_GZIP)]
            if not data.startswith(_GZIP):
                return
            self._inflate = zlib.decompressobj(wbits=31)
        more = True
        while data or more:
            if self._inflate.eof:
                # Gzip files may be padded with zeros, and several may follow each other (RFC 1952, 2.2).
                data = data.lstrip(b"\0")
                if not data:
                    return
                self._inflate = zlib.decompressobj(wbits=31)
            # A block at a time: a body that inflates a thousandfold must not fill the memory.
            out = self._inflate.decompress(data, BLOCK_BYTES)
            data = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
            more = len(out) == BLOCK_BYTES
