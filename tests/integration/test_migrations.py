"""Migrations on a real Postgres, and the schema beside what the code declares."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

import pytest

from orderdrain import db as module
from orderdrain.db import Database, migrate, pending_migrations
from orderdrain.errors import OrderdrainError
from orderdrain.families import FAMILIES
from tests.building import at_once


@pytest.fixture
def empty_url(postgres_server, database_url):
    """A database without any table, beside the migrated one of this test."""
    name = urlsplit(database_url).path.lstrip("/") + "_empty"
    server = module.psycopg2.connect(postgres_server)
    server.autocommit = True
    with server.cursor() as cursor:
        cursor.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
    try:
        yield urlunsplit(urlsplit(postgres_server)._replace(path=f"/{name}"))
    finally:
        with server.cursor() as cursor:
            cursor.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        server.close()


def files():
    return sorted(module._migration_files())


def test_all_files_are_applied_once_and_in_order(empty_url):
    """Again is nothing: `orderdrain migrate` may stand in every start script."""
    assert pending_migrations(empty_url) == files()
    assert migrate(empty_url) == files()
    assert pending_migrations(empty_url) == []
    assert migrate(empty_url) == []


def test_two_at_once_wait_for_each_other(empty_url):
    """Every worker of a new release may migrate as it starts."""
    results = at_once(*[lambda: migrate(empty_url)] * 3)

    assert sorted(results, key=len) == [[], [], files()]


def test_a_file_that_was_edited_after_it_was_applied_is_refused_by_name(database_url, monkeypatch):
    """The database does not have what the file says: nobody could tell which of the two the code was written for."""
    changed = {**module._migration_files(), files()[1]: "SELECT 1"}
    monkeypatch.setattr(module, "_migration_files", lambda: changed)

    with pytest.raises(OrderdrainError, match=f"{files()[1]} was changed after it was applied"):
        migrate(database_url)


def test_a_database_of_a_newer_version_is_refused_by_name(database_url, monkeypatch):
    """An old worker must not write to tables it does not know."""
    older = module._migration_files()
    newest = files()[-1]
    del older[newest]
    monkeypatch.setattr(module, "_migration_files", lambda: older)

    with pytest.raises(OrderdrainError, match=f"{newest} was applied to this database, but this version has no such"):
        migrate(database_url)


def test_a_migration_that_fails_leaves_nothing(empty_url, monkeypatch):
    """Half a schema would have to be mended by hand."""
    broken = {**module._migration_files(), "9999_broken.sql": "CREATE TABLE half (n integer); SELECT 1 / 0;"}
    monkeypatch.setattr(module, "_migration_files", lambda: broken)
    with pytest.raises(module.psycopg2.errors.DivisionByZero):
        migrate(empty_url)

    database = Database(empty_url)
    ((tables,),) = database.query("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
    database.close()
    assert tables == 0


def columns(database_url, table):
    rows = Database(database_url).query(
        "SELECT attname, format_type(atttypid, atttypmod) AS type FROM pg_attribute"
        " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
        (table,),
    )
    return {row.attname: row.type.replace("timestamp with time zone", "timestamptz") for row in rows}


each_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


@each_family
def test_the_table_of_a_family_has_the_columns_and_types_that_the_family_declares(database_url, family):
    """The merge is written from the declaration: a column that one of the two lacks would fail in production only."""
    bookkeeping = {"account", "layout", "older_columns", *family.version}
    bookkeeping |= {"purged_at"} if family.in_line else set()
    bookkeeping |= {"digest"} if family.keeps_digests else set()

    found = columns(database_url, family.table)

    assert {name: type_ for name, type_ in found.items() if name not in bookkeeping} == family.line_fields
    assert bookkeeping < found.keys()


def test_buyers_have_the_columns_of_all_groups(database_url):
    """Personal data that has no column would go to `extra`, where no purge by column finds it."""
    bookkeeping = {"account", "family", "order_id", "line_key", "versions", "purged_at"}
    declared = {field for family in FAMILIES for group in family.buyer_groups.values() for field in group}

    found = columns(database_url, "buyers")

    assert found.keys() - bookkeeping == declared
    assert {found[field] for field in declared - {"extra"}} == {"text"}
    assert found["extra"] == "jsonb"


@each_family
def test_the_key_of_a_family_is_the_key_of_its_table(database_url, family):
    """Newest wins by this key."""
    ((key,),) = Database(database_url).query(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'p'",
        (family.table,),
    )
    assert key == f"PRIMARY KEY ({', '.join(('account', *family.key))})"


@each_family
def test_what_every_row_has_is_required_of_every_report(database_url, family):
    """A blank cell of another column must cost no row, and a required one can be relied on."""
    bookkeeping = {"account", "layout", "older_columns", "extra", "line_key", *family.version}
    rows = Database(database_url).query(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND attnotnull", (family.table,)
    )

    assert {name for (name,) in rows} - bookkeeping == {c.field for c in family.columns if c.required}
