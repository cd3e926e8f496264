"""reports.listen: hears from SQS what Amazon has finished, and makes it due."""

from __future__ import annotations

from orderdrain import listening
from tasks.base import ReportTask
from workers.celery import app
from workers.runtime import services


@app.task(base=ReportTask, name="reports.listen", soft_time_limit=120, time_limit=180)
def listen() -> str:
    """Every queue that is set, until it is empty or half a minute is over."""
    return listening.listen(services())
