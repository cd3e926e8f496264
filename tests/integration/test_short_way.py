"""The short way of lines that are usual: it ends in the tables that the long one makes, and reads no known line again."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from unittest import mock

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orderdrain.errors import RetryLater
from orderdrain.orders import Digests, Orders
from orderdrain.orders import usual as short_way
from orderdrain.parsers.usual import UsualLayout
from tests.tables import (
    ALL,
    FBA,
    NEW,
    Given,
    at,
    cell,
    flat,
    new_account,
    parse,
    parse_all,
    parse_all_the_long_way,
    rows,
    tables,
    without_digests,
)

ORDER = "111-0000001-0000000"
ITEMS = [f"0123456789{n:04}" for n in range(40)]


def both_ways(s, *reports):
    """The account that went the short way, after comparing it with one that did not: tables, and what became of rows."""
    account, long_way = new_account(s), new_account(s)
    said, otherwise = parse_all(s, account, reports), parse_all_the_long_way(s, long_way, reports)
    assert [_became(one) for one in said] == [_became(one.replace(long_way, account)) for one in otherwise]
    assert without_digests(tables(s, account)) == without_digests(tables(s, long_way))
    return account


def _became(sentence):
    """Why a report was set aside, or how many rows were read, joined and rejected: of a line that stands twice, which
    of its states is counted as older depends on the order in which they come to the table."""
    if not sentence.startswith("parsed"):
        return sentence
    told = sentence.removeprefix("parsed ").replace(":", ",").split(", ")
    return [part for part in told if not part.endswith((" new", " changed", " same", " older"))]


# ---------------------------------------------------------------------------------------------------------- any cell

#: Cells that are nearly as Amazon writes them: what looks usual and is not is what the short way must not take.
MONEY = (
    "",
    "0",
    "19.90",
    "-3.85",
    "+1.00",
    "1.210",
    "1,210.00",
    ".5",
    "5.",
    "-",
    "1e3",
    "NaN",
    "00.10",
    "1" * 19,
    "--",
)
NUMBER = ("", "1", "-2", "+3", "007", "2147483648", "1.0", "x", "N/A", "9999999999", " 4", "\u0661")
TIME = (
    *("", cell(1), "2026-02-29T00:00:00Z", "2024-02-29T00:00:00Z", "2026-04-31T00:00:00Z", "2026-01-31T24:00:00Z"),
    *("2026-05-01", "2026-05-01T10:00:00", "2026-05-01 10:00:00+0530", "2026-05-01T10:00:00.123456-07:00", "infinity"),
    *("2026-05-01T10:00:00+14:00", "2026-05-01T10:00:00+15:00", "2026-05-01T10:00:60Z", "1899-12-31T00:00:00Z", "now"),
)
TEXT = (
    *(
        "",
        "x",
        " x",
        "x ",
        "  ",
        "\u00a0",
        "\u3000",
        "\u3000x",
        "\u2028",
        "\x85",
        "\x0b",
        "\x1c",
        "a\x0bb",
        "a\rb",
        "\\N",
    ),
    *("\\", "\\.", 'a "b', "\u65e5\u672c", "\u201cx\u201d", "\u00e9", "\U0001f600", "{}", "\u00a3 5", "\x7f"),
    *("--", "N/A", "n/a", "-- ", "---", "--x", "N/Ax", "n/A", "-", "N", "NA"),
)
ID = ("", "01234567890123", "1E13", "123e5", "5e-3", "A-1", "a_b", " 012", "#", "x y", "\u00e9", "-1", "0" * 65)
ID += ("\u00a0", "\x0b", "--")
CODE = ("", "SK-1", "x" * 200, "x" * 201, "\u00e9" * 200, "\u65e5" * 200, " a", "a\\b", "--", "N/A", "Nylon", "-x")
CELLS = {
    NEW: {
        "order-id": (ORDER, ORDER, "111-0000002-0000000", *ID[:4]),
        "order-item-id": (*ITEMS[:3], *ID),
        "purchase-date": TIME,
        "sku": CODE,
        "quantity-purchased": ("1", *NUMBER),
        "item-price": MONEY,
        "currency": ("", "USD", "usd", "N/A", "EURO"),
        "is-prime": ("", "true", "False", "YES", "maybe", "t"),
        "product-name": TEXT,
        "ioss-number": TEXT,
        "buyer-name": TEXT,
        "ship-city": TEXT,
        "who-knows": TEXT,
    },
    ALL: {
        "ship-city": TEXT,
        "amazon-order-id": (ORDER, ORDER, *ID[:4]),
        "url": TEXT,
        "purchase-date": (cell(0), *TIME),
        "last-updated-date": TIME,
        "order-status": ("Shipped", *TEXT),
        "sku": CODE,
        "cpf": TEXT,
        "order-item-id": (*ITEMS[:3], *ID),
    },
    FBA: {
        "amazon-order-id": (ORDER, "S01-1", *ID[:4]),
        "shipment-item-id": ("D1", "D2", *ID),
        "shipment-id": ("S1", *TEXT),
        "sku": ("SK-1", *CODE),
        "quantity-shipped": ("1", *NUMBER),
        "buyer-name": TEXT,
    },
}


@st.composite
def odd_files(draw):
    """Lines of which most cells are usual and any may be anything."""
    report_type = draw(st.sampled_from(sorted(CELLS)))
    columns = CELLS[report_type]
    good = [next((c for c in cells if c.strip()), "") for cells in columns.values()]
    lines = []
    for number in range(draw(st.integers(1, 12))):
        line = list(good)
        key = list(columns).index("shipment-item-id" if report_type == FBA else "order-item-id")
        line[key] = f"D{number}" if report_type == FBA else ITEMS[number + 5]
        for at_, cells in enumerate(columns.values()):
            if draw(st.integers(0, 6)) == 0:
                line[at_] = draw(st.sampled_from(cells))
        lines.append(line)
    body = "\n".join("\t".join(line) for line in [list(columns), *lines])
    return Given(report_type, draw(st.integers(1, 3)), draw(st.integers(1, 3)), f"{body}\n".encode())


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(reports=st.lists(odd_files(), min_size=1, max_size=3, unique_by=lambda report: report.number))
def test_whatever_a_cell_holds_both_ways_read_it_alike(s, reports):
    """The expression of a usual line must take nothing that the reading of its cells would refuse or see otherwise."""
    both_ways(s, *reports)


@pytest.mark.parametrize("report_type", [NEW, ALL])
def test_a_text_of_any_kind_is_the_same_in_both_ways(s, report_type):
    """In each place that a text may have: the table, its extra, the buyer, the buyer's extra; and in all of them."""
    columns = CELLS[report_type]
    good = [next((c for c in cells if c.strip()), "") for cells in columns.values()]
    texts = [place for place, cells in enumerate(columns.values()) if cells is TEXT]
    lines = [
        [text if place in places else c for place, c in enumerate(good)]
        for text in TEXT
        for places in (texts, *([place] for place in texts))
    ]
    for number, line in enumerate(lines):
        line[list(columns).index("order-item-id")] = f"1{number:013}"
    body = "\n".join("\t".join(line) for line in [list(columns), *lines])
    account = both_ways(s, Given(report_type, 1, 1, f"{body}\n".encode()))

    table = "order_lines" if report_type == NEW else "all_order_lines"
    assert len({row["digest"] is None for row in rows(s, account, table)}) == 2, "each way is gone by some"


