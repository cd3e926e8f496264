"""All Orders in flat files: which line is which where Amazon gives no id, and how new each is."""

from __future__ import annotations

import io
import json
import random

import pytest

from orderdrain.parsers import open_report, twins

ALL = "GET_FLAT_FILE_ALL_ORDERS_DATA_BY_LAST_UPDATE_GENERAL"
NAMES = [
    "amazon-order-id",
    "purchase-date",
    "last-updated-date",
    "order-status",
    "sku",
    "asin",
    "quantity",
    "ship-city",
]
WITH_ID = [*NAMES[:4], "order-item-id", *NAMES[4:]]
EARLY, LATE = "2026-05-11T09:00:00+00:00", "2026-05-12T09:00:00+00:00"


def row(order: int = 1, names: list[str] = NAMES, **cells: str) -> str:
    usual = {
        "amazon-order-id": f"701-0000000-{order:07d}",
        "purchase-date": EARLY,
        "last-updated-date": EARLY,
        "order-status": "Shipped",
        "order-item-id": f"{order:014d}",
        "sku": "SK-1",
        "asin": "B0TEST0001",
        "quantity": "1",
        "ship-city": "Sampleford",
    }
    said = usual | {name.replace("_", "-"): cell for name, cell in cells.items()}
    return "\t".join(said[name] for name in names)


def read(*rows: str, names: list[str] = NAMES):
    """The report, its lines (with what its fields say) and its rejected rows."""
    body = io.BytesIO("\n".join(["\t".join(names), *rows]).encode())
    with open_report(body, report_type=ALL, content_type=None, marketplaces=()) as report:
        blocks = list(report.blocks())
    lines = [(line, dict(zip(report.fields, line.values, strict=True))) for block in blocks for line in block.lines]
    return report, lines, [rejected for block in blocks for rejected in block.rejected]


def keys(*rows: str, names: list[str] = NAMES) -> list[tuple[str, str]]:
    return [(line.key[0][-1], line.key[1]) for line, _ in read(*rows, names=names)[1]]


def test_a_line_with_an_id_is_known_by_it():
    """The id is text: its leading zeros are part of it."""
    assert keys(row(7, WITH_ID), names=WITH_ID) == [("7", "00000000000007")]


def test_a_line_without_an_id_is_known_by_its_sku_and_number():
    """Layouts before May 2026 have no order-item-id."""
    assert keys(row(1), row(1, sku="SK-2"), row(2)) == [("1", "SK-1#1"), ("1", "SK-2#1"), ("2", "SK-1#1")]


def test_two_equal_lines_are_two_lines_wherever_they_stand():
    """One article from two warehouses comes as two equal rows: neither may swallow the other."""
    assert keys(row(1), row(2), row(1)) == [("1", "SK-1#1"), ("2", "SK-1#1"), ("1", "SK-1#2")]


def test_the_same_report_twice_has_the_same_keys():
    """Numbers are counted within one file, never on from another."""
    assert keys(row(1), row(1)) == keys(row(1), row(1)) == [("1", "SK-1#1"), ("1", "SK-1#2")]


def test_an_older_state_of_a_line_is_no_twin_of_it():
    """The same order may stand in a file twice, older and newer: only what has the newest time is counted on."""
    rows = [row(1, last_updated_date=LATE), row(1), row(1, last_updated_date=LATE), row(1)]
    lines = read(*rows)[1]

    assert [(line.key[1], line.changed_at) for line, _ in lines] == [
        ("SK-1#1", LATE),
        ("SK-1#1", EARLY),
        ("SK-1#2", LATE),
        ("SK-1#2", EARLY),
    ]


def test_times_are_compared_as_instants():
    """Z, +00:00 and another offset may name the same moment."""
    assert keys(row(1), row(1, last_updated_date="2026-05-11T11:00:00+02:00")) == [("1", "SK-1#1"), ("1", "SK-1#2")]


def test_an_id_that_is_blank_falls_back_to_the_sku():
    """Lines with an id and lines without one are kept apart: no id ever looks like a SKU and a number."""
    rows = [row(1, WITH_ID, order_item_id=""), row(1, WITH_ID), row(1, WITH_ID, order_item_id="")]

    assert keys(*rows, names=WITH_ID) == [("1", "SK-1#1"), ("1", "00000000000001"), ("1", "SK-1#2")]


