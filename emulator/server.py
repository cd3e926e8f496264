"""HTTP in and out: keep-alive, one thread a connection, and the faults that need the socket itself."""

from __future__ import annotations

import json
import select
import socket
import ssl
import sys
from hmac import compare_digest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from emulator.control import NoSuchPath
from emulator.documents import STORE_PATH
from emulator.lwa import LWA_PATH
from emulator.signature import HttpRequest
from emulator.sp_api import SP_PATHS
from emulator.sqs import SQS_TARGET

if TYPE_CHECKING:
    from email.message import Message

    from emulator.call import Reply
    from emulator.control import Control
    from emulator.documents import Documents
    from emulator.faults import Faults
    from emulator.lwa import Lwa
    from emulator.mws import Mws
    from emulator.sp_api import SpApi
    from emulator.sqs import Sqs

_CONTROL = "/_emulator/"
_LARGEST_BODY = 64 * 1024 * 1024


class Server(ThreadingHTTPServer):
    """Listens once it is made. What answers behind it is set before it serves."""

    daemon_threads = True
    request_queue_size = 256
    mws: Mws
    sp_api: SpApi
    lwa: Lwa
    documents: Documents
    sqs: Sqs
    control: Control
    faults: Faults

    def __init__(
        self, host: str, port: int, *, tls: tuple[str, str] | None, control_token: str | None, verbose: bool
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)
        self.control_token = control_token
        self.verbose = verbose
        self.scheme = "https" if tls else "http"
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            # The handshake is left to the connection's own thread: a slow client must not keep others from connecting.
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    @property
    def url(self) -> str:
        """Where it listens, for a client on this machine."""
        host, port = self.server_address[0], self.server_address[1]
        shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(str(host), str(host))  # noqa: S104  shown, not bound
        return f"{self.scheme}://{f'[{shown}]' if ':' in shown else shown}:{port}"

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002  socketserver's
        """A client that went away is nobody's error; anything else is one line."""
        error = sys.exception()
        if not isinstance(error, (ConnectionError, TimeoutError, ssl.SSLError)):
            print(f"emulator: {type(error).__name__}: {error}", file=sys.stderr)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "Server"
    sys_version = ""
    wbufsize = -1
    disable_nagle_algorithm = True
    headers: Message
    server: Server

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def do_DELETE(self) -> None:
        self._handle()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  http.server's name
        if self.server.verbose:
            print(f"emulator: {self.client_address[0]} {format % args}", file=sys.stderr)

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The Date header shows the emulated time, like everything else."""
        return super().date_time_string(timestamp or self.server.mws.now().timestamp())

    def _handle(self) -> None:
        path, _, query = self.path.partition("?")
        announced = self.headers.get("Content-Length") or "0"
        if not announced.isdecimal() or int(announced) > _LARGEST_BODY:
            self.close_connection = True
            self._send_json(413, {"error": f"a body is {_LARGEST_BODY} bytes at the most, and says its length"})
            return
        body = self.rfile.read(int(announced))
        if path.startswith(_CONTROL) or path == _CONTROL[:-1]:
            self._handle_control(path.removeprefix(_CONTROL[:-1]).strip("/"), query, body)
        else:
            self._handle_amazon(path, query, body)

    def _handle_amazon(self, path: str, query: str, body: bytes) -> None:
        reply = self._amazon_behind(path).handle(
            HttpRequest(
                verb=self.command,
                host=self.headers.get("Host", ""),
                path=path,
                query=query,
                form=body.decode("utf-8", "replace"),
                user_agent=self.headers.get("User-Agent"),
                headers={name.lower(): value for name, value in self.headers.items()},
            )
        )
        if reply.fault in {"no_answer", "late_answer"}:
            self.close_connection = True
        elif reply.fault in {"cut_body", "cut_without_length", "stalled_body"} and reply.status == 200:
            self._send_part(reply)
        else:
            self._send(reply.status, reply.headers, reply.body)

    def _amazon_behind(self, path: str) -> Mws | SpApi | Lwa | Documents | Sqs:
        if self.headers.get("X-Amz-Target", "").startswith(SQS_TARGET):
            return self.server.sqs
        if path.startswith(SP_PATHS):
            return self.server.sp_api
        if path == LWA_PATH:
            return self.server.lwa
        return self.server.documents if path.startswith(STORE_PATH) else self.server.mws

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self._send_head(status, headers | {"Content-Length": str(len(body))})
        self.wfile.write(body)
        self.wfile.flush()

    def _send_head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _send_part(self, reply: Reply) -> None:
        """Some of the body; then the connection ends at once, or when the client goes or the stall is over."""
        self.close_connection = True
        announced = {} if reply.fault == "cut_without_length" else {"Content-Length": str(len(reply.body))}
        self._send_head(reply.status, reply.headers | announced | {"Connection": "close"})
        part = 0.5 if reply.fault == "stalled_body" else 0.6
        self.wfile.write(reply.body[: int(len(reply.body) * part)])
        self.wfile.flush()
        if reply.fault == "stalled_body":
            select.select([self.connection], [], [], self.server.faults.stall_seconds)

    def _handle_control(self, path: str, query: str, body: bytes) -> None:
        # The clock tells nothing but the time: by it a client recognises that this is an emulator.
        if path != "clock" and not self._may_control():
            self._send_json(401, {"error": "this path needs Authorization: Bearer and the control token"})
            return
        try:
            if self.command == "GET":
                answer = self.server.control.get(path, query)
            else:
                answer = self.server.control.post(path, _json_object(body))
        except NoSuchPath:
            self._send_json(404, {"error": f"no control path {path!r}; GET /_emulator/ lists them"})
        except KeyError as missing:
            self._send_json(400, {"error": f"missing or unknown: {missing}"})
        except (ValueError, TypeError) as error:
            self._send_json(400, {"error": str(error)})
        else:
            self._send_json(200, answer)

    def _may_control(self) -> bool:
        token = self.server.control_token
        sent = self.headers.get("Authorization", "")
        return token is None or compare_digest(sent.encode(), f"Bearer {token}".encode())

    def _send_json(self, status: int, answer: Any) -> None:
        self._send(status, {"Content-Type": "application/json"}, json.dumps(answer).encode() + b"\n")


def _json_object(body: bytes) -> dict[str, Any]:
    value = json.loads(body or b"{}")
    if not isinstance(value, dict):
        raise TypeError("the body must be a JSON object")
    return value
