"""Accounts as they are declared: from the command line, or many at once from a TOML file.

    [applications.main]
    access_key = "AKIA..."
    secret_key_file = "/run/secrets/mws"          # or secret_key_env = "NAME"

    [applications.app]                             # SP-API has other keys
    client_id = "amzn1.application-oa2-client..."
    client_secret_file = "/run/secrets/lwa"

    [accounts.acme]
    api = "mws"                                    # the default; or "sp-api", with a refresh_token_file
    application = "main"
    seller_id = "A1EXAMPLE"
    endpoint = "https://..."
    marketplaces = ["ATVPDKIKX0DER"]
    manage_schedules = true                        # default false: only compare
    list_every_minutes = 15
    report_types = { _GET_FLAT_FILE_ORDERS_DATA_ = "_15_MINUTES_" }

Secrets are read from files, the environment or a prompt, never from arguments or from the file itself.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from orderdrain.accounts import Account
from orderdrain.amazon.http import emulator_at
from orderdrain.amazon.lwa import LOGIN_URL
from orderdrain.errors import UsageError
from orderdrain.policy import LIST_EVERY_MINUTES
from orderdrain.schedules import check_declaration
from orderdrain.vault import secret_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orderdrain.services import Services


@dataclass(frozen=True)
class Names:
    """What an API calls its keys: those of a developer (an id and a secret), and what a seller gives."""

    key_id: str
    secret: str
    token: str
    needs_token: bool


NAMES = {
    # The MWSAuthToken is needed only where the developer is not the seller.
    "mws": Names("access_key", "secret_key", "auth_token", needs_token=False),
    "sp-api": Names("client_id", "client_secret", "refresh_token", needs_token=True),
}

_APPLICATION_KEYS = {
    name: str for names in NAMES.values() for name in (names.key_id, f"{names.secret}_file", f"{names.secret}_env")
}
_ACCOUNT_KEYS = {
    "api": str,
    "application": str,
    "seller_id": str,
    "endpoint": str,
    "marketplaces": list,
    "manage_schedules": bool,
    "list_every_minutes": float,
    "report_types": dict,
    "login_url": str,
    **{f"{names.token}_{where}": str for names in NAMES.values() for where in ("file", "env")},
}
#: What TOML calls them.
_KINDS = {str: "a string", list: "an array", bool: "true or false", float: "a number", dict: "a table"}


def declare_file(s: Services, path: Path) -> list[str]:
    """Adds (or changes) every application and account of a TOML file, all or none of them checked first."""
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: {error}") from None
    _only_known(told, {"applications": dict, "accounts": dict}, str(path))
    applications, accounts = told.get("applications", {}), told.get("accounts", {})
    for name, keys in applications.items():
        _only_known(keys, _APPLICATION_KEYS, f"application {name}")
    apis = {name: _api_of_keys(keys, f"application {name}") for name, keys in applications.items()}
    secrets = {
        name: _secret(keys, NAMES[apis[name]].secret, f"application {name}") for name, keys in applications.items()
    }
    for name, keys in accounts.items():
        _only_known(keys, _ACCOUNT_KEYS, f"account {name}")
        check_account(name, keys, sealed=s.vault.seals)
    tokens = {name: _token(keys, f"account {name}") for name, keys in accounts.items()}
    for name, keys in applications.items():
        key_id = keys[NAMES[apis[name]].key_id]
        s.accounts.add_application(name, api=apis[name], key_id=key_id, secret=secrets[name] or "")
    for name, keys in accounts.items():
        store_account(s, name, keys, token=tokens[name])
    return [f"application {name}" for name in applications] + [f"account {name}" for name in accounts]


def declare(s: Services, name: str, keys: Mapping[str, Any], *, token: str | None) -> None:
    """Adds one account, or changes it. Raises UsageError with what would do."""
    check_account(name, keys, sealed=s.vault.seals)
    store_account(s, name, keys, token=token)


def check_account(name: str, keys: Mapping[str, Any], *, sealed: bool) -> None:
    """Refuses what could not be drained, and a real seller where nothing is sealed. Raises UsageError with what would
    do."""
    for key in ("application", "seller_id", "endpoint", "marketplaces", "report_types"):
        _required(keys, key, f"account {name}")
    api = keys.get("api", "mws")
    if api not in NAMES:
        raise UsageError(f"account {name}: api is one of {', '.join(NAMES)}, and not {api}")
    check_declaration(keys["report_types"], api)
    least, most = LIST_EVERY_MINUTES
    if not least <= keys.get("list_every_minutes", 15) <= most:
        raise UsageError(f"account {name}: list_every_minutes must be from {least} to {most:,}, such as 15")
    if api == "mws" and "login_url" in keys:
        raise UsageError(f"account {name}: login_url is SP-API's alone")
    for place in (keys["endpoint"], keys.get("login_url")):
        if place is not None and not emulator_at("{0.scheme}://{0.netloc}".format(urlsplit(place))):
            _check_real(place, f"account {name}", sealed=sealed)
    if api == "sp-api" and not keys.get("login_url"):
        # An emulator's account that names no login sends its tokens to Amazon's.
        _check_real(LOGIN_URL, f"account {name}", sealed=sealed)


def store_account(s: Services, name: str, keys: Mapping[str, Any], *, token: str | None) -> None:
    """Adds one account that was checked, or changes it."""
    account = Account(
        name,
        keys["seller_id"],
        tuple(keys["marketplaces"]),
        dict(keys["report_types"]),
        manage_schedules=bool(keys.get("manage_schedules", False)),
    )
    s.accounts.add(
        account,
        api=keys.get("api", "mws"),
        application=keys["application"],
        endpoint=keys["endpoint"].rstrip("/"),
        token=token,
        login_url=keys.get("login_url"),
        list_every=timedelta(minutes=keys.get("list_every_minutes", 15)),
    )


def _check_real(place: str, whose: str, *, sealed: bool) -> None:
    """A real seller's keys and his buyers' data must not lie in clear anywhere, nor travel so."""
    if not sealed:
        raise UsageError(
            f"{whose}: {place} is no running emulator. Without a key nothing is sealed at rest, and only an emulator's"
            " address is accepted. Make a key (orderdrain key NAME), and name its file by ORDERDRAIN_KEYS"
        )
    if not place.startswith("https://"):
        raise UsageError(f"{whose}: {place} is neither https nor a running emulator")


def _api_of_keys(keys: Mapping[str, Any], whose: str) -> str:
    """The API that these keys are for, by their names."""
    for api, names in NAMES.items():
        if keys.get(names.key_id):
            return api
    raise UsageError(f"{whose}: {' or '.join(names.key_id for names in NAMES.values())} is missing")


def _token(keys: Mapping[str, Any], whose: str) -> str | None:
    names = NAMES[keys.get("api", "mws")]
    return _secret(keys, names.token, whose, required=names.needs_token)


def _secret(keys: Mapping[str, Any], name: str, whose: str, *, required: bool = True) -> str | None:
    if path := keys.get(f"{name}_file"):
        try:
            return secret_in(Path(path))
        except UsageError as error:
            raise UsageError(f"{whose}: {name}_file: {error}") from None
    if variable := keys.get(f"{name}_env"):
        if not (secret := os.environ.get(variable, "").strip()):
            raise UsageError(f"{whose}: {name}_env names {variable}, which is not set, or empty")
        return secret
    if required:
        raise UsageError(f"{whose}: it needs {name}_file or {name}_env")
    return None


def _required(keys: Mapping[str, Any], key: str, whose: str) -> None:
    if not keys.get(key):
        raise UsageError(f"{whose}: {key} is missing")


def _only_known(keys: Mapping[str, Any], known: Mapping[str, type], whose: str) -> None:
    if not isinstance(keys, dict):
        raise UsageError(f"{whose} must be a table of {', '.join(sorted(known))}")
    for key, value in keys.items():
        if key not in known:
            raise UsageError(f"{whose}: {key} is no key known here. Known: {', '.join(sorted(known))}")
        # bool is an int to Python, and no number to a person; a whole number is a number.
        if type(value) not in {known[key], int if known[key] is float else known[key]}:
            raise UsageError(f"{whose}: {key} must be {_KINDS[known[key]]}")
