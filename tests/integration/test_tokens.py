"""One access token a connection, shared by all workers: refreshed by one, and told to nobody."""

from __future__ import annotations

from datetime import timedelta

import pytest

from orderdrain.amazon.http import Http
from orderdrain.errors import Snooze
from orderdrain.tokens import REFRESHED_AHEAD, AccessTokens
from tests.building import at_once
from tests.drain import draining_quiet_sellers


@pytest.fixture
def drain(database_url, redis_url, tmp_path):
    """The path of a report for acme at SP-API, and others at MWS."""
    with draining_quiet_sellers(database_url, redis_url, tmp_path, sp_api_sellers="acme") as running:
        yield running


def tokens(drain):
    s = drain.s
    connection = s.accounts.connection("acme", "sp-api")
    return AccessTokens(connection, database=s.db, vault=s.vault, locks=s.locks, http=Http(), clock=s.clock)


def test_a_token_is_asked_for_once_and_used_until_shortly_before_its_end(drain):
    """Each refresh is a call to a service that is not ours to load."""
    first = tokens(drain).access_token()
    assert tokens(drain).access_token() == first
    assert len(drain.calls("LWA")) == 1

    drain.advance(seconds=3600 - REFRESHED_AHEAD.total_seconds() + 1)

    assert tokens(drain).access_token() != first
    assert len(drain.calls("LWA")) == 2


def test_one_that_amazon_refused_is_replaced_once(drain):
    """The second worker that was refused with it finds the newer one."""
    old = tokens(drain).access_token()
    newer = tokens(drain).access_token(instead_of=old)

    assert newer != old
    assert tokens(drain).access_token(instead_of=old) == newer
    assert len(drain.calls("LWA")) == 2


def test_workers_that_need_it_at_once_refresh_it_once(drain):
    """A fleet that wakes up together must not ask a hundred times."""

    def wanted():
        try:
            return tokens(drain).access_token()
        except Snooze:
            return None

    given = {token for token in at_once(*[wanted] * 4) if token}

    assert len(given) == 1
    assert len(drain.calls("LWA")) == 1


def test_while_another_refreshes_the_old_one_is_used_to_its_end(drain):
    """Waiting for a colleague while holding what works would be waiting for nothing."""
    old = tokens(drain).access_token()
    drain.advance(seconds=3600 - 60)
    lock = drain.s.locks.login("acme", "sp-api")
    assert lock.acquire()

    assert tokens(drain).access_token() == old
    drain.s.clock.advance(timedelta(minutes=2))
    with pytest.raises(Snooze, match="refreshed by another worker"):
        tokens(drain).access_token()
    lock.release()


def test_a_newer_token_that_quota_kept_from_being_tried_is_remembered_for_its_operation(drain):
    """The next worker must know that it is not one that has ended; what another operation refuses is another matter."""
    old, new, newer = "Atza|1", "Atza|2", "Atza|3"
    assert not tokens(drain).was_renewed("getReports", refused=old, renewed=new)
    assert not tokens(drain).was_renewed("getReport", refused=new, renewed=newer)
    assert tokens(drain).was_renewed("getReport", refused=newer, renewed=old)
    stored = str(drain.s.db.query("SELECT renewed_for FROM connections"))
    assert not [token for token in (old, new, newer) if token in stored]


def test_a_token_that_worked_is_no_longer_remembered(drain):
    """When it is refused an hour later it has ended, and no role is lacking."""
    new = tokens(drain).access_token()
    assert not tokens(drain).was_renewed("getReport", refused="Atza|0", renewed=new)
    worker = tokens(drain)
    assert worker.access_token() == new
    worker.worked("getReports", new)
    assert drain.s.db.query("SELECT 1 FROM connections WHERE renewed_for IS NOT NULL"), "another operation says nothing"
    worker.worked("getReport", new)
    assert not tokens(drain).was_renewed("getReport", refused=new, renewed="Atza|2")


def test_a_token_that_comes_when_the_account_was_declared_anew_is_kept_for_nobody(drain):
    """It may be another seller by now, and would be asked for with the token of the one before."""
    late = tokens(drain)
    declared = drain.s.accounts.connection("acme", "sp-api")
    drain.s.accounts.add(
        declared.account,
        api="sp-api",
        application=declared.application,
        endpoint=declared.endpoint,
        token=declared.token,
        login_url=declared.login_url,
        list_every=timedelta(minutes=5),
    )

    assert tokens(drain).access_token() != late.access_token(instead_of=tokens(drain).access_token())
    assert len(drain.calls("LWA")) == 2
    assert tokens(drain).access_token() != late.access_token(instead_of=tokens(drain).access_token())
    assert len(drain.calls("LWA")) == 3, "what the late one got was not stored"
