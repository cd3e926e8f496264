"""One small day of three sellers, with a little of everything that the path of a report meets; and what it must end in.

acme: a report schedule to be changed; two versions of one order; a row that cannot be stored; a page of HTML; a listing
of two pages whose NextToken is lost; a download with a wrong digest; an acknowledgement whose answer is lost. bravo: two
versions of one order; a download that fails; a report asked for by hand, whose answer is lost too.

cedar sells at SP-API: a schedule to be changed; two versions of one order, on two pages; a row that cannot be stored; a
report that takes an hour to be made; a listing answered by a page of HTML; a token that ends mid-way; a refused call; a
gzip that nobody announced, and that is cut; a url that has expired; a report asked for by hand, whose answer is lost.

Each family has a report that day: beside New Orders acme has Unshipped and All Orders, bravo FBA shipments, cedar
Pending. Of what Amazon announces, a notice of acme's comes twice, one of bravo's has a forged one beside it, and one of cedar's
is lost.
"""

from __future__ import annotations

import base64
import hashlib
import random
import re
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from orderdrain import listening
from orderdrain.amazon import NEVER, mws, sp_api
from orderdrain.declarations import declare
from orderdrain.errors import OrderdrainError
from orderdrain.families import FAMILIES
from orderdrain.quota import QuotaRule
from tests import drain as drains
from tests.building import ORDERS, SHIPPING
from tests.crash.world import LEASE_SECONDS, STILL
from tests.raw_sp_api import Client
from workers.demo import add_emulator_accounts
from workers.judge import judge

#: When it begins, by both clocks, in each world: a day ahead, since the emulator's clock only jumps forward.
BEGIN = (datetime.now(UTC) + timedelta(days=1)).replace(hour=12, minute=0, second=0, microsecond=400_000)
#: Minutes by which time jumps while everything waits: a quota that began with one token has some by then.
STRIDE = 20
#: What the judge says of a day that ended well: two lines stand in bytes that nobody sold, and the page of HTML waits
#: for a person, not acknowledged.
WELL = {"lost": 0, "doubled": 2, "wrong": 0, "unfinished": 1, "over_quota": 0}
#: Rounds of waiting that no day needs that ends: the longest has six.
ROUNDS = 12
#: So often a notice is read until it is given up, fewer times than in life: each is a round, and a listing.
NOTICE_RECEIVES = 3
#: So that four reports fill two pages, as 101 would at Amazon.
PAGE_SIZE = 3
UNSHIPPED = "_GET_FLAT_FILE_ACTIONABLE_ORDER_DATA_"
ALL_ORDERS = "_GET_XML_ALL_ORDERS_DATA_BY_LAST_UPDATE_"
SHIPMENTS = "_GET_AMAZON_FULFILLED_SHIPMENTS_DATA_"
PENDING = "GET_PENDING_ORDERS_DATA"
SCHEDULES = "/reports/2021-06-30/schedules"
#: Calls that SP-API gives back within a second. Here time jumps: they come by the minute, as all others do.
BY_THE_MINUTE = dict.fromkeys(("getReport", "createRestrictedDataToken"), QuotaRule(15, 60, None))
#: What each seller's reports are, and how often they are to come by schedule.
#: Cedar's makes no report within the day: without a sale it would be one more entry, and one more page, of a listing.
DECLARED = {
    "acme": {ORDERS: "_30_MINUTES_", UNSHIPPED: NEVER, ALL_ORDERS: NEVER},
    "bravo": {ORDERS: "_15_MINUTES_", SHIPMENTS: NEVER},
    "cedar": {SHIPPING: "P1D", PENDING: NEVER},
}
#: Every table that a report fills.
TABLES = (*(family.table for family in FAMILIES), "buyers", "snapshots", "rejected_rows")

#: What befalls the first notice of each.
PUSH = {"acme": "doubled_notice", "bravo": "forged_notice", "cedar": "lost_notice"}

#: That of a requested report is heard as the request's, once its id is known here: sooner or later than the report.
_HEARD = (
    "SELECT account, report_id, copies > 0 AS copied FROM notices n WHERE NOT EXISTS"
    " (SELECT FROM report_requests r WHERE (r.account, r.report_id) = (n.account, n.report_id))"
)

_HEADER = "order-id\torder-item-id\tsku\tquantity-purchased\tproduct-name\tbuyer-name\n"
_ONE_BAD_ROW = "999-0000001-0000001\t1\tTEA\t1\tTeapot\tMargit\n999-0000001-0000001\t2\tTEA\ta few\tTeapot\tMargit\n"


