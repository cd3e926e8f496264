"""Reports of the emulated SP-API: found, asked for, made and cancelled."""

from __future__ import annotations

from datetime import timedelta

from tests.raw_sp_api import DE, FR, GENERAL, SHIPPING, US, Client, advance, many, now, truth


def test_a_listing_gives_full_pages_and_next_token_alone(acme):
    """Newest first, none twice; the token needs escaping, belongs to one seller, and stands beside no other parameter."""
    first = acme.reports(pageSize=7)
    token = first.json["nextToken"]
    assert {"+", "/", "="} <= set(token)
    second = acme.reports(nextToken=token)
    found = first.json["reports"] + second.json["reports"]
    assert [len(page.json["reports"]) for page in (first, second)] == [7, 5]
    assert "nextToken" not in second.json
    assert len({report["reportId"] for report in found}) == 12
    assert [report["createdTime"] for report in found] == sorted((r["createdTime"] for r in found), reverse=True)
    for beside in ({"pageSize": 7}, {"reportTypes": SHIPPING}):
        assert acme.reports(nextToken=token, **beside).code == "InvalidInput"
    assert acme.reports(nextToken=token, MarketplaceIds=US).status == 200  # what Amazon does not know, it ignores
    assert Client(acme.emulator, "bravo").reports(nextToken=token).code == "InvalidInput"
    advance(acme.emulator, minutes=15)
    assert acme.reports(nextToken=token).code == "InvalidInput"


def test_the_record_shows_which_listing_a_page_belongs_to_and_by_what_it_was_asked_for(emulator, acme):
    """Two listings of one seller at once must be told from one that has two pages."""
    acme.reports(nextToken=acme.reports(pageSize=7).json["nextToken"])
    first, second = emulator.calls("getReports")
    assert (first["parameters"], second["parameters"]) == (["pageSize", "reportTypes"], ["nextToken"])
    assert first["token_given"] == second["token_used"] is not None
    assert second["token_given"] is None


def test_each_filter_of_a_listing_filters(emulator, acme):
    """Types, statuses, marketplaces, creation; lists are separated by commas, plain or escaped."""
    many(emulator, "getReports")
    add = lambda **body: emulator.post("/_emulator/reports", {"account": "acme", "api": "sp-api"} | body)  # noqa: E731
    (failed,) = add(status="FATAL")["report_ids"]
    (general,) = add(report_type=GENERAL, body_base64="", requested=True)["report_ids"]
    ids = lambda **query: [report["reportId"] for report in acme.reports(pageSize=100, **query).json["reports"]]  # noqa: E731
    assert len(ids()) == 13
    assert len(ids(reportTypes=[SHIPPING, GENERAL])) == 14
    assert ids(reportTypes=GENERAL) == [general]
    assert ids(processingStatuses=["FATAL", "CANCELLED"]) == [failed]
    assert acme.call("GET", f"/reports/2021-06-30/reports?reportTypes={SHIPPING},{GENERAL}&pageSize=100").status == 200
    assert (len(ids(marketplaceIds=US)), ids(marketplaceIds=DE)) == (13, [])
    ten = sorted(report["createdTime"] for report in acme.reports(pageSize=100).json["reports"])[2:]
    assert len(ids(createdSince=ten[0])) == 11
    assert len(ids(createdUntil=ten[0])) == 3
    for wrong in (
        {"reportTypes": ""},
        {"reportTypes": [f"T{n}" for n in range(11)]},
        {"processingStatuses": "_DONE_"},
        {"pageSize": 0},
        {"pageSize": 101},
        {"createdSince": "yesterday"},
        {"createdSince": "2026-05-02T00:00:00Z", "createdUntil": "2026-05-01T00:00:00Z"},
    ):
        assert (acme.reports(**wrong).status, acme.reports(**wrong).code) == (400, "InvalidInput")


def test_a_report_older_than_ninety_days_is_gone(emulator, acme):
    """Retention, by the API's reference."""
    emulator.post("/_emulator/stop-selling", {})
    report = acme.newest()
    advance(emulator, days=91)
    acme.forget()
    assert all(other["reportId"] != report["reportId"] for other in acme.reports(pageSize=100).json["reports"])
    assert acme.report(report["reportId"]).status == 404
    assert acme.document(report["reportDocumentId"]).status == 404