@pytest.mark.parametrize("word", ["--", "N/A", "\u00a0"])
def test_a_word_for_nothing_replaces_no_address(s, word):
    """JP's shipments have `--` for a town; as a text it would be the whole of an address, and replace the one known."""
    header = "shipment-item-id amazon-order-id shipment-id sku quantity-shipped recipient-name ship-address-1 ship-city"
    known = flat(FBA, 1, header, [f"D1 {ORDER} S1 A 1 Ann Street_1 Tokyo"], hour=1)
    withheld = flat(FBA, 2, header, [f"D1 {ORDER} S1 A 1 . . {word}"], hour=2)
    with mock.patch("orderdrain.pipeline.log.warning") as warned:
        account = both_ways(s, known, withheld)

    assert warned.call_count == 2, "each way has noticed that it names nobody"
    (buyer,) = rows(s, account, "buyers")
    assert (buyer["recipient_name"], buyer["ship_address_1"], buyer["ship_city"]) == ("Ann", "Street 1", "Tokyo")


def test_a_dash_alone_makes_no_line_unusual(s):
    """Else each file of Japan's shipments would go the long way."""
    header = "shipment-item-id amazon-order-id shipment-id sku quantity-shipped recipient-name ship-city ship-country"
    account = both_ways(s, flat(FBA, 1, header, [f"D1 {ORDER} S1 A 1 Ann -- JP"], hour=1))

    assert [row["ship_city"] for row in rows(s, account, "buyers")] == [None]
    assert None not in digests(s, account, "fba_shipment_lines")