# ------------------------------------------------------------------------------------------------------- what happens


def stage(amazon):
    """What has been sold and told when the day begins."""
    # Until then it has no schedule either.
    cedar = Client(amazon, "cedar")
    for schedule in cedar.call("GET", SCHEDULES, reportTypes=[SHIPPING]).json["reportSchedules"]:
        cedar.call("DELETE", f"{SCHEDULES}/{schedule['reportScheduleId']}")
    now = datetime.fromisoformat(amazon.get("/_emulator/clock")["now"])
    _post(amazon, "advance", seconds=(BEGIN - timedelta(minutes=10) - now).total_seconds())
    for account, fault in PUSH.items():
        _post(amazon, "faults", account=account, operation="notification", fault=fault)
    for account in DECLARED:
        at = {"account": account, "api": "sp-api" if account == "cedar" else "mws"}
        orders = [{"order_id": f"111-000000{n}-0000001", "lines": [{}, {}]} for n in (1, 2)]
        _post(amazon, "orders", account=account, orders=orders)
        ids = [order["order_id"] for order in orders]
        _post(amazon, "reports", **at, order_ids=ids, available_at=_ago(hours=3), gzip=True)
        changed = {"order_id": ids[0], "lines": [{"quantity-purchased": "7", "item-price": "70.00"}]}
        _post(amazon, "orders", account=account, orders=[changed])
        _post(amazon, "reports", **at, order_ids=ids[:1], available_at=_ago(hours=2), gzip=False)
    _sell_through_the_other_families(amazon)
    _give(amazon, "acme", "mws", ORDERS, "<html><body>Service Unavailable</body></html>", hours=4)
    _give(amazon, "acme", "mws", ORDERS, _HEADER + _ONE_BAD_ROW, hours=5)
    _give(amazon, "cedar", "sp-api", SHIPPING, _HEADER + _ONE_BAD_ROW, hours=5)
    slow = {"lines": [{}], "order_id": "111-0000003-0000001"}
    _post(amazon, "orders", account="cedar", orders=[slow])
    times = {"created_at": _ago(minutes=30), "available_at": _ago(minutes=-30)}
    _post(amazon, "reports", account="cedar", api="sp-api", order_ids=[slow["order_id"]], **times)
    for account, operation, fault in (
        ("acme", "GetReport", "wrong_md5"),
        ("acme", "UpdateReportAcknowledgements", "late_answer"),
        ("acme", "GetReportListByNextToken", "token_corrupted"),
        ("bravo", "GetReport", "internal_error"),
        ("bravo", "RequestReport", "late_answer"),
        ("cedar", "getReports", "html"),
        ("cedar", "getReport", "expired_access_token"),
        ("cedar", "getReportDocument", "throttle"),
        # What is cut is a gzip, whether Amazon would have made it one or not: that depends on the time of the real day.
        ("cedar", "getReportDocument", "gzip_unannounced"),
        ("cedar", "document", "cut_without_length"),
        ("cedar", "document", "expired_url"),
        ("cedar", "createReport", "late_answer"),
    ):
        _post(amazon, "faults", account=account, operation=operation, fault=fault)
    for operation, rule in BY_THE_MINUTE.items():
        _post(amazon, "quota", operation=operation, max=rule.burst, restore_seconds=rule.restore_seconds)
    _post(amazon, "advance", seconds=600)
    # Looked at, they are announced: a meeting ends all faults that are still to come.
    amazon.get("/_emulator/notifications")


def _sell_through_the_other_families(amazon):
    """What acme has to ship and the state of all of its orders, what Amazon shipped for bravo, what cedar's buyers have
    not paid for yet."""
    shipped = {"order_id": "111-0000004-0000001", "lines": [{}], "status": "Shipped", "by_amazon": True}
    pending = {"order_id": "111-0000005-0000001", "lines": [{}], "status": "Pending"}
    _post(amazon, "orders", account="bravo", orders=[shipped])
    _post(amazon, "orders", account="cedar", orders=[pending])
    for account, api, report_type in (
        ("acme", "mws", UNSHIPPED),
        ("acme", "mws", ALL_ORDERS),
        ("bravo", "mws", SHIPMENTS),
        ("cedar", "sp-api", PENDING),
    ):
        times = {"available_at": _ago(hours=1), "requested": True, "gzip": True}
        _post(amazon, "reports", account=account, api=api, report_type=report_type, **times)


