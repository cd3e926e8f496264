"""Flat files: columns by name, every row accounted for, never a wrong row."""

from __future__ import annotations

import io
import json
import tracemalloc
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orderdrain.errors import GiveUp, NotAReport
from orderdrain.families import REPORT_TYPES
from orderdrain.parsers import Line, Rejected, flat_file, open_report, rows, table

FLAT = "_GET_FLAT_FILE_ORDERS_DATA_"
UNSHIPPED = "GET_FLAT_FILE_ACTIONABLE_ORDER_DATA_SHIPPING"
US = "ATVPDKIKX0DER"
NAMES = [
    "order-id",
    "order-item-id",
    "purchase-date",
    "buyer-name",
    "sku",
    "product-name",
    "quantity-purchased",
    "currency",
    "item-price",
    "item-promotion-id",
    "recipient-name",
    "ship-city",
]
HEADER = "\t".join(NAMES)


def row(number: int = 1, **cells: str) -> str:
    """A row of a file with these NAMES; `cells` by name with _ for -."""
    usual = {
        "order-id": f"701-0000000-{number:07d}",
        "order-item-id": f"{number:014d}",
        "purchase-date": "2026-05-11T09:15:00+00:00",
        "buyer-name": "Ilka Morvenna",
        "sku": f"SK-{number}",
        "product-name": "Mug",
        "quantity-purchased": "1",
        "currency": "USD",
        "item-price": "19.90",
        "item-promotion-id": "",
        "recipient-name": "Ilka Morvenna",
        "ship-city": "Sampleford",
    }
    usual.update({name.replace("_", "-"): cell for name, cell in cells.items()})
    return "\t".join(usual.values())


def read(*lines: str, report_type: str = FLAT, end: str = "\n", marketplace: str = US):
    """The report, its lines as dicts by SQL column (buyer columns too), and its rejected rows."""
    body = end.join(lines).encode()
    told, rejected = [], []
    with open_report(
        io.BytesIO(body), report_type=report_type, content_type="text/plain", marketplaces=(marketplace,)
    ) as report:
        for block in report.blocks():
            rejected += block.rejected
            for line in block.lines:
                values = dict(zip(report.fields, line.values, strict=True))
                buyer = {f"buyer.{k}": v for k, v in zip(report.buyer_fields, line.buyer, strict=True)}
                told.append({"number": line.number, "joined": line.joined} | values | buyer)
    return report, told, rejected


def test_columns_are_found_by_name_wherever_they_stand():
    """Layouts differ by marketplace and year; cells must never shift."""
    turned = ["\t".join(reversed(line.split("\t"))) for line in (HEADER, row(1))]
    report, (line,), _ = read(*turned)

    assert (line["order_id"], line["sku"], line["item_price"]) == ("701-0000000-0000001", "SK-1", "19.90")
    assert line["buyer.buyer_name"] == "Ilka Morvenna"
    assert report.fields[:2] == ("order_id", "order_item_id")


def test_header_names_may_differ_in_case_and_padding():
    """Amazon itself writes delivery-Instructions; downloads are upper case at times."""
    _, (line,), _ = read("\ufeff" + HEADER.upper().replace("\t", "  \t "), row(1))

    assert line["order_item_id"] == "00000000000001"


def test_a_layout_tells_only_the_columns_it_has():
    """What a report's layout lacks it does not call blank: the caller must be able to see the difference."""
    report, (line,), _ = read(HEADER, row(1))

    assert "item_tax" not in report.fields
    assert "item_price" in report.fields
    assert "buyer_email" not in report.buyer_fields
    assert "extra" not in line


def test_an_unknown_column_is_kept_with_the_buyer_and_a_known_one_with_the_line():
    """Columns appear without notice, and may hold a name: personal until somebody has looked."""
    report, (line,), _ = read(f"{HEADER}\tNew-Column\tioss-number", row(1) + "\tZ9\tIM1")

    assert json.loads(line["buyer.extra"]) == {"new-column": "Z9"}
    assert json.loads(line["extra"]) == {"ioss-number": "IM1"}
    assert "ioss-number" in report.extra_names


