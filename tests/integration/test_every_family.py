"""Any order, overlap and repetition of any reports of all families ends in the same tables, on real Postgres."""

from __future__ import annotations

import io
import threading
from collections import defaultdict

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from orderdrain.parsers import open_report
from orderdrain.reports import Report, State
from tests.tables import (
    ALL,
    ALL_XML,
    FBA,
    NEW,
    NEW_XML,
    PENDING,
    UNSHIPPED,
    Given,
    cell,
    downloaded,
    new_account,
    parse_all,
    parse_all_the_long_way,
    parse_by_two_workers,
    rows,
    tables,
    without_digests,
)

ORDERS = ("111-0000001-0000000", "111-0000002-0000000")
ITEMS = ("01234567890123", "01234567890124")
TIMES = ("", cell(1), cell(2), cell(3))
TEXTS = ("", "x", "y")
#: The columns of flat files: those that each has, and those that a layout may lack, with the values of their cells.
#: "z" is no quantity: its row is rejected.
FLAT = {
    NEW: (
        {"order-id": ORDERS, "order-item-id": ITEMS, "sku": ("A", "B"), "quantity-purchased": ("1", "2", "z")},
        {
            "item-price": ("", "1.00", "2.50"),
            "ioss-number": TEXTS,
            "buyer-name": TEXTS,
            "ship-city": TEXTS,
            "new": TEXTS,
        },
    ),
    UNSHIPPED: (
        {
            "order-id": ORDERS,
            "order-item-id": ITEMS,
            "sku": ("A",),
            "quantity-purchased": ("1", "2", "z"),
            "quantity-to-ship": ("1", "2"),
        },
        {"reporting-date": TIMES, "payments-date": TIMES, "buyer-name": TEXTS, "is-ispu-order": TEXTS},
    ),
    ALL: (
        {
            "amazon-order-id": ORDERS,
            "purchase-date": (cell(0),),
            "order-status": ("Pending", "Shipped"),
            "sku": ("A", "A", "B"),
            "quantity": ("1", "2", "z"),
        },
        {
            "last-updated-date": TIMES,
            "order-item-id": ("", *ITEMS),
            "item-price": ("", "1.00"),
            "ship-city": TEXTS,
            "ship-postal-code": TEXTS,
            "cpf": TEXTS,
            "url": TEXTS,
        },
    ),
    PENDING: (
        {"order-id": ORDERS, "order-item-id": ITEMS, "sku": ("A",), "quantity-purchased": ("1", "z")},
        {"payment-type": TEXTS, "new": TEXTS},
    ),
    FBA: (
        {
            "shipment-item-id": ("D1", "D2"),
            "shipment-id": ("S1",),
            "amazon-order-id": ORDERS,
            "sku": ("A", "B"),
            "quantity-shipped": ("1", "2", "z"),
        },
        {"amazon-order-item-id": ("", *ITEMS), "item-price": ("", "1.00"), "ship-city": TEXTS},
    ),
}


@st.composite
def flat_files(draw, number, report_type):
    always, sometimes = FLAT[report_type]
    columns = {
        **always,
        **{name: sometimes[name] for name in sorted(draw(st.sets(st.sampled_from(sorted(sometimes)))))},
    }
    fewest = 0 if report_type == UNSHIPPED else 1
    lines = draw(
        st.lists(st.tuples(*(st.sampled_from(values) for values in columns.values())), min_size=fewest, max_size=5)
    )
    body = "\n".join("\t".join(line) for line in [tuple(columns), *lines])
    return Given(report_type, number, draw(st.integers(1, 4)), f"{body}\n".encode())


