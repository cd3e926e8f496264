"""Where documents lie: an S3-like store that gives a document to whoever has a fresh pre-signed url, and to none else.

Headers and the answer after expiry are as recorded in 2025: five minutes, no Content-MD5, an ETag that is no MD5 (the
objects are encrypted by a key service), a gzip file under the Content-Type of its text.
"""

from __future__ import annotations

import gzip
import hashlib
import hmac
import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, urlencode, urlsplit
from xml.sax.saxutils import escape

from emulator.call import Reply
from emulator.clock import iso
from emulator.parameters import Refusal
from emulator.record import describe_call

if TYPE_CHECKING:
    from emulator.account import Account
    from emulator.faults import Faults
    from emulator.record import Record
    from emulator.signature import HttpRequest
    from emulator.sp_reports import Document
    from emulator.world import World

STORE_PATH = "/tortuga/"
#: SP-API model: a url expires after five minutes.
LIFE = timedelta(minutes=5)

#: This server, or a proxy before it, as a caller on this machine names it.
_HERE = re.compile(r"(127\.0\.0\.1|localhost|\[::1\]):[0-9]+")
_ENCODING = "response-content-encoding"
_AWS_REGIONS = {"NA": "us-east-1", "EU": "eu-west-1", "FE": "us-west-2"}
#: What must never be sent here: it opens the seller's other data to whoever runs the store.
_SECRET_HEADERS = ("x-amz-access-token", "authorization", "x-amz-security-token")
_REFUSED_BY_FAULT = {
    "internal_error": Refusal("InternalError", "We encountered an internal error. Please try again.", status=500),
    "unavailable": Refusal("SlowDown", "Please reduce your request rate.", status=503),
}


class _Expired(Refusal):
    """The url was good until `expires`."""

    def __init__(self, expires: datetime, now: datetime) -> None:
        super().__init__("AccessDenied", "Request has expired", status=403)
        life = str(int(LIFE.total_seconds()))
        self.times = {"X-Amz-Expires": life, "Expires": iso(expires), "ServerTime": iso(now)}


@dataclass(frozen=True)
class _Stored:
    account: Account
    document: Document
    compressed: bool


