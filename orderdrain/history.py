"""All SQL about the history of reports: a line for each thing that happened, written with it, and pruned long after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

    from orderdrain.db import Cursor, Database
    from orderdrain.reports import ReportKey, State


class History:
    """What happened to the reports."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, key: ReportKey) -> list[Any]:
        """What happened to a report, oldest first."""
        return self._database.query(
            "SELECT * FROM report_history WHERE account = %s AND api = %s AND report_id = %s ORDER BY history_id",
            (key.account, key.api, key.report_id),
        )

    def prune(self, older_than: timedelta, *, batch: int = 1000, dry_run: bool = False) -> Iterator[int]:
        """Deletes the lines of reports that were finished `older_than` ago, in commits of `batch` lines looked at;
        yields how many lines each deleted (with `dry_run`: would have).

        The reports stay: a row says that its report is known, and where its bytes lie. Without it an unfiltered listing
        would enter the report again. Nothing of `reports` is locked, so no step waits for it.
        """
        share = delete = ""
        if not dry_run:
            share = " FOR UPDATE SKIP LOCKED"  # Two that prune at once share the work.
            delete = ", gone AS (DELETE FROM report_history WHERE history_id = ANY (ARRAY(SELECT * FROM finished)))"
        after: int | None = 0
        while after is not None:
            # In the order in which the lines were written, and no further than they are old: no index by age is needed.
            (row,) = self._database.query(
                "WITH lines AS (SELECT history_id, account, api, report_id, at FROM report_history"
                f"  WHERE history_id > %(after)s ORDER BY history_id LIMIT %(batch)s{share}),"
                " finished AS (SELECT history_id FROM lines WHERE ("
                "  SELECT r.state = 'acknowledged' AND r.acknowledged_at <= app_now() - %(older_than)s FROM reports r"
                "  WHERE (r.account, r.api, r.report_id) = (lines.account, lines.api, lines.report_id)))"
                f"{delete} SELECT (SELECT count(*) FROM finished) AS finished,"
                " CASE WHEN max(at) <= app_now() - %(older_than)s THEN max(history_id) END AS last FROM lines",
                {"after": after, "batch": batch, "older_than": older_than},
            )
            yield row.finished
            after = row.last


#: Goes on with what is noted: by values, or by a query.
_NOTE = (
    "INSERT INTO report_history"
    " (account, api, report_id, step, event, from_state, to_state, attempt, worker, detail, request_id)"
)


def write_history(
    cursor: Cursor,
    key: ReportKey,
    step: str,
    event: str,
    from_state: State | None,
    to_state: State,
    *,
    attempt: int | None = None,
    worker: str | None = None,
    detail: str | None = None,
    request_id: str | None = None,
) -> None:
    """One line in a report's history, in the transaction of what it tells of."""
    cursor.execute(
        f"{_NOTE} VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (key.account, key.api, key.report_id, step, event, from_state, to_state, attempt, worker, detail, request_id),
    )


def note_from(moved: str, *, attempt: str = "%(attempt)s", detail: str = "%(detail)s") -> str:
    """The statement that leaves a line for each report that `moved` has; the rest are parameters by these names."""
    return (
        f"{_NOTE} SELECT account, api, report_id, %(step)s, %(event)s, %(state)s, %(to_state)s, {attempt}, %(owner)s,"
        f" {detail}, %(request_id)s FROM {moved}"
    )
