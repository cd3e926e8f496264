"""Refusals at SP-API where quota allows one call at a time: a right that is lacking is found out, and what only has
ended is not taken for one."""

from __future__ import annotations

import pytest

from tests.apis import SP_API
from tests.drain import draining_quiet_sellers


@pytest.fixture
def drain(database_url, redis_url, tmp_path):
    """A seller at SP-API, whose buckets are new: one call goes, and the next one only when quota has restored."""
    with draining_quiet_sellers(database_url, redis_url, tmp_path, sp_api_sellers="acme") as running:
        yield running


def paused(drain):
    return {row.account: row.paused_reason for row in drain.s.accounts.table() if row.paused_at}


def test_a_document_that_is_refused_each_time_pauses_the_seller(drain):
    """Each try has a document's token of its own: made anew and refused anew, it would be asked for without an end."""
    drain.amazon("reports", account="acme", api=SP_API.name)
    drain.fault("getReportDocument", "missing_role", count=1000, account="acme")

    drain.run()

    assert "lacks the role Direct-to-Consumer Shipping" in paused(drain)["acme"]
    assert len(drain.calls("getReportDocument")) <= 3


@pytest.mark.parametrize("operation", ["getReports", "getReportDocument"])
def test_tokens_that_end_now_and_then_pause_nobody(drain, operation):
    """The second one worked in between: that it has ended too says nothing of roles."""
    for ended in (True, False) * 3:
        drain.amazon("reports", account="acme", api=SP_API.name)
        drain.advance(minutes=6)
        drain.restart(flush=True)
        if ended:
            drain.fault(operation, "expired_access_token", account="acme")
        drain.run()
    # A listing that waits for its token is no trouble, and no work that is left: the next one finds what it would have.
    drain.advance(minutes=6)
    drain.run()

    assert paused(drain) == {}
    assert drain.states() == {"acknowledged": 6}
    assert len([call for call in drain.calls(operation) if call["code"] == "Unauthorized"]) == 3