def test_a_column_without_a_name_is_kept_too():
    """A tab at the end of the header makes one; most often it is blank."""
    _, (first, second), _ = read(HEADER + "\t", row(1) + "\t", row(2) + "\tZ9")

    assert first["buyer.extra"] is None
    assert json.loads(second["buyer.extra"]) == {"column 13": "Z9"}


@pytest.mark.parametrize("lacks", ["order-id", "order-item-id", "sku", "quantity-purchased"])
def test_a_missing_required_column_is_named(lacks: str):
    """The report is set aside: every row of it would be a wrong one."""
    with pytest.raises(NotAReport, match=f"lacks {lacks}$"):
        read(HEADER.replace(lacks, "other"), row(1))


def test_a_file_without_a_header_tells_nothing_of_its_first_row():
    """Its first line is a buyer's: neither as an unknown name nor as a name that stands there twice."""
    with pytest.raises(NotAReport) as refused:
        read(row(1), row(2))

    assert "Morvenna" not in str(refused.value)


def test_a_header_with_a_name_twice_is_refused():
    """Which of the two holds is not known, so neither is taken."""
    with pytest.raises(NotAReport, match="sku twice"):
        read(HEADER.replace("ship-city", "SKU"), row(1))


def test_a_header_of_more_names_than_any_report_has_is_refused_at_once(monkeypatch: pytest.MonkeyPatch):
    """What understands each of them, and is made for each layout, would take half a minute for 64,000."""
    wide = [f"column-{n}" for n in range(flat_file.MAX_COLUMNS - len(NAMES))]
    assert len(read("\t".join([HEADER, *wide]), row(1) + "\t" * len(wide))[1]) == 1

    monkeypatch.setattr(flat_file, "may_be_usual", mock.Mock(side_effect=AssertionError("it was understood")))
    with pytest.raises(NotAReport, match="the header has 2,001 names, more than 2,000: this is no order report"):
        read("\t".join([HEADER, *wide, "one-more"]), row(1))


def test_a_name_that_stands_twice_is_told_only_where_it_is_declared():
    """Where a part of a row is glued to the header, it is a buyer's name."""
    with pytest.raises(NotAReport) as refused:
        read(f"{HEADER}\tJane Doe\tsku\tJane Doe\tBristol", row(1))

    assert str(refused.value) == ("the header has sku, the name of column 13 twice: which of them holds is not sure")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("<!DOCTYPE html>\n<html><body>503</body></html>", "HTML"),
        ("<html>", "HTML"),
        ('<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML"),
        ('{"errors": [{"code": "QuotaExceeded"}]}', "JSON"),
        ("Service Unavailable\n", "lacks order-id"),
    ],
)
def test_a_body_that_is_no_report_says_what_it_is(body: str, reason: str):
    """Well-formed HTML is not an empty report: nothing was sold is another thing than nothing came."""
    with pytest.raises(NotAReport, match=reason):
        read(body)


@pytest.mark.parametrize("lines", [("",), ("", "  ", "\t\t"), (HEADER, ""), ("", HEADER, "\t" * 11, "")])
def test_nothing_sold_is_an_empty_report(lines: tuple[str, ...]):
    """Header only, blank lines only, or no byte at all: done, and no error."""
    report, told, rejected = read(*lines)

    assert (report.empty, report.rows, told, rejected) == (True, 0, [], [])


