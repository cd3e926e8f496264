"""`orderdrain check`: what orderdrain needs, asked one by one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orderdrain.archive import key_for, open_archive
from orderdrain.db import Database, pending_migrations, where
from orderdrain.errors import OrderdrainError, UsageError
from orderdrain.notifications import open_queues
from orderdrain.redis_client import connect, reaching_redis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orderdrain.settings import Settings

#: The oldest Postgres that is tested, as `server_version_num`.
OLDEST_POSTGRES = 150_000


def checks(settings: Settings) -> Iterator[tuple[str, OrderdrainError | None]]:
    """Each need with None when it is met, or the error that says what to do."""
    needs = {"postgres": _postgres, "migrations": _migrations, "redis": _redis, "archive": _archive}
    if settings.notifications:
        needs["notifications"] = _notifications
    for name, ask in needs.items():
        yield name, _error_of(ask, settings)


def _postgres(settings: Settings) -> None:
    ((version,),) = Database(settings.database_url).query("SELECT current_setting('server_version_num')::int")
    if version < OLDEST_POSTGRES:
        raise UsageError(f"Postgres at {where(settings.database_url)} is too old ({version}): 15 or newer is needed")


def _migrations(settings: Settings) -> None:
    if missing := pending_migrations(settings.database_url):
        raise UsageError(f"{len(missing)} missing, from {missing[0]}: orderdrain migrate")


def _redis(settings: Settings) -> None:
    redis = connect(settings.redis_url)
    with reaching_redis(redis, "messages, locks and quotas"):
        redis.ping()


def _archive(settings: Settings) -> None:
    # Begun and never committed: it shows that bytes may be written, and leaves none.
    with open_archive(settings.archive).writer(key_for("check", "mws", "0", 0, datetime.now(UTC))) as writer:
        writer.write(b"orderdrain check")


def _notifications(settings: Settings) -> None:
    for queue in open_queues(settings.notifications):
        queue.ask()


def _error_of(ask: Callable[[Settings], None], settings: Settings) -> OrderdrainError | None:
    try:
        ask(settings)
    except OrderdrainError as error:
        return error
    return None
