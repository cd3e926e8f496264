"""reports.schedule: makes Amazon's report schedules agree with the declared ones, once a day an account."""

from __future__ import annotations

from orderdrain import requesting
from tasks.base import ReportTask
from workers.celery import app
from workers.runtime import services


@app.task(base=ReportTask, name="reports.schedule", soft_time_limit=240, time_limit=300)
def schedule_reports(account: str | None = None) -> str:
    """Compares one account's schedules, or sends one task for each account that is due."""
    s = services()
    if account is not None:
        return requesting.schedule(s, account)
    due = s.accounts.due_to_schedule()
    sent = sum(s.send("schedule", account=name) for name in due)
    return f"{sent:,} of {len(due):,} due accounts sent"
