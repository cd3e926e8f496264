"""STEPS as Celery tasks: policy, and one call into orderdrain.

| task                | queue               | message carries            | from state | to state     |
|---------------------|---------------------|----------------------------|------------|--------------|
| reports.schedule    | reports.schedule    | account, or nothing        | -          | -            |
| reports.list        | reports.list        | account, or nothing        | -          | listed       |
| reports.download    | reports.download    | account, api, report_id    | listed     | downloaded   |
| reports.parse       | reports.parse       | account, api, report_id    | downloaded | parsed       |
| reports.acknowledge | reports.acknowledge | account                    | parsed     | acknowledged |
| reports.request     | reports.request     | account, request_key       | -          | listed       |
| reports.listen      | reports.listen      | nothing                    | -          | -            |
| reports.sweep       | reports.sweep       | nothing                    | any        | the same     |

Without an account, `reports.list` and `reports.schedule` fan out to the accounts that are due. From a Python shell:

    >>> import tasks
    >>> tasks.list_reports.delay(account="acme")
    >>> tasks.trigger(tasks.download_report, account="acme", api="mws", report_id="50123456789", wait=60)
"""

from tasks.acknowledge import acknowledge_reports
from tasks.base import trigger
from tasks.download import download_report
from tasks.list import list_reports
from tasks.listen import listen
from tasks.parse import parse_report
from tasks.request import request_report
from tasks.schedule import schedule_reports
from tasks.sweep import sweep

__all__ = [
    "acknowledge_reports",
    "download_report",
    "list_reports",
    "listen",
    "parse_report",
    "request_report",
    "schedule_reports",
    "sweep",
    "trigger",
]
