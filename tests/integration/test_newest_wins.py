"""Any order, overlap and repetition of reports ends in the same rows: through the parse step, on real Postgres."""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from xml.sax.saxutils import escape

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orderdrain import pipeline
from tests.tables import NEW, NEW_XML, at, downloaded, new_account, parse_all, parse_by_two_workers, tables

KEY_COLUMNS = ("order-id", "order-item-id")
REQUIRED = ("sku", "quantity-purchased")
#: Each optional column of a layout, with the values that a cell of it may have. "" is told blank.
OPTIONAL = {
    "item-price": ("", "10.00", "12.50"),
    "product-name": ("", "Teapot", 'Monitor 24" | black'),
    "is-prime": ("", "true", "false"),
    "ioss-number": ("", "IM1", "IM2"),  # has no column of its own: kept in extra
    "buyer-name": ("", "Ann Example", "Bob Example"),
    "buyer-email": ("", "a@example.com", "b@example.com"),
    "ship-city": ("", "Köln", "Paris"),
    "never-seen-before": ("", "x", "y"),  # unknown: personal until declared otherwise
}
GROUPS = {
    "contact": ("buyer-name", "buyer-email"),
    "ship_address": ("ship-city",),
    "extra": ("never-seen-before",),
}
LINE_COLUMNS = ("sku", "quantity-purchased", "item-price", "product-name", "is-prime", "ioss-number")


@dataclass(frozen=True)
class Told:
    """A report: when it was made, its columns, its lines as dicts of cells."""

    marketplaces = ()

    number: int
    hour: int
    columns: tuple[str, ...]
    lines: tuple[dict, ...] = field(hash=False)
    report_type: str = NEW

    @property
    def as_of(self) -> datetime:
        return at(self.hour)

    @property
    def body(self) -> bytes:
        header = (*KEY_COLUMNS, *self.columns)
        rows = ["\t".join(line[name] for name in header) for line in self.lines]
        return "\n".join(["\t".join(header), *rows, ""]).encode()


@st.composite
def told_reports(draw):
    """Two to five reports that tell overlapping lines in different layouts, some made in the same hour."""
    reports = []
    for number in range(1, draw(st.integers(2, 5)) + 1):
        chosen = draw(st.sets(st.sampled_from(sorted(OPTIONAL)), max_size=5))
        columns = (*REQUIRED, *sorted(chosen))
        lines = []
        for _ in range(draw(st.integers(1, 4))):
            order, item = draw(st.sampled_from([(1, 1), (1, 2), (2, 1)]))
            line = {
                "order-id": f"111-000000{order}-0000000",
                "order-item-id": f"0123456789{order}{item:02}",
                "sku": draw(st.sampled_from(["A", "B"])),
                "quantity-purchased": draw(st.sampled_from(["1", "2"])),
                **{name: draw(st.sampled_from(OPTIONAL[name])) for name in chosen},
            }
            lines.append(line)
        reports.append(Told(number, draw(st.integers(0, 3)), columns, tuple(lines)))
    return reports


def expected(reports):
    """The model: for each line, each column by the newest version that told it, each group by the newest that held
    any value."""
    newest: dict = defaultdict(dict)
    groups: dict = defaultdict(dict)
    for report in reports:
        for place, line in enumerate(report.lines):
            version = (report.as_of, report.number, place)
            key = (line["order-id"], line["order-item-id"])
            for name in set(LINE_COLUMNS).intersection(report.columns):
                if version > newest[key].get(name, (None, ((datetime.min.replace(tzinfo=UTC)), 0, 0)))[1]:
                    newest[key][name] = (line[name], version)
            for group, names in GROUPS.items():
                cells = {name: line.get(name, "") for name in names}
                if any(cells.values()) and (group not in groups[key] or version > groups[key][group][1]):
                    groups[key][group] = (cells, version)
    lines = {key: {name: cell for name, (cell, _) in told.items()} for key, told in newest.items()}
    buyers = {
        key: {name: cell for cells, _ in told.values() for name, cell in cells.items()}
        for key, told in groups.items()
        if told
    }
    return lines, buyers


