"""All SQL of replays: which reports may be parsed again from their archived bytes, the lease on one, and its ending.

The lease is a row of its own, beside the report's: what Amazon is told meanwhile need not wait. As with a report, what
ends the work checks the fence, in the transaction of the rows: whoever lost the lease changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orderdrain.errors import LeaseLost, NotFound, NothingToDo, UsageError
from orderdrain.history import write_history
from orderdrain.progress import Progress
from orderdrain.reports import Report, ReportKey, State

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from orderdrain.db import Cursor, Database
    from orderdrain.reports import RowCounts

#: What was read once, or could not be read. What is still to be parsed is read with today's code anyway.
_ENDED = (
    "(state IN ('parsed', 'acknowledged') OR state = 'quarantined' AND quarantined_from IN ('downloaded', 'parsed'))"
)
_KEY = "account = %(account)s AND api = %(api)s AND report_id = %(report_id)s"


@dataclass(frozen=True)
class Replay:
    """The exclusive right to parse an ended report again. `rejected` is how many of its rows were set aside so far."""

    report: Report
    owner: str
    fence: int
    rejected: int
    dry_run: bool
    progress: Progress = field(default_factory=Progress, compare=False)

    @property
    def key(self) -> ReportKey:
        return self.report.key


class Replays:
    """The reports that are parsed again."""

    def __init__(self, database: Database, *, lease_seconds: int) -> None:
        self._database = database
        self._lease_seconds = lease_seconds

    def chosen(
        self, account: str, *, api: str | None, report_type: str | None, since: datetime | None
    ) -> list[tuple[ReportKey, str]]:
        """The reports of an account that may be replayed, the newest first, each with its type."""
        rows = self._database.query(
            "SELECT account, api, report_id, report_type FROM reports"
            f" WHERE account = %(account)s AND archive_key IS NOT NULL AND {_ENDED} AND api = coalesce(%(api)s, api)"
            " AND report_type = coalesce(%(report_type)s, report_type)"
            " AND available_at >= coalesce(%(since)s::timestamptz, '-infinity')"
            " ORDER BY available_at DESC, report_id::numeric DESC",
            {"account": account, "api": api, "report_type": report_type, "since": since},
        )
        return [(ReportKey(row.account, row.api, row.report_id), row.report_type) for row in rows]

    def others(self, account: str, report_types: Sequence[str], done: Sequence[ReportKey], before: datetime) -> int:
        """How many reports of these types told something before that moment, and are not among those that are done."""
        ((others,),) = self._database.query(
            "SELECT count(*) FROM reports r WHERE account = %s AND report_type = ANY(%s) AND rows_read IS NOT NULL"
            " AND parsed_at < %s AND NOT EXISTS (SELECT FROM unnest(%s::text[], %s::text[]) AS done (api, report_id)"
            "  WHERE done.api = r.api AND done.report_id = r.report_id)",
            (account, list(report_types), before, [key.api for key in done], [key.report_id for key in done]),
        )
        return int(others)

    def begin(self, key: ReportKey, owner: str, *, dry_run: bool) -> Replay:
        """The lease. Raises NotFound, UsageError where the report has not ended, NothingToDo where it is taken."""
        with self._database.transaction() as cursor:
            cursor.execute(f"SELECT *, {_ENDED} AS ended FROM reports WHERE {_KEY}", _ids(key))
            row = cursor.fetchone()
            if row is None:
                raise NotFound(f"there is no {key}. See: orderdrain reports")
            if not row.ended or row.archive_key is None:
                state = f"{row.state}{f' at {row.quarantined_from}' if row.quarantined_from else ''}"
                raise UsageError(f"{key} is {state}: only a report whose bytes came, and that has ended, is replayed")
            cursor.execute(
                "INSERT INTO replays AS r (account, api, report_id, lease_owner, lease_until, dry_run)"
                " VALUES (%(account)s, %(api)s, %(report_id)s, %(owner)s, app_now() + real_seconds(%(seconds)s),"
                " %(dry_run)s) ON CONFLICT (account, api, report_id) DO UPDATE SET lease_owner = EXCLUDED.lease_owner,"
                " lease_until = EXCLUDED.lease_until, fence = EXCLUDED.fence, dry_run = EXCLUDED.dry_run,"
                " progress = NULL, begun_at = app_now() WHERE r.lease_until <= app_now() RETURNING fence",
                {**_ids(key), "owner": owner, "seconds": self._lease_seconds, "dry_run": dry_run},
            )
            lease = cursor.fetchone()
            if lease is None:
                raise NothingToDo(f"{key}: is being replayed by another process")
            return Replay(Report.of(row), owner, lease.fence, row.rows_rejected or 0, dry_run)

    def renew(self, replay: Replay) -> bool:
        """Keeps the lease for longer, and writes down how far the work is; False when it is no longer ours."""
        return bool(
            self._database.query(
                "UPDATE replays SET lease_until = app_now() + real_seconds(%(seconds)s), progress = %(progress)s"
                f" WHERE {_KEY} AND fence = %(fence)s AND lease_until > app_now() RETURNING 1",
                {**_of(replay), "seconds": self._lease_seconds, "progress": replay.progress.to_write()},
            )
        )

    def done(
        self, cursor: Cursor, replay: Replay, *, outcome: str, counts: RowCounts, encoding: str, encoding_reason: str
    ) -> State:
        """The end, in the rows' own transaction, as its last statements. Returns the report's state now: one that was
        set aside because it could not be parsed goes on as `parsed`, any other stays what it is. Raises LeaseLost."""
        self._give_back(cursor, replay)
        cursor.execute(
            f"SELECT state, quarantined_from FROM reports WHERE {_KEY} AND {_ENDED} FOR NO KEY UPDATE", _of(replay)
        )
        row = cursor.fetchone()
        if row is None:
            raise LeaseLost(f"{replay.key}: was requeued meanwhile, and is parsed by itself; nothing was changed")
        told = {"outcome": outcome, "encoding": encoding, "encoding_reason": encoding_reason, **counts.columns}
        goes_on = row.quarantined_from == State.DOWNLOADED
        state = State.PARSED if goes_on else State(row.state)
        moves = (
            ", state = 'parsed', quarantined_from = NULL, parsed_at = app_now(), attempts = 0, reason = NULL,"
            " next_attempt_at = app_now(), sent_at = NULL"
        )
        cursor.execute(
            f"UPDATE reports SET {', '.join(f'{name} = %({name})s' for name in told)}{moves if goes_on else ''}"
            f" WHERE {_KEY}",
            {**_of(replay), **told},
        )
        _note(cursor, replay, "replayed", State(row.state), state, str(counts))
        return state

    def refused(self, replay: Replay, reason: str) -> None:
        """Today's code cannot read it: nothing changes but, where it was set aside for that, the reason."""
        with self._database.transaction() as cursor:
            self._give_back(cursor, replay)
            cursor.execute(
                f"UPDATE reports SET reason = %(reason)s WHERE {_KEY} AND quarantined_from = 'downloaded'",
                {**_of(replay), "reason": reason},
            )
            _note(cursor, replay, "refused", replay.report.state, replay.report.state, reason)

    def _give_back(self, cursor: Cursor, replay: Replay) -> None:
        """Ends the lease in the caller's transaction. Raises LeaseLost."""
        cursor.execute(f"DELETE FROM replays WHERE {_KEY} AND fence = %(fence)s RETURNING 1", _of(replay))
        if cursor.fetchone() is None:
            raise LeaseLost(f"{replay.key}: lost its lease, another process replays it now; nothing was changed")

    def end(self, replay: Replay) -> None:
        """Nothing was changed: the lease is given back, if it is still ours."""
        self._database.query(f"DELETE FROM replays WHERE {_KEY} AND fence = %(fence)s", _of(replay))

    def under_way(self) -> list[Any]:
        """What is being replayed now."""
        return self._database.query(
            "SELECT account, api, report_id, 'replay' AS step, lease_owner, progress FROM replays"
            " WHERE lease_until > app_now() ORDER BY account, report_id"
        )

    def of(self, key: ReportKey) -> Any:
        """The replay of one report that is under way; None where there is none."""
        rows = self._database.query(f"SELECT * FROM replays WHERE {_KEY} AND lease_until > app_now()", _ids(key))
        return rows[0] if rows else None


def _note(cursor: Cursor, replay: Replay, event: str, from_state: State, to_state: State, detail: str) -> None:
    write_history(cursor, replay.key, "replay", event, from_state, to_state, worker=replay.owner, detail=detail)


def _of(replay: Replay) -> dict[str, Any]:
    return {**_ids(replay.key), "fence": replay.fence}


def _ids(key: ReportKey) -> dict[str, Any]:
    return {"account": key.account, "api": key.api, "report_id": key.report_id}
