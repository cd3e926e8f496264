"""reports.download, listed to downloaded: brings a report's bytes to the archive."""

from __future__ import annotations

from orderdrain import pipeline
from orderdrain.reports import ReportKey
from tasks.base import ReportTask
from workers.celery import app
from workers.runtime import services


@app.task(base=ReportTask, name="reports.download", soft_time_limit=540, time_limit=600)
def download_report(account: str, api: str, report_id: str) -> str:
    """One report. A doubled or late message is a quiet no-op: the row decides."""
    return pipeline.download(services(), ReportKey(account, api, report_id))