# -------------------------------------------------------------------------------------------------------- known lines

HEADER = "order-id order-item-id sku quantity-purchased item-price buyer-name ship-city"


def new_orders(number, *, hour=None, lines=3, price="1.00", extra=()):
    rows_ = [f"{ORDER} {item} A 1 {price} Ann Bath" for item in ITEMS[:lines]]
    return flat(NEW, number, HEADER, [*rows_, *extra], hour=number if hour is None else hour)


def test_a_known_line_is_not_read_again(s):
    """The commonest of all: what another report has told already, be it older, the same or newer."""
    account = new_account(s)
    parse(s, account, new_orders(2))
    with mock.patch.object(UsualLayout, "read", side_effect=AssertionError("it was read")):
        assert parse(s, account, new_orders(2)) == "parsed 3 rows: 3 same"
        assert parse(s, account, new_orders(1)) == "parsed 3 rows: 3 older"
        assert parse(s, account, new_orders(3)) == "parsed 3 rows: 3 same"

    assert {row["report_id"] for row in rows(s, account, "order_lines")} == {"3"}
    (versions,) = {str(sorted(row["versions"].items())) for row in rows(s, account, "buyers")[:1]}
    assert versions.count(f"{at(3):%Y-%m-%dT%H}") == 2, "both groups of the buyer have moved on with the line"


def test_a_newer_report_moves_only_the_groups_on_that_its_lines_have_told(s):
    """An address from one report and a name from another: the same name again says nothing about the address."""
    address = flat(NEW, 1, HEADER, [f"{ORDER} {ITEMS[0]} A 1 . Ann Bath"], hour=1)
    name, again = (flat(NEW, n, HEADER, [f"{ORDER} {ITEMS[0]} A 1 . Ann ."], hour=n) for n in (2, 5))
    late = flat(NEW, 4, HEADER, [f"{ORDER} {ITEMS[0]} A 1 . Bob Leeds"], hour=4)

    (buyer,) = rows(s, both_ways(s, address, name, again, late), "buyers")
    assert (buyer["buyer_name"], buyer["ship_city"]) == ("Ann", "Leeds")


@pytest.mark.parametrize("few", [1, 2, 4, 5])
def test_where_buyers_are_few_only_theirs_move_on_and_each_of_them(s, few):
    """Of many lines few may have one: which is asked once, unless there are more than a few."""
    named, nobody = [f"{ORDER} {item} A 1 1.00 Ann Bath" for item in ITEMS[:3]], f"{ORDER} {ITEMS[4]} A 1 1.00 . ."
    reports = [flat(NEW, n, HEADER, [*named, nobody], hour=n) for n in (1, 2, 3)]
    with mock.patch.object(short_way, "FEW_BUYERS", few):
        account = both_ways(s, *reports)

    assert len(rows(s, account, "buyers")) == 3
    assert all(f"{at(3):%Y-%m-%dT%H}" in str(row["versions"]) for row in rows(s, account, "buyers"))


def test_a_known_line_that_tells_of_no_buyer_is_still_noticed_as_such(s):
    """Whether a report names anybody is asked of each report, also where no line of it is new."""
    account = new_account(s)
    blank = flat(NEW, 1, HEADER, [f"{ORDER} {ITEMS[0]} A 1 . . ."], hour=1)
    parse(s, account, blank)
    with mock.patch("orderdrain.pipeline.log.warning") as warned:
        parse(s, account, blank)
        assert warned.call_count == 1
        parse(s, account, new_orders(2))
        assert warned.call_count == 1


# --------------------------------------------------------------------------------------------------- not just usual


@pytest.mark.parametrize("batch", [1, 2, 3, 16_000])
@pytest.mark.parametrize("before", [0, 1])
def test_a_line_that_stands_in_a_file_again_and_again_is_the_last_of_them(s, batch, before):
    """Whether its others are in the same batch or in another, and whether anything was known before."""
    again = [f"{ORDER} {ITEMS[n % 3]} A {n + 1} {n}.00 Ann{n} Bath" for n in range(9)]
    with mock.patch("orderdrain.orders.batches.BATCH_LINES", batch):
        account = both_ways(s, *[new_orders(1)] * before, new_orders(2, extra=again))

    assert sorted(row["quantity"] for row in rows(s, account, "order_lines")) == [7, 8, 9]