@pytest.mark.parametrize("report_type", [FLAT, "GET_FLAT_FILE_ALL_ORDERS_DATA_BY_LAST_UPDATE_GENERAL", UNSHIPPED])
def test_a_header_with_its_rows_in_it_is_no_empty_report(report_type: str):
    """Lines that end in CR alone, a line end lost, a download cut in its first line: rows that nobody would miss."""
    names = [column.name for column in REPORT_TYPES[report_type].family.columns]
    order = next(name for name in names if "order-id" in name)
    names = [order, *(name for name in names if name != order)]
    cells = ["701-0000000-0000001", *(["Morvenna"] * (len(names) - 1))]
    header, first = "\t".join(names), "\t".join(cells)
    for body, reason in (
        (f"{header}\r{first}\r", f"a control character, or another line end than LF, in column {len(names)}$"),
        (f"{header}\u2028{first}\n", f"a control character, or another line end than LF, in column {len(names)}$"),
        (f"{header}\t{first}\n", f"an order id in column {len(names) + 1}: a row is glued to it$"),
        (f"{header}{first}\n", f"an order id in column {len(names)}: a row is glued to it$"),
        (f"{header}\tsome-oth", "the file is cut in its header"),
        (header, "the file is cut in its header"),
    ):
        with pytest.raises(NotAReport, match=reason) as refused:
            read(body, report_type=report_type)
        assert "morvenna" not in str(refused.value).lower()


@pytest.mark.parametrize("char", ["\0", "\x01", "\r", "\x1b", "\x7f", "\x85"])
@pytest.mark.parametrize("name", ["ship{}city", "who{}knows"])
def test_a_control_character_in_a_name_of_the_header_is_told_by_its_place(char: str, name: str):
    """Postgres takes no NUL: found late, it looks like a bug of ours, again and again."""
    reason = r"the header has a control character, or another line end than LF, in column 12$"
    with pytest.raises(NotAReport, match=reason):
        read(HEADER.replace("ship-city", name.format(char)), row(1))


@pytest.mark.parametrize("body", ["", "\n \r\n\t\t\n", "\ufeff", "\ufeff\n"])
def test_a_body_without_a_header_is_no_picture_with_nothing_on_it(body: str):
    """Else a download that brought nothing would say that each order was shipped."""
    with pytest.raises(NotAReport, match="the body is empty, without so much as a header: that proves nothing"):
        read(body, report_type=UNSHIPPED)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_blank_lines_are_skipped_and_counted_as_lines_of_the_file(end: str):
    """A blank line is not the end, and a rejected row must be found under the number that an editor shows."""
    report, told, rejected = read("", HEADER, row(1), "", " \t ", row(2), row(3, quantity_purchased="two"), "", end=end)

    assert [line["number"] for line in told] == [3, 6]
    assert [(r.line, r.column) for r in rejected] == [(7, "quantity-purchased")]
    assert report.counts.read == report.rows == 3


def test_the_last_row_needs_no_line_end():
    """Amazon's files end either way."""
    assert len(read(HEADER, row(1), row(2))[1]) == 2


def test_other_line_ends_of_unicode_stay_inside_a_cell():
    """NEL, line separator, VT, FF and a bare CR stand in titles: a row is ended by LF alone."""
    title = "a\u0085b\u2028c\vd\fe\rf\x1cg"
    _, (line,), _ = read(HEADER, row(1, product_name=title))

    assert line["product_name"] == title


def test_quotes_are_inch_marks_in_a_tab_file():
    """A quote that opens and never closes must not swallow the rows after it."""
    _, told, _ = read(HEADER, row(1, product_name='"Never closed'), row(2, product_name='24" arm'), row(3))

    assert [line["product_name"] for line in told] == ['"Never closed', '24" arm', "Mug"]


def test_short_and_long_rows_are_rejected_and_no_cell_shifts():
    """A tab or a line feed inside a title cannot be told from a separator."""
    report, told, rejected = read(
        HEADER, row(1), row(2, product_name="Desk\nlamp"), row(3, product_name="a\tb"), row(4)
    )

    assert [line["sku"] for line in told] == ["SK-1", "SK-4"]
    assert [str(r) for r in rejected] == [
        "line 3 has 6 cells, the header 12",
        "line 4 has 7 cells, the header 12",
        "line 5 has 13 cells, the header 12",
    ]
    assert [(r.order_id, r.order_item_id) for r in rejected] == [
        ("701-0000000-0000002", None),
        (None, None),
        ("701-0000000-0000003", None),
    ]
    assert report.counts.read == report.rows == 5


