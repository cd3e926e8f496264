"""reports.sweep: sends what is due, takes back what died."""

from __future__ import annotations

from orderdrain import pipeline
from tasks.base import ReportTask
from workers.celery import app
from workers.runtime import services


@app.task(base=ReportTask, name="reports.sweep", soft_time_limit=120, time_limit=180)
def sweep() -> str:
    """All accounts at once."""
    return pipeline.sweep(services())