def test_a_line_that_only_seems_to_stand_twice_is_taken(s):
    """Where the memory of keys is full, each seems to have been seen."""
    with mock.patch.object(short_way, "SEEN_BITS", 8):
        account = both_ways(s, new_orders(1, lines=30))

    assert len(rows(s, account, "order_lines")) == 30


def test_a_file_with_many_lines_that_are_not_usual_goes_the_long_way_whole(s):
    """Then the usual is something else; nothing of what was begun is left."""
    odd = [f"{ORDER} {ITEMS[n]} A +1 1.00 Ann Bath" for n in range(10, 14)]
    with mock.patch.object(short_way, "ODD_BYTES", 100):
        account = both_ways(s, new_orders(1, extra=odd))

    assert {row["digest"] for row in rows(s, account, "order_lines")} == {None}


def test_a_continuation_is_joined_though_its_line_is_usual(s):
    """Its line is read with it, wherever it stands."""
    header = f"{HEADER} item-promotion-id"
    more = [f"{ORDER} {ITEMS[0]} . . . . . P2"]
    report = flat(NEW, 2, header, [f"{ORDER} {item} A 1 1.00 Ann Bath P1" for item in ITEMS[:3]] + more, hour=2)
    account = both_ways(s, new_orders(1), report)

    (extra,) = (row["extra"] for row in rows(s, account, "order_lines") if row["order_item_id"] == ITEMS[0])
    assert extra["continued"] == [{"item-promotion-id": "P2"}]


@pytest.mark.parametrize("before", [0, 1])
def test_a_text_that_is_torn_at_the_end_of_its_line_is_kept_in_half_by_neither_way(s, before):
    """Whether or not anything was known: its line looks usual, and only the next one shows that it is torn."""
    whole, torn = new_orders(1), new_orders(2)
    body = torn.body.replace(b"Bath", b"Bath\nSpa", 1)
    account = both_ways(s, *[whole] * before, Given(NEW, 2, 2, body))

    told = {row["order_item_id"]: row["report_id"] for row in rows(s, account, "order_lines")}
    assert told == {**({ITEMS[0]: "1"} if before else {}), ITEMS[1]: "2", ITEMS[2]: "2"}


def test_a_file_cut_in_a_line_leaves_nothing(s):
    """The short way has copied its first lines when it finds out."""
    account = new_account(s)
    whole = new_orders(1)
    cut = Given(NEW, 1, 1, whole.body[:-20])

    assert "the file is cut" in parse(s, account, cut)
    assert rows(s, account, "order_lines") == rows(s, account, "buyers") == []


def test_buyers_of_lines_that_somebody_deleted_are_merged(s):
    """A row in `buyers` without its line is no reason to fail, and may be newer."""
    account, lines = new_account(s), new_orders(1)
    parse_all(
        s, account, [new_orders(2, price="2.00"), flat(NEW, 9, HEADER, [f"{ORDER} {ITEMS[30]} A 1 . . ."], hour=9)]
    )
    s.db.query("DELETE FROM order_lines WHERE account = %s AND order_item_id <> %s", (account, ITEMS[30]))

    assert parse(s, account, lines) == "parsed 3 rows: 3 new"
    assert all(f"{at(2):%Y-%m-%dT%H}" in str(row["versions"]) for row in rows(s, account, "buyers"))


@pytest.mark.parametrize("price", ["1.00", "2.00"])
def test_who_writes_to_its_lines_at_the_same_moment_without_the_lock_loses_nothing(s, price):
    """A person at psql, say, whose transaction is open when a report comes that tells the line anew, or once more."""
    account = new_account(s)
    parse(s, account, new_orders(1))
    with ThreadPoolExecutor(1) as worker, psycopg2.connect(s.db.url) as person, person.cursor() as cursor:
        cursor.execute(
            "UPDATE order_lines SET sku = 'B' WHERE account = %s AND order_item_id = %s", (account, ITEMS[1])
        )
        comes = worker.submit(parse, s, account, new_orders(2, price=price))
        waits, deadline = "SELECT count(*) FROM pg_locks WHERE NOT granted", time.monotonic() + 30
        while s.db.query(waits) == [(0,)]:
            assert time.monotonic() < deadline, "it never came to the line"
            time.sleep(0.01)
        person.commit()
        if price == "1.00":
            assert comes.result() == "parsed 3 rows: 1 changed, 2 same"
        else:
            with pytest.raises(RetryLater, match="parse attempt 1 of 8 failed: somebody else wrote to its lines"):
                comes.result()
            assert parse(s, account, new_orders(2, price=price)) == "parsed 3 rows: 3 changed"
        worker.submit(s.db.close).result()

    assert {(row["report_id"], row["sku"], str(row["item_price"])) for row in rows(s, account, "order_lines")} == {
        ("2", "A", price)
    }


