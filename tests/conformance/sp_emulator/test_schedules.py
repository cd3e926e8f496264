"""Schedules of the emulated SP-API, and the one seller behind both APIs."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

from tests.emulator_process import Emulator
from tests.raw_sp_api import DE, FR, GENERAL, US, Client, advance, now, truth


def test_a_schedule_makes_a_report_of_each_interval_and_only_of_it(emulator, acme):
    """Intervals meet; whoever misses one report misses its orders, for no later scheduled one tells them."""
    (schedule,) = acme.schedules()
    assert (schedule["period"], schedule["marketplaceIds"]) == ("PT15M", [US])
    advance(emulator, hours=2)
    acme.forget()
    reports = [r for r in acme.reports(pageSize=100).json["reports"] if "reportScheduleId" in r]
    assert {report["reportScheduleId"] for report in reports} == {schedule["reportScheduleId"]}
    reports.reverse()
    assert len(reports) >= 17
    assert all(a["dataEndTime"] == b["dataStartTime"] for a, b in pairwise(reports))
    assert all(report["createdTime"] == report["dataEndTime"] for report in reports)


def test_an_interval_without_orders_makes_a_cancelled_report():
    """Silence is an answer here: there is a report that says so, and no document."""
    with Emulator.start(backlog=0, orders_per_minute=0, speed=0.001, sp_api_sellers="acme") as emulator:
        acme = Client(emulator, "acme")
        advance(emulator, hours=1)
        reports = acme.reports().json["reports"]
        assert [report["processingStatus"] for report in reports] == ["CANCELLED"] * 4
        assert not any("reportDocumentId" in report for report in reports)


def test_the_same_type_and_marketplaces_replace_a_schedule(emulator):
    """Without a hole: the new one's first interval begins where the old one's last ended."""
    bravo = Client(emulator, "bravo")
    (old,) = bravo.schedules()
    made = bravo.schedule(marketplaceIds=[FR, DE], period="PT5M")
    assert made.status == 201
    (new,) = bravo.schedules()
    assert new["reportScheduleId"] == made.json["reportScheduleId"] != old["reportScheduleId"]
    assert bravo.call("GET", f"/reports/2021-06-30/schedules/{old['reportScheduleId']}").status == 404
    bravo.schedule(marketplaceIds=[DE], period="P1D")
    assert sorted(schedule["period"] for schedule in bravo.schedules()) == ["P1D", "PT5M"]
    assert bravo.call("DELETE", f"/reports/2021-06-30/schedules/{new['reportScheduleId']}", {}).json == {}
    assert [schedule["period"] for schedule in bravo.schedules()] == ["P1D"]
    advance(emulator, minutes=1)
    told = [r for r in bravo.reports(pageSize=100).json["reports"] if "reportScheduleId" in r]
    (first,) = (r for r in told if r["reportScheduleId"] == new["reportScheduleId"])
    (last, *_) = (r for r in told if r["reportScheduleId"] == old["reportScheduleId"])
    assert first["dataStartTime"] == last["dataEndTime"]


def test_the_xml_schedule_silently_ends_the_flat_files(acme):
    """Of both with the same suffix only one may be scheduled."""
    assert acme.schedule(reportType="GET_ORDER_REPORT_DATA_TAX").status == 201
    assert len(acme.schedules()) == 1
    assert acme.schedule(reportType="GET_ORDER_REPORT_DATA_SHIPPING").status == 201
    assert acme.schedules() == []
    for wrong in (
        {"period": "_15_MINUTES_"},
        {"period": ["PT5M"]},
        {"reportType": GENERAL},
        {"nextReportCreationTime": "2099-01-01T00:00Z"},
    ):
        assert acme.schedule(**wrong).code == "InvalidInput"
    assert acme.call("GET", "/reports/2021-06-30/schedules").code == "InvalidInput"


# --- one seller, two APIs --------------------------------------------------------------------------------------------


def test_the_two_apis_tell_the_same_orders_in_reports_of_their_own(emulator):
    """Each told line says by which; a report of one is unknown to the other, though it is the same seller's."""
    emulator.post("/_emulator/stop-selling", {})
    line = {"order_id": "111-0000001-0000001", "lines": [{"sku": "A"}]}
    emulator.post("/_emulator/orders", {"account": "acme", "orders": [line]})
    named = {"account": "acme", "order_ids": ["111-0000001-0000001"]}
    told = lambda: next(line for line in truth(emulator) if line["order_id"] == "111-0000001-0000001")  # noqa: E731
    (old,) = emulator.post("/_emulator/reports", named)["report_ids"]
    assert (told()["api"], told()["report_id"]) == ("mws", old)
    advance(emulator, seconds=5)
    (new,) = emulator.post("/_emulator/reports", named | {"api": "sp-api"})["report_ids"]
    assert (told()["api"], told()["report_id"]) == ("sp-api", new)
    acme = Client(emulator, "acme")
    assert acme.report(old).status == 404
    assert acme.report(new).json["processingStatus"] == "DONE"
    reports = {(r["api"], r["report_id"]) for r in emulator.get("/_emulator/truth")["told_reports"]}
    assert {("mws", old), ("sp-api", new)} <= reports


def test_an_mws_seller_begins_at_sp_api_with_nothing_and_may_move_there():
    """One that moves gets a second connection: same orders, other reports."""
    with Emulator.start(backlog=4, orders_per_minute=6, speed=0.001) as emulator:
        emulator.accounts = emulator.get("/_emulator/accounts?keys=all")
        acme = Client(emulator, "acme")
        assert (acme.reports().json["reports"], acme.schedules()) == ([], [])
        acme.schedule(period="PT5M", nextReportCreationTime=(now(emulator) + timedelta(minutes=5)).isoformat())
        advance(emulator, minutes=6)
        (report,) = acme.reports().json["reports"]
        assert report["processingStatus"] == "DONE"
        apis = {line["api"] for line in truth(emulator) if line["account"] == "acme"}
        assert apis == {"mws", "sp-api"}
