"""The path of a report without Celery: services whose messages are kept in a list and run here, one after the other.

    with draining(database_url, redis_url, folder, emulator) as drain:
        drain.amazon("reports", account="acme", count=3)      # drives the emulated Amazon
        drain.run()                                           # as beat and a worker would, until nothing is left to do
        drain.assert_judged()                                 # by the emulator's own record

Time is the application's, and jumps: where everything waits (for a quota, a backoff, a requested report), both clocks,
ours and the emulator's, are set forward to the moment for which it waits.
"""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from datetime import timedelta

from structlog.testing import capture_logs

from orderdrain import listening, pipeline, requesting
from orderdrain.errors import OrderdrainError
from orderdrain.reports import ReportKey
from tests.building import open_services
from tests.emulator_process import Emulator
from workers.demo import add_emulator_accounts
from workers.judge import judge
from workers.judge_columns import BUYER_COLUMNS

#: Rounds of `run` after which something goes round in circles.
MOST_ROUNDS = 600


@contextmanager
def draining(database_url, redis_url, folder, emulator, **settings):
    """A Drain for every account of the emulator; its archive lies in `folder`."""
    with capture_logs() as logs:
        drain = Drain(database_url, redis_url, folder, emulator, logs, settings)
        add_emulator_accounts(drain.s, emulator.first_line)
        try:
            yield drain
        finally:
            drain.s.db.close()


@contextmanager
def draining_quiet_sellers(database_url, redis_url, folder, **options):
    """The same for an emulator of its own, whose sellers sell only what a test tells them to; `options` are its."""
    with (
        Emulator.start(**{"orders_per_minute": 0, "backlog": 0, **options}) as emulator,
        draining(database_url, redis_url, folder, emulator) as drain,
    ):
        yield drain


class Drain:
    """One worker's services, the messages that wait for it, and what it said."""

    def __init__(self, database_url, redis_url, folder, emulator, logs, settings):
        self.emulator = emulator
        self.database_url = database_url
        self.logs = logs
        #: Messages on their way: (step, ids), as they would lie in the broker.
        self.messages = deque()
        #: What the steps returned, or the error that they raised, in order: (step, ids, sentence).
        self.said = []
        self._open = lambda: open_services(database_url, redis_url, folder, send=self._send, **settings)
        self.s = self._open()

    # ----------------------------------------------------------------------------------------------- running

    def run(self, *, until=None, stride_minutes=0):
        """Beat and one worker, until nothing is left to do, or `until` says so. Waits by setting the clocks forward,
        by `stride_minutes` at least: then many reports become due together, and fewer rounds are needed."""
        for _ in range(MOST_ROUNDS):
            self.tick()
            self.run_messages(until=until)
            if until() if until else self._is_quiet():
                return
            self._wait(at_least=60 * stride_minutes)
        raise AssertionError(f"it goes on and on; lately: {self.said[-5:]}")

    def pass_time(self, *, hours, every_minutes=60):
        """Lets time pass in even strides, with beat and one worker at each."""
        for _ in range(int(hours * 60 / every_minutes)):
            self.tick()
            self.run_messages()
            self.advance(minutes=every_minutes)

    def tick(self):
        """What beat does: everything that is due is sent, and what was announced is heard."""
        if self.s.queues and self.emulator.get("/_emulator/notifications")["visible"]:
            self.listen()
        for account in self.s.accounts.due_to_schedule():
            self._send("schedule", account=account)
        for account in self.s.accounts.due_to_list():
            self._send("list", account=account)
        self.said.append(("sweep", {}, pipeline.sweep(self.s)))

    def listen(self):
        """Reads the queue to its end, as `reports.listen` does; at an empty one that takes two seconds."""
        self.said.append(("listen", {}, listening.listen(self.s)))
        return self.said[-1][-1]

    def run_messages(self, *, until=None):
        """Runs the messages that wait, and those that they send."""
        while self.messages and not (until and until()):
            self.run_message(*self.messages.popleft())

    def run_message(self, step, ids):
        """One task: returns its sentence, or that of the error it raised."""
        module = requesting if step in {"request", "schedule"} else pipeline
        function = getattr(module, "list_reports" if step == "list" else step)
        try:
            sentence = function(self.s, ReportKey(**ids)) if "report_id" in ids else function(self.s, **ids)
        except OrderdrainError as error:
            sentence = str(error)
        self.said.append((step, ids, sentence))
        return sentence

    def take_messages(self, step):
        """Removes the waiting messages of a step, and returns their ids."""
        taken = [ids for waiting, ids in self.messages if waiting == step]
        self.messages = deque((waiting, ids) for waiting, ids in self.messages if waiting != step)
        return taken

    def restart(self, *, flush=False):
        """Every process was killed, and others started: messages in their hands are gone; with `flush`, Redis too."""
        if flush:
            self.s.redis.flushdb()
            self.messages.clear()
        self.s.db.close()
        self.s = self._open()

    def advance(self, **span):
        """Sets both clocks forward, by `hours=`, `seconds=`, as timedelta takes them."""
        self.amazon("advance", seconds=timedelta(**span).total_seconds())
        self.s.clock.advance(timedelta(**span))

    # ------------------------------------------------------------------------------------------------ Amazon

    def amazon(self, path, **body):
        """Drives the emulated Amazon: orders, reports, faults, quota, ..."""
        return self.emulator.post(f"/_emulator/{path}", body)

    def fault(self, operation, fault, *, count=1, account=None):
        """The next `count` calls of that operation have that fault."""
        self.amazon("faults", operation=operation, fault=fault, next=count, **({"account": account} if account else {}))

    def calls(self, *operations, account=None):
        """What Amazon got, oldest first."""
        return [
            call
            for call in self.emulator.calls()
            if (not operations or call["operation"] in operations) and account in {None, call["account"]}
        ]

    # ----------------------------------------------------------------------------------------------- looking

    def states(self, account=None):
        """How many reports are in each state."""
        rows = self.s.db.query(
            "SELECT state, count(*) AS n FROM reports WHERE account = coalesce(%s, account) GROUP BY 1", (account,)
        )
        return {row.state: row.n for row in rows}

    def row(self, report_id, account="acme"):
        """A report's row in the ledger."""
        (row,) = self.s.ledger.find(report_id, account)
        return row

    def events(self, report_id, account="acme"):
        """What happened to a report, in order."""
        return [entry.event for entry in self.s.history.of(ReportKey(account, "mws", report_id))]

    def sentences(self, step):
        return [sentence for said, _, sentence in self.said if said == step]

    def verdict(self):
        return judge(self.emulator.url, self.database_url)

    def assert_judged(self, *, quarantined=0, refused=0, given=0):
        """Everything that was told is in Postgres, once and as told, and Amazon knows it; and nobody heard of a buyer.

        `quarantined`: so many reports were set aside, and Amazon was not told of them. `refused`: so many calls were
        over a quota that nobody could know. `given`: so many lines stood in bytes that the test gave, and were never
        sold.
        """
        verdict = self.verdict()
        assert (verdict.lost, verdict.doubled, verdict.wrong) == (0, given, 0), verdict
        assert (verdict.unfinished, verdict.over_quota) == (quarantined, refused), verdict
        assert self.states().get("quarantined", 0) == quarantined
        assert verdict.lines > 0, "nothing was told: nothing was shown"
        self.assert_never_acknowledged_within_a_listing()
        self.assert_no_buyer_was_told()
        assert not [sentence for *_, sentence in self.said if "a bug" in sentence]

    def assert_never_acknowledged_within_a_listing(self):
        """By Amazon's record: from a first page to its last nothing was acknowledged, since the filter moves."""
        under_way = dict.fromkeys((account["account"] for account in self.emulator.accounts), False)
        for call in self.calls():
            if call["operation"] in {"GetReportList", "GetReportListByNextToken"}:
                waits = call["code"] in {"RequestThrottled", "QuotaExceeded"} and under_way[call["account"]]
                under_way[call["account"]] = call["next_token"] or waits
            assert not (call["operation"] == "UpdateReportAcknowledgements" and under_way[call["account"]]), call

    def assert_no_buyer_was_told(self):
        """No name, address, phone or mail of a buyer is in a log line, a message, a sentence or the ledger."""
        told = f"{self.logs} {list(self.messages)} {self.said} {self.s.db.query('SELECT * FROM report_history')}"
        told += str(self.s.db.query("SELECT * FROM reports")) + str(self.s.db.query("SELECT * FROM rejected_rows"))
        buyers = buyers_cells(self.emulator.get("/_emulator/truth"))
        assert buyers, "no buyer, nothing shown"
        assert not [cell for cell in buyers if cell in told]

    # -------------------------------------------------------------------------------------------------- waiting

    def _send(self, step, **ids):
        self.messages.append((step, ids))
        return True

    def _is_quiet(self):
        return not self.messages and not self.s.db.query(
            "SELECT 1 FROM reports JOIN connections c USING (account, api) JOIN applications p USING (application)"
            " WHERE state IN ('listed', 'downloaded', 'parsed') AND c.paused_at IS NULL AND p.paused_at IS NULL"
            " UNION ALL SELECT 1 FROM report_requests WHERE status IN ('asked', 'submitted', 'in_progress')"
            " UNION ALL SELECT 1 FROM connections c JOIN applications p USING (application)"
            "  WHERE c.paused_at IS NULL AND p.paused_at IS NULL AND (listing_token IS NOT NULL OR listing_attempts > 0 OR listed < listing OR listed = 0)"
        )

    def _wait(self, *, at_least):
        """Until something is due; a lease or a message that nobody took is due when it has run out."""
        ((seconds,),) = self.s.db.query(
            "SELECT extract(epoch FROM min(due) - app_now()) FROM ("
            " SELECT greatest(r.next_attempt_at, r.lease_until, r.sent_at + lease,"
            "   CASE r.state WHEN 'listed' THEN c.download_after WHEN 'parsed'"
            "    THEN greatest(c.acknowledge_after, c.acknowledge_sent_at + lease) END)"
            "  FROM make_interval(secs => %s) lease, reports r JOIN connections c USING (account, api)"
            "  WHERE r.state IN ('listed', 'downloaded', 'parsed') AND c.paused_at IS NULL"
            "  AND (r.state <> 'parsed' OR r.listing <= c.listed)"
            " UNION ALL SELECT next_list_at FROM accounts JOIN connections USING (account) WHERE paused_at IS NULL"
            " UNION ALL SELECT next_attempt_at FROM report_requests"
            "  WHERE status IN ('asked', 'submitted', 'in_progress')) AS all_that_waits (due)",
            (self.s.settings.lease_seconds,),
        )
        # A moment more than told: the emulator's clock may be some milliseconds behind ours.
        self.advance(seconds=max(float(seconds or 0), at_least) + 0.05)


def buyers_cells(truth):
    """Every personal cell that was told and is long enough not to stand anywhere by chance."""
    personal = set(BUYER_COLUMNS) - {"ship-country", "bill-country"}
    return {
        cell
        for lines in truth["families"].values()
        for line in lines
        for column, cell in line["cells"].items()
        if column in personal and len(cell) > 5
    }
