"""Any bytes, and any damage to a good file: no crash, no hang, every row accounted for, and never a wrong row."""

from __future__ import annotations

import io
from xml.sax.saxutils import escape

from hypothesis import given, settings
from hypothesis import strategies as st

from orderdrain.errors import NotAReport
from orderdrain.families import FAMILIES, REPORT_TYPES
from orderdrain.marketplaces import style_of
from orderdrain.parsers import Line, Rejected, open_report
from orderdrain.parsers.cells import Unreadable, read_cell

US = "ATVPDKIKX0DER"
NAMED = {(t.family.name, t.format): t.name for t in REPORT_TYPES.values()}
FLAT = sorted(name for (_, kind), name in NAMED.items() if kind == "flat")
XML = sorted(name for (_, kind), name in NAMED.items() if kind == "xml")


def told(body: bytes, report_type: str):
    """The report, its lines and rejected rows; None where it is no report."""
    try:
        with open_report(io.BytesIO(body), report_type=report_type, content_type=None, marketplaces=(US,)) as report:
            items = [item for block in report.blocks() for item in (*block.lines, *block.rejected)]
    except NotAReport:
        return None
    # What the ledger keeps must account for each row of the file.
    assert report.counts.read == report.rows == sum(1 + (i.joined if isinstance(i, Line) else 0) for i in items)
    assert all(isinstance(item, Line | Rejected) for item in items)
    numbers = [item.number if isinstance(item, Line) else item.line for item in items]
    assert len(set(numbers)) == len(numbers)
    return report, [i for i in items if isinstance(i, Line)], [i for i in items if isinstance(i, Rejected)]


def values(report, line: Line) -> dict[str, str | None]:
    return dict(zip(report.fields, line.values, strict=True)) | {
        f"buyer.{field}": value for field, value in zip(report.buyer_fields, line.buyer, strict=True)
    }


# ------------------------------------------------------------------------------------------------------- flat files

text = st.text(st.characters(codec="utf-8", exclude_characters="\n\r\t\0"), max_size=12)
CELLS = {
    "id": st.from_regex(r"[0-9]{13,15}", fullmatch=True),
    "code": text,
    "text": text,
    "integer": st.integers(-(2**31) + 1, 2**31 - 1).map(str),
    "money": st.decimals(-99999, 99999, places=2).map(str) | st.just(""),
    "currency": st.sampled_from(["USD", "EUR", ""]),
    "timestamp": st.datetimes().map(lambda t: f"{t:%Y-%m-%dT%H:%M:%S}Z".rjust(20, "0")) | st.just(""),
    "boolean": st.sampled_from(["true", "false", "", "Yes"]),
}


@st.composite
def flat_files(draw, cells=CELLS, own_ids=False):
    """A report type and a file of it: its header and rows, a dict by header name each."""
    report_type = draw(st.sampled_from(FLAT))
    family = REPORT_TYPES[report_type].family
    optional = st.lists(st.sampled_from([c for c in family.columns if not c.required]), max_size=6, unique=True)
    columns = draw(st.permutations([*(c for c in family.columns if c.required), *draw(optional)]))
    rows = []
    for n in range(draw(st.integers(1, 4))):
        row = {c.name: draw(cells[c.type].filter(str.strip) if c.required else cells[c.type]) for c in columns}
        if own_ids:
            row |= {c.name: f"{n:03d}-0000000-{n:07d}" for c in columns if c.field in {"order_id", "shipment_item_id"}}
            row |= {c.name: f"{n:014d}" for c in columns if c.field == "order_item_id"}
            row |= {c.name: f"SK-{n}" for c in columns if c.field in {"sku", "asin"}}
        rows.append(row)
    return report_type, [c.name for c in columns], rows


def lines_of(header: list[str], rows: list[dict[str, str]]) -> list[str]:
    return ["\t".join(header), *("\t".join(row.values()) for row in rows)]


@settings(deadline=None, max_examples=200)
@given(flat_files(), st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]), st.sampled_from(["\n", "\r\n"]))
def test_each_cell_of_a_flat_file_comes_back_as_it_was_written(file, encoding: str, end: str):
    """Or its row is rejected; whatever the family, the order of its columns and what stands in its texts."""
    report_type, header, rows = file
    found = told((end.join(lines_of(header, rows)) + end).encode(encoding), report_type)
    if found is None:
        return
    report, lines, _ = found
    written = dict(enumerate(rows, 2))
    for line in lines:
        said = values(report, line)
        for column in report.family.columns:
            if column.name in header and column.field and not line.joined:
                wrote = written[line.number][column.name]
                assert said[f"buyer.{column.field}" if column.of_buyer else column.field] == read_cell(
                    wrote, column.type, style_of((US,))
                )


