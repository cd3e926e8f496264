"""Accounts as they are declared: from the command line, or many at once from a TOML file.

    [applications.main]
    access_key = "AKIA..."
    secret_key_file = "/run/secrets/mws"          # or secret_key_env = "NAME"

    [accounts.acme]
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
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orderdrain.accounts import Account
from orderdrain.amazon.http import emulator_at
from orderdrain.errors import UsageError
from orderdrain.schedules import check_declaration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orderdrain.services import Services

_APPLICATION_KEYS = {"access_key": str, "secret_key_file": str, "secret_key_env": str}
_ACCOUNT_KEYS = {
    "application": str,
    "seller_id": str,
    "endpoint": str,
    "marketplaces": list,
    "manage_schedules": bool,
    "list_every_minutes": int,
    "report_types": dict,
    "auth_token_file": str,
    "auth_token_env": str,
}
#: What TOML calls them.
_KINDS = {str: "a string", list: "an array", bool: "true or false", int: "a whole number", dict: "a table"}


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
        _required(keys, "access_key", f"application {name}")
    secrets = {name: _secret(keys, "secret_key", f"application {name}") for name, keys in applications.items()}
    for name, keys in accounts.items():
        _only_known(keys, _ACCOUNT_KEYS, f"account {name}")
        _check(name, keys)
    for name, keys in applications.items():
        s.accounts.add_application(name, access_key=keys["access_key"], secret_key=secrets[name] or "")
    for name, keys in accounts.items():
        declare(s, name, keys, auth_token=_secret(keys, "auth_token", f"account {name}"))
    return [f"application {name}" for name in applications] + [f"account {name}" for name in accounts]


def declare(s: Services, name: str, keys: Mapping[str, Any], *, auth_token: str | None) -> None:
    """Adds one account, or changes it. Raises UsageError with what would do."""
    _check(name, keys)
    account = Account(
        name,
        keys["seller_id"],
        tuple(keys["marketplaces"]),
        dict(keys["report_types"]),
        manage_schedules=bool(keys.get("manage_schedules", False)),
    )
    s.accounts.add(
        account,
        api="mws",
        application=keys["application"],
        endpoint=keys["endpoint"].rstrip("/"),
        auth_token=auth_token,
        list_every=timedelta(minutes=keys.get("list_every_minutes", 15)),
    )


def _check(name: str, keys: Mapping[str, Any]) -> None:
    for key in ("application", "seller_id", "endpoint", "marketplaces", "report_types"):
        _required(keys, key, f"account {name}")
    check_declaration(keys["report_types"])
    if not keys.get("list_every_minutes", 15) > 0:
        raise UsageError(f"account {name}: list_every_minutes must be above 0, such as 15")
    # Keys and tokens are not sealed yet: a real seller's must not lie in clear in a database.
    if not emulator_at(keys["endpoint"]):
        raise UsageError(
            f"account {name}: {keys['endpoint']} is no running emulator. Until credentials are sealed at rest, only an"
            " emulator's address is accepted. Start one: python -m emulator --port 8400"
        )


def _secret(keys: Mapping[str, Any], name: str, whose: str) -> str | None:
    if path := keys.get(f"{name}_file"):
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise UsageError(f"{whose}: {name}_file cannot be read: {error.strerror}") from None
    if variable := keys.get(f"{name}_env"):
        if variable not in os.environ:
            raise UsageError(f"{whose}: {name}_env names {variable}, which is not set")
        return os.environ[variable]
    if name == "secret_key":
        raise UsageError(f"{whose}: it needs secret_key_file or secret_key_env")
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
        # bool is an int to Python, and no number to a person.
        if type(value) is not known[key]:
            raise UsageError(f"{whose}: {key} must be {_KINDS[known[key]]}")
