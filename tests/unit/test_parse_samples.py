"""The order reports that were found in public, each as its index says; they stay outside this repository."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orderdrain.families import REPORT_TYPES
from orderdrain.parsers import parse_file

SAMPLES = Path(__file__).resolve().parents[2].parent / "shared" / "samples"
NEW, NEW_XML = "_GET_FLAT_FILE_ORDERS_DATA_", "_GET_ORDERS_DATA_"
UNSHIPPED, SHIPMENTS = "_GET_FLAT_FILE_ACTIONABLE_ORDER_DATA_", "_GET_AMAZON_FULFILLED_SHIPMENTS_DATA_"
ALL, ALL_XML = "_GET_FLAT_FILE_ALL_ORDERS_DATA_BY_LAST_UPDATE_", "_GET_XML_ALL_ORDERS_DATA_BY_LAST_UPDATE_"
US, JP, ES = "ATVPDKIKX0DER", "A1VC38T7YXB528", "A1RKKUPIHCS9HS"
ES_FILES = "id-57955348359-es-importer/es_all_orders_33col_"

#: File -> report type, rows that are read, lines that are rejected, charset.
FILES = {
    "id-11623755343-perl-inventory/us_new_orders_29col_2009.txt": (NEW, 6, [], "ascii"),
    "id-13120323095-keepsa/us_new_orders_30col_2017.txt": (NEW, 1, [], "ascii"),
    "id-54596053624-laravel-jp/jp_orders_24col_2026.txt": (NEW, 2, [], "ascii"),
    "id-57717072593-qt-fbm/us_fbm_44col_2026_varied.txt": (NEW, 4, [4], "utf-8"),
    "id-57717072593-qt-fbm/us_fbm_44col_2026_multi_item.txt": (NEW, 3, [], "ascii"),
    "interchange-Amazon-MWS/order-reports/de_order_report_2015_no_xml_decl.xml": (NEW_XML, 1, [], "ascii"),
    "interchange-Amazon-MWS/order-reports/us_order_report_taxdata_2008.xml": (NEW_XML, 1, [], "ascii"),
    "id-23144966395-au-chemist/au_unshipped_24col_2018_crlf.txt": (UNSHIPPED, 1, [], "ascii"),
    "id-25155726780-fs2csv/it_all_orders_32col_2017.txt": (ALL, 1, [], "ascii"),
    "id-36043728224-in-all-orders/in_all_orders_32col_2024_crlf.txt": (ALL, 1, [], "ascii"),
    "id-51835818851-de-sample/de_all_orders_21col_noupdate_2026.txt": (ALL, 3, [], "ascii"),
    ES_FILES + "00_clean.txt": (ALL, 1, [], "ascii"),
    ES_FILES + "01_bom_crlf.txt": (ALL, 1, [], "utf-8-sig"),
    ES_FILES + "04_csv_quoted.csv": (ALL, 1, [], "ascii"),
    ES_FILES + "06_trailing_blank_lines.txt": (ALL, 1, [], "ascii"),
    ES_FILES + "07_header_upper_padded.txt": (ALL, 1, [], "ascii"),
    ES_FILES + "08_statuses.txt": (ALL, 3, [], "ascii"),
    "id-62513092816-us-all-orders/us_all_orders_33col_2026.txt": (ALL, 1, [], "ascii"),
    "id-68557469106-all-orders-fixture/us_all_orders_32col_2026_latin1.txt": (ALL, 9, [], "cp1252"),
    "id-70129697921-versions/us_all_orders_copy1_pending.txt": (ALL, 1, [], "ascii"),
    "id-70129697921-versions/us_all_orders_copy2_shipped.txt": (ALL, 2, [], "ascii"),
    "id-71181216178-in-subset/in_all_orders_12col_2026.txt": (ALL, 2, [], "ascii"),
    "id-44735085427-trevco/us_all_orders_xml_2017_duplicate_message.xml": (ALL_XML, 4, [], "ascii"),
    "id-45073922435-trevco/us_all_orders_xml_2017_first4.xml": (ALL_XML, 4, [], "ascii"),
    "id-19512733061-balmuda-netsuite/jp_fba_shipments_49col_2017_partA_cp932.txt": (
        SHIPMENTS,
        2,
        [4, 5, 6, 7],
        "cp932",
    ),
    "eolabs-io-amazon-mws/order-reports/us_fba_shipments_48col_2020.csv": (SHIPMENTS, 5, [], "ascii"),
    "headers-only/na_new_orders_45col.txt": (NEW, 0, [], "ascii"),
    "headers-only/eu_me_new_orders_cod.txt": (NEW, 0, [], "ascii"),
    "headers-only/jp_unshipped_34col.txt": (UNSHIPPED, 0, [], "ascii"),
    "headers-only/na_unshipped_superset.txt": (UNSHIPPED, 0, [], "ascii"),
    "headers-only/actionable_27col_official.txt": (UNSHIPPED, 0, [], "ascii"),
    "headers-only/all_orders_31col_official_by_last_update.txt": (ALL, 0, [], "ascii"),
    "headers-only/all_orders_29col_noB2B.txt": (ALL, 0, [], "ascii"),
}


def parsed(name: str, *, marketplace: str | None = None, with_buyers: bool = False) -> dict:
    path = SAMPLES / name
    if not path.exists():
        pytest.skip("the samples are absent: ../shared/samples")
    return parse_file(path, report_type=FILES[name][0], marketplace=marketplace, with_buyers=with_buyers)


@pytest.mark.parametrize("name", FILES)
def test_every_file_found_is_understood(name: str):
    """Each layout and charset of 2008 to 2026, down to the rows that are damaged; a header alone is an empty report."""
    report_type, rows, rejected, encoding = FILES[name]
    told = parsed(name, marketplace=JP if "/jp_" in name else ES if "/es_" in name else US, with_buyers=True)

    assert (told["outcome"], told["reason"]) == ("rows" if rows else "empty", None)
    assert (len(told["rows"]), [r["line"] for r in told["rejected"]], told["encoding"]) == (rows, rejected, encoding)
    key = REPORT_TYPES[report_type].family.key
    assert all(row[field] for row in told["rows"] for field in key)


def test_no_file_found_is_left_out():
    """A sample that is added must be understood too."""
    if not SAMPLES.exists():
        pytest.skip("the samples are absent: ../shared/samples")
    index = (SAMPLES / "INDEX.md").read_text("utf-8").partition("## A. Order reports")[2].partition("\n## ")[0]
    listed = {line.split("|")[1].strip() for line in index.splitlines() if line.startswith("| ")} - {"file"}

    assert listed == set(FILES)


def test_the_layout_of_2009_with_several_items_an_order():
    """29 columns, offsets of -08:00, six lines of four orders."""
    told = parsed("id-11623755343-perl-inventory/us_new_orders_29col_2009.txt", marketplace=US)

    assert (told["outcome"], len(told["rows"]), told["rejected"]) == ("rows", 6, [])
    assert len({row["order_id"] for row in told["rows"]}) == 4
    assert told["rows"][0]["extra"] is None  # the scheduled delivery's columns are there, and blank
    assert {
        name: told["rows"][0][name]
        for name in ("order_id", "order_item_id", "sku", "quantity", "currency", "item_price", "purchase_date")
    } == {
        "order_id": "123-4567890-1234567",
        "order_item_id": "11111111111111",
        "sku": "sku 1",
        "quantity": 1,
        "currency": "USD",
        "item_price": "1.29",
        "purchase_date": "2009-01-01T18:50:49Z",
    }


def test_the_layout_with_sales_channel():
    """ShowSalesChannel adds a column at the end."""
    told = parsed("id-13120323095-keepsa/us_new_orders_30col_2017.txt", marketplace=US)

    assert [row["sales_channel"] for row in told["rows"]] == ["Amazon.com"]


def test_a_row_without_order_id_is_rejected_and_the_rest_is_read():
    """One row of five lacks its order id; two currencies in one file; an em-dash in UTF-8."""
    told = parsed("id-57717072593-qt-fbm/us_fbm_44col_2026_varied.txt", marketplace=US, with_buyers=True)

    assert (told["outcome"], told["encoding"], len(told["rows"])) == ("rows", "utf-8", 4)
    assert told["rejected"] == [{"line": 4, "column": "order-id", "reason": "is blank"}]
    assert {row["currency"] for row in told["rows"]} == {"USD", "GBP"}
    assert told["rows"][3]["buyer"]["delivery_instructions"] == "Leave at door — no bell"
    assert told["rows"][0]["is_business_order"] is False
    assert told["rows"][0]["extra"] == {"signature-confirmation-recommended": "false"}


def test_three_items_of_one_order_are_three_lines():
    """Ids in letters are ids too."""
    told = parsed("id-57717072593-qt-fbm/us_fbm_44col_2026_multi_item.txt", marketplace=US)

    assert [row["order_item_id"] for row in told["rows"]] == ["ITEM-A", "ITEM-B", "ITEM-C"]


def test_the_japanese_layout_without_tax_columns():
    """Money without decimals, a blank cell of one space, columns of cancellation."""
    told = parsed("id-54596053624-laravel-jp/jp_orders_24col_2026.txt", marketplace=JP, with_buyers=True)

    assert [row["item_price"] for row in told["rows"]] == ["195", "195"]
    assert [row["is_buyer_requested_cancellation"] for row in told["rows"]] == [False, True]
    assert [row["item_tax"] for row in told["rows"]] == [None, None]
    assert told["rows"][0]["buyer"]["extra"] is None
    assert told["rows"][1]["buyer"]["extra"] == {"buyer-requested-cancel-reason": "Changed mind"}


def test_personal_columns_are_shown_only_when_asked_for():
    """What `orderdrain parse` prints ends in terminals and tickets."""
    name = "id-11623755343-perl-inventory/us_new_orders_29col_2009.txt"

    assert "Bob Smith" not in json.dumps(parsed(name))
    assert parsed(name, with_buyers=True)["rows"][0]["buyer"]["recipient_name"] == "Bob Smith"


def test_a_report_of_another_family_is_no_new_orders_report():
    """All Orders call their key otherwise: that is seen in the header, before any row."""
    path = SAMPLES / "id-62513092816-us-all-orders/us_all_orders_33col_2026.txt"
    if not path.exists():
        pytest.skip("the samples are absent: ../shared/samples")
    told = parse_file(path, report_type=NEW)

    assert (told["outcome"], told["rows"]) == ("quarantined", [])
    assert told["reason"].endswith("lacks order-id, order-item-id, quantity-purchased")


def test_seven_ways_to_write_the_same_order_are_the_same_row():
    """Byte order mark, CRLF, commas and quotes, blank lines, a padded header in capitals."""
    names = [n for n in FILES if n.startswith(ES_FILES) and "08" not in n and "04" not in n]
    rows = [parsed(name, marketplace=ES)["rows"] for name in names]

    assert len(names) == 4
    assert all(told == rows[0] for told in rows)
    (quoted,) = parsed(ES_FILES + "04_csv_quoted.csv", marketplace=ES)["rows"]
    assert (quoted["product_name"], quoted["item_price"]) == ("Rodillo de masaje, grande, azul", "1210.00")


def test_an_order_twice_in_one_file_is_two_states_of_one_line():
    """The same order and SKU, updated on the 11th and on the 12th: the same key, two times of update."""
    rows = parsed("id-68557469106-all-orders-fixture/us_all_orders_32col_2026_latin1.txt", marketplace=US)["rows"]
    same = [row for row in rows if row["order_id"] == "111-1000000-0000005"]

    assert [(row["line_key"], row["last_updated_date"], row["quantity"]) for row in same] == [
        ("WIDGET-12#1", "2026-09-11T08:00:00Z", 2),
        ("WIDGET-12#1", "2026-09-12T08:00:00Z", 3),
    ]
    assert rows[-2]["product_name"] == "Café Crème Set, 6 pièces"


def test_a_layout_without_sku_is_known_by_its_asin():
    """Nine columns, and no other name for the article."""
    rows = parsed("id-70129697921-versions/us_all_orders_copy2_shipped.txt")["rows"]

    assert [row["line_key"] for row in rows] == ["B000000001#1", "B000000002#1"]


def test_an_order_that_stands_in_xml_twice_has_the_same_keys_twice():
    """Two Message elements of one order, no item codes: a duplicate, not four lines."""
    rows = parsed("id-44735085427-trevco/us_all_orders_xml_2017_duplicate_message.xml")["rows"]

    assert [row["line_key"] for row in rows] == ["JLM106STK-AT-2#1", "JLM157STK-AT-1#1"] * 2
    assert rows[0]["product_name"].startswith("Justice League Movie DC Comics Emblems T Shirt & Exclusive Stickers")
    assert rows[:2] == rows[2:]


def test_xml_of_2015_without_a_declaration():
    """Billing and shipping address of the same buyer, a fee, a session id of its own."""
    name = "interchange-Amazon-MWS/order-reports/de_order_report_2015_no_xml_decl.xml"
    (row,) = parsed(name, with_buyers=True)["rows"]

    assert (row["order_item_id"], row["currency"], row["item_price"]) == ("46666666666666", "EUR", "17.55")
    assert (row["buyer"]["bill_postal_code"], row["buyer"]["ship_postal_code"]) == ("34100", "34120")
    assert row["extra"]["item/itemfees/commission"] == "-2.11"


def test_xml_of_2008_with_tax_and_a_promotion_of_nothing():
    """The amounts by jurisdiction are kept; an id beside two amounts of zero is kept too."""
    (row,) = parsed("interchange-Amazon-MWS/order-reports/us_order_report_taxdata_2008.xml", with_buyers=True)["rows"]

    assert (row["quantity"], row["item_price"], row["item_promotion_discount"]) == (2, "100.00", "0.00")
    assert row["item_promotion_id"] is None
    assert row["extra"]["item/promotion/merchantpromotionid"] == "FREESHIPPINGOVER25"
    assert row["extra"]["item/itemtaxdata/zeroratedamounts/city"] == "63.99"
    assert row["buyer"]["tax_location_county"] == "BROWARD"


def test_shipments_of_an_order_from_elsewhere():
    """Multi-Channel Fulfillment: an order id of its own form, no dates of purchase, no money."""
    rows = parsed("eolabs-io-amazon-mws/order-reports/us_fba_shipments_48col_2020.csv")["rows"]

    assert rows[-1]["order_id"].startswith("S01-")
    assert (rows[-1]["merchant_order_id"], rows[-1]["purchase_date"], rows[-1]["item_price"]) == (
        "#11423.3",
        None,
        None,
    )
    assert rows[-1]["shipment_item_id"] == "NgLnPZ20D"


def test_shipments_from_japan_with_ids_that_a_spreadsheet_took():
    """Four of six rows lost an id to `5.80293E+13`; full-width text in windows-31j."""
    name = "id-19512733061-balmuda-netsuite/jp_fba_shipments_49col_2017_partA_cp932.txt"
    told = parsed(name, marketplace=JP, with_buyers=True)

    assert {r["column"] for r in told["rejected"]} == {"amazon-order-item-id"}
    assert [row["item_price"] for row in told["rows"]] == ["24732.00", "24732.00"]
    assert told["rows"][0]["buyer"]["buyer_name"] == "見本太郎"


def test_what_waits_to_be_shipped_has_no_money():
    """Unshipped: quantities and promises, a phone number with its leading zero."""
    (row,) = parsed("id-23144966395-au-chemist/au_unshipped_24col_2018_crlf.txt", with_buyers=True)["rows"]

    assert (row["quantity"], row["quantity_shipped"], row["quantity_to_ship"], row["days_past_promise"]) == (
        3,
        0,
        3,
        -2,
    )
    assert row["reporting_date"] == "2018-07-24T23:39:36Z"
    assert row["buyer"]["buyer_phone"] == "0491570006"