@st.composite
def xml_files(draw, number):
    """All Orders in XML, with orders that stand in it twice, and items that cannot be read."""
    elements = draw(
        st.lists(
            st.tuples(
                st.sampled_from(ORDERS),
                st.sampled_from(TIMES[1:]),
                st.lists(st.tuples(st.sampled_from("AAB"), st.sampled_from("12z")), min_size=1, max_size=3),
            ),
            min_size=1,
            max_size=3,
        )
    )
    told = "".join(
        f"<Message><Order><AmazonOrderID>{order}</AmazonOrderID><PurchaseDate>{cell(0)}</PurchaseDate>"
        f"<LastUpdatedDate>{updated}</LastUpdatedDate><OrderStatus>Shipped</OrderStatus>"
        + "".join(
            f"<OrderItem><SKU>{sku}</SKU><Quantity>{quantity}</Quantity></OrderItem>\n" for sku, quantity in items
        )
        + "</Order></Message>"
        for order, updated, items in elements
    )
    body = f"<AmazonEnvelope><MessageType>AllOrdersReport</MessageType>{told}</AmazonEnvelope>"
    return Given(ALL_XML, number, draw(st.integers(1, 4)), body.encode())


@st.composite
def some_reports(draw, types=(*FLAT, ALL_XML)):
    """Two to six reports, of whatever families, that tell overlapping lines; some were made in the same hour."""
    chosen = draw(st.lists(st.sampled_from(types), min_size=2, max_size=6))
    return [
        draw(xml_files(number) if report_type == ALL_XML else flat_files(number, report_type))
        for number, report_type in enumerate(chosen, 1)
    ]


shared_database = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@shared_database
@given(reports=some_reports(), data=st.data())
def test_any_order_and_repetition_of_reports_of_all_families_ends_in_the_same_tables(s, reports, data):
    """Nobody knows in which order workers come to the reports of an account: whole tables and views are compared. Nor
    does anybody see there which lines went the short way."""
    order = data.draw(st.permutations(reports), label="order")
    repeated = [*order, *data.draw(st.lists(st.sampled_from(reports), max_size=3), label="again")]
    one, other, long_way = new_account(s), new_account(s), new_account(s)

    parse_all(s, one, reports)
    parse_all(s, other, repeated)
    parse_all_the_long_way(s, long_way, repeated)

    held = tables(s, one)
    assert held == tables(s, other)
    assert without_digests(held) == without_digests(tables(s, long_way))
    _note_ways(held)


def _note_ways(held):
    """What hypothesis tells of its examples (--hypothesis-show-statistics): both ways are gone."""
    digests = [row["digest"] for rows in held.values() for row in rows if "digest" in row]
    event(f"lines that went the short way: {any(digests)}, the long one: {None in digests}")


@settings(shared_database, max_examples=25)
@given(reports=some_reports(), data=st.data())
def test_two_workers_at_once_on_reports_of_all_families_end_in_the_same_tables_without_a_deadlock(s, reports, data):
    """Both may even have the same report in hand, if one of them has lost its lease."""
    alone, shared = new_account(s), new_account(s)
    parse_all(s, alone, reports)

    assert parse_by_two_workers(s, shared, data.draw(st.permutations(reports), label="order"), within=60) == []
    assert tables(s, alone) == tables(s, shared)


# --------------------------------------------------------------------------------------- All Orders, beside a model


def model(reports):
    """The lines of All Orders that hold, in a few lines of Python: (order, line key) -> its cells."""
    told = defaultdict(list)
    for report in reports:
        header, *lines = [line.split("\t") for line in report.body.decode().splitlines()]
        lines = [dict(zip(header, line, strict=True)) for line in lines]
        if all(line["quantity"] == "z" for line in lines):
            continue  # quarantined
        sets, damaged = defaultdict(list), set()
        for place, line in enumerate(lines, 2):
            order, item = line["amazon-order-id"], line.get("order-item-id")
            if line["quantity"] == "z":
                damaged |= set() if item else {(order, line["sku"])}
            elif item:
                changed = line.get("last-updated-date") or cell(report.hour)
                told[order, item].append(((True, changed, report.hour, report.number, place), line))
            else:
                sets[order, line["sku"], line.get("last-updated-date", "")].append((place, line))
        for (order, sku, updated), twins in sets.items():
            whole = (order, sku) not in damaged
            version = (whole, updated or cell(report.hour), report.hour, report.number, twins[0][0])
            for n, (_, line) in enumerate(twins, 1):
                told[order, f"{sku}#{n}"].append((version, line))
    newest = {key: max(version for version, _ in lines) for key, lines in told.items()}
    with_id = {order for order, key in told if "#" not in key}
    return {
        (order, key): _cells(lines)
        for (order, key), lines in told.items()
        if "#" not in key
        or (
            order not in with_id
            and newest[order, key]
            == max(v for (o, k), v in newest.items() if o == order and k.partition("#")[0] == key.partition("#")[0])
        )
    }


