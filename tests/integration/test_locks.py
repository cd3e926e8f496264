"""Locks on a real Redis: one holder, an end by itself, and no harm when Redis forgets."""

from __future__ import annotations

import threading
import time

import pytest

from orderdrain.errors import DependencyDown
from orderdrain.locks import Locks
from orderdrain.redis_client import connect

#: Where nothing listens: port 1 needs rights that no test has.
NOWHERE = "redis://:hidden-password@127.0.0.1:1/0"


@pytest.fixture
def redis(redis_url):
    return connect(redis_url)


@pytest.fixture
def locks(redis):
    return Locks(redis, seconds=60)


def download_lock(locks):
    return locks.report("acme", "mws", "50123456789", "download")


def test_a_step_of_a_report_has_one_holder(locks):
    """Two workers that got the same message must not both download."""
    first, second = download_lock(locks), download_lock(locks)

    assert first.acquire()
    assert not second.acquire()
    assert first.release()
    assert second.acquire()


def test_other_steps_reports_and_accounts_are_free(locks):
    """A lock that is too wide would make the fleet wait for nothing."""
    assert download_lock(locks).acquire()
    assert locks.report("acme", "mws", "50123456789", "parse").acquire()
    assert locks.report("acme", "mws", "50123456780", "download").acquire()
    assert locks.report("bravo", "mws", "50123456789", "download").acquire()
    assert locks.report("acme", "sp-api", "50123456789", "download").acquire()
    assert locks.listing("acme").acquire()
    assert locks.listing("bravo").acquire()


def test_an_account_has_one_lister(locks):
    """Acknowledging takes the same lock, so that nothing is acknowledged under a listing's feet."""
    listing = locks.listing("acme")

    assert listing.acquire()
    assert not locks.listing("acme").acquire()


def test_of_many_at_once_one_gets_it(redis_url):
    """The decision is Redis's, made once, not each worker's own."""
    start, won = threading.Barrier(8), []

    def compete():
        lock = download_lock(Locks(connect(redis_url), seconds=60))
        start.wait()
        if lock.acquire():
            won.append(lock)

    threads = [threading.Thread(target=compete) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(won) == 1


def test_a_dead_holders_lock_expires_within_a_minute(locks, redis):
    """A worker that was killed releases nothing; its report must move on all the same."""
    lock = download_lock(locks)
    lock.acquire()

    assert 59_000 < redis.pttl(lock.key) <= 60_000


def test_an_expired_lock_goes_to_the_next_and_not_back(redis):
    """The first holder must learn that it is no longer alone, and must not free the lock of the second."""
    locks = Locks(redis, seconds=0.05)
    first, second = download_lock(locks), download_lock(Locks(redis, seconds=60))
    first.acquire()
    give_up = time.monotonic() + 5
    while not second.acquire():
        assert time.monotonic() < give_up

    assert not first.extend()
    assert not first.release()
    assert not download_lock(locks).acquire()
    assert second.release()


def test_a_lock_is_extended_from_another_thread(locks, redis):
    """Long work is done in one thread, its lease and lock are renewed in another."""
    lock = download_lock(locks)
    lock.acquire()
    redis.pexpire(lock.key, 5_000)
    answers = []

    renewal = threading.Thread(target=lambda: answers.append(lock.extend()))
    renewal.start()
    renewal.join()

    assert answers == [True]
    assert redis.pttl(lock.key) > 59_000
    assert lock.release()


def test_a_flushed_lock_is_taken_again_by_its_holder(locks, redis):
    """Redis may be flushed at any time: work under way goes on, and nobody joins it once the lock is extended."""
    lock = download_lock(locks)
    lock.acquire()
    redis.flushdb()

    assert lock.extend()
    assert not download_lock(locks).acquire()


def test_extending_after_the_release_takes_nothing(locks, redis):
    """A renewal that comes late must not hold a lock for nobody."""
    lock = download_lock(locks)
    lock.acquire()
    lock.release()

    assert not lock.extend()
    assert not redis.exists(lock.key)


def test_acquiring_twice_is_still_ours(locks):
    """When an answer is lost the client asks again: the lock must not keep out the one who holds it."""
    lock = download_lock(locks)

    assert lock.acquire()
    assert lock.acquire()
    assert lock.release()


def test_without_redis_no_lock_is_given():
    """The error says which Redis, for what, in one line, and keeps the password."""
    lock = download_lock(Locks(connect(NOWHERE), seconds=60))

    with pytest.raises(DependencyDown) as caught:
        lock.acquire()

    assert str(caught.value).startswith("Redis at 127.0.0.1:1/0 is needed for the lock od:lock:acme:mws:50123456789:")
    assert "hidden-password" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_release_that_redis_does_not_answer_raises_nothing(locks, redis):
    """The lock runs out by itself; the step's work is committed already."""
    lock = download_lock(locks)
    lock.acquire()
    redis.connection_pool.connection_kwargs["port"] = 1
    redis.connection_pool.reset()

    assert not lock.release()
