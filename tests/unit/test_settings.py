"""Settings: each error is one line that names the variable and shows an example, and no secret is ever shown."""

from __future__ import annotations

import pytest

from orderdrain import settings
from orderdrain.errors import SettingsError
from orderdrain.settings import load, masked, variable_names

DATABASE = "postgresql://orderdrain:s3cret@db.example/orders"
REDIS = "redis://:s3cret@redis.example:6379/0"
NEEDED = {"ORDERDRAIN_DATABASE_URL": DATABASE, "ORDERDRAIN_REDIS_URL": REDIS}


def refused(tmp_path, **environ):
    with pytest.raises(SettingsError) as told:
        load(environ, start=tmp_path)
    assert "\n" not in str(told.value)
    return str(told.value)


def test_two_are_needed_and_the_rest_has_defaults(tmp_path):
    """A newcomer sets two variables."""
    found = load(NEEDED, start=tmp_path)

    assert (found.database_url, found.redis_url) == (DATABASE, REDIS)
    assert (found.lease_seconds, found.account_slots, found.log_format) == (120, 8, "json")
    assert found.origin["database_url"] == "environment"
    assert found.origin["lease_seconds"] == "default"


@pytest.mark.parametrize("name", NEEDED)
def test_a_missing_one_is_named_with_an_example(tmp_path, name):
    """One line is enough to go on."""
    rest = {other: value for other, value in NEEDED.items() if other != name}
    assert f"{name} is not set. Example: {name}=" in refused(tmp_path, **rest)
    assert f"{name} is not set" in refused(tmp_path, **rest, **{name: ""})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ORDERDRAIN_DATABASE_URL", "mysql://db/orders"),
        ("ORDERDRAIN_DATABASE_URL", "host=db dbname=orders"),
        ("ORDERDRAIN_DATABASE_URL", "postgresql:orders"),
        ("ORDERDRAIN_DATABASE_URL", "postgresql://db:port/orders"),
        ("ORDERDRAIN_DATABASE_URL", "postgresql://[::1/orders"),
        ("ORDERDRAIN_REDIS_URL", "localhost:6379"),
        ("ORDERDRAIN_REDIS_URL", "redis://redis:99999/0"),
        ("ORDERDRAIN_LEASE_SECONDS", "0"),
        ("ORDERDRAIN_LEASE_SECONDS", "two minutes"),
        ("ORDERDRAIN_LEASE_SECONDS", "1.5"),
        ("ORDERDRAIN_ACCOUNT_SLOTS", "-1"),
        ("ORDERDRAIN_BEAT_SPEED", "0"),
        ("ORDERDRAIN_BEAT_SPEED", "nan"),
        ("ORDERDRAIN_BEAT_SPEED", "inf"),
        ("ORDERDRAIN_LOG_FORMAT", "xml"),
        ("ORDERDRAIN_LOG_LEVEL", "INFO"),
    ],
)
def test_a_malformed_one_is_named_with_what_it_must_be_and_an_example(tmp_path, name, value):
    """Refused as the process starts, not hours later where it is used."""
    said = refused(tmp_path, **{**NEEDED, name: value})
    assert said.startswith(f"{name} is malformed: it must ")
    assert f"Example: {name}=" in said


@pytest.mark.parametrize("password", ["s3/cret", "12/s3cret", "s3?cret", "s3#cret", "s3cret:x/y"])
@pytest.mark.parametrize("name", NEEDED)
def test_a_password_that_breaks_the_url_is_refused_and_not_quoted(tmp_path, name, password):
    """A generated password holds such characters; pieces of it must not end in a log."""
    scheme = "postgresql" if "DATABASE" in name else "redis"
    said = refused(tmp_path, **{**NEEDED, name: f"{scheme}://user:{password}@host/0"})
    assert name in said
    assert "%2F" in said
    assert "cret" not in said
    assert "s3" not in said


def test_a_misspelt_name_is_refused(tmp_path):
    """It would else hold its default in silence."""
    assert "ORDERDRAIN_LEASE_SECOND is no setting" in refused(tmp_path, **NEEDED, ORDERDRAIN_LEASE_SECOND="60")


def test_names_that_others_of_our_processes_read_are_known(tmp_path):
    """A worker is started with a pipe to say that it is ready on."""
    assert load({**NEEDED, "ORDERDRAIN_READY_FD": "3", "PATH": "/bin"}, start=tmp_path).redis_url == REDIS


def test_the_stacks_file_is_found_from_a_folder_below(tmp_path):
    """`orderdrain` in another terminal finds a running `make up` by itself."""
    (tmp_path / ".orderdrain").mkdir()
    (tmp_path / ".orderdrain" / "env").write_text(
        f"# written by make up\nORDERDRAIN_DATABASE_URL={DATABASE}?a=b\nORDERDRAIN_REDIS_URL = {REDIS}\n\n"
    )
    below = tmp_path / "docs" / "adr"
    below.mkdir(parents=True)

    found = load({}, start=below)

    assert (found.database_url, found.redis_url) == (f"{DATABASE}?a=b", REDIS)
    assert found.origin["database_url"] == str(tmp_path / ".orderdrain" / "env")


def test_the_environment_stands_before_the_stacks_file(tmp_path):
    """What a person sets for one command holds for it."""
    (tmp_path / ".orderdrain").mkdir()
    (tmp_path / ".orderdrain" / "env").write_text("ORDERDRAIN_DATABASE_URL=postgresql://elsewhere/orders\n")

    assert load(NEEDED, start=tmp_path).database_url == DATABASE


def test_a_malformed_line_of_the_stacks_file_is_named_too(tmp_path):
    """Where a value came from is no reason to believe it."""
    (tmp_path / ".orderdrain").mkdir()
    (tmp_path / ".orderdrain" / "env").write_text("ORDERDRAIN_LEASE_SECONDS=soon\n")
    assert "ORDERDRAIN_LEASE_SECONDS is malformed" in refused(tmp_path, **NEEDED)


def test_passwords_are_masked_wherever_settings_are_shown(tmp_path):
    """A repr ends in a log, the table on a screen that is shared."""
    found = load(NEEDED, start=tmp_path)

    assert "s3cret" not in repr(found)
    shown = {row.variable: row.shown for row in found.table()}
    assert shown["ORDERDRAIN_DATABASE_URL"] == "postgresql://orderdrain:***@db.example/orders"
    assert shown["ORDERDRAIN_REDIS_URL"] == "redis://:***@redis.example:6379/0"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("postgresql:///orders?host=/run&user=o&password=s3cret", "postgresql:///orders?host=/run&user=o&password=***"),
        ("postgresql://db/orders?sslpassword=s3cret&a=1", "postgresql://db/orders?sslpassword=***&a=1"),
        ("rediss://user:p%40ss@h:1/0?ssl_cert_reqs=required", "rediss://user:***@h:1/0?ssl_cert_reqs=required"),
        ("s3://bucket/prefix", "s3://bucket/prefix"),
        (".orderdrain/archive", ".orderdrain/archive"),
    ],
)
def test_nothing_but_the_password_is_masked(value, shown):
    """The rest is what a person looks at the table for."""
    assert masked(value) == shown


def test_every_setting_tells_its_meaning_and_an_example_that_is_good(tmp_path):
    """The examples stand in error messages: following one must work."""
    for field in settings._described():
        name = settings.variable_of(field.name)
        assert len(field.metadata["meaning"]) > 20
        assert name in variable_names()
        load({**NEEDED, name: field.metadata["example"]}, start=tmp_path)
