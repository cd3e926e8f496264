"""Login with Amazon: what a seller gave once (a refresh token) becomes an access token for an hour."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from orderdrain.amazon.http import BodyCut, NoAnswer
from orderdrain.errors import Evidence, OperatorNeeded, ServiceFault

if TYPE_CHECKING:
    from datetime import datetime

    from orderdrain.amazon.http import Http

#: Where tokens are given, for all regions (SP-API documentation, "Connecting to the Selling Partner API").
LOGIN_URL = "https://api.amazon.com/auth/o2/token"

#: RFC 6749 5.2, and what Login with Amazon says besides.
_APPLICATION_REFUSED = {"invalid_client", "unauthorized_client"}


@dataclass(frozen=True)
class AccessToken:
    """Good until `expires_at`."""

    token: str = field(repr=False)
    expires_at: datetime


def refresh(
    http: Http, url: str, *, client_id: str, client_secret: str, refresh_token: str, now: datetime
) -> AccessToken:
    """Asks for an access token. Raises OperatorNeeded where the developer's keys (scope "application") or the seller's
    authorization are refused, ServiceFault for everything else."""
    form = {
        "grant_type": "refresh_token",
        "refresh_token": refresh_token,
        "client_id": client_id,
        "client_secret": client_secret,
    }
    headers = {"Content-Type": "application/x-www-form-urlencoded;charset=UTF-8"}
    try:
        with http.send("POST", url, headers=headers, body=urlencode(form), max_bytes=64 * 1024) as response:
            told, status = _object(response.read()), response.status
    except (NoAnswer, BodyCut) as error:
        raise ServiceFault(f"Login with Amazon gave no answer: {error}", evidence=Evidence("LWA")) from error
    evidence = Evidence("LWA", status, told.get("error"), told.get("request_id"))
    if status == 200 and "access_token" in told and isinstance(told.get("expires_in"), int):
        return AccessToken(told["access_token"], now + timedelta(seconds=told["expires_in"]))
    if told.get("error") in _APPLICATION_REFUSED:
        raise OperatorNeeded(
            "Login with Amazon refuses the application's client id or secret (a secret ends after 180 days)",
            scope="application",
            evidence=evidence,
        )
    if told.get("error") == "invalid_grant":
        raise OperatorNeeded(
            "the seller's authorization has ended or was revoked: let the seller authorise again, and store the new"
            " refresh token (orderdrain account add)",
            evidence=evidence,
        )
    raise ServiceFault("Login with Amazon gave no token", evidence=evidence)


def _object(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
