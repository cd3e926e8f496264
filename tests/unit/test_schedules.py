"""Report schedules: what may be declared, what may be requested, and what Amazon's side must change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from orderdrain.amazon import ScheduleInfo
from orderdrain.errors import UsageError
from orderdrain.families import REPORT_TYPES, api_of
from orderdrain.schedules import INTERVALS, Change, check_declaration, check_request, compare

FLAT = "_GET_FLAT_FILE_ORDERS_DATA_"
CONVERGED = "_GET_CONVERGED_FLAT_FILE_ORDER_REPORT_DATA_"
XML = "_GET_ORDERS_DATA_"
SHIPPING = "GET_FLAT_FILE_ORDER_REPORT_DATA_SHIPPING"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def test_what_is_declared_and_what_amazon_has_agree_on_nothing_to_do():
    """The daily comparison changes nothing when nothing changed."""
    assert compare({FLAT: "_15_MINUTES_"}, [ScheduleInfo(FLAT, "_15_MINUTES_")]) == []
    assert compare({FLAT: "_NEVER_"}, []) == []


def test_only_what_differs_is_changed():
    """A missing schedule is made, another interval is set, `_NEVER_` removes."""
    at_amazon = [ScheduleInfo(FLAT, "_30_MINUTES_")]

    assert compare({FLAT: "_15_MINUTES_"}, []) == [Change(FLAT, "_NEVER_", "_15_MINUTES_")]
    assert compare({FLAT: "_15_MINUTES_"}, at_amazon) == [Change(FLAT, "_30_MINUTES_", "_15_MINUTES_")]
    assert compare({FLAT: "_NEVER_"}, at_amazon) == [Change(FLAT, "_30_MINUTES_", "_NEVER_")]


def test_what_was_not_declared_is_never_touched():
    """The seller's other programs live on their schedules."""
    others = [ScheduleInfo("_GET_MERCHANT_LISTINGS_DATA_", "_1_DAY_"), ScheduleInfo("_GET_SOMETHING_NEW_", "_1_WEEK_")]
    assert compare({FLAT: "_15_MINUTES_"}, [*others, ScheduleInfo(FLAT, "_15_MINUTES_")]) == []


@pytest.mark.parametrize("twin", [XML, CONVERGED])
def test_a_change_that_would_cancel_anothers_schedule_is_blocked(twin):
    """Amazon keeps one of two, and drops the other without a word: it may be all that another program has."""
    (change,) = compare({FLAT: "_15_MINUTES_"}, [ScheduleInfo(twin, "_1_HOUR_")])

    assert twin in change.blocked
    assert str(change) == f"{FLAT} _NEVER_ > _15_MINUTES_ (not changed: {change.blocked})"


def test_a_schedule_for_other_marketplaces_is_not_the_declared_one():
    """SP-API keeps both, each for its marketplaces: the other one neither stands for ours nor is it in the way."""
    others = ScheduleInfo(SHIPPING, "PT5M", ours=False)
    assert compare({SHIPPING: "PT15M"}, [others]) == [Change(SHIPPING, "_NEVER_", "PT15M")]
    assert compare({SHIPPING: "PT15M"}, [ScheduleInfo(SHIPPING, "PT15M"), others]) == []
    assert compare({SHIPPING: "_NEVER_"}, [others]) == []
    (change,) = compare({SHIPPING: "PT15M"}, [ScheduleInfo("GET_ORDER_REPORT_DATA_SHIPPING", "PT1H", ours=False)])
    assert change.blocked, "whether Amazon would cancel the twin of other marketplaces, nobody says"


def test_removing_a_schedule_cancels_nobody_elses():
    """Only asking for one of two does."""
    (change,) = compare({FLAT: "_NEVER_"}, [ScheduleInfo(FLAT, "_1_HOUR_"), ScheduleInfo(XML, "_1_HOUR_")])
    assert change.blocked is None


