"""`orderdrain parse`: what a file says, without any database, for every family."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from orderdrain.cli import main

if TYPE_CHECKING:
    from pathlib import Path

UNSHIPPED = "order-id\torder-item-id\tsku\tquantity-purchased\tquantity-to-ship\n701-1\t01\tSK-1\t3\t2\n"
ALL_ORDERS = "amazon-order-id\tpurchase-date\torder-status\tsku\tquantity\n701-1\t2026-05-11\tShipped\tSK-1\t3\n"
XML = (
    "<AmazonEnvelope><Message><OrderReport><AmazonOrderID>701-1</AmazonOrderID><Item><AmazonOrderItemCode>01"
    "</AmazonOrderItemCode><SKU>SK-1</SKU><Quantity>3</Quantity></Item></OrderReport></Message><Message/></AmazonEnvelope>"
)


def parse(tmp_path: Path, body: str, report_type: str):
    file = tmp_path / "report"
    file.write_text(body)
    return CliRunner().invoke(main, ["parse", str(file), "--report-type", report_type])


@pytest.mark.parametrize(
    ("body", "report_type", "row"),
    [
        (UNSHIPPED, "_GET_FLAT_FILE_ACTIONABLE_ORDER_DATA_", "701-1\t01\tSK-1\t3\t-"),
        (
            ALL_ORDERS,
            "GET_FLAT_FILE_ALL_ORDERS_DATA_BY_ORDER_DATE_GENERAL",
            "701-1\t-\tSK-1#1\tSK-1\t3\t-\t-\t2026-05-11",
        ),
        (XML, "GET_ORDER_REPORT_DATA_SHIPPING", "701-1\t01\tSK-1\t3\t-\t-\t-"),
    ],
)
def test_each_family_shows_the_columns_that_it_has(tmp_path: Path, body: str, report_type: str, row: str):
    """A column of dashes for what a report cannot say would read like missing data."""
    done = parse(tmp_path, body, report_type)

    assert (done.exit_code, done.stdout.startswith(row)) == (0, True)


def test_a_message_that_cannot_be_read_is_told_with_its_line(tmp_path: Path):
    """The place is where an operator begins to look."""
    assert (
        "line 2 rejected: the line: holds a message without OrderReport"
        in parse(tmp_path, XML, "_GET_ORDERS_DATA_").stderr
    )
