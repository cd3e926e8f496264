"""What reports hold, as data: the declarations must be whole and free of contradiction."""

from __future__ import annotations

from pathlib import Path

import pytest

from orderdrain.families import (
    ALL_ORDERS,
    EXTRA,
    FAMILIES,
    FBA_SHIPMENTS,
    LINE_KEY,
    NEW_ORDERS,
    PENDING,
    REPORT_TYPES,
    SQL_TYPES,
    UNSHIPPED,
    Family,
    family_of,
)
from orderdrain.marketplaces import MARKETPLACES, style_of

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
LAYOUTS = {
    "headers-only/na_new_orders_45col.txt": NEW_ORDERS,
    "headers-only/eu_me_new_orders_cod.txt": NEW_ORDERS,
    "headers-only/actionable_27col_official.txt": UNSHIPPED,
    "headers-only/jp_unshipped_34col.txt": UNSHIPPED,
    "headers-only/na_unshipped_superset.txt": UNSHIPPED,
    "headers-only/all_orders_29col_noB2B.txt": ALL_ORDERS,
    "headers-only/all_orders_31col_official_by_last_update.txt": ALL_ORDERS,
}
each_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


@each_family
def test_every_sql_column_is_told_by_one_column_of_amazons(family: Family):
    """Two columns of a report that fill one of ours would overwrite each other."""
    fields = [(c.of_buyer, c.field) for c in family.columns if c.field]

    assert sorted(set(fields)) == sorted(fields)


@each_family
def test_header_names_differ_in_more_than_case(family: Family):
    """They are found without regard to case: two that differ in nothing else would hide one another."""
    assert len(family.by_name) == len(family.columns)


@each_family
def test_the_key_is_required_and_not_personal(family: Family):
    """A line without its key cannot be merged, and a key among buyer data would be purged with it."""
    key = [field for field in family.key if field != LINE_KEY]
    columns = [c for c in family.columns if c.field in key]

    assert sorted(c.field for c in columns) == sorted(key)
    assert all(c.required and not c.personal and c.type == "id" for c in columns)
    assert (LINE_KEY in family.key) == bool(family.line_key)


@each_family
def test_personal_columns_are_text_and_stay_apart_from_the_line(family: Family):
    """Buyer data lives in `buyers`, and no odd cell of an address may reject an order line."""
    groups = family.buyer_groups

    assert all(c.type == "text" for c in family.columns if c.personal)
    assert set(groups) <= {"contact", "ship_address", "bill_address", "gift", "tax", "extra"}
    assert not set(family.line_fields) & {f for fields in groups.values() for f in fields} - {EXTRA}


def test_names_addresses_and_gifts_are_personal():
    """A purge deletes what is declared so."""
    for name in ("buyer-email", "recipient-name", "ship-phone-number", "gift-message-text", "customized-url", "cpf"):
        assert NEW_ORDERS.by_name[name].of_buyer
    assert set(NEW_ORDERS.buyer_groups) == {"contact", "ship_address", "bill_address", "gift", "tax", "extra"}


def test_all_orders_keeps_the_town_in_its_row_as_personal():
    """Nothing else there tells where an order went; marked, so that a purge still finds it."""
    for name in ("ship-city", "ship-postal-code"):
        column = ALL_ORDERS.by_name[name]
        assert (column.personal, column.of_buyer) == ("ship_address", False)
        assert column.field in ALL_ORDERS.line_fields


@each_family
def test_every_column_has_a_source_and_an_sql_type(family: Family):
    """A declared column says where it was seen: the next reader can look."""
    assert all(c.source and c.type in SQL_TYPES for c in family.columns)


@each_family
def test_what_tells_the_newness_of_a_line_is_a_time_of_the_line(family: Family):
    """New Orders, Pending and FBA shipments have none: a line is as new as its report."""
    known = {c.field: c for c in family.columns}

    assert family.changed_by is None or known[family.changed_by].type == "timestamp"
    assert {f.name: f.changed_by for f in FAMILIES} == {
        "new_orders": None,
        "unshipped": "reported_at",
        "all_orders": "last_updated_at",
        "pending": None,
        "fba_shipments": None,
    }


@each_family
def test_xml_tells_columns_that_the_family_has_each_by_one_path(family: Family):
    """A misspelt name would send a column's values to `extra`, and two paths to one column would overwrite it."""
    if family.xml is None:
        assert family in (UNSHIPPED, FBA_SHIPMENTS)
        return
    names = list(family.xml.names.values())

    assert [name for name in names if name.lower() not in family.by_name] == []
    assert sorted(set(names)) == sorted(names)
    assert not set(family.xml.columns) & set(family.xml.where_seen)
    assert {c.name for c in family.columns if c.required} <= set(family.xml.columns.values())


