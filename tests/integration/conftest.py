"""What the scenarios of the whole path begin with."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from orderdrain.cli import main
from tests.apis import MWS, SP_API
from tests.building import open_services
from tests.drain import draining, draining_quiet_sellers


@pytest.fixture
def drain(database_url, redis_url, tmp_path, emulator):
    """The path of a report in this process, for three emulated sellers; they sell what a test tells them to."""
    with draining(database_url, redis_url, tmp_path, emulator) as running:
        yield running


@pytest.fixture(params=[MWS, SP_API], ids=str)
def api(request):
    """One API after the other."""
    return request.param


@pytest.fixture
def drain_on(api, database_url, redis_url, tmp_path):
    """As `drain`, for acme, bravo, cedar and delta, who all sell at `api`."""
    names = "acme,bravo,cedar,delta" if api is SP_API else ""
    with draining_quiet_sellers(database_url, redis_url, tmp_path, sellers=4, sp_api_sellers=names) as running:
        yield running


@pytest.fixture
def s(database_url, redis_url, tmp_path):
    """The services of one worker, and an application for accounts that a test makes (tests/tables.py)."""
    built = open_services(database_url, redis_url, tmp_path)
    built.db.query("INSERT INTO applications (application, api, key_id, secret) VALUES ('keys', 'mws', 'id', 'secret')")
    yield built
    built.db.close()


@pytest.fixture
def environ(database_url, redis_url, tmp_path, monkeypatch):
    """Settings for the command alone; no stack of this checkout is found from an empty folder."""
    monkeypatch.chdir(tmp_path)
    return {
        "ORDERDRAIN_DATABASE_URL": database_url,
        "ORDERDRAIN_REDIS_URL": redis_url,
        "ORDERDRAIN_ARCHIVE": str(tmp_path / "archive"),
    }


@pytest.fixture
def run(environ):
    """Runs one command; its output is no terminal."""

    def run(*words, stdin=None, **env):
        return CliRunner().invoke(main, [str(word) for word in words], input=stdin, env={**environ, **env})

    return run
