"""Who is calling: the parameters of an MWS request and its Signature Version 2, checked as Amazon documents it."""

from __future__ import annotations

import base64
import hmac
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote

from emulator.parameters import Parameters, Refusal, parse_moment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from emulator.account import Account
    from emulator.world import World

#: MWS documentation: a timestamp may be off by a quarter of an hour.
SKEW = timedelta(minutes=15)

_DIGESTS = {"HmacSHA256": "sha256", "HmacSHA1": "sha1"}


@dataclass(frozen=True)
class HttpRequest:
    """An HTTP request as it came: `host` exactly as in the Host header, `query` and `form` still encoded."""

    verb: str
    host: str
    path: str
    query: str
    form: str
    user_agent: str | None
    #: All headers, their names in lower case.
    headers: Mapping[str, str] = field(default_factory=dict)

    def parameters(self) -> Parameters:
        """The parameters of the address and of the body: clients put them in either, or in both."""
        pairs = [pair for part in (self.query, self.form) for pair in parse_qsl(part, keep_blank_values=True)]
        return Parameters(pairs)


def authenticate(request: HttpRequest, parameters: Parameters, world: World, now: datetime) -> Account:
    """The account that this request may speak for. The key is looked at before the signature.

    Raises Refusal with Amazon's codes: InvalidAccessKeyId, SignatureDoesNotMatch, InvalidParameterValue, AccessDenied.
    """
    if not request.user_agent or len(request.user_agent) > 500:
        raise Refusal("UserAgentHeaderMalformed", "The User-Agent header is missing or longer than 500 characters.")
    account = world.by_key(parameters.required("AWSAccessKeyId"))
    if account is None:
        raise Refusal(
            "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.", status=403
        )
    method = parameters.required("SignatureMethod")
    if method not in _DIGESTS or parameters.required("SignatureVersion") != "2":
        raise Refusal("InvalidParameterValue", "Use SignatureVersion 2 with HmacSHA256 or HmacSHA1.")
    right = sign(request, parameters, account.seller.secret_key, digest=_DIGESTS[method])
    if not hmac.compare_digest(right.encode(), parameters.required("Signature").encode()):
        raise Refusal(
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided.",
            status=403,
        )
    _check_time(parameters, now)
    if parameters.required("Version") != "2009-01-01":
        raise Refusal("InvalidParameterValue", "Version must be 2009-01-01.")
    seller_id = parameters.text("SellerId") or parameters.required("Merchant")
    if seller_id != account.seller.seller_id:
        raise Refusal("AccessDenied", "Access to this seller is denied for these keys.", status=401)
    if account.seller.auth_token and parameters.text("MWSAuthToken") != account.seller.auth_token:
        raise Refusal("AccessDenied", "AuthToken is not valid for SellerId and AWSAccountId.", status=401)
    return account


def sign(request: HttpRequest, parameters: Parameters, secret_key: str, *, digest: str = "sha256") -> str:
    """The signature that this request should have: over the verb, Host and path as sent, and the sorted parameters."""
    encoded = [(_encode(name), _encode(value)) for name, value in _in_byte_order(parameters) if name != "Signature"]
    canonical = "&".join(f"{name}={value}" for name, value in encoded)
    text = f"{request.verb}\n{request.host.lower()}\n{request.path}\n{canonical}"
    return base64.b64encode(hmac.digest(secret_key.encode(), text.encode(), digest)).decode()


def _in_byte_order(parameters: Parameters) -> list[tuple[str, str]]:
    return sorted(parameters.pairs, key=lambda pair: (pair[0].encode(), pair[1].encode()))


def _encode(text: str) -> str:
    return quote(text, safe="-_.~")


def _check_time(parameters: Parameters, now: datetime) -> None:
    if expires := parameters.text("Expires"):
        if parse_moment("Expires", expires) < now:
            raise Refusal("InvalidParameterValue", f"Request has expired. Expires is {expires}.")
        return
    timestamp = parameters.required("Timestamp")
    if abs(parse_moment("Timestamp", timestamp) - now) > SKEW:
        here = now.astimezone(UTC).isoformat(timespec="seconds")
        raise Refusal("InvalidParameterValue", f"Request has expired. Timestamp is {timestamp}, the time is {here}.")