@pytest.mark.parametrize("blank", ["", " ", "  ", "\u00a0", "\u3000", "\x0b", "\u3000 ", "--", "N/A"])
def test_what_is_blank_as_a_cell_is_blank_as_a_key(blank: str):
    """Of whatever white space, or a word for it: as an id or a SKU it would be the same for all lines of an order, and lose all but one."""
    ids = [row(1, WITH_ID, order_item_id=blank, sku=sku) for sku in ("A", "B", "C")]
    skus = [row(1, WITH_ID, order_item_id=blank, sku=blank)] * 2

    assert keys(*ids, names=WITH_ID) == [("1", "A#1"), ("1", "B#1"), ("1", "C#1")]
    assert keys(*skus, names=WITH_ID) == [("1", "B0TEST0001#1"), ("1", "B0TEST0001#2")]


def test_a_layout_without_sku_is_known_by_the_asin():
    """Exports of a few columns have the one or the other."""
    names = [name for name in NAMES if name != "sku"]

    assert keys(row(1, names), row(1, names), names=names) == [("1", "B0TEST0001#1"), ("1", "B0TEST0001#2")]


def test_a_line_that_nothing_tells_from_another_is_rejected():
    """Without a key it could not be found again."""
    _, lines, (rejected,) = read(row(1), row(2, sku="", asin=" "))

    assert len(lines) == 1
    assert str(rejected) == "line 3 has neither an order-item-id nor a SKU nor an ASIN"
    assert rejected.order_id == "701-0000000-0000002"


def test_a_rejected_row_takes_no_number():
    """The next line is the first of its kind all the same; the rejected one is named with its order."""
    _, ((line, _),), (rejected,) = read(row(1, quantity="two"), row(1))

    assert line.key[1] == "SK-1#1"
    assert (rejected.column, rejected.order_id) == ("quantity", "701-0000000-0000001")


@pytest.mark.parametrize("bits", [8, 64, 1 << 25])
def test_the_numbers_do_not_depend_on_how_much_is_remembered(bits: int, monkeypatch: pytest.MonkeyPatch):
    """What the bits remember may be more than there was: the count behind them is exact."""
    monkeypatch.setattr(twins, "BITS", bits)
    draw = random.Random(7)
    rows = [row(draw.randint(1, 40), sku=f"SK-{draw.randint(1, 3)}") for _ in range(300)]
    count: dict[tuple[str, str], int] = {}
    wanted = []
    for cells in (line.split("\t") for line in rows):
        at = (cells[0][-7:], cells[4])
        count[at] = count.get(at, 0) + 1
        wanted.append((at[0], f"{at[1]}#{count[at]}"))

    assert [(line.key[0][-7:], line.key[1]) for line, _ in read(*rows)[1]] == wanted


def test_the_key_stands_among_the_values_that_are_stored():
    """The merge finds each column by name, the key too."""
    report, ((line, said),), _ = read(row(1))

    assert report.fields[0] == "line_key"
    assert (said["line_key"], said["order_id"]) == (line.key[1], line.key[0])


def test_each_line_carries_its_own_time_of_update():
    """A later report does not mean newer data; a blank one is as new as its report."""
    _, ((dated, _), (blank, _)), _ = read(row(1, last_updated_date=LATE), row(2, last_updated_date=""))

    assert (dated.changed_at, blank.changed_at) == (LATE, None)


def test_a_layout_without_the_time_of_update_has_none():
    """An export of 2026 leaves it out."""
    names = [name for name in NAMES if name != "last-updated-date"]
    _, ((line, _),), _ = read(row(1, names), names=names)

    assert line.changed_at is None


def test_the_town_stays_in_the_row_and_what_nobody_knows_goes_to_the_buyer():
    """No names come in these reports by design, but a column may be added without notice."""
    names = [*NAMES, "New-Column"]
    report, ((line, said),), _ = read(f"{row(1)}\tZ9", names=names)

    assert said["ship_city"] == "Sampleford"
    assert json.loads(dict(zip(report.buyer_fields, line.buyer, strict=True))["extra"]) == {"new-column": "Z9"}


def test_a_pending_order_has_no_quantity_to_reject_it_for():
    """Blank is unknown, not zero, and no reason to lose what the row says of its order."""
    _, ((_, said),), _ = read(row(1, order_status="Pending", quantity=""))

    assert (said["quantity"], said["order_status"]) == (None, "Pending")


def test_a_row_without_status_is_no_continuation_of_its_twin():
    """It has its own date: joined to the other, it would be lost as a line."""
    _, lines, (rejected,) = read(row(1), row(1, order_status=""))

    assert (len(lines), rejected.line, rejected.column, rejected.reason) == (1, 3, "order-status", "is blank")