ascii_cells = CELLS | dict.fromkeys(
    ("text", "code"), st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8)
)
mutations = st.lists(
    st.tuples(
        st.floats(0, 1), st.integers(0, 9), st.sampled_from(["", "\t", "\n", "\r\n", '"', ",", "x", "\n\n", "\t\t"])
    ),
    min_size=1,
    max_size=3,
)


@settings(deadline=None, max_examples=300)
@given(flat_files(cells=ascii_cells, own_ids=True), mutations)
def test_damage_to_one_line_of_a_flat_file_touches_no_other(file, damage):
    """Every row whose line is as it was is given as it was; the others are rows, rejected, or the whole is refused.

    But where a text ends the rows, a line of one cell may be the rest of it: then the row before is rejected with it.
    """
    report_type, header, rows = file
    family = REPORT_TYPES[report_type].family
    ends_in_text = family.by_name[header[-1].lower()].type == "text"
    head, *written = lines_of(header, rows)
    body = "\n".join(written) + "\n"
    before = told(f"{head}\n{body}".encode(), report_type)
    for share, length, inserted in damage:
        at = int(share * len(body))
        body = body[:at] + inserted + body[at + length :]
    after = told(f"{head}\n{body}".encode(), report_type)
    if before is None or after is None:
        return
    given = {written[line.number - 2]: line for line in before[1] if not line.joined}
    now = body.split("\n")
    again = {line.number: line for line in after[1]}
    for number, said in enumerate(now, 2):
        next_line = next((line for line in now[number - 1 :] if line.strip()), "\t")
        if ends_in_text and "\t" not in next_line:
            continue
        if said in given and now.count(said) == 1:
            assert number in again
            assert again[number].key == given[said].key
            if not again[number].joined:
                assert values(after[0], again[number]) | {"extra": 0, "buyer.extra": 0} == values(
                    before[0], given[said]
                ) | {"extra": 0, "buyer.extra": 0}


@settings(deadline=None, max_examples=200)
@given(flat_files(), st.binary(max_size=40), st.floats(0, 1), st.integers(0, 60))
def test_any_bytes_in_a_flat_file_end_as_rows_or_as_no_report(file, inserted: bytes, share: float, length: int):
    """No crash and no hang, in any family."""
    report_type, header, rows = file
    body = "\n".join(lines_of(header, rows)).encode()
    at = int(share * len(body))

    told(body[:at] + inserted + body[at + length :], report_type)


# ------------------------------------------------------------------------------------------------------- XML documents

xml_text = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff"), max_size=12
)


def document(layout, messages: list[str]) -> str:
    kind = f"<MessageType>{layout.message_type}</MessageType>" if layout.message_type else ""
    return f"<AmazonEnvelope>\n{kind}\n" + "".join(messages) + "</AmazonEnvelope>\n"


def element(paths: dict[str, str]) -> str:
    """XML with these values at these paths, in the order of the paths."""
    said = ""
    for path, value in paths.items():
        *parents, name = path.split("/")
        amount = f'<Type>{name}</Type><Amount currency="USD">{escape(value)}</Amount>'
        typed = parents and parents[-1] in {"ItemPrice", "Promotion"}
        inner = f"<Component>{amount}</Component>" if typed else f"<{name}>{escape(value)}</{name}>"
        said += "".join(f"<{p}>" for p in parents) + inner + "".join(f"</{p}>" for p in reversed(parents))
    return said


@st.composite
def xml_files(draw):
    """A report type, and per message the values of its one item, by path."""
    report_type = draw(st.sampled_from(XML))
    family = REPORT_TYPES[report_type].family
    names = {p: family.by_name[n.lower()] for p, n in family.xml.names.items() if "@" not in p and "MerchantP" not in p}
    required = [path for path, column in names.items() if column.required or column.field == "sku"]
    optional = st.lists(st.sampled_from([p for p in names if p not in required] or required), max_size=6, unique=True)
    orders = []
    for n in range(draw(st.integers(1, 4))):
        said = {}
        for path in [*required, *draw(optional)]:
            column = names[path]
            strategy = xml_text if column.type in {"text", "code"} else CELLS[column.type]
            said[path] = draw(strategy.filter(lambda value: bool(value.strip())) if column.required else strategy)
            if column.field in {"order_id", "order_item_id"}:
                said[path] = f"{n:03d}-0000000-{n:07d}" if column.field == "order_id" else f"{n:014d}"
            if column.field in {"sku", "asin"}:
                said[path] = f"SK-{n}"
        orders.append({path: said[path] for path in names if path in said})
    return report_type, orders


