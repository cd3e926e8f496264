"""A local MWS that answers what a test tells it to, and notes what it was asked; and what an MwsReports needs besides."""

from __future__ import annotations

import base64
import hashlib
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl

from orderdrain.amazon.http import Http
from orderdrain.amazon.mws import MwsReports

NOW = datetime(2018, 4, 27, 14, 50, 16, tzinfo=UTC)
XMLNS = "http://mws.amazonaws.com/doc/2009-01-01/"


@dataclass
class Asked:
    """One request as it arrived. `connection` is the same for requests that shared a socket."""

    method: str
    path: str
    headers: dict[str, str]
    form: dict[str, str]
    body: str
    connection: tuple[str, int]


@dataclass
class Answer:
    """`announced` is what Content-Length says, if not the truth; `chunks` are sent instead of `body`.

    A `stall` leaves the client waiting after the body, until the server ends; otherwise the connection is closed when
    less came than was announced. Status 0 is no answer at all: silence with `stall`, else a closed connection.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "text/xml"})
    announced: int | None = None
    chunks: list[bytes] | None = None
    last_chunk: bool = True
    framed: bool = True
    stall: bool = False


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        # A client that hangs up on a bad answer is what many tests want to see.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class ScriptedMws:
    """Gives the answers in `script` one after the other; the last one is given for ever."""

    def __init__(self) -> None:
        self.script: list[Answer] = []
        self.asked: list[Asked] = []
        self.ending = threading.Event()
        self.server = _Server(("127.0.0.1", 0), _handler_for(self))
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def will_answer(self, *answers: Answer) -> None:
        self.script[:] = answers

    def next_answer(self) -> Answer:
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]


@contextmanager
def scripted_mws():
    mws = ScriptedMws()
    thread = threading.Thread(target=mws.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield mws
    finally:
        mws.ending.set()
        mws.server.shutdown()
        mws.server.server_close()
        thread.join()


def _handler_for(mws: ScriptedMws):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0)).decode()
            form = dict(parse_qsl(body, keep_blank_values=True))
            mws.asked.append(Asked(self.command, self.path, dict(self.headers), form, body, self.client_address))
            self._give(mws.next_answer())

        def do_GET(self) -> None:
            mws.asked.append(Asked(self.command, self.path, dict(self.headers), {}, "", self.client_address))
            self._give(mws.next_answer())

        do_DELETE = do_GET  # noqa: N815 - the name that http.server looks for

        def _give(self, answer: Answer) -> None:
            if answer.status:
                self._send(answer)
            if answer.stall:
                mws.ending.wait(30)
            whole = answer.last_chunk if answer.chunks is not None else answer.framed and answer.announced is None
            self.close_connection = self.close_connection or not (whole and answer.status)

        def _send(self, answer: Answer) -> None:
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if answer.chunks is not None:
                self.send_header("Transfer-Encoding", "chunked")
            elif answer.framed:
                length = len(answer.body) if answer.announced is None else answer.announced
                self.send_header("Content-Length", str(length))
            self.end_headers()
            for chunk in answer.chunks or ():
                self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            if answer.chunks is not None and answer.last_chunk:
                self.wfile.write(b"0\r\n\r\n")
            self.wfile.write(answer.body)
            self.wfile.flush()

        def log_message(self, *_args: object) -> None:
            pass

    return Handler


class QuotaNotes:
    """Lets every call go, and notes what it is told: a unit test has no Redis."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.told: list[tuple[str, float | None, float | None, datetime | None]] = []
        self.rates: list[tuple[str, float]] = []
        self.refusals: list[tuple[str, bool, datetime | None]] = []

    def take(self, operation: str) -> None:
        self.taken.append(operation)

    def check(self, operation: str) -> None:
        pass

    def learned(self, operation: str, *, maximum, remaining, resets_at) -> None:
        self.told.append((operation, maximum, remaining, resets_at))

    def learned_rate(self, operation: str, *, per_second: float) -> None:
        self.rates.append((operation, per_second))

    def refused(self, operation: str, *, hourly: bool, resets_at: datetime | None) -> datetime:
        self.refusals.append((operation, hourly, resets_at))
        return resets_at if hourly and resets_at else NOW + timedelta(minutes=1)


class StoppedClock:
    def now(self) -> datetime:
        return NOW


def client(endpoint: str, *, quota: QuotaNotes | None = None, **changed) -> MwsReports:
    """An MwsReports with invented keys and short limits of time."""
    http = Http(connect_seconds=2, read_seconds=changed.pop("read_seconds", 2), total_seconds=10)
    wanted = {
        "seller_id": "A1SELLER",
        "access_key": "AKIAEXAMPLE",
        "secret_key": "the-secret",
        "auth_token": "amzn.mws.token",
        "marketplaces": ("ATVPDKIKX0DER",),
        "http": http,
        "clock": StoppedClock(),
        "quota": quota or QuotaNotes(),
    }
    return MwsReports(endpoint, **(wanted | changed))


def answer(operation: str, inner: str, **headers: str) -> Answer:
    """A successful XML answer as Amazon wraps it."""
    text = (
        f'<?xml version="1.0"?>\n<{operation}Response xmlns="{XMLNS}"><{operation}Result>{inner}</{operation}Result>'
        f"<ResponseMetadata><RequestId>req-1</RequestId></ResponseMetadata></{operation}Response>"
    )
    return Answer(body=text.encode(), headers={"Content-Type": "text/xml", **headers})


def refusal(status: int, code: str, message: str = "No.", **headers: str) -> Answer:
    """An ErrorResponse as Amazon writes it."""
    text = (
        f'<?xml version="1.0"?><ErrorResponse xmlns="{XMLNS}"><Error><Type>Sender</Type><Code>{code}</Code>'
        f"<Message>{message}</Message></Error><RequestID>req-2</RequestID></ErrorResponse>"
    )
    return Answer(status, text.encode(), {"Content-Type": "text/xml", **headers})


def report(body: bytes, *, md5: bytes | None = None, content_type: str = "text/plain;charset=windows-1252") -> Answer:
    """A GetReport answer with its right Content-MD5, or the one given."""
    digest = base64.b64encode(hashlib.md5(body).digest() if md5 is None else md5).decode()
    headers = {"Content-Type": content_type, "Content-MD5": digest, "x-mws-request-id": "req-3"}
    return Answer(body=body, headers=headers)
