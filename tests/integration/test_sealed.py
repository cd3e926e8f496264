"""With a key, nothing that is secret or personal lies in clear where orderdrain puts it, and everything works the same."""

from __future__ import annotations

import pytest

from orderdrain.vault import new_key
from tests.drain import buyers_cells, draining
from tests.emulator_process import Emulator


@pytest.fixture
def sealed(database_url, redis_url, tmp_path, emulator):
    """The path of a report, for the emulated sellers, with a key."""
    (tmp_path / "keys").write_text(f"{new_key('now')}\n")
    with draining(database_url, redis_url, tmp_path, emulator, keys=str(tmp_path / "keys")) as running:
        yield running


def test_nothing_that_is_secret_or_personal_lies_in_clear(sealed, tmp_path):
    """Amazon forbids it, and a copy of a disk or a dump of Postgres goes further than anybody thinks."""
    sealed.amazon("reports", account="acme", count=2)
    sealed.run()
    sealed.assert_judged()

    truth = sealed.emulator.get("/_emulator/truth")
    archived = b"".join(path.read_bytes() for path in (tmp_path / "archive").rglob("*") if path.is_file())
    assert len(archived) > 1000
    assert b"order-id" not in archived
    assert not [cell for cell in buyers_cells(truth) if cell.encode() in archived]

    stored = str(sealed.s.db.query("SELECT * FROM applications")) + str(sealed.s.db.query("SELECT * FROM connections"))
    keys = ("secret_key", "client_secret", "refresh_token", "mws_auth_token")
    secrets = [told[key] for told in sealed.emulator.accounts for key in keys if told.get(key)]
    assert secrets
    assert not [secret for secret in secrets if secret in stored]


def test_no_token_of_sp_api_lies_in_clear(database_url, redis_url, tmp_path):
    """What a seller gave once and what is good for an hour: each opens all of the seller's data."""
    (tmp_path / "keys").write_text(f"{new_key('now')}\n")
    with (
        Emulator.start(orders_per_minute=0, backlog=0, sp_api_sellers="acme") as emulator,
        draining(database_url, redis_url, tmp_path, emulator, keys=str(tmp_path / "keys")) as drain,
    ):
        drain.s.amazon(drain.s.accounts.connection("acme", "sp-api")).list_schedules()

        (row,) = drain.s.db.query("SELECT * FROM connections WHERE api = 'sp-api'")
        assert row.access_token is not None
        stored = str(row) + str(drain.s.db.query("SELECT * FROM applications"))
        told = emulator.account("acme")
        assert not [secret for secret in ("Atza|", told["refresh_token"], told["client_secret"]) if secret in stored]


def test_the_ledger_tells_size_and_hash_of_the_bytes_as_amazon_sent_them(sealed):
    """What Amazon sent is what is compared, months later, with what a person downloads by hand."""
    made = sealed.amazon("reports", account="acme", count=1)["report_ids"][0]
    sealed.run()

    row = sealed.row(made)
    with sealed.s.archive.open(row.archive_key) as file:
        body = file.read()
    assert len(body) == row.bytes
    assert body.startswith(b"order-id")