def test_one_of_two_may_be_declared():
    """Both would take turns at cancelling each other."""
    with pytest.raises(UsageError, match=f"{CONVERGED} cannot both be scheduled|{FLAT} cannot both be scheduled"):
        check_declaration({FLAT: "_15_MINUTES_", CONVERGED: "_15_MINUTES_"}, "mws")

    check_declaration({FLAT: "_15_MINUTES_", CONVERGED: "_NEVER_"}, "mws")


@pytest.mark.parametrize(
    ("report_types", "said"),
    [
        ({}, "at least one report type, such as _GET_FLAT_FILE_ORDERS_DATA_"),
        ({"_GET_MERCHANT_LISTINGS_DATA_": "_1_DAY_"}, f"no report type that this version drains. It drains: .*{FLAT}"),
        ({"GET_FLAT_FILE_ORDER_REPORT_DATA_SHIPPING": "PT15M"}, "is a report type of sp-api"),
        ({"_GET_FLAT_FILE_ALL_ORDERS_DATA_BY_LAST_UPDATE_": "_1_DAY_"}, "on request only. Declare .*=_NEVER_"),
        ({FLAT: "15 minutes"}, "15 minutes is no interval of Amazon's .* _15_MINUTES_"),
    ],
)
def test_what_cannot_be_drained_is_refused_with_what_can(report_types, said):
    """At the declaration, not as a report that nothing can read."""
    with pytest.raises(UsageError, match=said):
        check_declaration(report_types, "mws")


def test_every_interval_can_be_declared():
    """They are Amazon's words, taken as they are."""
    for api, report_type in (("mws", FLAT), ("sp-api", "GET_FLAT_FILE_ORDER_REPORT_DATA_SHIPPING")):
        for every in INTERVALS[api]:
            check_declaration({report_type: every}, api)


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        (NOW - timedelta(days=1), None, "both --from and --to"),
        (None, NOW, "both --from and --to"),
        (NOW, NOW - timedelta(days=1), "must begin before it ends"),
        (NOW - timedelta(days=1), NOW - timedelta(days=1), "must begin before it ends"),
        (NOW - timedelta(days=1), NOW + timedelta(minutes=1), r"end by now \(2026-11-24T12:00:00Z\)"),
    ],
)
def test_a_window_that_amazon_would_refuse_is_refused_here(start, end, said):
    """Without a call, and with what would do."""
    with pytest.raises(UsageError, match=said):
        check_request(FLAT, start, end, NOW)


def test_a_window_or_none_may_be_requested_at_mws_and_a_window_at_sp_api():
    """Without one MWS takes its own; SP-API's is from now to now, and a report of it is always CANCELLED."""
    check_request(FLAT, NOW - timedelta(days=1), NOW, NOW)
    check_request(FLAT, None, None, NOW)
    check_request(SHIPPING, NOW - timedelta(days=1), NOW, NOW)
    with pytest.raises(UsageError, match="say --from and --to"):
        check_request(SHIPPING, None, None, NOW)


def test_a_type_that_is_not_drained_is_neither_requested_nor_declared():
    """Amazon would make it, and no table could take it; the answer lists what would do, XML among it."""
    name = "_GET_MERCHANT_LISTINGS_DATA_"
    with pytest.raises(UsageError, match=f"{name} is no report type that this version drains.*{XML}"):
        check_request(name, None, None, NOW)
    with pytest.raises(UsageError, match="no report type that this version drains"):
        check_declaration({name: "_NEVER_"}, "mws")


@pytest.mark.parametrize("report_type", REPORT_TYPES.values(), ids=lambda known: known.name)
def test_every_report_type_that_is_read_may_be_declared(report_type):
    """Each has a table; whether Amazon makes it by a schedule is its own affair."""
    check_declaration({report_type.name: "_NEVER_"}, api_of(report_type.name))


def test_twins_are_twins_of_each_other():
    """Amazon's rule has no first and second."""
    for name, known in REPORT_TYPES.items():
        for twin in known.twins:
            assert name in REPORT_TYPES[twin].twins, (name, twin)
