"""Reports of any family, given as bytes, through the parse step, and what the tables hold then.

account = new_account(s)
report = flat(ALL, 1, "amazon-order-id order-status ...", ["111-1 Shipped ..."], hour=3)
parse_all(s, account, [report])
tables(s, account)          # every table of that account, without what only says how it got there
"""

from __future__ import annotations

import itertools
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from unittest import mock

from orderdrain import pipeline
from orderdrain.archive import key_for
from orderdrain.errors import GiveUp
from orderdrain.families import FAMILIES
from orderdrain.parsers import open_report
from orderdrain.reports import ReportKey

NEW = "_GET_FLAT_FILE_ORDERS_DATA_"
NEW_XML = "_GET_ORDERS_DATA_"
UNSHIPPED = "_GET_FLAT_FILE_ACTIONABLE_ORDER_DATA_"
ALL = "_GET_FLAT_FILE_ALL_ORDERS_DATA_BY_LAST_UPDATE_"
ALL_XML = "_GET_XML_ALL_ORDERS_DATA_BY_LAST_UPDATE_"
PENDING = "_GET_FLAT_FILE_PENDING_ORDERS_DATA_"
FBA = "_GET_AMAZON_FULFILLED_SHIPMENTS_DATA_"

_accounts = itertools.count()


@dataclass(frozen=True)
class Given:
    """A report as it lies in the archive."""

    report_type: str
    number: int
    hour: float
    body: bytes
    marketplaces: tuple[str, ...] = ()

    @property
    def as_of(self):
        return at(self.hour)


def at(hour):
    """An hour of the day on which everything happens."""
    return datetime(2026, 5, 1, tzinfo=UTC) + timedelta(hours=hour)


def cell(hour):
    """The same as a cell of a report."""
    return f"{at(hour):%Y-%m-%dT%H:%M:%S+00:00}"


def flat(report_type, number, header, rows, *, hour, **told):
    """A flat file. Names and cells are parted by one blank; `.` is a blank cell, `_` a blank within one."""
    cells = [header.split(" "), *(row.split(" ") for row in rows)]
    lines = ["\t".join("" if c == "." else c.replace("_", " ") for c in line) for line in cells]
    return Given(report_type, number, hour, "".join(f"{line}\n" for line in lines).encode(), **told)


def new_account(s):
    """An account of its own for each example, so that examples may share a database."""
    account = f"account-{next(_accounts)}"
    s.db.query("INSERT INTO accounts (account, seller_id, marketplaces) VALUES (%s, 'A1', '{}')", (account,))
    s.db.query(
        "INSERT INTO connections (account, api, application, endpoint) VALUES (%s, 'mws', 'keys', 'http://127.0.0.1:1')",
        (account,),
    )
    return account


def downloaded(s, account, report):
    """Brings a report to `downloaded`, its bytes in the archive; also one that was parsed before."""
    key = ReportKey(account, "mws", str(report.number))
    archive_key = key_for(account, "mws", key.report_id, 1, report.as_of)
    if not s.archive.exists(archive_key):
        with s.archive.writer(archive_key) as writer:
            writer.write(report.body)
            writer.commit()
    s.db.query(
        "INSERT INTO reports (account, api, report_id, report_type, available_at, listing, state, archive_key,"
        " content_type, marketplaces)"
        " VALUES (%s, 'mws', %s, %s, %s, 0, 'downloaded', %s, 'text/plain;charset=UTF-8', %s)"
        " ON CONFLICT (account, api, report_id) DO UPDATE SET state = 'downloaded', quarantined_from = NULL,"
        " next_attempt_at = app_now(), attempts = 0",
        (account, key.report_id, report.report_type, report.as_of, archive_key, list(report.marketplaces)),
    )
    return key


def parse(s, account, report):
    """What the step says; of a report without a line that can be read, why it is set aside."""
    try:
        return pipeline.parse(s, downloaded(s, account, report))
    except GiveUp as error:
        return str(error)


def parse_all(s, account, reports):
    return [parse(s, account, report) for report in reports]


def parse_by_two_workers(s, account, reports, *, within):
    """Every other report by another connection, at the same time, `within` so many seconds; returns what went wrong."""
    failures = []

    def work(mine):
        try:
            parse_all(s, account, mine)
        except Exception as error:
            failures.append(error)
        finally:
            s.db.close()

    threads = [threading.Thread(target=work, args=(half,)) for half in (reports[::2], reports[1::2])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(within)
    assert not any(thread.is_alive() for thread in threads), "a worker hangs"
    return failures


def parse_all_the_long_way(s, account, reports):
    """The same without the short way: every line is read cell by cell, and merged with all others."""

    @contextmanager
    def without_it(*args, **kwargs):
        with open_report(*args, **kwargs) as report:
            report.usual = None
            yield report

    with mock.patch.object(pipeline, "open_report", without_it):
        return parse_all(s, account, reports)


def without_digests(held):
    """Tables without what a line is known by when it comes again: the long way knows none."""
    return {
        name: sorted(
            ({column: value for column, value in row.items() if column != "digest"} for row in rows), key=_sorted_cells
        )
        for name, rows in held.items()
    }


def tables(s, account):
    """Every order table of an account and the views on them, rows in order, without the account's name; layouts by
    their columns, since their number says only which report came first."""
    names = [*(family.table for family in FAMILIES), "buyers", "snapshots", "rejected_rows"]
    return {name: rows(s, account, name) for name in [*names, "current_all_order_lines", "orders"]}


def rows(s, account, table):
    """The rows of one of them, as dicts."""
    layouts = dict(s.db.query("SELECT layout, columns FROM layouts"))
    found = [row._asdict() for row in s.db.query(f"SELECT * FROM {table} WHERE account = %s", (account,))]
    for row in found:
        del row["account"]
        row.pop("rejected_at", None)
        if "layout" in row:
            row["layout"] = layouts[row["layout"]]
    return sorted(found, key=_sorted_cells)


def _sorted_cells(row):
    return str(sorted(row.items(), key=lambda item: item[0]))
