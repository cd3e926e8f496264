"""reports.acknowledge, parsed to acknowledged: tells Amazon which of an account's reports we have."""

from __future__ import annotations

from orderdrain import pipeline
from tasks.base import ReportTask
from workers.celery import app
from workers.runtime import services


@app.task(base=ReportTask, name="reports.acknowledge", soft_time_limit=240, time_limit=300)
def acknowledge_reports(account: str) -> str:
    """All of an account's parsed reports whose listing has ended, up to 100 a call."""
    return pipeline.acknowledge(services(), account)
