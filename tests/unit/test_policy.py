"""Waiting: growing, bounded, and never together."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from orderdrain.policy import FIRST_BACKOFF, FIRST_LOOK, LAST_BACKOFF, LAST_LOOK, MAX_ATTEMPTS, backoff, next_look


@settings(deadline=None)
@given(st.integers(1, 10_000))
def test_a_backoff_doubles_from_half_a_minute_up_to_an_hour(attempt):
    """Jitter only ever shortens it, and never to nothing."""
    ceiling = min(FIRST_BACKOFF * 2 ** min(attempt - 1, 30), LAST_BACKOFF)
    assert ceiling / 10 <= backoff(attempt) <= ceiling


def test_what_failed_together_is_not_tried_together():
    """A hundred workers that met the same outage would else come back as one."""
    waits = [backoff(5) for _ in range(50)]
    assert len(set(waits)) > 40
    assert max(waits) - min(waits) > FIRST_BACKOFF


def test_all_attempts_together_ride_out_an_hour_of_trouble():
    """A person is called when something does not mend itself, not because of one bad afternoon."""
    mean = sum((min(FIRST_BACKOFF * 2**n, LAST_BACKOFF) for n in range(MAX_ATTEMPTS - 1)), timedelta()) * 0.55
    assert mean > timedelta(minutes=30)


@settings(deadline=None)
@given(st.timedeltas(timedelta(0), timedelta(days=3)))
def test_a_requested_report_is_looked_after_ever_more_rarely(age):
    """Most are made in a minute; those that take ten hours must not cost a call a minute."""
    assert FIRST_LOOK <= next_look(age) <= LAST_LOOK
    assert next_look(age) <= next_look(age * 2)
