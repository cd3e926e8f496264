"""Redis: how we reach it, and what it looks like when we cannot.

It carries locks, quotas and messages, and nothing that could not be lost: it may be flushed at any time.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from orderdrain.errors import DependencyDown

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Before each of our keys: the same database may hold Celery's messages.
KEY_PREFIX = "od:"
_WORD = f"{KEY_PREFIX}word"


def connect(url: str) -> Redis:
    """A client that connects when it is first used, and anew after a fork or a restart of Redis.

    A call that cannot be answered fails within seconds: the work is in the ledger, and waits there more cheaply.
    """
    return Redis.from_url(
        url,
        socket_connect_timeout=3,
        socket_timeout=5,
        health_check_interval=10,
        # Once, at once: a pooled connection that a restart of Redis has closed shows itself only by failing.
        retry=Retry(NoBackoff(), retries=1),
        # Version 3 brings pushed notices (moved shards, failovers) that a single Redis or Valkey has no use for.
        protocol=2,
    )


@contextmanager
def reaching_redis(redis: Redis, what: str) -> Iterator[None]:
    """Turns any error of Redis into DependencyDown, which says where it is and for what (`what`) it was needed."""
    try:
        yield
    except RedisError as error:
        raise DependencyDown(f"Redis at {where(redis)} is needed for {what}: {_first_line(error)}") from error


def where(redis: Redis) -> str:
    """`host:port/database`, for messages: the password stays out."""
    options = redis.get_connection_kwargs()
    return f"{options.get('host', 'localhost')}:{options.get('port', 6379)}/{options.get('db', 0)}"


def remembered_word(redis: Redis) -> str | None:
    """The word that was left with this Redis; None: it is a new one, or was flushed. Raises DependencyDown."""
    with reaching_redis(redis, "the word left with the broker"):
        word = redis.get(_WORD)
    return word.decode() if isinstance(word, bytes) else None


def remember_word(redis: Redis, word: str) -> None:
    """Leaves a word that is gone when Redis forgets everything. Raises DependencyDown."""
    with reaching_redis(redis, "the word left with the broker"):
        redis.set(_WORD, word)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