@contextmanager
def worker(world, watch=None):
    """A worker of that day, in a process that does nothing else: what is set here stays so."""
    # Waits have a jitter; by it a requested report would be there for one day's listing, and not for another's.
    random.seed("crash day")
    mws.PAGE_SIZE, sp_api.PAGE_SIZE, drains.MOST_ROUNDS = PAGE_SIZE, PAGE_SIZE, ROUNDS
    listening.NOTICE_RECEIVES = NOTICE_RECEIVES
    sp_api.QUOTAS.update(BY_THE_MINUTE)
    with world.open(watch) as drain:
        yield drain


def declare_accounts(drain):
    """The sellers are declared, and two reports are asked for."""
    emulator = drain.emulator
    add_emulator_accounts(drain.s, emulator.first_line, speed=STILL)
    for account, report_types in DECLARED.items():
        told = emulator.account(account)
        keys = {"application": f"emulator-{account}", "seller_id": told["seller_id"], "endpoint": emulator.url}
        keys |= {"marketplaces": told["marketplaces"], "report_types": report_types, "manage_schedules": True}
        if account == "cedar":
            keys |= {"api": "sp-api", "login_url": emulator.first_line["lwa"]}
        # Rarely enough that the requested report is found by looking after it, not by a listing.
        declare(drain.s, account, {**keys, "list_every_minutes": 60}, token=told.get("refresh_token"))
    drain.s.requests.enter("bravo", "mws", ORDERS, start=None, end=None, options={})
    day = {"start": BEGIN.replace(microsecond=0) - timedelta(hours=1), "end": BEGIN.replace(microsecond=0)}
    drain.s.requests.enter("cedar", "sp-api", SHIPPING, **day, options={})


def live(drain):
    """Beat and one worker until nothing is left to do; then the next hour, and a listing of all there is."""
    try:
        drain.run(stride_minutes=STRIDE)
        drain.advance(minutes=61)
        for account in DECLARED:
            drain.run_message("list", {"account": account, "full": True})
        drain.run(stride_minutes=STRIDE)
    except AssertionError:  # by Drain.run: it goes on and on
        drain.never_quiet = True


def live_on(drain, world):
    """The rest of the system after a death: at once, while the dead one's leases and locks hold, and past them."""
    drain.tick()
    drain.run_messages()
    world.let_locks_run_out()
    drain.advance(seconds=LEASE_SECONDS)
    live(drain)


def _post(amazon, path, **body):
    return amazon.post(f"/_emulator/{path}", body)


def _give(amazon, account, api, report_type, text, *, hours):
    given = {"report_type": report_type, "body_base64": base64.b64encode(text.encode()).decode()}
    told = {"account": account, "api": api, "available_at": _ago(hours=hours), "content_type": "text/plain"}
    _post(amazon, "reports", **told, **given)


def _ago(**span):
    return f"{BEGIN - timedelta(**span):%Y-%m-%dT%H:%M:%SZ}"


# ------------------------------------------------------------------------------------------------- what it must end in


def outcome(drain):
    """Everything that must be the same however the day went; and what was done, to be counted."""
    query = drain.s.db.query
    drain.advance(minutes=STRIDE)
    verdict = judge(drain.emulator.url, drain.database_url)
    truth = drain.emulator.get("/_emulator/truth")
    calls = drain.emulator.calls()
    schedules = {
        account: sorted((info.report_type, info.every) for info in drain.s.amazon(connection).list_schedules())
        for account in DECLARED
        for connection in drain.s.accounts.connections(account)
    }
    reports = query("SELECT account, report_id, state, archive_key, sha256, rows_read, rows_rejected FROM reports")
    names = _names(truth["told_reports"])
    return {
        "verdict": {name: getattr(verdict, name) for name in WELL},
        "tables": {table: _rows(query, table, names) for table in TABLES},
        "states": sorted([names[r.report_id], r.state, r.rows_read, r.rows_rejected] for r in reports),
        "told Amazon": sorted([names[r["report_id"]], r["acknowledged"]] for r in truth["told_reports"]),
        "schedules": schedules,
        "push": sorted(drain.emulator.get("/_emulator/notifications")["faults"]),
        "heard": sorted([r.account, names.get(r.report_id, "forged"), r.copied] for r in query(_HEARD)),
        "requests": sorted([r.account, r.status] for r in query("SELECT account, status FROM report_requests")),
        "downloads": sum(call["operation"] in {"GetReport", "document"} for call in calls),
        "asked for": sum(call["operation"] in {"RequestReport", "createReport"} and call["applied"] for call in calls),
        "half files": _half_files(drain, reports),
        "in clear": _in_clear(drain),
        "leaks": sum(call.get("leak", False) for call in calls),
        "held": query("SELECT count(*) FROM reports WHERE lease_owner IS NOT NULL")[0].count
        + query("SELECT count(*) FROM connections WHERE turn IS NOT NULL")[0].count,
        "never quiet": drain.never_quiet,
        "bugs": [sentence for _, _, sentence in drain.said if "a bug" in sentence],
    }


