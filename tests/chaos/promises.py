"""What must hold however the system was shaken: each promise as a list of what breaks it, judged from outside.

The judges are the emulated Amazon's record of calls and sales, Postgres itself, and what can be read in Redis and in the
logs. An excuse is what was done to the system on purpose, while it lasted.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from emulator.documents import STORE_PATH
from orderdrain.vault import _FILE as _SEALED
from workers.judge import ask, compare

#: A request that is still to be followed. One that is stuck at Amazon for more than a day is followed for ever, and was
#: asked for once more. What came to nothing is asked for again when its hours are over, the last time after sixteen.
OPEN_REQUEST = (
    "status IN ('asked', 'submitted', 'in_progress') AND stuck_at IS NULL"
    " AND NOT (status = 'asked' AND again > 0 AND next_attempt_at > app_now())"
)


@dataclass(frozen=True)
class Excuse:
    """Something that was done to the system, from `began` to `ended` in Amazon's time."""

    kind: str
    began: datetime
    ended: datetime


@dataclass(frozen=True)
class Broken:
    """One breach of a promise; of which report, where it is about one."""

    what: str
    account: str | None = None
    report_id: str | None = None

    def __str__(self) -> str:
        return f"{self.what}{f' (report {self.report_id} of {self.account})' if self.report_id else ''}"


def broken_promises(system, faults):
    """Every promise by name, with its breaches: all lists are empty when all promises were kept."""
    found = compare(system.amazon_url, system.database_url)
    calls = ask(system.amazon_url, "/_emulator/calls")["calls"]
    return {
        "lost": [
            Broken(f"line {_key(line)} is in no table", line["account"], line["report_id"]) for line in found.lost
        ],
        "doubled": [Broken(f"line {key} was never told") for key in found.doubled],
        "wrong": [
            Broken(f"line {_key(line)} is not as told", line["account"], line["report_id"]) for line in found.wrong
        ],
        "invented": _invented(system),
        "rejected": [
            Broken(f"line {line} of a clean report is rejected", account, report_id)
            for account, report_id, line in system.query("SELECT account, report_id, line FROM rejected_rows")
        ],
        "acknowledged_before_commit": [Broken("told too early", None, report) for report in system.seen.too_early],
        "over_quota": _over_quota(calls, faults),
        "work_done_twice": [*_downloaded_twice(system, calls, faults), *_listed_twice(calls, faults)],
        "left": _left(system, found, faults),
        "buyers_seen": _buyers_seen(system),
        "secrets_seen": _secrets_seen(system, calls),
        "bugs": _bugs(system),
    }


