"""Login with Amazon: refresh tokens become access tokens, and who holds a token may call for its seller.

The answers are as recorded in 2024; invalid_client (401) and invalid_grant (400) as users of the API reported them.
"""

from __future__ import annotations

import base64
import hmac
import json
import uuid
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from email.utils import format_datetime
from random import Random
from typing import TYPE_CHECKING, Any

from emulator.call import Reply
from emulator.parameters import Refusal
from emulator.record import describe_call

if TYPE_CHECKING:
    from emulator.account import Account
    from emulator.faults import Faults
    from emulator.record import Record
    from emulator.signature import HttpRequest
    from emulator.world import World

LWA_PATH = "/auth/o2/token"
#: Access tokens and restricted data tokens live an hour (SP-API documentation).
LIFE = timedelta(hours=1)

_NO_CLIENT = Refusal("invalid_client", "Client authentication failed", status=401)
_NO_GRANT = Refusal(
    "invalid_grant",
    "The request has an invalid grant parameter : refresh_token. User may have revoked or didn't grant the permission.",
)
_MALFORMED = Refusal("invalid_request", "Malformed request")
_UNSUPPORTED = Refusal(
    "unsupported_grant_type", "The authorization grant type is not supported by the authorization server"
)


@dataclass(frozen=True)
class Grant:
    """What a token allows until it expires. `paths`: to GET these alone. Without an account it is a grantless one."""

    account: Account | None
    until: datetime
    paths: frozenset[str] | None = None


class Tokens:
    """Every token that was given out. Earlier ones stay good beside later ones. World's lock guards it."""

    def __init__(self, seed: int) -> None:
        self._random = Random(f"{seed}/access-tokens")
        self._grants: dict[str, Grant] = {}

    def issue(self, account: Account | None, now: datetime, paths: frozenset[str] | None = None) -> str:
        """A new token, restricted where there are paths."""
        for token in [token for token, grant in self._grants.items() if grant.until < now - timedelta(days=1)]:
            del self._grants[token]
        start = "Atza|" if paths is None else "Atz.sprdt|"
        token = start + base64.urlsafe_b64encode(self._random.randbytes(240)).decode()
        self._grants[token] = Grant(account, now + LIFE, paths)
        return token

    def find(self, token: str) -> Grant | None:
        """What the token allowed, also when that is over."""
        return self._grants.get(token)

    def expire(self, token: str, now: datetime) -> None:
        """It is no longer good, before its time."""
        self._grants[token] = replace(self._grants[token], until=now)


class Lwa:
    """The token endpoint. Its calls are recorded as operation `LWA`; no quota limits them."""

    def __init__(self, world: World, tokens: Tokens, faults: Faults, record: Record, *, seed: int) -> None:
        self._world = world
        self._tokens = tokens
        self._faults = faults
        self._record = record
        self._random = Random(f"{seed}/lwa-request-ids")

    def handle(self, request: HttpRequest) -> Reply:
        """Answers one request and records it."""
        account, fault, code = None, None, None
        with self._world.lock:
            now = self._world.clock.now()
            request_id = str(uuid.UUID(bytes=self._random.randbytes(16), version=4))
            try:
                sent = _read(request)
                account = self._world.by_refresh_token(sent.get("refresh_token", ""))
                self._check_client(sent)
                fault = self._faults.draw(account.seller.account if account else "", "LWA", "")
                status, answer = 200, self._grant(sent, account, now, fault)
            except Refusal as refusal:
                code, status = refusal.code, refusal.status
                answer = {
                    "error_description": refusal.message,
                    "error": refusal.code,
                    "request_id": request_id,
                }
        if fault == "no_answer":
            code = "no answer"
        self._record.add(
            describe_call(
                "sp-api",
                "LWA",
                at=now,
                account=account.seller.account if account else None,
                status=None if fault == "no_answer" else status,
                code=code,
                request_id=request_id,
                fault=fault,
                applied=code is None,
            )
        )
        headers = {
            "Content-Type": "application/json;charset=UTF-8",
            "x-amzn-RequestId": request_id,
            "X-Amz-Date": format_datetime(now, usegmt=True),
            "Cache-Control": "no-cache, no-store, must-revalidate",
            "Pragma": "no-cache",
        }
        return Reply(status, headers, json.dumps(answer).encode(), fault)

    def _check_client(self, sent: dict[str, str]) -> None:
        if not sent.get("grant_type") or "client_id" not in sent or "client_secret" not in sent:
            raise _MALFORMED
        application = next(iter(self._world.accounts.values())).seller
        if sent["client_id"] != application.client_id or not hmac.compare_digest(
            sent["client_secret"].encode(), self._world.client_secret.encode()
        ):
            raise _NO_CLIENT

    def _grant(self, sent: dict[str, str], account: Account | None, now: datetime, fault: str | None) -> dict[str, Any]:
        if fault == "invalid_client":
            raise _NO_CLIENT
        life = int(LIFE.total_seconds())
        if sent["grant_type"] == "client_credentials":
            token = self._tokens.issue(None, now)
            return {"access_token": token, "scope": sent.get("scope", ""), "token_type": "bearer", "expires_in": life}
        if sent["grant_type"] != "refresh_token":
            raise _UNSUPPORTED
        if account is None or fault == "invalid_grant":
            raise _NO_GRANT
        if fault == "no_answer":
            return {}
        return {
            "access_token": self._tokens.issue(account, now),
            "refresh_token": sent["refresh_token"],
            "token_type": "bearer",
            "expires_in": life,
        }


def _read(request: HttpRequest) -> dict[str, str]:
    """The parameters, from a form or from JSON: published clients send either."""
    if request.verb != "POST":
        raise Refusal("invalid_request", "Malformed request", status=405)
    if not request.form.lstrip().startswith("{"):
        return dict(request.parameters().pairs)
    try:
        sent = json.loads(request.form)
    except ValueError:
        raise _MALFORMED from None
    return {name: value for name, value in sent.items() if isinstance(value, str)}