def test_a_file_that_ends_in_the_middle_of_a_row_is_cut():
    """Where no checksum came with the bytes, this is all that shows that rows are missing."""
    with pytest.raises(NotAReport, match="cut: it ends in line 3, after 4 cells"):
        read(HEADER, row(1), "\t".join(row(2).split("\t")[:4]))


def test_a_comma_file_may_quote_its_cells():
    """Some exports are comma-separated: there a title with a comma is quoted."""
    header = HEADER.replace("\t", ",")
    _, told, rejected = read(
        header,
        row(1, product_name='"Mug, ""blue"""').replace("\t", ","),
        row(2, product_name='"Never closed').replace("\t", ","),
        row(3).replace("\t", ","),
        "",
    )

    assert [(line["number"], line["product_name"]) for line in told] == [(2, 'Mug, "blue"'), (4, "Mug")]
    assert [r.line for r in rejected] == [3]


@pytest.mark.parametrize("cell", ['"Mug, bl', '"', '"Mug, ""', '"Mug, ""blue'])
@pytest.mark.parametrize(("column", "cells"), [("product-name", 6), ("ship-city", 12)])
def test_a_comma_file_that_ends_within_quotes_is_cut(column: str, cells: int, cell: str):
    """As one that ends elsewhere in a row: the rows after it are missing, not this one alone."""
    whole = row(2, **{column.replace("-", "_"): "@"}).replace("\t", ",").partition("@")[0]
    with pytest.raises(NotAReport, match=f"cut: it ends in line 3, after {cells} cells$"):
        read(HEADER.replace("\t", ","), row(1).replace("\t", ","), whole + cell)


def test_a_last_row_with_a_quote_out_of_place_is_rejected_alone():
    """It has its end: nothing is missing after it."""
    last = row(2, product_name='"Mug" blue').replace("\t", ",")
    _, told, rejected = read(HEADER.replace("\t", ","), row(1).replace("\t", ","), last)

    assert ([line["number"] for line in told], [r.line for r in rejected]) == ([2], [3])


def test_a_quoted_cell_of_a_comma_file_may_be_as_long_as_any():
    """Gift messages of 200 kB are kept, whatever parts the cells."""
    title = "x, " * 70_000 + "x"
    _, (line,), _ = read(HEADER.replace("\t", ","), row(1, product_name=f'"{title}"').replace("\t", ","), "")

    assert line["product_name"] == title


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("order-id", ""),
        ("order-id", "1.11E+16"),
        ("order-item-id", "5.80293E+13"),
        ("sku", ""),
        ("quantity-purchased", ""),
        ("quantity-purchased", "two"),
        ("currency", "dollars"),
        ("item-price", "1e3"),
        ("purchase-date", "2026-02-30T00:00:00Z"),
        ("product-name", "nul\0nul"),
        ("ship-city", "nul\0nul"),
    ],
)
def test_a_bad_cell_costs_its_row_and_is_never_told(column: str, cell: str):
    """The line, the column and the reason are named; the text may be a buyer's."""
    _, told, (rejected,) = read(HEADER, row(1), row(2, **{column.replace("-", "_"): cell}), row(3))

    assert [line["sku"] for line in told] == ["SK-1", "SK-3"]
    assert (rejected.line, rejected.column) == (3, column)
    assert not cell or cell not in rejected.reason
    assert "Morvenna" not in str(rejected)


