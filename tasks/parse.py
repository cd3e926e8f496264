"""reports.parse, downloaded to parsed: brings a report's rows to Postgres, in one commit with the state."""

from __future__ import annotations

from orderdrain import pipeline
from orderdrain.reports import ReportKey
from tasks.base import ReportTask
from workers.celery import app
from workers.runtime import services


@app.task(base=ReportTask, name="reports.parse", soft_time_limit=840, time_limit=900)
def parse_report(account: str, api: str, report_id: str) -> str:
    """One report. A doubled or late message is a quiet no-op: the row decides."""
    return pipeline.parse(services(), ReportKey(account, api, report_id))