def test_what_is_created_while_somebody_pages_is_for_the_next_listing(emulator, acme):
    """Else it would push the others back, and one would be listed twice."""
    everything = [report["reportId"] for report in acme.reports(pageSize=100).json["reports"]]
    page = acme.reports(pageSize=5)
    (new,) = emulator.post("/_emulator/reports", {"account": "acme", "api": "sp-api"})["report_ids"]
    rest = acme.reports(nextToken=page.json["nextToken"])
    assert [report["reportId"] for report in rest.json["reports"]] == everything[5:10]
    assert acme.reports().json["reports"][0]["reportId"] == new


# --- asking ----------------------------------------------------------------------------------------------------------


def test_a_created_report_waits_is_worked_on_and_done_within_a_minute(emulator, acme):
    """202 at once; what is not known yet is absent."""
    start = now(emulator) - timedelta(hours=2)
    made = acme.create(dataStartTime=start.isoformat(), dataEndTime=now(emulator).isoformat())
    assert made.status == 202
    report_id = made.json["reportId"]
    seen, last = [], {}
    for _ in range(60):
        last = acme.report(report_id).json
        seen += [last["processingStatus"]] if last["processingStatus"] not in seen[-1:] else []
        assert ("reportDocumentId" in last) == (last["processingStatus"] == "DONE")
        advance(emulator, seconds=1)
    assert seen == ["IN_QUEUE", "IN_PROGRESS", "DONE"]
    assert last["dataStartTime"] == start.strftime("%Y-%m-%dT%H:%M:%S+00:00")
    assert last["createdTime"] < last["processingStartTime"] < last["processingEndTime"]
    assert "reportScheduleId" not in last


def test_nothing_to_tell_ends_cancelled(emulator, acme):
    """What MWS called done without data. Without dates the window is now and nothing (SP-API model)."""
    report_id = acme.create().json["reportId"]
    advance(emulator, minutes=1)
    report = acme.report(report_id).json
    assert (report["processingStatus"], "reportDocumentId" in report) == ("CANCELLED", False)


def test_only_what_waits_can_be_cancelled(acme):
    """Then it makes no document; what is under way or done goes on."""
    start = (now(acme.emulator) - timedelta(hours=2)).isoformat()
    report_id = acme.create(dataStartTime=start).json["reportId"]
    cancel = lambda: acme.call("DELETE", f"/reports/2021-06-30/reports/{report_id}", {})  # noqa: E731
    assert (cancel().status, cancel().code) == (200, "InvalidInput")
    advance(acme.emulator, minutes=1)
    assert acme.report(report_id).json["processingStatus"] == "CANCELLED"
    assert acme.call("DELETE", f"/reports/2021-06-30/reports/{acme.newest()['reportId']}").code == "InvalidInput"
    assert acme.call("DELETE", "/reports/2021-06-30/reports/1").status == 404


def test_what_the_model_does_not_allow_is_invalid(emulator, acme):
    """A client with a mistake hears of it, and nothing is asked for."""
    many(emulator, "createReport")
    later = (now(emulator) + timedelta(hours=1)).isoformat()
    for wrong in (
        {"reportType": "_GET_FLAT_FILE_ORDERS_DATA_"},
        {"reportType": "GET_ORDER_REPORT_DATA_SHIPPING"},  # only by schedule
        {"reportType": "GET_PENDING_ORDERS_DATA"},  # only in Japan
        {"marketplaceIds": []},
        {"marketplaceIds": [DE]},
        {"marketplaceIds": US},
        {"dataEndTime": later},
        {"dataStartTime": "yesterday"},
        {"reportOptions": {"ShowSalesChannel": True}},
    ):
        answer = acme.create(**wrong)
        assert (answer.status, answer.code) == (400, "InvalidInput"), wrong
    for body in ("{", "[]"):
        assert acme.call("POST", "/reports/2021-06-30/reports", body).code == "InvalidInput"
    assert len(acme.reports(pageSize=100).json["reports"]) == 12


def test_a_report_of_one_marketplace_tells_that_alone(emulator):
    """A seller in two countries may ask for one of them, and for a column that names it."""
    bravo = Client(emulator, "bravo")
    start = (now(emulator) - timedelta(hours=3)).isoformat()
    report_id = bravo.create(dataStartTime=start, marketplaceIds=[FR], reportOptions={"ShowSalesChannel": "true"}).json[
        "reportId"
    ]
    advance(emulator, minutes=1)
    report = bravo.report(report_id).json
    assert report["marketplaceIds"] == [FR]
    bravo.document(report["reportDocumentId"])
    told = [line for line in truth(emulator) if line["account"] == "bravo"]
    cells = [line["cells"] for line in told if line["report_id"] == report_id]
    assert {line["sales-channel"] for line in cells} == {"Amazon.fr"}
