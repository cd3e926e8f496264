"""reports.list: enters what Amazon offers. Beat sends it without an account: it fans out to those that are due."""

from __future__ import annotations

from orderdrain import pipeline
from tasks.base import ReportTask
from workers.celery import app
from workers.runtime import services


@app.task(base=ReportTask, name="reports.list", soft_time_limit=540, time_limit=600)
def list_reports(account: str | None = None, *, full: bool = False) -> str:
    """Lists one account, or sends one list task for each account that is due."""
    s = services()
    if account is not None:
        return pipeline.list_reports(s, account, full=full)
    due = s.accounts.due_to_list()
    sent = sum(s.send("list", account=name) for name in due)
    return f"{sent:,} of {len(due):,} due accounts sent"