def broken_promises(seen, wanted):
    """The numbers that must all be 0, those that are not: of a day as `seen`, against that of an undisturbed one."""
    numbers = {name: number - WELL[name] for name, number in seen["verdict"].items()}
    numbers |= {
        "acknowledged_before_commit": len(seen["too early"]),
        **{
            f"other_{name.replace(' ', '_')}": _differences(seen[name], wanted[name])
            for name in ("states", "told Amazon", "heard", "requests")
        },
        **{
            f"other_{table}": _differences(seen["tables"][table], wanted["tables"][table]) for table in wanted["tables"]
        },
        "other_schedules": int(seen["schedules"] != wanted["schedules"]),
        # The attempt that died may have downloaded already.
        "downloaded_twice": max(0, seen["downloads"] - wanted["downloads"] - 1),
        "push_spared": int(seen["push"] != sorted(PUSH.values())),
        "asked_twice": seen["asked for"] - wanted["asked for"],
        "half_files": seen["half files"],
        "in_clear": seen["in clear"],
        "tokens_leaked": seen["leaks"],
        "still_held": seen["held"],
        "never_quiet": int(seen["never quiet"]),
        "bugs": len(seen["bugs"]),
        **seen.get("counted", {}),
    }
    return {name: number for name, number in numbers.items() if number}


def told(broken):
    """`lost=3, still_held=1`."""
    return ", ".join(f"{name}={number}" for name, number in broken.items())


def _names(told_reports):
    """Names that are the same however the day went: SP-API counts reports without data too, and how many of these a
    schedule made depends on when it was changed."""
    of = {}
    for report in sorted(told_reports, key=lambda report: int(report["report_id"])):
        of.setdefault(report["account"], []).append(report["report_id"])
    return {report_id: f"{account} {n}" for account, ids in of.items() for n, report_id in enumerate(ids, 1)}


def _rows(query, table, names):
    """The rows as text, less what may differ: when it was (a version's number and line are told, not its time), and the
    digest, whose key is each world's own. A layout is told by its columns: its number tells which report came first."""
    layouts = {row.layout: row.columns for row in query("SELECT layout, columns FROM layouts")}
    rows = [row.row for row in query(f"SELECT to_jsonb(t) AS row FROM {table} t")]
    for row in rows:
        row.pop("as_of", None)
        row.pop("rejected_at", None)
        row.pop("digest", None)
        row["layout"] = layouts.get(row.get("layout"))
    texts = (re.sub(r"[-0-9]+T[:.0-9]+Z/", "", str(sorted(row.items()))) for row in rows)
    # A version has its report's number in twenty digits.
    return sorted(re.sub(r"\d{11,}", lambda id_: names.get(id_[0].lstrip("0"), id_[0]), text) for text in texts)


def _differences(seen, wanted):
    return len({str(each) for each in seen} ^ {str(each) for each in wanted})


def _half_files(drain, reports):
    """Files under a key of the archive that are not the whole bytes of the report that they are named after."""
    whole = {(r.account, r.report_id): r.sha256 for r in reports}
    archive = Path(drain.s.settings.archive)
    # acme/2026/11/24/mws-50123456789-f3
    keys = [path.relative_to(archive) for path in archive.glob("*/*/*/*/*") if path.is_file()]
    return sum(_digest(drain, str(key)) != whole[key.parts[0], key.name.split("-")[-2]] for key in keys)


def _digest(drain, key):
    try:
        with drain.s.archive.open(key) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OrderdrainError:
        return None


def _in_clear(drain):
    """Files and secrets that lie somewhere as whoever steals a disk could use them."""
    buyers = {cell.encode() for cell in drains.buyers_cells(drain.emulator.get("/_emulator/truth"))}
    archive = Path(drain.s.settings.archive)
    files = [path.read_bytes() for path in archive.rglob("*") if path.is_file()]
    rows = drain.s.db.query(
        "SELECT secret AS kept FROM applications UNION ALL SELECT token FROM connections"
        " UNION ALL SELECT access_token FROM connections"
    )
    kept = [row.kept for row in rows if row.kept]
    return sum(any(cell in file for cell in buyers) for file in files) + sum(not k.startswith("sealed:") for k in kept)
