"""Every Celery setting with the reason for its value. Celery accepts a misspelt one silently: a test compares them all.

A message is a hint and the ledger the truth: these settings make losing, doubling and delaying a hint cheap. What was
measured on Redis 7 and Celery 5.6 and 5.7 is told beside each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kombu import Queue

import beat_schedule

if TYPE_CHECKING:
    from orderdrain.settings import Settings

#: A queue a step, so that heavy steps can have workers of their own: `celery -A workers worker -Q reports.parse`.
STEPS = ("schedule", "list", "download", "parse", "acknowledge", "request", "listen", "sweep")

#: A message whose routing key names no queue goes to the default queue without a word: this one, which no worker
#: reads and which should always be empty.
UNROUTED = "unrouted"

#: Every key in Redis that Celery makes begins with this, so that one Redis can be shared and an ACL can name us.
KEY_PREFIX = "od:"


def configuration(settings: Settings) -> dict[str, Any]:
    """All settings of the app."""
    return {
        # ------------------------------------------------------------------------------------------------- broker
        "broker_url": settings.redis_url,
        "broker_transport_options": {
            # Recovery is the lease's job. Far above the longest hard limit: a task that outlives the timeout is
            # started again and again while it runs. The shortest among all clients of one Redis database holds.
            "visibility_timeout": 3600,
            "global_keyprefix": KEY_PREFIX,
            # Without it a half-open connection hangs a worker for good, and publishing to a frozen Redis never ends.
            "socket_timeout": 5,
            "socket_connect_timeout": 3,
            "socket_keepalive": True,
            # Switches on the check for half-open connections.
            "health_check_interval": 10,
            # True doubles the time to give up.
            "retry_on_timeout": False,
            # "priority" drains one queue completely before the next.
            "queue_order_strategy": "round_robin",
            # One list is one queue: lengths can be read, and nobody passes anybody.
            "priority_steps": [0],
        },
        # A worker waits for Redis for ever: the probe and the alert decide, not a counter of tries.
        "broker_connection_retry_on_startup": True,
        "broker_connection_retry": True,
        "broker_connection_max_retries": None,
        # Survives the answers READONLY (failover) and OOM, which else end the worker.
        "broker_channel_error_retry": True,
        # Celery's defaults, stated because the first is what a refused publish waits for.
        "broker_connection_timeout": 4,
        "broker_pool_limit": 10,
        # A refused publish is given up after 0.2 to 0.3 s: the sweep sends it later.
        "task_publish_retry": True,
        "task_publish_retry_policy": {"max_retries": 2, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.5},
        # ------------------------------------------------------------------------------------------------ messages
        # Ids only, as JSON only: nothing in the broker can run code, and no buyer's data is ever in it.
        "accept_content": ["json"],
        "task_serializer": "json",
        "result_serializer": "json",
        "event_serializer": "json",
        "task_queues": [Queue(f"reports.{step}") for step in STEPS] + [Queue(UNROUTED)],
        "task_default_queue": UNROUTED,
        # A misspelt queue is an error where it is named.
        "task_create_missing_queues": False,
        "task_routes": {f"reports.{step}": {"queue": f"reports.{step}"} for step in STEPS},
        # ------------------------------------------------------------------------------------------- acknowledging
        # With prefetch 1 a worker holds as many messages as it has processes; the others stay for its peers.
        "task_acks_late": True,
        "worker_prefetch_multiplier": 1,
        # A failed task is the ledger's business: the message has done its work. (5.6's name for both.)
        "task_acks_on_failure_or_timeout": True,
        # True makes a task that kills its process a hot loop without a limit; the lease counts it and the sweep
        # sends it again.
        "task_reject_on_worker_lost": False,
        # True would end every running step at a blink of Redis; leases make the double run harmless.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # Shorter ones stand on the tasks. Soft is hard minus a minute, to settle the ledger in.
        "task_soft_time_limit": 540,
        "task_time_limit": 600,
        # ------------------------------------------------------------------------------------------------- results
        # None are stored unless somebody waits for one (tasks.trigger), and then for ten minutes (docs/adr/0007).
        "task_ignore_result": True,
        "result_backend": settings.redis_url,
        "result_expires": 600,
        # The broker's prefix does not cover result keys.
        "result_backend_transport_options": {"global_keyprefix": KEY_PREFIX},
        "task_track_started": False,
        # ----------------------------------------------------------------------------------------------- processes
        # Bound what a slow leak of a library can grow to: 400 MB, checked between tasks.
        "worker_max_tasks_per_child": 500,
        "worker_max_memory_per_child": 400_000,
        # Replacements of pool processes get this long to start, or are killed in a loop.
        "worker_proc_alive_timeout": 30,
        # With REMAP_SIGTERM=SIGQUIT: running steps get 40 s to end, the rest goes back to the queue at once.
        "worker_soft_shutdown_timeout": 40,
        # True waits the full time with no work at hand; only ETA messages would need it, and there are none.
        "worker_enable_soft_shutdown_on_idle": False,
        # --------------------------------------------------------------------------------------------- being watched
        "worker_send_task_events": True,
        # A third message a task that tells nothing which the ledger does not.
        "task_send_sent_event": False,
        # structlog owns the logs (workers/runtime.py).
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        # ---------------------------------------------------------------------------------------------------- beat
        "beat_schedule": _ticks(settings),
        # How long beat sleeps at most: a new schedule is seen within it.
        "beat_max_loop_interval": 30,
        "timezone": "UTC",
        "enable_utc": True,
    }


def _ticks(settings: Settings) -> dict[str, dict[str, Any]]:
    """beat_schedule.py's ticks; faster, but a second apart at least, where the application's clock runs faster."""
    ticks = {}
    for name, entry in beat_schedule.SCHEDULE.items():
        if entry["task"] == "reports.listen" and not settings.notifications:
            continue
        every = max(entry["schedule"] / settings.beat_speed, min(1.0, entry["schedule"]))
        expires = entry["options"]["expires"] * every / entry["schedule"]
        ticks[name] = {**entry, "schedule": every, "options": {"expires": expires}}
    return ticks
