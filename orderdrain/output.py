"""How the CLI speaks: data to stdout, talk to stderr, tables for people and JSON for programs, named exit codes."""

from __future__ import annotations

import json
import sys
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

from orderdrain.errors import (
    DependencyDown,
    GiveUp,
    NotFound,
    OperatorNeeded,
    OrderdrainError,
    SettingsError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

#: Exit codes, the same for every command.
DONE = 0
FAILED = 1
USAGE = 2
UNREACHABLE = 3
NOT_FOUND = 4
NEEDS_A_PERSON = 5


def exit_code(error: OrderdrainError) -> int:
    """The exit code that says what kind of trouble it was."""
    kinds: tuple[tuple[type[OrderdrainError] | tuple[type[OrderdrainError], ...], int], ...] = (
        ((UsageError, SettingsError), USAGE),
        (DependencyDown, UNREACHABLE),
        (NotFound, NOT_FOUND),
        ((OperatorNeeded, GiveUp), NEEDS_A_PERSON),
    )
    return next((code for kind, code in kinds if isinstance(error, kind)), FAILED)


class Commands(click.Group):
    """Commands whose expected errors are one line on stderr and an exit code, never a stack trace."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except OrderdrainError as error:
            if "--json" in sys.argv:
                told = {"error": {"code": type(error).__name__, "message": str(error)}}
                click.echo(json.dumps(told), err=True)
            else:
                click.echo(str(error), err=True)
            ctx.exit(exit_code(error))


def say(text: str) -> None:
    """Talk: to stderr, so that a pipe gets data alone."""
    click.echo(text, err=True)


def show_json(value: Any) -> None:
    """One JSON object on stdout."""
    click.echo(json.dumps(value, default=_plain, ensure_ascii=False))


def show_table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool) -> None:
    """Rows for people (aligned, with a header), for a pipe (tabs, no header, nothing cut), or as JSON."""
    rows = list(rows)
    if as_json:
        show_json({"total": len(rows), "rows": rows})
        return
    cells = [[_cell(row.get(name)) for name in columns] for row in rows]
    if not sys.stdout.isatty():
        for line in cells:
            click.echo("\t".join(line))
        return
    header = [name.replace("_", " ").upper() for name in columns]
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    for line in (header, *cells):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%SZ}"
    if isinstance(value, dict):
        return " ".join(f"{k}={v}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    return str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, (Decimal, date)):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
