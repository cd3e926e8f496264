"""Trouble with tokens, roles and secrets at SP-API: what mends itself costs no attempt, what does not pauses what it
concerns, and the others of twenty accounts never notice."""

from __future__ import annotations

import pytest

from orderdrain.declarations import declare
from tests.building import DECLARED
from tests.drain import draining
from tests.emulator_process import Emulator

NAMES = [
    "acme",
    "bravo",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "harbor",
    "indigo",
    "juniper",
    "kestrel",
    "lumen",
]
NAMES += [f"seller-{number:04}" for number in range(13, 21)]
EACH = 2


@pytest.fixture
def drain(database_url, redis_url, tmp_path):
    """Twenty sellers of one application."""
    with (
        Emulator.start(orders_per_minute=0, backlog=0, sellers=20, sp_api_sellers=",".join(NAMES)) as emulator,
        draining(database_url, redis_url, tmp_path, emulator) as running,
    ):
        store(running, running.emulator.account("acme")["client_secret"])
        for name in NAMES:
            told = emulator.account(name)
            keys = {
                "api": "sp-api",
                "application": "ours",
                "seller_id": told["seller_id"],
                "endpoint": emulator.first_line["sp_api"],
                "login_url": emulator.first_line["lwa"],
                "marketplaces": told["marketplaces"],
                "report_types": DECLARED["sp-api"],
            }
            declare(running.s, name, keys, token=told["refresh_token"])
        yield running


def store(drain, secret):
    """As `orderdrain application add ours` does, while everything runs."""
    client_id = drain.emulator.account("acme")["client_id"]
    drain.s.accounts.add_application("ours", api="sp-api", key_id=client_id, secret=secret)


def make_for_all(drain):
    for name in NAMES:
        drain.amazon("reports", account=name, api="sp-api", count=EACH)


def paused(drain):
    return {row.account: row.paused_reason for row in drain.s.accounts.table() if row.paused_at}


def alerts(drain):
    return [(log["account"], log["scope"]) for log in drain.logs if log["event"] == "paused"]


def counts(drain):
    (row,) = drain.s.db.query(
        "SELECT count(*) FILTER (WHERE event = 'entered') AS entered, count(*) FILTER (WHERE event = 'failed') AS failed,"
        " max(attempt) AS attempts FROM report_history"
    )
    return row.entered, row.failed, row.attempts


def test_four_troubles_of_twenty_accounts_are_each_ones_own(drain):
    """A token and a document's token that end in mid-drain mend themselves; a role that is lacking and an authorization
    that was revoked pause one seller each, after a try or two, and it resumes where it stood."""
    make_for_all(drain)
    drain.fault("getReport", "expired_access_token", account="acme")
    drain.fault("getReportDocument", "expired_access_token", account="bravo")
    drain.fault("createRestrictedDataToken", "missing_role", count=1000, account="cedar")
    drain.fault("LWA", "invalid_grant", count=1000, account="delta")

    drain.run()

    assert paused(drain).keys() == {"cedar", "delta"}
    assert "lacks the role Direct-to-Consumer Shipping" in paused(drain)["cedar"]
    assert "let the seller authorise again" in paused(drain)["delta"]
    assert sorted(alerts(drain)) == [("cedar", "connection"), ("delta", "connection")]
    assert len(drain.calls("createRestrictedDataToken", account="cedar")) <= 2
    assert len(drain.calls("LWA", account="delta")) <= 2
    assert len(drain.calls("LWA", account="acme")) == 2
    assert EACH < len(drain.calls("createRestrictedDataToken", account="bravo")) <= 2 * EACH + 1
    assert drain.states() == {"acknowledged": EACH * 18, "listed": EACH}, "delta's are not even listed"
    assert counts(drain) == (EACH * 19, 0, 1)

    drain.amazon("faults", clear=True)
    for name in ("cedar", "delta"):
        drain.s.accounts.resume(name)
    drain.run()
    assert drain.states() == {"acknowledged": EACH * 20}
    assert counts(drain) == (EACH * 20, 0, 1)
    drain.assert_judged()


def test_a_developers_bad_secret_is_one_alert_for_all_its_accounts(drain):
    """Twenty alerts for one fault would hide the next one; and each try would be one more refusal at Amazon."""
    store(drain, "not-the-secret")
    make_for_all(drain)

    drain.run()

    assert [scope for _, scope in alerts(drain)] == ["application"]
    assert paused(drain).keys() == set(NAMES)
    assert len(drain.calls("LWA")) == 1
    assert drain.calls("getReports") == []
    assert "not-the-secret" not in str(drain.logs) + str(drain.said)


def test_a_secret_is_rotated_while_everything_runs(drain):
    """It ends after 180 days: the new one is stored, and nobody restarts a worker."""
    make_for_all(drain)
    drain.run()
    drain.amazon("client-secret", client_secret="amzn1.oa2-cs.v1.new")
    drain.advance(hours=2)
    make_for_all(drain)
    drain.run()
    assert [scope for _, scope in alerts(drain)] == ["application"]
    assert drain.states() == {"acknowledged": EACH * 20}

    store(drain, "amzn1.oa2-cs.v1.new")
    drain.pass_time(hours=0.5, every_minutes=10)
    drain.run()

    assert paused(drain) == {}
    assert drain.states() == {"acknowledged": EACH * 40}
    assert counts(drain) == (EACH * 40, 0, 1)
    drain.assert_judged()
