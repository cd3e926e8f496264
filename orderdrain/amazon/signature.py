"""Signature Version 2: how an MWS request proves who sends it (MWS documentation, "Signing the query request")."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping


def signed_form(secret_key: str, *, method: str, host: str, path: str, parameters: Mapping[str, str]) -> str:
    """The form body of a request: `parameters` in the order in which they are signed, the signature last."""
    signature = sign(secret_key, method=method, host=host, path=path, parameters=parameters)
    return f"{canonical_query(parameters)}&Signature={_encoded(signature)}"


def sign(secret_key: str, *, method: str, host: str, path: str, parameters: Mapping[str, str]) -> str:
    """The signature in base64. `host` and `path` are signed as the server sees them: lower-case host, with its port
    unless that is the standard one; an empty path counts as "/"."""
    text = "\n".join((method, host.lower(), path or "/", canonical_query(parameters)))
    return base64.b64encode(hmac.digest(secret_key.encode(), text.encode(), hashlib.sha256)).decode()


def canonical_query(parameters: Mapping[str, str]) -> str:
    """All parameters, RFC 3986 encoded, sorted by the bytes of their unencoded names; an empty value keeps its `=`."""
    # Code points sort as their UTF-8 bytes do: MWSAuthToken before Marketplace, ReportIdList.Id.10 before .2.
    return "&".join(f"{_encoded(name)}={_encoded(value)}" for name, value in sorted(parameters.items()))


def _encoded(text: str) -> str:
    return quote(text, safe="")  # leaves A-Za-z0-9 - _ . ~ alone; a space is %20, never +