def test_rejected_rows_carry_their_ids_where_these_are_surely_ids():
    """An operator finds the order at Amazon by them; what is in another form may be a name that was shifted there."""
    _, _, (rejected, other) = read(
        HEADER, row(1), row(2, item_price="free"), row(3, order_id="AMZ-1", order_item_id="Morvenna", item_price="free")
    )

    assert (rejected.order_id, rejected.order_item_id) == ("701-0000000-0000002", "00000000000002")
    assert (other.order_id, other.order_item_id) == (None, None)


def test_a_report_of_nothing_but_bad_rows_is_no_report():
    """Then it is the report that is wrong (or our reading of it), and a person looks."""
    bad = [row(n, order_item_id="") for n in (1, 2, 3)]
    with pytest.raises(NotAReport, match="3 of 3 rows are rejected; line 2: order-item-id is blank"):
        read(HEADER, *bad)


# ------------------------------------------------------------------------------------------------ continuation rows


def continuation(number: int, **cells: str) -> str:
    blank = dict.fromkeys((name.replace("-", "_") for name in NAMES[2:]), "")
    return row(number, **{**blank, **cells})


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (2, 1, 0)])
def test_a_continuation_is_joined_to_its_line_wherever_it_stands(order: tuple[int, ...]):
    """Several promotions of one line come as rows of their own: they must neither be lines nor be lost."""
    body = [row(1), continuation(1, item_promotion_id="PROMO-1"), row(2)]
    report, told, rejected = read(HEADER, *(body[n] for n in order))
    line = next(line for line in told if line["sku"] == "SK-1")

    assert (line["item_promotion_id"], line["quantity"], line["joined"]) == ("PROMO-1", "1", 1)
    assert (len(told), rejected, report.counts.joined, report.counts.read) == (2, [], 1, 3)


def test_what_a_continuation_says_otherwise_is_kept_beside_its_line():
    """Nothing is added up, nothing is lost, and a buyer's words stay with the buyer."""
    _, (line,), _ = read(
        HEADER,
        row(1, item_promotion_id="PROMO-1"),
        continuation(1, item_promotion_id="PROMO-2"),
        continuation(1, item_promotion_id="PROMO-3", recipient_name="Quenby Ashdown"),
    )

    assert line["item_promotion_id"] == "PROMO-1"
    assert json.loads(line["extra"]) == {
        "continued": [{"item-promotion-id": "PROMO-2"}, {"item-promotion-id": "PROMO-3"}]
    }
    assert json.loads(line["buyer.extra"]) == {"continued": [{"recipient-name": "Quenby Ashdown"}]}


def test_a_continuation_without_a_line_is_rejected():
    """It names an order that the file does not have: that is to be seen, not skipped."""
    report, told, (rejected,) = read(HEADER, row(1), continuation(9, item_promotion_id="PROMO-1"))

    assert (len(told), rejected.line, rejected.column, report.counts.read) == (1, 3, "sku", 2)


def test_a_bad_cell_in_a_continuation_costs_the_continuation_alone():
    """Its line is as good as without it."""
    report, told, (rejected,) = read(HEADER, row(1), continuation(1, item_price="free"))

    assert (len(told), told[0]["joined"], rejected.line, rejected.column) == (1, 0, 3, "item-price")
    assert report.counts.read == 2


def test_rows_that_have_all_lost_what_makes_a_line_do_not_fill_memory(monkeypatch: pytest.MonkeyPatch):
    """A file with a blank SKU column is no file of a million continuations."""
    monkeypatch.setattr(table, "MAX_CONTINUATIONS", 10)
    with pytest.raises(NotAReport, match="more than 10 rows"):
        read(HEADER, *(continuation(n) for n in range(20)))


# ------------------------------------------------------------------------------------------------- size and accounts


def test_the_same_line_twice_is_two_lines_here():
    """Which is newer is for the merge to say: the parser tells both, as they stand."""
    _, told, _ = read(HEADER, row(1, item_price="1.00"), row(1, item_price="2.00"))

    assert [(line["number"], line["item_price"]) for line in told] == [(2, "1.00"), (3, "2.00")]


