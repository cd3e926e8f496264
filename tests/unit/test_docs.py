"""The pages say what is true of the code: names that are in both are compared."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import click
import pytest

from benchmarks.bench import PARTS
from benchmarks.figures import FIGURES
from orderdrain.cli import main
from orderdrain.families import REPORT_TYPES
from orderdrain.reports import State
from orderdrain.settings import variable_names
from workers.config import STEPS

CHECKOUT = Path(__file__).resolve().parents[2]
PAGES = {
    str(path.relative_to(CHECKOUT)): path.read_text("utf-8")
    for pattern in ("*.md", "docs/**/*.md", "deploy/*.md", "emulator/*.md")
    for path in sorted(CHECKOUT.glob(pattern))
}
DOCS = {name: text for name, text in PAGES.items() if name.startswith("docs/")}
#: Words in code: `word` within a line, not the fenced blocks.
CODE = {
    word
    for text in PAGES.values()
    for word in re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
}


def _commands(group, path=("orderdrain",)):
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


@pytest.mark.parametrize(("name", "command"), list(_commands(main)))
def test_every_command_has_help_and_stands_in_the_docs(name, command):
    """A command that nobody can find is not there at three in the morning."""
    assert command.help
    assert re.search(rf"{name}(?![\w-])", "\n".join(DOCS.values()))


def test_every_command_in_the_docs_exists():
    """What is typed from a page must work."""
    known = {name for name, _ in _commands(main)}
    told = sorted(word for word in CODE if re.match(r"orderdrain [a-z]", word))
    assert [word for word in told if not any(re.match(rf"{name}(?![\w-])", word) for name in known)] == []


def test_the_table_of_settings_is_whole_and_holds_nothing_else():
    """A variable that no page names is found by reading code; one that nobody reads is refused at the start."""
    rows = re.findall(r"^\| `(ORDERDRAIN_\w+)` \|", DOCS["docs/operations.md"], re.MULTILINE)
    assert sorted(rows) == sorted(variable_names())


def test_the_states_are_those_of_the_ledger():
    """The table of states is what a newcomer draws conclusions from."""
    section = DOCS["docs/states.md"].partition("## The states of a report\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(State)


def test_the_statuses_of_a_request_are_those_that_the_database_takes():
    """They live in a CHECK of the table."""
    table = (CHECKOUT / "orderdrain/migrations/0002_ledger.sql").read_text("utf-8")
    allowed = re.findall(r"'(\w+)'", re.findall(r"status IN \(('asked'.*?'refused')\)", table, re.DOTALL)[0])
    section = DOCS["docs/states.md"].partition("## The states of a requested report\n")[2]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == allowed


def test_the_picture_of_who_may_import_whom_is_the_contract():
    """It is where a newcomer looks for the place of a new module; `make check` holds the contract, not the picture."""
    (drawn,) = re.findall(r"lines below it:\n\n  ```\n(.*?)  ```", DOCS["docs/architecture.md"], re.DOTALL)
    contracts = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (inside,) = [contract["layers"] for contract in contracts if contract.get("containers") == ["orderdrain"]]
    assert [line.strip() for line in drawn.splitlines()] == inside


def test_task_names_are_those_of_the_workers():
    """A name that Celery does not know is logged and removed by the worker that gets it."""
    told = {name for text in DOCS.values() for name in re.findall(r"\breports\.(\w+)", text)} - {"py", "md"}
    assert told == set(STEPS)


def test_a_worker_started_from_a_page_reads_every_queue():
    """A step whose queue nobody reads waits for ever."""
    lists = [found for text in PAGES.values() for found in re.findall(r"reports\.\w+(?:,reports\.\w+)+", text)]
    assert lists
    assert {tuple(found.split(",")) for found in lists} == {tuple(f"reports.{step}" for step in STEPS)}


@pytest.mark.parametrize("name", PAGES)
def test_every_relative_link_leads_somewhere(name):
    """Also to a heading, where it names one."""
    for target in re.findall(r"\]\((?!https?://)([^)\s]+)\)", PAGES[name]):
        path, _, heading = target.partition("#")
        page = (CHECKOUT / name).parent / path if path else CHECKOUT / name
        assert page.exists(), target
        assert not heading or heading in _headings(page.read_text("utf-8")), target


def test_every_decision_is_in_the_index_under_its_own_title():
    """In order, and none twice."""
    pages = sorted((CHECKOUT / "docs/adr").glob("[0-9]*.md"))
    titles = [re.match(r"# (\d{4}): (.+)\n", page.read_text("utf-8")).groups() for page in pages]
    index = re.findall(r"^\| \[(\d{4})\]\(([\w-]+\.md)\) \| (.+) \|$", DOCS["docs/adr/README.md"], re.MULTILINE)
    assert index == [(number, page.name, title) for (number, title), page in zip(titles, pages, strict=True)]


def test_every_decision_that_the_code_cites_exists():
    """A comment that cites one gives its reason there."""
    code = [
        path for folder in ("orderdrain", "tasks", "workers", "deploy") for path in (CHECKOUT / folder).rglob("*.py")
    ]
    cited = {number for path in code for number in re.findall(r"docs/adr/(\d{4})", path.read_text("utf-8"))}
    assert cited <= {page.name[:4] for page in (CHECKOUT / "docs/adr").glob("[0-9]*.md")}


def test_every_test_that_the_docs_name_exists():
    """A fact about Amazon is worth as much as what holds it."""
    there = {
        name
        for path in (CHECKOUT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text("utf-8"), re.MULTILINE)
    }
    assert sorted(word for word in CODE - there if word.startswith("test_")) == []


def test_every_report_type_in_the_docs_is_what_the_code_knows():
    """Family, format, and what Amazon allows: a seller decides by this table what to declare."""
    section = DOCS["docs/reports.md"].partition("## The report types\n")[2].partition("\n## ")[0]
    told = {}
    for line in re.findall(r"^\| `.+ \|$", section, re.MULTILINE):
        names, sp_api, *said = line.strip("| ").split(" | ")
        told |= dict.fromkeys(re.findall(r"`(\w+)`", names + sp_api), tuple(said))
    known = {
        name: (
            {"fba_shipments": "FBA shipments"}.get(t.family.name, t.family.name.replace("_", " ").title()),
            {"flat": "flat", "xml": "XML"}[t.format],
            "yes" if t.requestable else "no",
            "yes" if t.schedulable else "no",
        )
        for name, t in REPORT_TYPES.items()
    }
    assert told == known


def test_the_figures_in_the_docs_are_those_that_are_measured():
    """A floor that is lowered in one place only would still be believed."""
    section = DOCS["docs/benchmarks.md"].partition("## The figures\n")[2].partition("\n## ")[0]
    told = re.findall(r"^\| `([\w -]+)` \| .+? \| (.*?) ?\| (.*?) ?\|$", section, re.MULTILINE)
    assert told == [(name, *figure.bounds) for name, figure in FIGURES.items()]


def test_every_part_of_the_bench_stands_in_the_docs_in_the_order_in_which_it_runs():
    """`ONLY` takes these names."""
    section = DOCS["docs/benchmarks.md"].partition("## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(PARTS)


def test_every_file_that_the_docs_name_exists():
    """A file that was renamed takes its readers along."""
    told = sorted(word for word in CODE if re.fullmatch(r"[\w.-]+/[\w./-]*(/|\.(py|sql|md|toml|yml))|[\w-]+/", word))
    assert told
    # What a running stack makes is there only while one has run.
    assert [path for path in told if not (path.startswith(".orderdrain/") or (CHECKOUT / path).exists())] == []


def _headings(text):
    """GitHub's name of each heading."""
    return {
        re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }
