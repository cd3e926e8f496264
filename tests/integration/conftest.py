"""What the scenarios of the whole path begin with."""

from __future__ import annotations

import pytest

from tests.drain import draining


@pytest.fixture
def drain(database_url, redis_url, tmp_path, emulator):
    """The path of a report in this process, for three emulated sellers; they sell what a test tells them to."""
    with draining(database_url, redis_url, tmp_path, emulator) as running:
        yield running
