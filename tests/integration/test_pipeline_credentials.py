"""Credentials that Amazon refuses: what cannot work pauses alone, and goes on where it stood once it is mended."""

from __future__ import annotations

from orderdrain.declarations import declare
from tests.building import ORDERS


def redeclare(drain, account, *, seller_id=None, application=None):
    """The account as the emulator has it, but for what is given."""
    told = drain.emulator.account(account)
    keys = {
        "application": application or f"emulator-{account}",
        "seller_id": seller_id or told["seller_id"],
        "endpoint": drain.emulator.url,
        "marketplaces": told["marketplaces"],
        "report_types": {ORDERS: "_15_MINUTES_"},
        "list_every_minutes": 5,
    }
    declare(drain.s, account, keys, token=None)


def paused(drain):
    return {row.account: row.paused_reason for row in drain.s.accounts.table() if row.paused_at}


def entered(drain):
    return drain.s.db.query(
        "SELECT count(*) AS all, count(DISTINCT report_id) AS different FROM report_history WHERE event = 'entered'"
    )[0]


def test_a_refused_seller_pauses_alone_and_resumes_where_it_stood(drain):
    """A seller revokes our access: the others must not notice, and when it is back no report is entered anew."""
    for account in ("acme", "bravo", "cedar"):
        drain.amazon("reports", account=account, count=2)
    drain.run(until=lambda: drain.states("bravo").get("acknowledged") == 1)
    redeclare(drain, "bravo", seller_id="A0NOBODY")

    drain.run()

    assert paused(drain).keys() == {"bravo"}
    assert "AccessDenied" in paused(drain)["bravo"]
    assert drain.states("acme") == drain.states("cedar") == {"acknowledged": 2}
    refused = [call for call in drain.calls() if call["code"] == "AccessDenied"]
    assert len(refused) <= 3
    drain.pass_time(hours=2)
    assert len([call for call in drain.calls() if call["code"] == "AccessDenied"]) == len(refused)

    redeclare(drain, "bravo")
    drain.s.accounts.resume("bravo")
    before = len(drain.calls("GetReportList", account="bravo"))
    drain.tick()
    drain.run_messages()
    assert len(drain.calls("GetReportList", account="bravo")) == before + 1, "listed at once"
    drain.run()
    assert drain.states() == {"acknowledged": 6}
    assert [row.attempts for row in drain.s.db.query("SELECT attempts FROM reports")] == [0] * 6
    assert entered(drain).all == entered(drain).different == 6
    drain.assert_judged()


def test_an_applications_bad_key_pauses_all_its_accounts_as_one_thing(drain):
    """A developer's key is one fault: ten thousand alerts for it would hide the next one."""
    for account in ("acme", "bravo", "cedar"):
        drain.amazon("reports", account=account)
    told = drain.emulator.account("bravo")
    drain.s.accounts.add_application("shared", key_id=told["access_key"], secret="not the right one")
    for account in ("bravo", "cedar"):
        redeclare(drain, account, application="shared")

    drain.run()

    assert paused(drain).keys() == {"bravo", "cedar"}
    assert drain.states() == {"acknowledged": 1}
    alerts = [log for log in drain.logs if log["event"] == "paused"]
    assert [(log["scope"], log["log_level"]) for log in alerts] == [("application", "error")]
    assert "not the right one" not in str(drain.logs) + str(drain.said)

    drain.s.accounts.add_application("shared", key_id=told["access_key"], secret=told["secret_key"])
    redeclare(drain, "cedar")
    drain.run()
    assert paused(drain) == {}
    assert drain.states() == {"acknowledged": 3}
    drain.assert_judged()
