"""What the scenarios of the whole path begin with."""

from __future__ import annotations

import pytest

from tests.building import open_services
from tests.drain import draining


@pytest.fixture
def drain(database_url, redis_url, tmp_path, emulator):
    """The path of a report in this process, for three emulated sellers; they sell what a test tells them to."""
    with draining(database_url, redis_url, tmp_path, emulator) as running:
        yield running


@pytest.fixture
def s(database_url, redis_url, tmp_path):
    """The services of one worker, and an application for accounts that a test makes (tests/tables.py)."""
    built = open_services(database_url, redis_url, tmp_path)
    built.db.query("INSERT INTO applications (application, api, key_id, secret) VALUES ('keys', 'mws', 'id', 'secret')")
    yield built
    built.db.close()