def messages_of(layout, orders: list[dict[str, str]]) -> list[str]:
    element_name = layout.order or "PendingOrder"
    item = f"{layout.item}/"
    return [
        f"<Message>\n<{element_name}>"
        + element({p: v for p, v in said.items() if not p.startswith(item)})
        + f"<{layout.item}>"
        + element({p.removeprefix(item): v for p, v in said.items() if p.startswith(item)})
        + f"</{layout.item}></{element_name}></Message>\n"
        for said in orders
    ]


@settings(deadline=None, max_examples=200)
@given(xml_files(), st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_each_value_of_an_xml_document_comes_back_as_it_was_written(file, encoding: str):
    """Under the column of a flat file, whatever its text."""
    report_type, orders = file
    family = REPORT_TYPES[report_type].family
    found = told(document(family.xml, messages_of(family.xml, orders)).encode(encoding), report_type)
    assert found is not None or all(unreadable(family, said) for said in orders)
    if found is None:
        return
    report, lines, rejected = found
    assert len(lines) + len(rejected) == len(orders)
    by_order = {said["AmazonOrderID"]: said for said in orders}
    for line in lines:
        told_values = values(report, line)
        for path, wrote in by_order[told_values["order_id"]].items():
            column = family.by_name[family.xml.names[path].lower()]
            if "Promotion" in path or not column.field:
                continue
            said = told_values[f"buyer.{column.field}" if column.of_buyer else column.field]
            assert said == read_cell(wrote.strip(), column.type, style_of((US,))), path


def unreadable(family, said: dict[str, str]) -> bool:
    try:
        for path, wrote in said.items():
            read_cell(wrote.strip(), family.by_name[family.xml.names[path].lower()].type, style_of((US,)))
    except Unreadable:
        return True
    return False


PIECES = [
    "",
    "<",
    ">",
    "&",
    "<Message>",
    "</Message>",
    "</AmazonEnvelope>",
    "<AmazonEnvelope>",
    "<!--",
    "-->",
    "<![CDATA[",
]
PIECES += [
    "]]>",
    "<?x",
    "?>",
    "<!DOCTYPE a>",
    "<Item>",
    "</Item>",
    "&a;",
    "\x00",
    "\x0b",
    "\ufffe",
    "<Message/>",
    "é",
    "\n",
]


@settings(deadline=None, max_examples=400)
@given(xml_files(), st.integers(0, 3), st.floats(0, 1), st.integers(0, 30), st.sampled_from(PIECES))
def test_damage_to_one_message_touches_no_other(file, which: int, share: float, length: int, inserted: str):
    """The others are given as they were, or the whole is refused."""
    report_type, orders = file
    family = REPORT_TYPES[report_type].family
    messages = messages_of(family.xml, orders)
    before = told(document(family.xml, messages).encode(), report_type)
    which %= len(messages)
    at = int(share * len(messages[which]))
    messages[which] = messages[which][:at] + inserted + messages[which][at + length :]
    after = told(document(family.xml, messages).encode(), report_type)
    if before is None or after is None:
        return
    damaged = orders[which]["AmazonOrderID"]
    now = [values(after[0], line) for line in after[1]]
    for line in before[1]:
        said = values(before[0], line)
        if said["order_id"] != damaged:
            same = [again for again in now if again["order_id"] == said["order_id"]]
            assert any(
                {k: v for k, v in again.items() if k in said and "extra" not in k}
                == {k: v for k, v in said.items() if k in again and "extra" not in k}
                for again in same
            )


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(XML), st.lists(st.sampled_from(PIECES) | xml_text, max_size=14).map("".join), st.booleans())
def test_any_text_as_xml_ends_as_rows_or_as_no_report(report_type: str, body: str, wrapped: bool):
    """No crash and no hang, whatever comes."""
    told((f"<AmazonEnvelope>{body}</AmazonEnvelope>" if wrapped else body).encode("utf-8", "replace"), report_type)


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(XML), st.binary(max_size=200))
def test_any_bytes_as_xml_end_as_rows_or_as_no_report(report_type: str, body: bytes):
    """The same below the charset."""
    told(b"<AmazonEnvelope>" + body, report_type)
    told(body, report_type)


def test_every_family_is_drawn_from():
    """What is left out of the draw is not tested."""
    assert {name for name, _ in NAMED} == {family.name for family in FAMILIES}
