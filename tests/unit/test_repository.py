"""What must hold of the repository as a whole, whatever is added to it."""

from __future__ import annotations

import re
import stat
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
LOCKS = ("requirements.txt", "requirements-dev.txt")
LOCKS_OF_PEERS = tuple(f"benchmarks/peers/{peer}.txt" for peer in ("dlt", "pandas", "target_postgres"))


def _files() -> list[Path]:
    command = ["git", "-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=CHECKOUT, capture_output=True, check=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [path for name in listed.splitlines() if (path := CHECKOUT / name).is_file()]


def _texts() -> dict[str, str]:
    return {str(path.relative_to(CHECKOUT)): path.read_text("utf-8", errors="replace") for path in _files()}


@pytest.mark.parametrize("name", [*LOCKS, *LOCKS_OF_PEERS])
def test_a_lock_file_names_no_host_and_holds_every_package_by_hash(name):
    """It must install from whatever index the person at the machine has, and nothing but what was tested."""
    text = (CHECKOUT / name).read_text()
    assert "://" not in text
    assert re.findall(r"^-.*", text, re.MULTILINE) == [], "an option is for one machine"
    packages = re.findall(r"^\S.*?==.*(?:\n .*)*", text, re.MULTILINE)
    assert len(packages) > 5
    assert [package for package in packages if "--hash=sha256:" not in package] == []


def test_the_smaller_lock_is_part_of_the_larger():
    """What runs in production is what the tests ran on."""
    smaller, larger = (set(re.findall(r"^(\S+==\S+)", (CHECKOUT / name).read_text(), re.MULTILINE)) for name in LOCKS)
    assert smaller <= larger


def test_no_file_names_a_folder_of_the_machine_it_was_written_on():
    """It would be true for one person."""
    foreign = re.compile(r"(?<![\w.~-])/(?:work|root|Users|home/(?!user\b)\w+)/\w")
    assert {name: found[0] for name, text in _texts().items() if (found := foreign.findall(text))} == {}


def test_no_file_names_a_package_registry():
    """Which index serves the packages is the business of the machine."""
    registries = re.compile(r"(?:files\.python" r"hosted\.org|py" r"pi\.org/simple|registry\.npm" r"js\.org)")
    assert [name for name, text in _texts().items() if registries.search(text)] == []


def test_the_licence_is_the_one_that_the_package_declares():
    """A licence that is only named is none."""
    assert "Apache License" in (CHECKOUT / "LICENSE").read_text()
    assert 'license = "Apache-2.0"' in (CHECKOUT / "pyproject.toml").read_text()


def test_nothing_that_a_run_makes_is_under_version_control():
    """Data of a stack hold passwords, and bytes of reports buyers."""
    made = {".orderdrain", ".venv", "__pycache__", ".pytest_cache", ".hypothesis", ".venvs"}
    assert [path for path in _files() if made & set(path.relative_to(CHECKOUT).parts)] == []


def test_ci_is_a_script_that_stops_at_the_first_failure():
    """A red check behind a green test would land."""
    script = CHECKOUT / ".ci" / "run"
    assert script.stat().st_mode & stat.S_IXUSR
    assert "set -euo pipefail" in script.read_text()


def test_every_target_of_make_tells_what_it_does():
    """`make` alone is the first command that many type."""
    makefile = (CHECKOUT / "Makefile").read_text()
    targets = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[0].split()
    told = subprocess.run(["make"], cwd=CHECKOUT, capture_output=True, check=True, text=True).stdout
    assert [target for target in targets if not re.search(rf"^make {target} +\w", told, re.MULTILINE)] == []
