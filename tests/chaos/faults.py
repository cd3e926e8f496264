"""Each kind of fault, done to the running system. What could not be done (Redis was down just then) is not counted."""

from __future__ import annotations

import base64
import os
import resource
import signal
import time
from collections import Counter
from datetime import timedelta

from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from orderdrain.amazon.sp_api import QUOTAS
from orderdrain.errors import DependencyDown
from orderdrain.settings import load
from tests.building import DECLARED
from tests.chaos.plan import PUSH
from tests.chaos.promises import Excuse, downloads_begun
from tests.chaos.proxy import CUT_WITHIN
from tests.chaos.shims.sitecustomize import POISON
from tests.chaos.system import SP_API_SELLERS, SPEED, api_of, copy_of
from workers.config import KEY_PREFIX, STEPS, configuration

#: Bytes that a file may have while the archive is "full": less than the header line of any report.
FULL_AT = 200
#: Real seconds to wait for somebody to be at work, or for a message to be on its way.
PATIENCE = 2.0
#: Forged notices that come at once: more than are read at once.
FLOOD = 12
#: What is called at SP-API only.
SP_OPERATIONS = {*QUOTAS, "document", "LWA"}


class Faults:
    """Does what a plan says. `done` counts; `excuses` say what may follow from what was done, and when."""

    def __init__(self, system):
        self.system = system
        self.done = Counter()
        self.excuses = []
        #: (account, report_id) of the reports that kill their worker.
        self.poisoned = set()
        #: Downloads begun, by report, as far as the ledger knew at the backup and just before it was restored.
        self.at_backup = self.at_restore = Counter()

    def do(self, fault):
        """Does one fault, with work at hand for it to hit; True if it could be done."""
        began = self.system.amazon_now()
        try:
            if fault.kind not in PUSH:  # where a notice is at fault, it is what brings a report
                account = self._account(fault)
                self.system.make_reports(account, count=3)
                self._send("reports.list", account=account)
            done = getattr(self, f"_{fault.kind}")(fault) is not False
        except (RedisError, OperationalError, DependencyDown):
            done = False
        if done:
            self.done[fault.kind] += 1
            until = self.system.amazon_now() + timedelta(seconds=SPEED * (fault.seconds + CUT_WITHIN))
            self.excuses.append(Excuse(fault.kind, began, until))
        return done

    # ------------------------------------------------------------------------------------- workers and beat

    def _worker_killed(self, fault):
        self.system.end(self._worker(fault), signal.SIGKILL)

    def _worker_ended(self, fault):
        self.system.end(self._worker(fault), signal.SIGTERM)

    def _pool_process_killed(self, fault):
        pid = self._caught(fault)
        os.kill(pid, signal.SIGKILL)
        self.system.wake(pid)

    def _worker_stopped(self, fault):
        send = os.killpg if fault.how == "all its processes" else os.kill
        pid = self.system.pid(self._worker(fault))
        self.system.stop(pid, send)
        self.system.later(fault.seconds, lambda: self.system.wake(pid, send))

    def _pool_process_stopped(self, fault):
        pid = self._caught(fault)
        self.system.later(fault.seconds, lambda: self.system.wake(pid))

    def _worker_clock_off(self, fault):
        self.system.remove(self._worker(fault))
        name = self.system.add_worker(clock_seconds=600 if fault.how.endswith("fast") else -600)

        def replace():
            if name in self.system.workers():
                self.system.end(name, signal.SIGKILL)

        self.system.later(fault.seconds, replace)

    def _beat_killed(self, fault):
        self.system.end("beat", signal.SIGKILL)

    def _beat_stopped(self, fault):
        pid = self.system.pid("beat")
        self.system.stop(pid)
        self.system.later(fault.seconds, lambda: self.system.wake(pid))

    def _beat_doubled(self, fault):
        if "beat-2" in {process.name for process in self.system.stack.processes}:
            return False
        self.system.stack.start_beat("beat-2", wait=False)
        self.system.later(fault.seconds, lambda: self.system.remove("beat-2"))
        return True

    # ---------------------------------------------------------------------------------------- Redis and Postgres

    def _redis_flushed(self, fault):
        self.system.start_redis()
        self.system.redis().flushall()

    def _redis_restarted(self, fault):
        if self.system.redis_url is None:
            return False
        self.system.stop_redis(signal.SIGKILL if fault.how == "killed" else signal.SIGTERM)
        self.system.later(fault.seconds, self.system.start_redis)
        return True

    def _postgres_restarted(self, fault):
        if self.system.database_url is None:
            return False
        self.system.stop_postgres(signal.SIGQUIT if fault.how == "immediate" else signal.SIGINT)
        self.system.later(fault.seconds, self.system.start_postgres)
        return True

    def _postgres_backed_up(self, fault):
        with self.system.nobody_reaching_postgres():
            with self.system.stopped_postgres() as data:
                copy_of(data, data.with_name("backup"))
            self.at_backup = downloads_begun(self.system)

    def _postgres_restored(self, fault):
        with self.system.nobody_reaching_postgres():
            self.at_restore = downloads_begun(self.system)
            # From now on the witness cannot look for what was committed before.
            self.system.restored += 1
            with self.system.stopped_postgres() as data:
                copy_of(data.with_name("backup"), data)

    # ------------------------------------------------------------------------------------------- the ways between

    def _redis_cut(self, fault):
        return self.system.between["redis"].cut() > 0

    def _postgres_cut(self, fault):
        return self.system.between["postgres"].cut() > 0

    def _amazon_cut(self, fault):
        return self.system.between["amazon"].cut() > 0

    def _redis_stalled(self, fault):
        self._stalled("redis", fault)

    def _postgres_stalled(self, fault):
        self._stalled("postgres", fault)

    def _amazon_stalled(self, fault):
        self._stalled("amazon", fault)

    def _login_cut(self, fault):
        self._end_access_tokens()
        return self._cut_once_connected("login")

    def _login_stalled(self, fault):
        self._end_access_tokens()
        self._stalled("login", fault)

    def _login_refused(self, fault):
        refusal = {"the seller": "invalid_grant", "the application": "invalid_client"}[fault.how]
        self._end_access_tokens()
        self._refused_for_a_while(fault, "LWA", refusal)

    def _role_missing(self, fault):
        operation = {"of buyers' data": "createRestrictedDataToken", "of reports": "getReports"}[fault.how]
        self._refused_for_a_while(fault, operation, "missing_role")

    def _refused_for_a_while(self, fault, operation, refusal):
        """Until a person has put it right at Amazon, and then here."""
        account = self._account(fault)
        self._order(operation, refusal, account, 1_000_000)

        def mend():
            self._order(operation, refusal, account, 0)
            self.system.resume()

        self.system.later(fault.seconds, mend)

    def _end_access_tokens(self):
        """The next listing of each seller at SP-API finds that its token has ended, and asks for another."""
        for account in SP_API_SELLERS:
            # Once in all: a newer token that is refused as well means that a person must look.
            for count in (0, 1):
                self._order("getReports", "expired_access_token", account, count)

    def _order(self, operation, kind, account, count=1):
        self.system.amazon("faults", operation=operation, fault=kind, account=account, next=count)

    def _cut_once_connected(self, name):
        deadline = time.monotonic() + PATIENCE
        while not (cut := self.system.between[name].cut()) and time.monotonic() < deadline:
            time.sleep(0.01)
        return cut > 0

    def _stalled(self, name, fault):
        proxy = self.system.between[name]
        proxy.stall()

        def go_on():
            if fault.how == "then cut":
                proxy.cut()
            proxy.flow()

        self.system.later(fault.seconds, go_on)

    # --------------------------------------------------------------------------------------------------- messages

    def _message_dropped(self, fault):
        return self._taken() is not None

    def _message_doubled(self, fault):
        taken = self._taken()
        # At the end from which workers take: two of them get the same at once.
        return taken is not None and self.system.redis().rpush(taken[0], taken[1], taken[1])

    def _message_delayed(self, fault):
        taken = self._taken()
        if taken is None:
            return False

        def deliver():
            redis = self.system.redis()
            if redis is not None:
                redis.lpush(*taken)

        self.system.later(fault.seconds, deliver)
        return True

    def _message_senseless(self, fault):
        task, kwargs = {
            "unknown task": ("reports.nothing", {"account": "acme"}),
            "unknown report": ("reports.parse", {"account": "acme", "api": "mws", "report_id": "99999999999"}),
            "wrong arguments": ("reports.download", {"report": 5}),
        }[fault.how]
        return self._send(task, queue="reports.parse", **kwargs)

    def _send(self, task, queue=None, **kwargs):
        """A message, as one of our processes would send it."""
        if self.system.redis_url is None:
            return False
        with Celery("chaos", set_as_current=False) as app:
            app.conf.update(configuration(load(self.system.direct_env())))
            app.send_task(task, kwargs=kwargs, queue=queue or task, ignore_result=True)
        return True

    def _taken(self):
        """(queue, message): the next message that would have gone to a worker, taken away from all of them."""
        self.system.start_redis()
        return self.system.redis().brpop([f"{KEY_PREFIX}reports.{step}" for step in STEPS], timeout=PATIENCE)

    # ------------------------------------------------------------------------------------ notices, and their queue

    def _notice_lost(self, fault):
        return self._announced_wrongly(fault, "lost_notice")

    def _notice_doubled(self, fault):
        return self._announced_wrongly(fault, "doubled_notice")

    def _notice_malformed(self, fault):
        return self._announced_wrongly(fault, "malformed_notice")

    def _notice_foreign(self, fault):
        kind = {"another type": "foreign_type_notice", "another seller": "foreign_seller_notice"}[fault.how]
        return self._announced_wrongly(fault, kind)

    def _notice_late(self, fault):
        made = self._announced_wrongly(fault, "lost_notice")
        account = self._account(fault)
        self.system.later(fault.seconds, lambda: self.system.announce(account, made))
        return made

    def _notice_early(self, fault):
        now = self.system.amazon_now()
        done_at = now + timedelta(seconds=SPEED * fault.seconds)
        return self._announced_wrongly(
            fault, "early_notice", created_at=now.isoformat(), available_at=done_at.isoformat()
        )

    def _notice_forged(self, fault):
        if fault.how == "beside a true one":
            return self._announced_wrongly(fault, "forged_notice")
        self.system.announce(self._account(fault), [str(10**13 + FLOOD * fault.pick + n) for n in range(FLOOD)])
        return True

    def _announced_wrongly(self, fault, kind, **told):
        """A report of the account, whose notice is at fault; its ids, once it was announced so (or kept back)."""
        account = self._account(fault)
        before = self._announced(account, kind)
        self._order("notification", kind, account)
        made = self.system.make_reports(account, **told)
        deadline = time.monotonic() + PATIENCE
        while self._announced(account, kind) == before:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return made

    def _announced(self, account, kind):
        """How many notices of that account had that fault."""
        told = self.system.notifications()["published"]
        return sum((each["account"], each["fault"]) == (account, kind) for each in told)

    def _queue_cut(self, fault):
        self.system.make_reports(self._account(fault))
        return self._cut_once_connected("queue")

    def _queue_stalled(self, fault):
        self.system.make_reports(self._account(fault))
        self._stalled("queue", fault)

    def _queue_refusing(self, fault):
        self.system.make_reports(self._account(fault))
        # The emulator's name of whoever asks the queue: it is nobody's account.
        self._order("SQS", "unavailable", "sqs", 1_000_000)
        self.system.later(fault.seconds, lambda: self._order("SQS", "unavailable", "sqs", 0))

    # -------------------------------------------------------------------------------------- Amazon, and the archive

    def _amazon_fault(self, fault):
        operation, kind = fault.how.split()
        account = self._account(fault)
        if kind == "token_corrupted" or operation.endswith("ByNextToken"):
            # A listing of one page has no next one.
            listing = "GetReportList" if api_of(account) == "mws" else "getReports"
            self._order(listing, "empty_page", account)
        if operation == "LWA":
            self._end_access_tokens()
        if "Request" in operation or operation == "createReport":
            if self.system.database_url is None:
                return False
            self._request(account)
        self._order(operation, kind, account, 1 if kind == "expired_access_token" else 1 + fault.pick % 2)
        return True

    def _archive_full(self, fault):
        pids = [pid for name in self.system.workers() for pid in self.system.pool(name)]
        for pid in pids:
            _limit_files(pid, FULL_AT)
        self.system.later(fault.seconds, lambda: [_limit_files(pid, resource.RLIM_INFINITY) for pid in pids])
        return bool(pids)

    def _report_kills_worker(self, fault):
        account = self._account(fault)
        body = base64.b64encode(b"order-id\torder-item-id\n" + POISON + fault.how.encode() + b"\n").decode()
        made = self.system.make_reports(account, body_base64=body, content_type="text/plain")
        self.poisoned |= {(account, report_id) for report_id in made}

    def _request(self, account):
        """A report of the last hours is asked for."""
        (report_type,) = DECLARED[api_of(account)]
        now = self.system.amazon_now().replace(microsecond=0)
        window = {"start": now - timedelta(hours=6), "end": now - timedelta(minutes=1)}
        self.system.services().requests.enter(account, api_of(account), report_type, **window, options={})

    # ----------------------------------------------------------------------------------------------- whom it hits

    def _account(self, fault):
        """An account of the API whose fault it is; of either, where it is neither's."""
        operation = fault.how.split()[0] if fault.kind == "amazon_fault" else ""
        if fault.kind.startswith(("login_", "role_")) or operation in SP_OPERATIONS:
            return self._one(fault, SP_API_SELLERS)
        return self._one(fault, [a for a in self.system.accounts if not operation or api_of(a) == "mws"])

    def _worker(self, fault):
        return self._one(fault, self.system.workers())

    def _caught(self, fault):
        """A pool process stopped in the middle of a step: it holds a lease or a turn, and goes on with it no further.
        If none can be caught for a while, any that has started."""
        at = fault.how.removeprefix("at ")
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for pid in self.system.busy(at):
                self.system.stop(pid)
                if pid in self.system.busy(at):
                    return pid
                self.system.wake(pid)
            time.sleep(0.01)
        pid = self._one(fault, [pid for name in self.system.workers() for pid in self.system.pool(name)])
        self.system.stop(pid)
        return pid

    def _one(self, fault, candidates):
        if not candidates:
            raise DependencyDown("there is nobody to hit just now")
        return candidates[fault.pick % len(candidates)]


def _limit_files(pid, size):
    """How large a file that process may write: beyond it the kernel refuses, as on a full disk. Python ignores the
    signal that comes with the refusal."""
    try:
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))
    except ProcessLookupError:
        return
