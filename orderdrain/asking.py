"""What a command needs of a person: values that were not told as options, and secrets, which are never options.

Secrets are read from a file, else from the environment, else asked for without being shown.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from orderdrain.errors import UsageError
from orderdrain.vault import secret_in

if TYPE_CHECKING:
    from pathlib import Path

    from orderdrain.services import Services


def ask_for_what_is_missing(keys: dict[str, Any]) -> None:
    """Asks a person at a terminal for what an account needs and was not told."""
    hosts = "https://sellingpartnerapi-na.amazon.com, -eu or -fe" if keys["api"] == "sp-api" else "https://..."
    for key, asked in (
        ("application", "Application (a name for the developer's keys)"),
        ("seller_id", "Seller id"),
        ("endpoint", f"Endpoint ({hosts})"),
    ):
        keys[key] = keys[key] or click.prompt(asked, err=True)
    if not keys["marketplaces"]:
        keys["marketplaces"] = click.prompt("Marketplace ids (A,B)", err=True).replace(",", " ").split()
    if not keys["report_types"]:
        example = "_GET_FLAT_FILE_ORDERS_DATA_=_15_MINUTES_"
        if keys["api"] == "sp-api":
            example = "GET_FLAT_FILE_ORDER_REPORT_DATA_SHIPPING=PT15M"
        keys["report_types"] = dict([pair(click.prompt("Report type and how often", default=example, err=True))])


def ask_for_application(s: Services, keys: dict[str, Any]) -> None:
    """Asks a person at a terminal for the keys of an application that is not known yet."""
    if keys["application"] in {row.application for row in s.accounts.applications()}:
        return
    click.echo(f"Application {keys['application']} is new.", err=True)
    if keys["api"] == "mws":
        key_id = click.prompt("Access key id", err=True)
        secret = secret_from("ORDERDRAIN_SECRET_KEY", None, "Secret key")
    else:
        key_id = click.prompt("Client id", err=True)
        secret = secret_from("ORDERDRAIN_CLIENT_SECRET", None, "Client secret")
    s.accounts.add_application(keys["application"], api=keys["api"], key_id=key_id, secret=secret)


def secret_from(variable: str, path: Path | None, prompt: str | None) -> str:
    """The secret in the file, in the environment's `variable`, or as typed (a line of stdin where that is no terminal);
    empty where there is no `prompt` either. Raises UsageError where it is asked for and does not come."""
    if path is not None:
        return secret_in(path)
    secret = os.environ.get(variable, "").strip()
    if secret or prompt is None:
        return secret
    if sys.stdin.isatty():
        return str(click.prompt(prompt, hide_input=True, err=True)).strip()
    if not (secret := sys.stdin.readline().strip()):
        raise UsageError(f"{prompt} is missing: name a file that holds it (--help says how), or set {variable}")
    return secret


def pair(text: str) -> tuple[str, str]:
    """`NAME=VALUE`, in two. Raises UsageError."""
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"{text!r}: it must be NAME=VALUE")
    return name, value
