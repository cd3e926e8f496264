"""The product's Celery app as benchmarks/engine.py runs it: quotas wide open, and one task more, which does nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderdrain.amazon.mws import QUOTAS
from orderdrain.quota import QuotaRule
from workers.celery import app

if TYPE_CHECKING:
    from celery import Task

# The buckets stay, and every call asks its own: what is measured is the whole path, less Amazon's limits.
for operation in QUOTAS:
    QUOTAS[operation] = QuotaRule(burst=1_000_000, restore_seconds=0.001, hourly=None)


@app.task(bind=True, name="bench.nothing")
def nothing(self: Task, account: str, api: str, report_id: str, left: int) -> None:
    """Takes a step's message, and sends the next one to the same queue."""
    if left > 1:
        ids = {"account": account, "api": api, "report_id": report_id}
        self.apply_async(kwargs={**ids, "left": left - 1}, queue=self.request.delivery_info["routing_key"])
