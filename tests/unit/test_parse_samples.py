"""The New Orders files that were found in public, each as its index says; they stay outside this repository."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orderdrain.parsers import parse_file

SAMPLES = Path(__file__).resolve().parents[2].parent / "shared" / "samples"
FLAT = "_GET_FLAT_FILE_ORDERS_DATA_"
US, JP = "ATVPDKIKX0DER", "A1VC38T7YXB528"


def parsed(name: str, *, marketplace: str | None = None, with_buyers: bool = False) -> dict:
    path = SAMPLES / name
    if not path.exists():
        pytest.skip("the samples are absent: ../shared/samples")
    return parse_file(path, report_type=FLAT, marketplace=marketplace, with_buyers=with_buyers)


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


@pytest.mark.parametrize("name", ["na_new_orders_45col.txt", "eu_me_new_orders_cod.txt"])
def test_a_header_alone_is_an_empty_report(name: str):
    """No new orders is not an error."""
    assert parsed(f"headers-only/{name}") == {
        "outcome": "empty",
        "encoding": "ascii",
        "rows": [],
        "rejected": [],
        "reason": None,
    }


def test_personal_columns_are_shown_only_when_asked_for():
    """What `orderdrain parse` prints ends in terminals and tickets."""
    name = "id-11623755343-perl-inventory/us_new_orders_29col_2009.txt"

    assert "Bob Smith" not in json.dumps(parsed(name))
    assert parsed(name, with_buyers=True)["rows"][0]["buyer"]["recipient_name"] == "Bob Smith"


def test_a_report_of_another_family_is_no_new_orders_report():
    """All Orders call their key otherwise: that is seen in the header, before any row."""
    told = parsed("id-62513092816-us-all-orders/us_all_orders_33col_2026.txt")

    assert (told["outcome"], told["rows"]) == ("quarantined", [])
    assert told["reason"].endswith("lacks order-id, order-item-id, quantity-purchased")