def as_cells(s, account):
    """What Postgres holds, in the words of the model."""

    def shown(value):
        return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)

    lines, buyers = {}, {}
    for row in s.db.query("SELECT * FROM order_lines WHERE account = %s", (account,)):
        lines[row.order_id, row.order_item_id] = {
            "sku": row.sku,
            "quantity-purchased": shown(row.quantity),
            "item-price": shown(row.item_price),
            "product-name": shown(row.product_name),
            "is-prime": shown(row.is_prime),
            "ioss-number": row.extra.get("ioss-number", ""),
        }
    for row in s.db.query("SELECT * FROM buyers WHERE account = %s", (account,)):
        buyers[row.order_id, row.line_key] = {
            "buyer-name": shown(row.buyer_name),
            "buyer-email": shown(row.buyer_email),
            "ship-city": shown(row.ship_city),
            "never-seen-before": row.extra.get("never-seen-before", ""),
        }
    return lines, buyers


def filled(cells, names):
    """Columns that no report told are blank in the table."""
    return {key: {name: told.get(name, "") for name in names} for key, told in cells.items()}


shared_database = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@shared_database
@given(reports=told_reports(), data=st.data())
def test_any_order_and_repetition_of_reports_ends_in_the_rows_that_the_newest_told(s, reports, data):
    """Reports arrive late, twice and out of order, in layouts that differ: the tables must not show it."""
    order = data.draw(st.permutations(reports), label="order")
    repeated = [*order, *data.draw(st.lists(st.sampled_from(reports), max_size=3), label="again")]
    one, other = new_account(s), new_account(s)

    parse_all(s, one, reports)
    parse_all(s, other, repeated)

    lines, buyers = expected(reports)
    personal = tuple(name for names in GROUPS.values() for name in names)
    assert (filled(lines, LINE_COLUMNS), filled(buyers, personal)) == as_cells(s, one)
    assert tables(s, one) == tables(s, other)


@settings(shared_database, max_examples=25)
@given(reports=told_reports(), data=st.data())
def test_two_workers_parsing_at_once_end_in_the_same_rows_without_a_deadlock(s, reports, data):
    """Workers share accounts: what two connections write at once must be what one would have written."""
    alone, shared = new_account(s), new_account(s)
    parse_all(s, alone, reports)

    assert parse_by_two_workers(s, shared, data.draw(st.permutations(reports), label="order"), within=30) == []
    assert tables(s, alone) == tables(s, shared)


def test_the_same_report_again_writes_nothing(s):
    """A repeated parse is the commonest event of all: it must cost no write."""
    account = new_account(s)
    report = Told(1, 1, REQUIRED, ({"order-id": "1-1-1", "order-item-id": "2", "sku": "A", "quantity-purchased": "1"},))
    parse_all(s, account, [report])
    before = s.db.query("SELECT xmin, ctid FROM order_lines WHERE account = %s", (account,))

    assert pipeline.parse(s, downloaded(s, account, report)) == "parsed 1 rows: 1 same"
    assert s.db.query("SELECT xmin, ctid FROM order_lines WHERE account = %s", (account,)) == before


def test_a_newer_report_with_the_same_content_moves_the_version_on(s):
    """X at 1, x at 3, then a late y at 2: if the second x were skipped, y would win and be wrong."""
    account = new_account(s)

    def told(number, hour, sku):
        line = {"order-id": "1-1-1", "order-item-id": "2", "sku": sku, "quantity-purchased": "1"}
        return Told(number, hour, REQUIRED, (line,))

    parse_all(s, account, [told(1, 1, "x"), told(3, 3, "x"), told(2, 2, "y")])

    ((sku,),) = s.db.query("SELECT sku FROM order_lines WHERE account = %s", (account,))
    assert sku == "x"


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_a_column_that_newer_reports_lack_is_told_by_the_newest_that_has_it(s, order):
    """Old at 1, new at 2, and two reports without the column: neither a blank nor the old one may come of it."""
    line = {"order-id": "1-1-1", "order-item-id": "2", "sku": "A", "quantity-purchased": "1"}
    names = ("Old", "New", None, None)
    reports = [
        Told(n, n, (*REQUIRED, "product-name"), ({**line, "product-name": name},))
        if name
        else Told(n, n, REQUIRED, (line,))
        for n, name in enumerate(names, 1)
    ]
    account = new_account(s)

    parse_all(s, account, [reports[place] for place in order])

    ((name, older),) = s.db.query("SELECT product_name, older_columns FROM order_lines WHERE account = %s", (account,))
    assert (name, list(older)) == ("New", ["product_name"])


