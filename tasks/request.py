"""reports.request: asks Amazon for a report now, and follows it to its end."""

from __future__ import annotations

from orderdrain import requesting
from tasks.base import ReportTask
from workers.celery import app
from workers.runtime import services


@app.task(base=ReportTask, name="reports.request", soft_time_limit=240, time_limit=300)
def request_report(account: str, request_key: str) -> str:
    """One request that is written down already: `orderdrain request` does that."""
    return requesting.request(services(), account, request_key)
