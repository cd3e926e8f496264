"""`make bench` in short: every figure of ours is found, and only where the rows are those that the reports tell."""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import replace

import pytest

from benchmarks import against, rows
from benchmarks.bench import PARTS, measured
from benchmarks.figures import FIGURES, Figure, table
from benchmarks.large import Phase, in_rounds
from benchmarks.made import Made
from benchmarks.options import Options
from benchmarks.peers import environments
from benchmarks.peers.environments import PEERS
from benchmarks.rows import Differ
from benchmarks.stage import Stage, Waiting
from orderdrain.families import ALL_ORDERS

SHORT = Options(rows=400, rounds=1, table_rows=2_000, small_reports=3, shared_runs=2)
#: These need what is not installed for tests, or a stack of their own.
LEFT_OUT = {"peers", "engine"}


@pytest.fixture
def stage(postgres_server, redis_url, stack_folder):
    return Stage(postgres_server, redis_url, stack_folder)


@pytest.mark.timeout(400)  # it starts some 20 processes
def test_a_short_bench_finds_every_figure_and_our_rows_are_those_of_the_reports(stage):
    """A figure that is missing would be missed by nobody: the table would only be shorter. No speed is asserted."""
    told = []
    found = {}
    for part in PARTS.keys() - LEFT_OUT:
        found |= measured(part, stage, SHORT, told.append)

    of_others = {name for name in FIGURES if name == "engine" or name.split(" ")[0] in PEERS}
    assert found.keys() == FIGURES.keys() - of_others
    assert [name for name, result in found.items() if not result["min"] <= result["median"] <= result["max"]] == []
    assert all(found[name]["median"] == 0 for name in ("deadlocks", "lost", "again rows"))
    assert len(table(found).splitlines()) == 1 + len(found)
    assert json.loads(json.dumps(found))["load"]["of"]["rows"] == SHORT.rows


def test_a_time_counts_only_if_the_rows_are_those_that_the_report_tells(stage):
    """Whoever writes less is faster."""
    told = Made(ALL_ORDERS, SHORT.numbers(60))
    less = replace(told, numbers=SHORT.numbers(59))
    with (
        stage.sellers("differ", Waiting("50000000002", less)) as sellers,
        pytest.raises(Differ, match="load: rows unlike those of the report: 1"),
    ):
        in_rounds(sellers, (Phase("load", "50000000002", told),), 1, told=lambda _: None)


def test_a_peer_counts_only_if_it_wrote_our_rows(stage):
    """One that forgets a row, or dies of its work, is named and left out; the others go on."""
    told = []
    programs = dict.fromkeys(("dying", "forgetful", "honest"), ("tests.peer", sys.executable))
    found = against.compared(stage, SHORT, programs, told.append)

    assert sorted(found) == [f"honest {phase}" for phase in sorted(against.PHASES)]
    assert "forgetful is left out: after load, 1 of its rows are not ours, or are missing" in told
    assert any(re.fullmatch("dying is left out: .*a last line that says why", line) for line in told)


def test_a_peer_that_cannot_be_installed_is_left_out_with_one_line(tmp_path, monkeypatch):
    """Without a package index our own figures are found all the same."""
    monkeypatch.setattr(environments, "_HOME", tmp_path)
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    told = []

    assert [environments.python_with(peer, told.append) for peer in PEERS] == [None] * len(PEERS)
    assert len([line for line in told if "is left out, it cannot be installed" in line]) == len(PEERS)


def test_two_tables_differ_by_what_is_in_one_of_them_or_stands_in_it_more_often(database_url):
    """This is how a peer's rows are compared with ours."""
    with rows.session(database_url) as cursor:
        ours, theirs = "SELECT * FROM (VALUES (1), (2), (2)) a", "SELECT * FROM (VALUES (2), (1), (3)) b"
        assert rows.differing(cursor, ours, ours) == 0
        assert rows.differing(cursor, ours, theirs) == 2


@pytest.mark.parametrize(
    ("median", "at_least", "says"),
    [
        (0.5, True, "below floor"),
        (0.6, True, "reached"),
        (0.8, True, "aim reached"),
        (0.9, False, "below floor"),
        (0.7, False, "below floor"),
        (0.6, False, "reached"),
    ],
)
def test_a_median_on_the_floor_has_reached_it(median, at_least, says):
    """Where less is better the floor is above the aim."""
    figure = Figure("speed", 0.6, 0.8 if at_least else 0.4, at_least=at_least)
    assert figure.result([median])["says"] == says


def test_the_made_reports_are_as_those_of_sellers():
    """34 columns, of which the family knows all but two; bad rows and lines that stand twice are among a few hundred."""
    made = Made(ALL_ORDERS, SHORT.numbers(400))
    told = list(made.expected())
    assert made.rejected() == 1
    assert len(told) == 399
    assert sum(buyer["extra"] != "{}" for _, buyer in told) == 1
