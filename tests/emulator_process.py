"""The emulator as a separate process: what most tests of more than one part begin with."""

from __future__ import annotations

import json
import os
import select
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parents[1]


class Emulator:
    """`python -m emulator` on a free port, faults off unless asked for. A context manager.

        with Emulator.start(seed=7, backlog=3) as emulator:
            emulator.account("acme")["secret_key"]
            emulator.post("/_emulator/advance", {"seconds": 60})

    `start`'s keywords are the options: `orders_per_minute=2` becomes `--orders-per-minute 2`, a pair becomes two values.
    """

    DEADLINE_SECONDS = 10

    @classmethod
    def start(cls, **options) -> Self:
        return cls(**options)

    def __init__(self, **options):
        words = []
        for name, value in ({"port": 0, "faults": "none"} | options).items():
            values = value if isinstance(value, (list, tuple)) else [value]
            words += [f"--{name.replace('_', '-')}", *map(str, values)]
        self._token = options.get("control_token")
        handlers = [urllib.request.ProxyHandler({})]  # no proxy stands between a test and the emulator
        if "tls" in options:
            handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=options["tls"][0])))
        self._http = urllib.request.build_opener(*handlers)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "emulator", *words], cwd=ROOT, stdout=subprocess.PIPE, env=os.environ
        )
        try:
            self.first_line = json.loads(self._read_first_line())
        except BaseException:
            self.stop()
            raise
        self.url: str = self.first_line["mws"]
        self.accounts: list[dict] = self.first_line["accounts"]

    def account(self, name: str) -> dict:
        return next(account for account in self.accounts if account["account"] == name)

    def get(self, path: str):
        return self._call(urllib.request.Request(self.url + path))

    def post(self, path: str, body: dict):
        data = json.dumps(body).encode()
        return self._call(urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}))

    def calls(self, operation: str | None = None) -> list[dict]:
        """The calls that it got, of one operation or of all."""
        calls = self.get("/_emulator/calls")["calls"]
        return [call for call in calls if operation in {None, call["operation"]}]

    def stop(self) -> int:
        """Ends it, if it has not ended. Returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
        finally:
            self.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception) -> None:
        self.stop()

    def _read_first_line(self) -> bytes:
        line, deadline = b"", time.monotonic() + self.DEADLINE_SECONDS
        while not line.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left < 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise TimeoutError(f"the emulator did not listen within {self.DEADLINE_SECONDS} s")
            block = os.read(self.process.stdout.fileno(), 65536)
            if not block:
                raise RuntimeError(f"the emulator ended with {self.process.wait()} before it listened")
            line += block
        return line

    def _call(self, request: urllib.request.Request):
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        try:
            with self._http.open(request, timeout=60) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{request.full_url}: {error.code} {error.read().decode()}") from error