def test_report_ids_are_compared_as_numbers(s):
    """Of two reports of the same second the one with the greater id is newer, also when it is longer: 9 < 10."""
    account = new_account(s)

    def told(number, sku):
        line = {"order-id": "1-1-1", "order-item-id": "2", "sku": sku, "quantity-purchased": "1"}
        return Told(number, 1, REQUIRED, (line,))

    parse_all(s, account, [told(10, "newer"), told(9, "older")])

    ((sku,),) = s.db.query("SELECT sku FROM order_lines WHERE account = %s", (account,))
    assert sku == "newer"


def test_purged_buyer_data_does_not_come_back(s):
    """A buyer's data that was removed on its day must not return with a report from the archive."""
    account = new_account(s)
    columns = (*REQUIRED, "buyer-name")
    line = {"order-id": "1-1-1", "order-item-id": "2", "sku": "A", "quantity-purchased": "1", "buyer-name": "Ann"}
    parse_all(s, account, [Told(1, 1, columns, (line,))])
    s.db.query("UPDATE buyers SET buyer_name = NULL, purged_at = app_now() WHERE account = %s", (account,))

    parse_all(s, account, [Told(2, 2, columns, (line,))])

    ((name,),) = s.db.query("SELECT buyer_name FROM buyers WHERE account = %s", (account,))
    assert name is None


class ToldInXml(Told):
    """A report of the same lines in XML; a blank cell is an element that is not there."""

    @property
    def body(self) -> bytes:
        return f"<AmazonEnvelope>{''.join(map(self._message, self.lines))}</AmazonEnvelope>".encode()

    @staticmethod
    def _message(line: dict) -> str:
        def element(name: str, cell: str) -> str:
            return f"<{name}>{escape(line[cell])}</{name}>" if line[cell] else ""

        return (
            f"<Message><OrderReport>{element('AmazonOrderID', 'order-id')}{element('IsPrime', 'is-prime')}"
            f"<BillingData>{element('BuyerEmailAddress', 'buyer-email')}{element('BuyerName', 'buyer-name')}</BillingData>"
            f"<FulfillmentData><Address>{element('City', 'ship-city')}</Address></FulfillmentData>"
            f"<Item>{element('AmazonOrderItemCode', 'order-item-id')}{element('SKU', 'sku')}"
            f"{element('Title', 'product-name')}{element('Quantity', 'quantity-purchased')}<ItemPrice><Component>"
            f"<Type>Principal</Type><Amount currency='EUR'>{line['item-price']}</Amount></Component></ItemPrice>"
            "</Item></OrderReport></Message>"
        )


def in_both_formats(price: str, name: str, buyer: str, **options) -> tuple[Told, ToldInXml]:
    line = {"order-id": "111-0000001-0000000", "order-item-id": "01234567890101", "sku": "A", "quantity-purchased": "2"}
    line |= {
        "item-price": price,
        "product-name": name,
        "is-prime": "true",
        "buyer-name": buyer,
        "buyer-email": "a@x.de",
    }
    line |= {"ship-city": "Köln"}
    columns = tuple(line)[2:]
    number, hour = options.get("number", 1), options.get("hour", 1)
    return (
        Told(number, hour, columns, (line,)),
        ToldInXml(number, hour, columns, (line,), report_type=NEW_XML),
    )


def test_an_order_in_xml_is_the_row_that_the_flat_file_makes_of_it(s):
    """Both fill the same table: which of them a seller schedules must not be seen there."""
    flat, xml = in_both_formats("12.50", 'Monitor 24" & <black>', "Ann Example")
    of_flat, of_xml = new_account(s), new_account(s)
    parse_all(s, of_flat, [flat])
    parse_all(s, of_xml, [xml])

    assert as_cells(s, of_flat) == as_cells(s, of_xml)
    assert [row.state for row in s.db.query("SELECT state FROM reports")] == ["parsed", "parsed"]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_flat_and_xml_reports_in_any_order_end_in_what_the_newest_told(s, order):
    """A seller who changes from one format to the other has reports of both on their way."""
    reports = [
        in_both_formats("10.00", "Teapot", "Ann Example", number=1, hour=1)[0],
        in_both_formats("11.00", "Teapot", "Ann Example", number=2, hour=2)[1],
        in_both_formats("12.00", "Kettle", "Bob Example", number=3, hour=3)[1],
    ]
    account = new_account(s)
    parse_all(s, account, [reports[n] for n in order])

    lines, buyers = as_cells(s, account)
    key = ("111-0000001-0000000", "01234567890101")
    assert (lines[key]["item-price"], lines[key]["product-name"]) == ("12.00", "Kettle")
    assert buyers[key]["buyer-name"] == "Bob Example"
