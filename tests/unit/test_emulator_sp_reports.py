"""What sellers have at SP-API: reports of every interval, the same orders as at MWS, and an MWS that does not notice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from emulator.account import Account
from emulator.sellers import make_sellers
from emulator.sp_report_types import PERIODS, SHIPPING, SP_REPORT_TYPES, rivals

STARTED = datetime(2026, 5, 8, 12, 0, tzinfo=UTC)
SELLERS = make_sellers(seed=1, count=6)
US, DE, FR = "ATVPDKIKX0DER", "A1PA6795UKMFR9", "A13V1IB3VIYZZH"


def live(seller=SELLERS[0], *, until=timedelta(hours=3), step=None, backlog=6, orders_per_minute=1.0, on_sp_api=True):
    """An account that lived from STARTED on, looked at in steps or once."""
    account = Account(seller, STARTED, orders_per_minute=orders_per_minute, backlog=backlog, on_sp_api=on_sp_api)
    moment = STARTED
    while step and moment < STARTED + until:
        account.catch_up(moment)
        moment += step
    account.catch_up(STARTED + until)
    return account


def by_schedule(account):
    return [report for report in account.sp.reports.values() if report.scheduled]


def told(reports):
    return [order for report in reports if report.document for order, _ in report.document.file.told]


def test_scheduled_reports_together_tell_every_order_once_each_in_its_interval():
    """Nothing falls between two intervals, nothing is in both."""
    account = live()
    orders = told(by_schedule(account))
    last = max(report.end for report in by_schedule(account))
    assert sorted(order.serial for order in orders) == [o.serial for o in account.orders.values() if o.sold_at < last]
    for report in by_schedule(account):
        assert all(report.start <= order.sold_at <= report.end for order in told([report]))


def test_the_backlog_waits_at_sp_api_and_mws_has_nothing():
    """A seller that sells on the one API is not drained on the other."""
    account = live(until=timedelta(0), backlog=10, orders_per_minute=0)
    reports = list(account.sp.reports.values())
    assert len(reports) == 10
    assert sum(not report.scheduled for report in reports) == 2
    assert all(report.status(STARTED) == "DONE" for report in reports)
    assert {report.report_type for report in reports} == {SHIPPING}
    assert not account.reports
    assert not account.schedules
    assert [schedule.name for schedule in account.sp.schedules.values()] == ["PT15M"]


def test_every_document_fits_its_charset_and_says_so():
    """The label is Amazon's name of the charset: Cp1252 in the west, windows-31j in Japan, UTF-8 in Singapore."""
    labels = set()
    for seller in SELLERS:
        for file in live(seller).sp.files():
            labels.add(file.content_type)
            header, *lines = file.render().decode(seller.home.encoding).splitlines()
            assert header.startswith("order-id\torder-item-id\t")
            assert len(lines) == len(list(file.lines()))
    charsets = ("Cp1252", "windows-31j", "UTF-8")
    assert labels == {f"text/plain; charset={charset}" for charset in charsets}


def test_the_same_seed_gives_the_same_life_however_often_somebody_looks():
    """A failing run must be repeatable, and looking must not change what is seen."""
    once, often = live(), live(step=timedelta(seconds=7))
    assert list(once.sp.reports) == list(often.sp.reports)
    assert [file.render() for file in once.sp.files()] == [file.render() for file in often.sp.files()]
    documents = [[report.document for report in life.sp.reports.values() if report.document] for life in (once, often)]
    assert [d.compressed for d in documents[0]] == [d.compressed for d in documents[1]]
    assert len({d.document_id for d in documents[0]}) == len(documents[0])


def test_what_is_asked_at_sp_api_changes_nothing_at_mws():
    """An account that moves has both for a while: each must tell what it would have told alone."""
    alone, beside = live(on_sp_api=False, until=timedelta(0)), live(on_sp_api=False, until=timedelta(0))
    period = timedelta(minutes=5)
    beside.sp.schedule(SHIPPING, "PT5M", period, STARTED + period, covered_until=STARTED)
    beside.sp.request(SHIPPING, STARTED - timedelta(hours=1), STARTED, STARTED, marketplace_ids=(US,))
    for account in (alone, beside):
        account.catch_up(STARTED + timedelta(hours=3))
    assert [report.render() for report in beside.reports.values()] == [r.render() for r in alone.reports.values()]
    assert list(beside.reports) == list(alone.reports)
    assert len(by_schedule(beside)) == 36
    assert all(order.sold_at >= STARTED for order in told(by_schedule(beside)))


