"""Logs: one event a line, a constant name with fields beside it, the report's ids bound once for a whole task."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from orderdrain.settings import Settings


def configure_logs(settings: Settings) -> None:
    """Every line of this process, ours and the libraries', goes to stderr in one form."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        # Never the values of local variables, which the default shows: a password or a buyer's data may be among them.
        else structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.processors.format_exc_info,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    # Celery's own line for each task repeats what a step says itself, and tells a return value's repr as well.
    logging.getLogger("celery.app.trace").setLevel(logging.WARNING)


def bind(**ids: str) -> None:
    """These ids stand on every line from now until `unbind`."""
    structlog.contextvars.bind_contextvars(**ids)


def unbind() -> None:
    """The next task begins with no ids."""
    structlog.contextvars.clear_contextvars()


def logger(name: str) -> Any:
    """A logger: `log.info("report downloaded", bytes=48213)`."""
    return structlog.stdlib.get_logger(name)