def test_a_statement_that_was_planned_for_empty_tables_reads_only_the_lines_asked_for(s):
    """A session plans once, and a new installation's tables are full before anybody has counted their rows."""
    account = new_account(s)
    for number in range(1, 9):  # after some times Postgres keeps the plan
        parse(s, account, new_orders(number, price=f"{number}.00", lines=4))
    many = [f"{ORDER} {n} A 1 1.00 Ann Bath" for n in range(10**13, 10**13 + 2000)]
    parse(s, account, flat(NEW, 50, HEADER, many, hour=50))
    read = (
        "SELECT pg_stat_force_next_flush(), sum(idx_tup_fetch + coalesce(seq_tup_read, 0)) AS n"
        " FROM pg_stat_user_tables WHERE relname IN ('order_lines', 'buyers')"
    )
    s.db.query(read)
    before = s.db.query(read)[0].n

    assert parse(s, account, new_orders(99, price="9.99", lines=6)) == "parsed 6 rows: 2 new, 4 changed"
    s.db.query(read)
    assert s.db.query(read)[0].n - before < 100


# ------------------------------------------------------------------------------------------------------------ digests


def digests(s, account, table="order_lines"):
    return [row["digest"] for row in rows(s, account, table)]


@pytest.mark.parametrize("purge", ["UPDATE buyers SET buyer_name = NULL, purged_at = app_now()", "DELETE FROM buyers"])
def test_no_digest_of_a_buyer_outlives_the_purge(s, purge):
    """Nor does it come back with a report from the archive, or a newer one."""
    account = new_account(s)
    parse(s, account, new_orders(1))
    assert None not in digests(s, account)

    s.db.query(f"{purge} WHERE account = %s", (account,))
    assert set(digests(s, account)) == {None}

    parse_all(s, account, [new_orders(1), new_orders(2)])
    if purge.startswith("UPDATE"):
        assert set(digests(s, account)) == {None}
        assert {row["buyer_name"] for row in rows(s, account, "buyers")} == {None}


def test_no_digest_of_a_town_outlives_its_purge(s):
    """All Orders keeps its town in the row itself."""
    header = "amazon-order-id purchase-date last-updated-date order-status order-item-id ship-city"
    account, first, newer = (
        new_account(s),
        *(flat(ALL, n, header, [f"{ORDER} {cell(0)} {cell(n)} Shipped {ITEMS[0]} Bath"], hour=n) for n in (1, 2)),
    )
    parse(s, account, first)
    s.db.query("UPDATE all_order_lines SET ship_city = NULL, purged_at = app_now() WHERE account = %s", (account,))
    assert digests(s, account, "all_order_lines") == [None]

    parse_all(s, account, [first, newer])
    assert digests(s, account, "all_order_lines") == [None]
    assert rows(s, account, "all_order_lines")[0]["ship_city"] is None


def test_a_line_that_was_read_by_other_code_is_read_again(s):
    """What an older version understood otherwise must not stay so."""
    account = new_account(s)
    parse(s, account, new_orders(1))
    known = digests(s, account)
    with mock.patch("orderdrain.orders.digests.code", return_value=b"another version"):
        newer = replace(s, orders=Orders(Digests(s.orders._digests._key)))
    assert parse(newer, account, new_orders(2)) == "parsed 3 rows: 3 same"

    assert not set(known) & set(digests(s, account))
    assert None not in digests(s, account)


def test_a_line_of_two_accounts_has_one_digest_and_its_key_is_in_no_table(s):
    """Who has the database alone finds the key nowhere in it."""
    one, other = new_account(s), new_account(s)
    parse(s, one, new_orders(1))
    parse(s, other, new_orders(1))

    assert digests(s, one) == digests(s, other)
    with psycopg2.connect(s.db.url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM information_schema.columns WHERE column_name ~ 'key$' AND data_type = 'bytea'"
        )
        assert cursor.fetchone() == (0,)