def test_schedules_of_two_marketplaces_tell_each_its_own_orders():
    """A seller in two countries may drain them apart."""
    account = live(SELLERS[1], backlog=0, until=timedelta(0), orders_per_minute=3)
    account.sp.schedules.clear()
    period = timedelta(hours=1)
    for marketplace_id in (DE, FR):
        account.sp.schedule(
            SHIPPING, "PT1H", period, STARTED + period, covered_until=STARTED, marketplace_ids=(marketplace_id,)
        )
    account.catch_up(STARTED + timedelta(hours=2))
    for marketplace_id, country in ((DE, "DE"), (FR, "FR")):
        reports = [report for report in by_schedule(account) if report.marketplace_ids == (marketplace_id,)]
        assert {order.marketplace.country for order in told(reports)} == {country}


def test_a_requested_report_tells_its_window_as_it_is_when_it_is_made():
    """Whoever told it before, and in the form of now."""
    account = live(backlog=10, until=timedelta(0))
    report = account.sp.request(SHIPPING, STARTED - timedelta(hours=2), STARTED, STARTED, marketplace_ids=(US,))
    assert report.status(STARTED) == "IN_QUEUE"
    account.catch_up(STARTED + timedelta(minutes=1))
    assert report.status(STARTED + timedelta(minutes=1)) == "DONE"
    expected = [o.serial for o in account.orders.values() if STARTED - timedelta(hours=2) <= o.sold_at < STARTED]
    assert [order.serial for order in told([report])] == expected


def test_a_cancelled_report_has_no_document_even_if_it_would_have_had_a_reason():
    """Fated to fail, it was cancelled first."""
    account = live(until=timedelta(0))
    report = account.sp.request(
        SHIPPING, STARTED - timedelta(hours=2), STARTED, STARTED, marketplace_ids=(US,), fault="fatal_with_reason"
    )
    document_id = report.document.document_id
    account.sp.cancel(report, STARTED)
    later = STARTED + timedelta(minutes=5)
    account.catch_up(later)
    assert (report.status(later), account.sp.find_document(document_id, later)) == ("CANCELLED", None)


def test_ids_look_like_the_recorded_ones():
    """Twelve digits, and a document id full of dots."""
    account = live()
    assert all(len(report_id) == 12 and report_id.isdecimal() for report_id in account.sp.reports)
    document = next(report.document for report in account.sp.reports.values() if report.document)
    assert document.document_id.startswith("amzn1.spdoc.1.4.na.")
    assert document.document_id.endswith(".5900")


def test_types_and_periods_are_those_of_the_model():
    """Eighteen periods; a pair of rivals for each of the three suffixes."""
    assert len(PERIODS) == 18
    assert rivals("GET_ORDER_REPORT_DATA_TAX") == {"GET_FLAT_FILE_ORDER_REPORT_DATA_TAX"}
    assert rivals("GET_FLAT_FILE_ALL_ORDERS_DATA_BY_ORDER_DATE_GENERAL") == set()
    assert all(SP_REPORT_TYPES[name].restricted for name in SP_REPORT_TYPES if "_ORDER_REPORT_DATA_" in name)


def test_what_a_schedule_was_fated_not_to_tell_no_later_one_tells():
    """FATAL, CANCELLED and FATAL with a reason, by schedule; a requested report of that window tells it."""
    account = live(backlog=0, until=timedelta(0), orders_per_minute=0)
    (schedule,) = account.sp.schedules.values()
    fates = ["fatal", "cancelled", "fatal_with_reason", None]
    account.sp.draw_fault = lambda: fates.pop(0) if fates else None
    moment = schedule.due
    for _ in range(4):
        account.catch_up(moment - timedelta(minutes=1))
        account.sell(moment - timedelta(minutes=1))
        account.catch_up(moment + timedelta(minutes=1))
        moment += schedule.period
    fatal, cancelled, reasoned, done = by_schedule(account)[:4]
    statuses = [report.status(moment) for report in (fatal, cancelled, reasoned, done)]
    assert statuses == ["FATAL", "CANCELLED", "FATAL", "DONE"]
    assert (fatal.document, cancelled.document) == (None, None)
    assert b"errorDetails" in reasoned.document.file.render()
    assert [order.serial for order in told([done])] == [4]
    report = account.sp.request(SHIPPING, fatal.start, reasoned.end, moment, marketplace_ids=(US,))
    account.catch_up(moment + timedelta(minutes=2))
    assert [order.serial for order in told([report])] == [1, 2, 3]