def _cells(lines):
    """Each column by the newest version that told it; the town by the newest that told any of it."""
    cells = {}
    for _, line in sorted(lines, key=lambda told: told[0]):
        town = {name: line.get(name, "") for name in ("ship-city", "ship-postal-code")}
        cells |= {name: line[name] for name in ("order-status", "quantity", "item-price", "url") if name in line}
        cells |= town if any(town.values()) else {}
    return {name: value for name, value in cells.items() if value}


@settings(shared_database, max_examples=120)
@given(reports=some_reports(types=(ALL,)), data=st.data())
def test_all_orders_hold_what_a_model_of_their_rules_says(s, reports, data):
    """Twins, sets, rejected rows, ids that come and go, layouts that differ, all at once."""
    account = new_account(s)

    parse_all(s, account, data.draw(st.permutations(reports), label="order"))

    def shown(row):
        cells = {
            "order-status": row["order_status"],
            "quantity": str(row["quantity"]),
            "item-price": row["item_price"] and str(row["item_price"]),
            "url": row["extra"].get("url"),
            "ship-city": row["ship_city"],
            "ship-postal-code": row["ship_postal_code"],
        }
        return {name: value for name, value in cells.items() if value}

    held = {(row["order_id"], row["line_key"]): shown(row) for row in rows(s, account, "current_all_order_lines")}
    assert held == model(reports)


# ------------------------------------------------------------------------------------------------------------ layouts


def fees(number, count):
    """New Orders in XML, with so many kinds of fee: each is a column without one of its own."""
    items = "".join(
        f"<Fee><Type>AFeeWithAQuiteLongNameOfItsOwnNumber{n}</Type><Amount currency='USD'>-{n}.00</Amount></Fee>"
        for n in range(count)
    )
    body = (
        "<AmazonEnvelope><MessageType>OrderReport</MessageType><Message><OrderReport>"
        f"<AmazonOrderID>{ORDERS[0]}</AmazonOrderID><Item><AmazonOrderItemCode>{ITEMS[0]}</AmazonOrderItemCode>"
        f"<SKU>A</SKU><Quantity>1</Quantity><ItemFees>{items}</ItemFees></Item></OrderReport></Message></AmazonEnvelope>"
    )
    return Given(NEW_XML, number, number, body.encode())


def test_a_layout_of_hundreds_of_columns_is_a_layout(s):
    """Taxes and fees in XML: more names than an index entry holds."""
    account = new_account(s)

    assert parse_all(s, account, [fees(1, 400), fees(2, 400)]) == ["parsed 1 rows: 1 new", "parsed 1 rows: 1 same"]
    (row,) = rows(s, account, "order_lines")
    assert len(row["extra"]) == 400
    assert s.db.query("SELECT count(*) FROM layouts WHERE cardinality(columns) > 400") == [(1,)]


def test_accounts_with_the_same_layout_do_not_wait_for_each_other(s):
    """Most reports of all accounts have one layout: who writes it down must not hold up all others until it is done."""
    one, other = new_account(s), new_account(s)
    parse_all(s, one, [fees(1, 1)])
    done = threading.Event()

    def parse_of_the_other():
        parse_all(s, other, [fees(1, 1)])
        s.db.close()
        done.set()

    report = Report(downloaded(s, one, fees(2, 1)), NEW_XML, fees(2, 1).as_of, State.DOWNLOADED, 1, None, None)
    with (
        s.db.transaction() as cursor,
        open_report(io.BytesIO(fees(2, 1).body), report_type=NEW_XML, content_type=None, marketplaces=()) as parsed,
    ):
        s.orders.merge(cursor, report, parsed)
        thread = threading.Thread(target=parse_of_the_other)
        thread.start()
        assert done.wait(60), "it waits for the other account's commit"
    thread.join()