def story(system, broken):
    """What `orderdrain show` tells of the report of a breach."""
    command = [str(Path(sys.executable).with_name("orderdrain")), "show", broken.report_id]
    command += ["--account", broken.account] if broken.account else []
    done = subprocess.run(command, env=system.direct_env(), capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def downloads_begun(system):
    """How many downloads of each report the ledger knows to have been begun: the fence that a download ended with
    (or has now), less those that waited for quota before they asked Amazon."""
    rows = system.query(
        "SELECT account, report_id, coalesce(substring(archive_key FROM '-f([0-9]+)$')::int, fence)"
        " - (SELECT count(*) FROM report_history h WHERE (h.account, h.api, h.report_id) = (r.account, r.api, r.report_id)"
        "  AND step = 'download' AND event = 'snoozed' AND request_id IS NULL AND detail LIKE 'throttled by%') FROM reports r"
    )
    return Counter({(account, report_id): begun for account, report_id, begun in rows})


#: Faults on the wire that make one attempt fetch a body again, up to three times in all.
_BAD_BODY = {"cut_body", "cut_without_length", "stalled_body", "wrong_md5"}


def _downloaded_twice(system, calls, faults):
    cuts = [e for e in faults.excuses if e.kind in {"amazon_cut", "amazon_stalled"}]
    asked = Counter(
        (call["account"], report_id)
        for call in calls
        if call["operation"] in {"GetReport", "document"} and call["applied"] and call["fault"] not in _BAD_BODY
        if not _within(call, cuts)
        for report_id in call["report_ids"]
    )
    known = downloads_begun(system)
    begun = known + faults.at_restore
    begun.subtract(faults.at_backup if faults.at_restore else {})
    return [
        Broken(f"{n} bodies sent in {begun[report]} attempts", *report)
        for report, n in asked.items()
        # What is in no ledger was no report: why Amazon could not make one is told by a document too.
        if report in known and n > begun[report]
    ]


def _invented(system):
    """Reports that Amazon never made: a notice alone, true or forged, enters none."""
    told = {(r["account"], r["report_id"]) for r in ask(system.amazon_url, "/_emulator/truth")["told_reports"]}
    known = system.query("SELECT account, report_id FROM reports ORDER BY report_id")
    return [Broken("Amazon never made it", *report) for report in known if report not in told]


_LISTINGS = {"GetReportList", "GetReportListByNextToken", "getReports"}
#: What takes a turn from a lister that goes on when it wakes up: only this excuses two listings of an account at once.
_LOSES_LEASE = {"worker_stopped", "pool_process_stopped", "postgres_stalled", "amazon_stalled", "postgres_restored"}


def _listed_twice(calls, faults):
    """A next page of a listing after another listing of the account has begun. Pages belong together by their tokens."""
    held = [excuse for excuse in faults.excuses if excuse.kind in _LOSES_LEASE]
    restored = [excuse for excuse in faults.excuses if excuse.kind == "postgres_restored"]
    first_of, newest, broken = {}, {}, []
    for call in calls:
        if call["operation"] not in _LISTINGS or not call["applied"]:
            continue
        first = first_of.get(call["token_used"], call)
        if call["token_given"]:
            first_of[call["token_given"]] = first
        if first["operation"] == "getReports" and "processingStatuses" not in first["parameters"]:
            continue  # a look for a requested report whose answer was lost: in any state
        if first is call:
            newest[call["account"]] = call
            continue
        # A backup goes on with the listing that was under way when it was made.
        before = [excuse for excuse in restored if _at(first) < excuse.ended and excuse.began <= _at(call)]
        if newest[call["account"]] is not first and not _within(call, held) and not before:
            broken.append(Broken(f"two listings of {call['account']} at once, at {call['at']}"))
    return broken


def _over_quota(calls, faults):
    """A bucket that Redis forgot begins with one token, and Amazon's may have none: one refusal a flush is excused."""
    flushes = faults.done["redis_flushed"]
    refused = defaultdict(list)
    for call in calls:
        if call["over_quota"]:
            refused[call["account"], call["operation"]].append(call)
    return [
        Broken(f"{operation} of {account} over quota ({call['code']}) at {call['at']}")
        for (account, operation), those in refused.items()
        for call in those[flushes:]
    ]


def _left(system, found, faults):
    """Reports that are neither finished nor, with a reason, quarantined; and clean ones that were quarantined."""
    broken = [Broken("not finished", report["account"], report["report_id"]) for report in found.unfinished]
    broken += [
        Broken(f"request {key} of {account} is {status} since {asked_at}, and not stuck")
        for account, key, status, asked_at in system.query(
            f"SELECT account, request_key, status, asked_at FROM report_requests WHERE {OPEN_REQUEST}"
        )
    ]
    clean = [r for r in found.not_told if (r["account"], r["report_id"]) not in faults.poisoned]
    broken += [Broken("Amazon was not told", report["account"], report["report_id"]) for report in clean]
    quarantined = {
        (a, r): reason
        for a, r, reason in system.query("SELECT account, report_id, reason FROM reports WHERE state = 'quarantined'")
    }
    broken += [Broken("a clean report is quarantined", *r) for r in quarantined.keys() - faults.poisoned]
    broken += [Broken("quarantined without a reason", *r) for r, reason in quarantined.items() if not reason]
    broken += [Broken("not quarantined", *r) for r in faults.poisoned - quarantined.keys()]
    return broken


_TABLES = (
    "reports",
    "report_history",
    "rejected_rows",
    "report_requests",
    "connections",
    "accounts",
    "applications",
    "notices",
    "notice_queues",
)
#: Cells that stand nowhere by chance.
_PERSONAL = ("buyer-email", "buyer-name", "recipient-name", "ship-address-1")


def _buyers_seen(system):
    """Where a buyer's name, mail or street is found outside the tables for them, the archive and Amazon's own log."""
    families = ask(system.amazon_url, "/_emulator/truth")["families"].values()
    told = [line["cells"].get(column, "") for lines in families for line in lines for column in _PERSONAL]
    cells = {cell for cell in told if len(cell) > 6}
    # In JSON an umlaut is written as an escape.
    needles = {form for cell in cells for form in (cell, json.dumps(cell)[1:-1])}
    return [
        Broken(f"a buyer's data in {place}")
        for place, text in _places(system).items()
        if any(needle in text for needle in needles)
    ]


#: What every access token of SP-API begins with, every restricted one, and where its documents lie.
_TOKENS = {"Atza|", "Atz.sprdt|", "X-Amz-Signature", STORE_PATH}


def _secrets_seen(system, calls):
    """Passwords, keys, tokens and urls of documents, outside the memory of who uses them; tokens sent to the store of
    documents; and what lies on the archive's disk in clear."""
    kinds = ("secret_key", "client_secret", "refresh_token")
    secrets = {told[kind] for told in system.stack.emulator["accounts"] for kind in kinds if kind in told} | _TOKENS
    secrets |= {urlsplit(url).password for url in (system.database_url, system.redis_url)}
    seen = [f"a secret in {place}" for place, text in _places(system).items() if any(s in text for s in secrets)]
    seen += [f"a token in the request for a document, at {call['at']}" for call in calls if call.get("leak")]
    files = [path for path in (system.folder / "archive").rglob("*") if path.is_file()]
    # One whose writer was killed before its first block is empty.
    clear = [path for path in files if path.stat().st_size and not path.read_bytes().startswith(_SEALED)]
    return [Broken(each) for each in [*seen, *(f"{path.name} in the archive is not sealed" for path in clear)]]


def _places(system):
    """Everything that is written down and is not sealed, by where it is: logs, Redis, the tables that are not for
    orders and buyers."""
    places = _logs(system)
    places["Redis"] = "\n".join(_dump(system.redis()))
    for table in _TABLES:
        places[f"the table {table}"] = "\n".join(text for (text,) in system.query(f"SELECT t::text FROM {table} t"))
    return places


def _logs(system):
    """What every process said, but for Amazon's."""
    paths = (system.folder / "log").glob("*.log")
    return {path.name: path.read_text("utf-8", "replace") for path in paths if path.name != "emulator.log"}


def _dump(redis):
    """Every key and value in Redis, as text."""
    read = {b"string": redis.get, b"hash": redis.hgetall, b"set": redis.smembers}
    read |= {b"list": lambda key: redis.lrange(key, 0, -1), b"zset": lambda key: redis.zrange(key, 0, -1)}
    for key in redis.keys("*"):
        # One that has been deleted since has no type.
        value = read.get(redis.type(key), lambda _: None)(key)
        parts = [part for pair in value.items() for part in pair] if isinstance(value, dict) else value
        for part in parts if isinstance(parts, (list, set)) else [parts or b""]:
            yield f"{key!r} {part.decode('utf-8', 'replace')}"


#: What the harness asks for, and kombu's own way to say that it cannot acknowledge a message over a connection that is
#: gone: Celery logs it as the task's, which had ended well.
_FORESEEN = ("unexpected keyword argument", "'NoneType' object has no attribute 'client'")


def _bugs(system):
    """Errors that nobody foresaw, whether a step settled them or Celery caught them."""
    rows = system.query(
        "SELECT DISTINCT ON (detail) account, report_id, detail FROM report_history"
        " WHERE detail LIKE '%a bug%' AND detail NOT LIKE '%MemoryError%'"
    )
    told = [Broken(detail, account, report_id) for account, report_id, detail in rows]
    lines = (line for text in _logs(system).values() for line in text.splitlines())
    caught = {line.partition("raised unexpected: ")[2] for line in lines if "raised unexpected: " in line}
    return told + [Broken(f"Celery caught {e}") for e in sorted(caught) if not any(words in e for words in _FORESEEN)]


def _within(call, excuses):
    # Amazon tells whole seconds.
    return any(e.began.replace(microsecond=0) <= _at(call) <= e.ended for e in excuses)


def _at(call):
    return datetime.fromisoformat(call["at"])


def _key(line):
    return f"{line['family']} {' '.join(line['key'])}"
