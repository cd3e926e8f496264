"""What reports hold, as data: the declarations must be whole and free of contradiction."""

from __future__ import annotations

from pathlib import Path

import pytest

from orderdrain.families import EXTRA, NEW_ORDERS, REPORT_TYPES, SQL_TYPES, family_of
from orderdrain.marketplaces import MARKETPLACES, style_of

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
LAYOUTS = ("headers-only/na_new_orders_45col.txt", "headers-only/eu_me_new_orders_cod.txt")


def test_every_sql_column_is_told_by_one_column_of_amazons():
    """Two columns of a report that fill one of ours would overwrite each other."""
    fields = [(bool(c.personal), c.field) for c in NEW_ORDERS.columns if c.field]

    assert sorted(set(fields)) == sorted(fields)


def test_header_names_differ_in_more_than_case():
    """They are found without regard to case: two that differ in nothing else would hide one another."""
    assert len(NEW_ORDERS.by_name) == len(NEW_ORDERS.columns)


def test_the_key_is_required_and_not_personal():
    """A line without its key cannot be merged, and a key among buyer data would be purged with it."""
    key = [c for c in NEW_ORDERS.columns if c.field in NEW_ORDERS.key]

    assert [c.field for c in key] == list(NEW_ORDERS.key)
    assert all(c.required and not c.personal and c.type == "id" for c in key)


def test_personal_columns_are_text_and_stay_apart_from_the_line():
    """Buyer data lives in `buyers` alone, and no odd cell of an address may reject an order line."""
    personal = [c for c in NEW_ORDERS.columns if c.personal]
    groups = NEW_ORDERS.buyer_groups

    assert all(c.type == "text" for c in personal)
    assert set(groups) == {"contact", "ship_address", "bill_address", "gift", "tax", "extra"}
    assert not set(NEW_ORDERS.line_fields) & {f for fields in groups.values() for f in fields} - {EXTRA}
    for name in ("buyer-email", "recipient-name", "ship-phone-number", "gift-message-text", "customized-url", "cpf"):
        assert NEW_ORDERS.by_name[name].personal


def test_every_column_has_a_source_and_an_sql_type():
    """A declared column says where it was seen: the next reader can look."""
    assert all(c.source and c.type in SQL_TYPES for c in NEW_ORDERS.columns)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_column_of_the_layouts_seen_is_declared(layout: str):
    """What is declared nowhere goes to buyer data: right for the unknown, a loss for what is known."""
    file = SHARED / "samples" / layout
    if not file.exists():
        pytest.skip("the layouts are absent: ../shared/samples")
    header = file.read_text("utf-8").strip("\r\n").lower().split("\t")

    assert [name for name in header if name not in NEW_ORDERS.by_name] == []


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
