"""What can be set, from where each value came, and what it means.

A setting is an environment variable ORDERDRAIN_*. Where it is not set, `.orderdrain/env` of this directory or of one
above it is read (a running `make up` writes it, so that the CLI in another terminal finds the stack by itself), then
the default holds. A variable of our name that nobody reads is refused: it is a misspelt one.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from orderdrain.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PREFIX = "ORDERDRAIN_"

#: Read by others of our processes, not through `Settings`: the pipe on which a child says that it is ready, the file
#: by which a worker shows that it lives, secrets for the CLI, and servers for the tests in place of the embedded ones.
ELSEWHERE = frozenset(
    {
        "ORDERDRAIN_READY_FD",
        "ORDERDRAIN_ALIVE_FILE",
        "ORDERDRAIN_SECRET_KEY",
        "ORDERDRAIN_AUTH_TOKEN",
        "ORDERDRAIN_CLIENT_SECRET",
        "ORDERDRAIN_REFRESH_TOKEN",
        "ORDERDRAIN_TEST_DATABASE_URL",
        "ORDERDRAIN_TEST_REDIS_URL",
    }
)


def _text(value: str) -> str:
    return value


def _postgres_url(value: str) -> str:
    return _url(value, "postgresql", "postgres")


def _redis_url(value: str) -> str:
    return _url(value, "redis", "rediss")


def _url(value: str, *schemes: str) -> str:
    if not value.startswith(tuple(f"{scheme}://" for scheme in schemes)):
        raise ValueError(f"it must begin with {schemes[0]}://")
    try:
        parts = urlsplit(value)
        whole = parts.port != 0 and "@" not in parts.path + parts.query + parts.fragment
    except ValueError:
        # Python's own words would quote a piece of the password.
        whole = False
    if not whole:
        raise ValueError("it must have one host and a number as port; / ? # @ in a password are %2F %3F %23 %40")
    return value


def _positive_int(value: str) -> int:
    number = int(value) if re.fullmatch(r"[0-9]{1,9}", value) else 0
    if number < 1:
        raise ValueError("it must be a whole number, 1 or more")
    return number


def _positive_float(value: str) -> float:
    number = float(value) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value) else 0.0
    if number <= 0:
        raise ValueError("it must be a number above 0")
    return number


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in words:
            raise ValueError(f"it must be one of {', '.join(words)}")
        return value

    return parse


def _setting(meaning: str, example: str, parse: Callable[[str], Any] = _text, default: Any = None) -> Any:
    metadata = {"meaning": meaning, "example": example, "parse": parse, "required": default is None}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """Every setting, typed. `origin` tells where each value came from: environment, a file, or the default."""

    database_url: str = _setting(
        "The Postgres that holds the ledger and the orders (15 or newer)",
        "postgresql://orderdrain:password@localhost/orders",
        _postgres_url,
    )
    redis_url: str = _setting(
        "The Redis (7 or newer) or Valkey that carries messages, locks and quotas; it may be flushed at any time",
        "redis://:password@localhost:6379/0",
        _redis_url,
    )
    archive: str = _setting(
        "Where report bytes are kept as Amazon sent them: a directory, or s3://bucket/prefix",
        "/var/lib/orderdrain/archive",
        default=".orderdrain/archive",
    )
    keys: str = _setting(
        "The file with the keys that seal credentials and report bytes at rest; without it only an emulator is drained",
        "/run/secrets/orderdrain-keys",
        default="",
    )
    notifications: str = _setting(
        "The SQS queue, or queues, by commas, to which Amazon announces finished reports; without one it only lists",
        "https://sqs.us-east-1.amazonaws.com/123456789012/orderdrain",
        default="",
    )
    account_slots: int = _setting(
        "How many reports of one connection may be under way at once, so that a big one cannot starve the small",
        "8",
        _positive_int,
        default=8,
    )
    lease_seconds: int = _setting(
        "Real seconds after which a dead worker's report moves on; renewed four times within", "120", _positive_int, 120
    )
    beat_speed: float = _setting(
        "Divides beat's intervals: for a demo or a test whose application clock runs faster than life",
        "1",
        _positive_float,
        default=1.0,
    )
    log_format: str = _setting(
        "json: one object a line, for programs; text: for people", "json", _one_of("json", "text"), "json"
    )
    log_level: str = _setting(
        "The least severe line that is logged", "info", _one_of("debug", "info", "warning", "error"), "info"
    )
    origin: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{row.variable}={row.shown}' for row in self.table())})"

    def table(self) -> list[Row]:
        """Each setting as a person may see it: passwords masked."""
        return [
            Row(variable_of(f.name), masked(str(getattr(self, f.name))), self.origin[f.name], f.metadata["meaning"])
            for f in _described()
        ]


@dataclass(frozen=True)
class Row:
    """One line of `orderdrain config`."""

    variable: str
    shown: str
    origin: str
    meaning: str


def load(environ: Mapping[str, str] | None = None, *, start: Path | None = None) -> Settings:
    """Settings from `environ` (default: the process's), then from `.orderdrain/env` at or above `start`.

    Raises SettingsError, in one line that names the variable and shows an example.
    """
    environ = os.environ if environ is None else environ
    unknown = sorted(name for name in environ if name.startswith(PREFIX) and name not in variable_names())
    if unknown:
        raise SettingsError(f"{unknown[0]} is no setting of orderdrain: misspelt? All of them: orderdrain config")
    path, found = _env_file(start or Path.cwd())
    values: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for f in _described():
        name = variable_of(f.name)
        text, where = (environ[name], "environment") if environ.get(name) else (found.get(name), str(path))
        if text:
            values[f.name], origin[f.name] = _parsed(name, text, f.metadata), where
        elif f.metadata["required"]:
            raise SettingsError(f"{name} is not set. Example: {name}={f.metadata['example']}")
        else:
            origin[f.name] = "default"
    return Settings(**values, origin=origin)


def variable_names() -> set[str]:
    """Every ORDERDRAIN_* name that something reads."""
    return {variable_of(f.name) for f in _described()} | ELSEWHERE


def variable_of(name: str) -> str:
    """`database_url` -> `ORDERDRAIN_DATABASE_URL`."""
    return PREFIX + name.upper()


def masked(value: str) -> str:
    """A value with the password of a URL hidden; anything else as it is."""
    password = urlsplit(value).password if "://" in value else None
    shown = value.replace(f":{password}@", ":***@") if password else value
    # libpq takes one in the query as well: ?user=orderdrain&password=...
    return re.sub(r"(password)=[^&]*", r"\1=***", shown)


def _parsed(name: str, text: str, metadata: Mapping[str, Any]) -> Any:
    try:
        return metadata["parse"](text)
    except ValueError as error:
        raise SettingsError(f"{name} is malformed: {error}. Example: {name}={metadata['example']}") from None


def _described() -> list[Any]:
    return [f for f in fields(Settings) if f.metadata]


def _env_file(start: Path) -> tuple[Path, dict[str, str]]:
    for folder in (start, *start.parents):
        path = folder / ".orderdrain" / "env"
        if path.is_file():
            lines = path.read_text(encoding="utf-8").splitlines()
            pairs = (line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
            return path, {name.strip(): value.strip() for name, value in pairs}
    return start, {}
