"""The doors to the outside, watched: every effect of this process on anything but itself, and death before any of them.

Postgres is changed by a commit, Redis by a command, Amazon and its queue by a call, the archive by what is done to a
file, the broker by a message. Each has one door in orderdrain (the import contracts see to that), so what is written tomorrow goes
through one of these too, and nobody keeps a list. Between two effects nothing outward happens: to die just after one is
to die just before the next.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from redis import Redis

import orderdrain
from orderdrain import listening, pipeline, requesting, steps
from orderdrain.amazon.http import Http
from orderdrain.aws import Client
from orderdrain.db import Database

_OURS = str(Path(orderdrain.__file__).parent)
#: Where the path of a report is told: what it calls is a part, and gives an effect its name.
_PATH = {module.__file__ for module in (listening, pipeline, requesting, steps)}


@dataclass(frozen=True)
class Effect:
    """`what` the step asked for, by which `door` it went out, and how many like it there were in that run before."""

    step: str
    what: str
    door: str
    ordinal: int

    def __str__(self) -> str:
        return f"{self.step}: {self.what}: {self.door}" + (f" #{self.ordinal}" if self.ordinal > 1 else "")


class Watch:
    """Notes each effect of the steps. `meanwhile` is done once before an effect: by its text, or by its text and which
    of those alike it is in the day, from 1."""

    def __init__(self, meanwhile=()):
        self.effects = []
        self.meanwhile = dict(meanwhile)
        self._times = Counter()
        self._step = None
        self._alike = Counter()

    @contextmanager
    def during(self, step):
        """What happens within is the step's, also within another one; what the harness does beside is not counted."""
        before = self._step, self._alike
        self._step, self._alike = step, Counter()
        try:
            yield
        finally:
            self._step, self._alike = before

    def effect(self, door):
        """Called by a door, before it opens."""
        if self._step is None:
            return
        what = _asked_for()
        self._alike[what, door] += 1
        self.effects.append(Effect(self._step, what, door, self._alike[what, door]))
        text = str(self.effects[-1])
        self._times[text] += 1
        for this in (text, (text, self._times[text])):
            self.meanwhile.pop(this, _nothing)()

    def stand_at_the_doors(self, archive):
        """From now on, in this process and for good, everything that goes out is counted. `archive`: its folder."""
        transaction, execute, send, client = Database.transaction, Redis.execute_command, Http.send, Client.__call__

        @contextmanager
        def watched_transaction(database):
            with transaction(database) as cursor:
                yield cursor
                if self._step and _has_written(cursor):
                    self.effect("commit")

        def watched_query(database, sql, parameters=(), *, prepared=False):
            # Its commit is Postgres's own: to stand before it, it is taken apart.
            with database.transaction() as cursor:
                (cursor.execute_prepared if prepared else cursor.execute)(sql, parameters)
                return cursor.fetchall() if cursor.description else []

        def watched_execute(redis, *words, **options):
            self.effect(f"Redis {words[0]}")
            return execute(redis, *words, **options)

        def watched_send(http, *told, **options):
            self.effect("call to Amazon")
            return send(http, *told, **options)

        def watched_client(aws):
            self.effect("call to AWS")
            return client(aws)

        def on_disk(event, told):
            changes = event in {"os.mkdir", "os.rename", "os.remove"} or (event == "open" and told[2] & os.O_CREAT)
            if changes and self._step and str(told[0]).startswith(str(archive)):
                self.effect(event)

        Database.transaction, Database.query = watched_transaction, watched_query
        Redis.execute_command, Http.send = watched_execute, watched_send
        Client.__call__ = watched_client
        sys.addaudithook(on_disk)


def _nothing():
    """What happens before most effects."""


def die():
    """As the kernel's memory killer would: nothing is said, nothing is closed."""
    os.kill(os.getpid(), signal.SIGKILL)


def _has_written(cursor):
    """Whether this transaction leaves a trace. A reading one is no effect."""
    with cursor.connection.cursor() as own:
        own.execute("SELECT pg_current_xact_id_if_assigned() IS NOT NULL")
        return own.fetchone()[0]


def _asked_for():
    """`Ledger.lease`: what the path of a report (or beat) has called, however deep the door lies below it."""
    frame, what = sys._getframe(2), None
    while frame is not None:
        file, name = frame.f_code.co_filename, frame.f_code.co_qualname
        if file in _PATH:
            return what or name
        if file.startswith(_OURS):
            what = name
        frame = frame.f_back
    return what or "beat"
