"""Faults: repeatable, bounded, exactly as ordered, and refused in one line when they make no sense."""

from __future__ import annotations

from collections import Counter

import pytest

from emulator.faults import DEFAULT, Faults


def drawn(faults, *, reports=60, tries=12):
    """What befalls a client that fetches each report until it comes unharmed."""
    befallen = []
    for number in range(reports):
        for _ in range(tries):
            fault = faults.draw("acme", "GetReport", str(number))
            befallen.append(fault)
            if fault is None:
                break
    return befallen


def with_rates(rates, seed=1):
    faults = Faults(seed)
    faults.load({"rates": rates})
    return faults


def test_by_chance_nothing_fails_more_than_twice_in_a_row():
    """A run with faults must end."""
    befallen = drawn(with_rates({"wrong_md5": 0.5, "internal_error": 0.49}))
    for start in range(len(befallen) - 2):
        assert None in befallen[start : start + 3]


def test_the_default_shows_most_kinds_in_sixty_reports_and_lets_most_calls_through():
    """A demo that meets no fault proves little; one that meets nothing else proves nothing."""
    counts: Counter[str | None] = Counter()
    for seed in range(1, 21):
        faults = Faults(seed)
        faults.load(DEFAULT)
        befallen = drawn(faults)
        counts.update(befallen)
        assert len(set(befallen) - {None}) >= 4
    assert len(counts) == 10  # all kinds that can befall GetReport but the hour's, and none
    assert 0.7 < counts[None] / counts.total() < 0.9
    assert faults.stall_seconds == 2


def test_the_seed_decides_and_accounts_do_not_disturb_each_other():
    """The same calls meet the same faults, whatever another account does meanwhile."""
    rates = {"wrong_md5": 0.2, "html": 0.2}
    alone, beside = with_rates(rates), with_rates(rates)
    expected = drawn(alone)
    beside.draw("bravo", "GetReport", "1")
    assert drawn(beside) == expected
    assert drawn(with_rates(rates, seed=2)) != expected


def test_an_ordered_fault_befalls_just_the_next_calls():
    """Of that operation, and of that account if one was named."""
    faults = Faults(1)
    faults.order("GetReport", "wrong_md5", 2, "acme")
    assert faults.draw("bravo", "GetReport", "1") is None
    assert faults.draw("acme", "GetReportList", "") is None
    assert [faults.draw("acme", "GetReport", "1") for _ in range(3)] == ["wrong_md5", "wrong_md5", None]


def test_clearing_ends_rates_and_orders():
    """After a scenario the next one begins on calm water."""
    faults = with_rates({"html": 1.0})
    faults.order("GetReport", "cut_body", 5, None)
    faults.clear()
    assert faults.draw("acme", "GetReport", "1") is None


@pytest.mark.parametrize(
    "settings",
    [
        {"rates": {"no_such_kind": 0.1}},
        {"rates": {"html": 2}},
        {"rates": {"GetNothing": {"html": 0.1}}},
        {"rates": {"schedule": {"html": 0.1}}},
        {"stall": 3},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings):
    """A misspelt fault would make a test pass that tests nothing."""
    with pytest.raises(ValueError, match=r"no_such_kind|html|GetNothing|stall"):
        Faults(1).load(settings)


def test_a_fault_that_cannot_befall_an_operation_is_refused():
    """A listing has no Content-MD5, and a report schedule is no call: nobody waits for its answer."""
    for operation, fault in (("GetReportList", "wrong_md5"), ("schedule", "no_answer")):
        with pytest.raises(ValueError, match=fault):
            Faults(1).order(operation, fault, 1, None)