def test_blocks_are_bounded_in_rows_and_in_characters(monkeypatch: pytest.MonkeyPatch):
    """Two hundred kilobytes of gift message a line must not add up to a gigabyte a block."""
    monkeypatch.setattr(rows, "BLOCK_ROWS", 10)
    monkeypatch.setattr(rows, "BLOCK_CHARACTERS", 1000)
    body = "\n".join([HEADER, *(row(n) for n in range(4)), *(row(n, product_name="x" * 2000) for n in range(4))])
    with open_report(io.BytesIO(body.encode()), report_type=FLAT, content_type=None, marketplaces=()) as report:
        sizes = [len(block.lines) for block in report.blocks()]

    assert sizes == [5, 1, 1, 1]


def test_a_line_without_end_is_refused_before_it_fills_memory():
    """A gigabyte without a line feed is no file of lines."""
    body = io.BytesIO((HEADER + "\n" + "x" * 20_000_000).encode())
    tracemalloc.start()
    try:
        with (
            pytest.raises(NotAReport, match="longer than"),
            open_report(body, report_type=FLAT, content_type=None, marketplaces=()) as report,
        ):
            list(report.blocks())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 24_000_000


def test_memory_does_not_grow_with_the_report():
    """Five thousand lines and fifty thousand take the same."""

    def peak(lines: int) -> int:
        body = io.BytesIO(("\n".join([HEADER, *(row(n) for n in range(lines))])).encode())
        tracemalloc.start()
        try:
            with open_report(body, report_type=FLAT, content_type=None, marketplaces=()) as report:
                for _ in report.blocks():
                    pass
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(20_000) < 1.5 * peak(5_000)


def test_a_report_may_be_read_again():
    """A dry run and the real one read the same archived bytes."""
    with open_report(
        io.BytesIO(f"{HEADER}\n{row(1)}".encode()), report_type=FLAT, content_type=None, marketplaces=()
    ) as report:
        first = [line for block in report.blocks() for line in block.lines]
        again = [line for block in report.blocks() for line in block.lines]

    assert first == again
    assert report.counts.read == 1


def test_a_type_that_is_not_read_gives_up():
    """The report is set aside with its bytes: a later version may read it."""
    with pytest.raises(GiveUp, match="_GET_MERCHANT_LISTINGS_DATA_ is no report type that this version reads"):
        read(HEADER, report_type="_GET_MERCHANT_LISTINGS_DATA_")


cells = st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=12)
good = st.integers(1, 30).map(row)
lines = st.lists(good | st.lists(cells, min_size=10, max_size=14).map("\t".join) | cells | good.map(lambda r: r + "\t"))


@settings(deadline=None)
@given(lines, st.sampled_from(["\n", "\r\n"]))
def test_every_line_is_a_line_or_rejected_or_joined(body: list[str], end: str):
    """Nothing gets lost without a word, and each value is one that its file holds."""
    try:
        report, told, rejected = read(HEADER, *body, "", end=end)
    except NotAReport:
        return
    present = [n for n, line in enumerate(body, 2) if line.strip() and not line.isspace()]

    assert report.rows == len(present) == len(told) + len(rejected) + report.counts.joined
    assert {line["number"] for line in told} | {r.line for r in rejected} <= set(present)
    assert all(line["order_id"] in body[line["number"] - 2] for line in told)


@settings(deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_end_as_rows_or_as_no_report(body: bytes, headed: bool):
    """No crash and no hang, whatever comes."""
    file = io.BytesIO((HEADER.encode() + b"\n" if headed else b"") + body)
    try:
        with open_report(file, report_type=FLAT, content_type=None, marketplaces=(US,)) as report:
            told = [item for block in report.blocks() for item in (*block.lines, *block.rejected)]
    except NotAReport:
        return

    assert all(isinstance(item, Line | Rejected) for item in told)
    assert report.counts.read == report.rows
