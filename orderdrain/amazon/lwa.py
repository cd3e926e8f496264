"""Login with Amazon: what a seller gave once (a refresh token) becomes an access token for an hour."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from orderdrain.amazon import sp_json
from orderdrain.amazon.http import BodyCut, NoAnswer
from orderdrain.errors import Evidence, OperatorNeeded, ServiceFault

if TYPE_CHECKING:
    from datetime import datetime

    from orderdrain.amazon.http import Http

#: Where tokens are given, for all regions (SP-API documentation, "Connecting to the Selling Partner API").
LOGIN_URL = "https://api.amazon.com/auth/o2/token"
#: An answer is under 1 KB (recorded 2024 traffic).
MAX_ANSWER_BYTES = 64 * 1024

# What speaks of the developer's keys, for all sellers at once (RFC 6749, 5.2).
_APPLICATION_REFUSED = {"invalid_client", "unauthorized_client"}
# What passes by itself, also where it comes with a status below 500 (RFC 6749, 4.1.2.1).
_PASSES = {"server_error", "temporarily_unavailable"}


@dataclass(frozen=True)
class AccessToken:
    """Good until `expires_at` (UTC)."""

    token: str = field(repr=False)
    expires_at: datetime


def refresh(
    http: Http, url: str, *, client_id: str, client_secret: str, refresh_token: str, now: datetime
) -> AccessToken:
    """Asks for an access token. Raises OperatorNeeded where the developer's keys (scope "application") or the seller's
    authorization are refused, ServiceFault for everything else."""
    # In the body, never in the URL: URLs end up in the logs of everything that they pass.
    form = {
        "grant_type": "refresh_token",
        "refresh_token": refresh_token,
        "client_id": client_id,
        "client_secret": client_secret,
    }
    headers = {"Content-Type": "application/x-www-form-urlencoded;charset=UTF-8"}
    try:
        with http.send("POST", url, headers=headers, body=urlencode(form), max_bytes=MAX_ANSWER_BYTES) as response:
            # Amazon's support asks for the request id; the body of a refusal repeats it (recorded 2024 traffic).
            status, request_id = response.status, response.headers.get("x-amzn-RequestId")
            told = sp_json.read_answer(response.read()) or {}
    except (NoAnswer, BodyCut) as error:
        raise ServiceFault(f"Login with Amazon gave no answer: {error}", evidence=Evidence("LWA")) from error
    # Amazon's words are short; a sentence in their place may repeat what we sent.
    word = told.get("error")
    refused = word if isinstance(word, str) and word.isidentifier() else None
    evidence = Evidence("LWA", status, refused, request_id)
    token, seconds = told.get("access_token"), told.get("expires_in")
    if status == 200 and isinstance(token, str) and token and isinstance(seconds, int):
        return AccessToken(token, now + timedelta(seconds=seconds))
    if status in {400, 401, 403} and refused and refused not in _PASSES:
        raise _refusal(refused, evidence)
    raise ServiceFault("Login with Amazon gave no token", evidence=evidence)


def _refusal(code: str, evidence: Evidence) -> OperatorNeeded:
    if code in _APPLICATION_REFUSED:
        return OperatorNeeded(
            "Login with Amazon refuses the application's client id or secret (a secret ends after 180 days)",
            scope="application",
            evidence=evidence,
        )
    if code == "invalid_grant":
        return OperatorNeeded(
            "the seller's authorization has ended or was revoked: let the seller authorise again, and store the new"
            " refresh token (orderdrain account add)",
            evidence=evidence,
        )
    # Asked again in the same words, it says the same again: report after report would use up its attempts.
    return OperatorNeeded(
        "Login with Amazon refuses what it is asked for this seller: check the refresh token and the login url"
        " (orderdrain account add)",
        evidence=evidence,
    )
