"""What every test may ask for: a fresh database, a flushed Redis, an emulated Amazon."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager

import pytest

from orderdrain.redis_client import connect
from tests import services
from tests.emulator_process import Emulator
from workers.processes import StackError

# What the person at this terminal has set for a stack of theirs must not reach a test.
for name in [name for name in os.environ if name.startswith("ORDERDRAIN_") and "_TEST_" not in name]:
    del os.environ[name]


@pytest.fixture(scope="session")
def postgres_server():
    """The URL of a Postgres in which databases may be made."""
    with _or_skip(services.postgres()) as url:
        yield url


@pytest.fixture(scope="session")
def database_template(postgres_server):
    """The name of a migrated database to copy."""
    with services.migrated_template(postgres_server) as name:
        yield name


@pytest.fixture
def database_url(postgres_server, database_template):
    """The URL of a migrated, empty database of this test alone."""
    with services.fresh_database(postgres_server, database_template) as url:
        yield url


@pytest.fixture(scope="session")
def redis_server():
    """The URL of a Redis that no other pytest process uses."""
    with _or_skip(services.redis()) as url:
        yield url


@pytest.fixture
def redis_url(redis_server):
    """The URL of an empty Redis."""
    client = connect(redis_server)
    client.flushdb()
    client.close()
    return redis_server


@pytest.fixture
def stack_folder():
    """A folder for the data of a whole stack, removed at the end."""
    with services.scratch_folder() as folder:
        yield folder


@pytest.fixture
def emulator():
    """An emulated Amazon that does nothing wrong; its sellers sell nothing on their own."""
    with Emulator.start(faults="none", orders_per_minute=0, backlog=0) as running:
        yield running


@contextmanager
def _or_skip(server):
    """A server that cannot be started skips its tests at home; in CI, where nothing may be missing, they fail."""
    with ExitStack() as running:
        try:
            url = running.enter_context(server)
        except StackError as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(str(error))
        yield url