class Documents:
    """The store. Its calls are recorded as operation `document`; no quota limits them."""

    def __init__(self, world: World, faults: Faults, record: Record, *, seed: int, url: str) -> None:
        self._world = world
        self._faults = faults
        self._record = record
        self._seed = seed
        self._url = url
        self._key = hashlib.sha256(f"{seed}/documents".encode()).digest()
        self._stored: dict[str, _Stored] = {}

    def sign(self, account: Account, document: Document, now: datetime, *, compressed: bool, host: str) -> str:
        """A url that is good for five minutes, by the way that its asker came: there may be a proxy between. Twice
        asked for, it is another url of the same object."""
        name = f"{self._seed}/{account.seller.account}/{document.document_id}/{compressed}"
        digest = hashlib.sha256(name.encode()).digest()
        region, owner = account.seller.home.region, document.document_id.split(".")[-2]
        key = f"{uuid.UUID(bytes=digest[:16], version=4)}.amzn1.tortuga.4.{region.lower()}.{owner}"
        self._stored[key] = _Stored(account, document, compressed)
        stamp = now.strftime("%Y%m%dT%H%M%SZ")
        query = {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Date": stamp,
            "X-Amz-SignedHeaders": "host",
            "X-Amz-Expires": str(int(LIFE.total_seconds())),
            "X-Amz-Credential": f"AKIAEMULATEDEMULATED/{stamp[:8]}/{_AWS_REGIONS[region]}/s3/aws4_request",
        }
        if region == "FE":  # in some urls the store is told which Content-Encoding to answer with, as users saw
            query[_ENCODING] = "identity"
        query["X-Amz-Signature"] = self._signature(key, stamp, query.get(_ENCODING, ""))
        if region == "NA":  # there urls are longer than 512 characters, which broke columns and log lines of users
            query["X-Amz-Security-Token"] = (digest * 12).hex()
        # Names of Amazon's, and names without a port, are taken as well, but lead elsewhere.
        base = f"{urlsplit(self._url).scheme}://{host}" if _HERE.fullmatch(host) else self._url
        return f"{base}{STORE_PATH}{key}?{urlencode(query, quote_via=quote, safe='')}"

    def handle(self, request: HttpRequest) -> Reply:
        """Answers one request and records it."""
        key = request.path.removeprefix(STORE_PATH)
        leak = any(request.headers.get(name) for name in _SECRET_HEADERS)
        stored, fault, code = None, None, None
        with self._world.lock:
            now = self._world.clock.now()
            request_id = hashlib.sha256(f"{key}/{now.isoformat()}".encode()).hexdigest()[:16].upper()
            stored = self._stored.get(key)
        try:
            if leak:
                # Amazon's own store answers so to a second way of signing in; here every token of Amazon's is one.
                raise Refusal("InvalidArgument", "Only one auth mechanism allowed")
            found = self._check(request, key, stored, now)
            fault = self._faults.draw(found.account.seller.account, "document", found.document.file.report_id)
            if refusal := _REFUSED_BY_FAULT.get(fault or ""):
                raise refusal
            if fault == "expired_url":
                raise _Expired(now - timedelta(seconds=1), now)
            status = 200
            headers, body = _object(found, twice=fault == "gzip_on_gzip")
        except Refusal as refusal:
            code, status = refusal.code, refusal.status
            headers, body = {"Content-Type": "application/xml"}, _error(refusal, request_id)
        if fault in {"no_answer", "late_answer"}:
            code = "no answer"
        call = describe_call(
            "sp-api",
            "document",
            at=now,
            account=stored.account.seller.account if stored else None,
            status=None if fault in {"no_answer", "late_answer"} else status,
            code=code,
            request_id=request_id,
            report_ids=[stored.document.file.report_id] if stored else [],
            fault=fault,
            applied=code is None,
        )
        self._record.add(call | ({"leak": True} if leak else {}))
        return Reply(status, {"x-amz-request-id": request_id} | headers, body, fault)

    def _check(self, request: HttpRequest, key: str, stored: _Stored | None, now: datetime) -> _Stored:
        if request.verb != "GET":
            raise Refusal("MethodNotAllowed", "The specified method is not allowed against this resource.", status=405)
        query = {name: values[-1] for name, values in parse_qs(request.query).items()}
        stamp = query.get("X-Amz-Date", "")
        signature = self._signature(key, stamp, query.get(_ENCODING, ""))
        if not hmac.compare_digest(signature.encode(), query.get("X-Amz-Signature", "").encode()):
            raise Refusal(
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you provided.",
                status=403,
            )
        if stored is None:
            raise Refusal("NoSuchKey", "The specified key does not exist.", status=404)
        expires = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) + LIFE
        if now > expires:
            raise _Expired(expires, now)
        return stored

    def _signature(self, key: str, stamp: str, encoding: str) -> str:
        return hmac.digest(self._key, f"{key}\n{stamp}\n{encoding}".encode(), "sha256").hex()


def _object(stored: _Stored, *, twice: bool) -> tuple[dict[str, str], bytes]:
    file = stored.document.file
    body = file.render()
    if stored.compressed:
        body = gzip.compress(body, mtime=0)
    if twice:
        body = gzip.compress(body, mtime=0)
    headers = {
        "Content-Type": file.content_type,
        "Content-Encoding": "gzip" if twice else "identity",
        "Last-Modified": format_datetime(file.available_at, usegmt=True),
        "ETag": f'"{hashlib.sha256(body).hexdigest()[:32]}"',
        "x-amz-server-side-encryption": "aws:kms",
    }
    return headers, body


def _error(refusal: Refusal, request_id: str) -> bytes:
    said = {"Code": refusal.code, "Message": refusal.message}
    if isinstance(refusal, _Expired):
        said |= refusal.times
    said["RequestId"] = request_id
    inner = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in said.items())
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inner}</Error>'.encode()