@each_family
def test_no_personal_element_is_kept_with_the_line(family: Family):
    """What is one of the impersonal paths, or below it, is kept in the line's `extra`."""
    personal = (
        [] if family.xml is None else [p for p, n in family.xml.names.items() if family.by_name[n.lower()].personal]
    )

    assert not any(family.xml.is_impersonal(path) for path in personal)


@each_family
def test_no_declared_path_is_reached_by_a_type_that_may_say_anything(family: Family):
    """Below an element whose type follows its name stands whatever the type says."""
    if family.xml is None:
        return
    declared = (*family.xml.names, *family.xml.impersonal)

    assert [path for path in declared if set(path.split("/")) & set(family.xml.with_type)] == []


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_column_of_the_layouts_seen_is_declared(layout: str):
    """What is declared nowhere goes to buyer data: right for the unknown, a loss for what is known."""
    file = SHARED / "samples" / layout
    if not file.exists():
        pytest.skip("the layouts are absent: ../shared/samples")
    header = file.read_text("utf-8").strip("\r\n").lower().split("\t")

    assert [name for name in header if name not in LAYOUTS[layout].by_name] == []


@pytest.mark.parametrize(
    ("part", "family", "types"),
    [
        ("ACTIONABLE_ORDER", UNSHIPPED, 2),
        ("ALL_ORDERS", ALL_ORDERS, 8),
        ("ARCHIVED_ORDERS", ALL_ORDERS, 2),
        ("PENDING_ORDERS", PENDING, 6),
        ("FULFILLED_SHIPMENTS", FBA_SHIPMENTS, 4),
        ("ORDER_REPORT_DATA", NEW_ORDERS, 7),
        ("FLAT_FILE_ORDERS_DATA", NEW_ORDERS, 1),
        ("_GET_ORDERS_DATA_", NEW_ORDERS, 1),
    ],
)
def test_every_order_report_type_has_its_family(part: str, family: Family, types: int):
    """MWS and SP-API names, flat and XML: each is read, and ends with its like."""
    named = [t for name, t in REPORT_TYPES.items() if part in name]

    assert {t.family for t in named} == {family}
    assert len(named) == types
    assert all(("FLAT" in t.name or "SHIPMENTS" in t.name) == (t.format == "flat") for t in named)


@each_family
def test_each_family_has_a_table_of_its_own(family: Family):
    """What is read is drained: a report type that no table takes could not be declared."""
    assert [f for f in FAMILIES if f.table == family.table] == [family]


@each_family
def test_personal_columns_of_the_row_are_one_group(family: Family):
    """They are told together or not at all: half of an address beside half of another is nobody's."""
    assert len({c.personal for c in family.columns if c.in_line}) <= 1


def test_twins_name_each_other():
    """Whichever of two is declared first, the other must be found to clash with it."""
    for report_type in REPORT_TYPES.values():
        for twin in report_type.twins:
            assert report_type.name in REPORT_TYPES[twin].twins


def test_the_scheduled_xml_report_cannot_be_requested():
    """MWS documentation: _GET_ORDERS_DATA_ comes by schedule only."""
    assert not REPORT_TYPES["_GET_ORDERS_DATA_"].requestable
    assert REPORT_TYPES["_GET_ORDERS_DATA_"].twins == ("_GET_FLAT_FILE_ORDERS_DATA_",)


def test_a_report_type_that_nobody_knows_has_no_family():
    """Amazon lists types that no documentation names (recorded 2014 traffic): that is no error."""
    assert family_of("_GET_FLAT_FILE_ORDERS_DATA_") is NEW_ORDERS
    assert family_of("GET_FLAT_FILE_ORDER_REPORT_DATA_SHIPPING") is NEW_ORDERS
    assert family_of("_GET_FLAT_FILE_ORDERS_RECONCILIATION_DATA_") is None


def test_marketplaces_that_differ_agree_on_nothing():
    """A charset or a decimal sign is used only where all marketplaces of the account write so."""
    us, de, fr, jp = "ATVPDKIKX0DER", "A1PA6795UKMFR9", "A13V1IB3VIYZZH", "A1VC38T7YXB528"

    assert (style_of([de, fr]).decimal, style_of([de, fr]).symbol, style_of([de, fr]).region) == (",", "€", "EU")
    assert (style_of([us, de]).decimal, style_of([us, de]).charset) == (None, "cp1252")
    assert style_of([us, jp]).charset is None
    assert style_of([us, "A0UNKNOWN00000"]).charset is None
    assert style_of([]).decimal is None


def test_marketplace_ids_are_unique():
    """A doubled id would silently take the facts of another country."""
    assert len(MARKETPLACES) == 23
    assert len({m.country for m in MARKETPLACES.values()}) == 23
