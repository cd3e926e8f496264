"""XML order reports: every item is a row, under the columns that a flat file would have."""

from __future__ import annotations

import io
import json
import tracemalloc
from xml.sax.saxutils import escape

import pytest

from orderdrain.errors import NotAReport
from orderdrain.parsers import open_report, order_xml, rows, xml_messages

NEW, ALL, PENDING = "_GET_ORDERS_DATA_", "GET_XML_ALL_ORDERS_DATA_BY_LAST_UPDATE_GENERAL", "GET_PENDING_ORDERS_DATA"
DE = "A1PA6795UKMFR9"


def component(kind: str, amount: str, currency: str = "EUR") -> str:
    return f'<Component><Type>{kind}</Type><Amount currency="{currency}">{amount}</Amount></Component>'


def item(number: int = 1, *, title: str = "Mug", quantity: str = "1", price: str = "19.90", more: str = "") -> str:
    return (
        f"<Item><AmazonOrderItemCode>{number:014d}</AmazonOrderItemCode><SKU>SK-{number}</SKU>"
        f"<Title>{escape(title)}</Title><Quantity>{quantity}</Quantity>"
        f"<ItemPrice>{component('Principal', price)}{component('Tax', '1.40')}</ItemPrice>{more}</Item>"
    )


def order(number: int = 1, *items: str, more: str = "", name: str = "Ilka Morvenna") -> str:
    return (
        f"<Message><MessageID>{number}</MessageID><OrderReport>\n"
        f"<AmazonOrderID>701-0000000-{number:07d}</AmazonOrderID><AmazonSessionID>701-0000000-0000009</AmazonSessionID>"
        "<OrderDate>2026-05-11T02:15:00-07:00</OrderDate><OrderPostedDate>2026-05-11T09:20:00Z</OrderPostedDate>\n"
        f"<BillingData><BuyerEmailAddress>k3@marketplace.example</BuyerEmailAddress><BuyerName>{escape(name)}</BuyerName>"
        "<Address><Name>Ilka Morvenna</Name><AddressFieldOne>9 Bill Row</AddressFieldOne><City>Wexlade</City></Address>"
        "</BillingData>"
        f"<FulfillmentData><FulfillmentMethod>Ship</FulfillmentMethod><FulfillmentServiceLevel>Standard"
        f"</FulfillmentServiceLevel><Address><Name>{escape(name)}</Name><AddressFieldOne>14 Ship Row</AddressFieldOne>"
        "<City>Sampleford</City><PostalCode>01067</PostalCode><CountryCode>DE</CountryCode></Address></FulfillmentData>"
        f"{more}{''.join(items or (item(number),))}</OrderReport></Message>\n"
    )


def envelope(*messages: str, kind: str = "OrderReport", declaration: str = "") -> str:
    return (
        f'{declaration}<AmazonEnvelope xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
        '\n    xsi:noNamespaceSchemaLocation="amzn-envelope.xsd">\n<Header><DocumentVersion>1.01</DocumentVersion>'
        f"<MerchantIdentifier>M_1</MerchantIdentifier></Header>\n<MessageType>{kind}</MessageType>\n"
        f"{''.join(messages)}</AmazonEnvelope>\n"
    )


def read(body: str | bytes, *, report_type: str = NEW, content_type: str | None = "text/xml"):
    """The report, its lines as dicts (buyer columns too), and its rejected rows."""
    file = io.BytesIO(body if isinstance(body, bytes) else body.encode())
    told, rejected = [], []
    with open_report(file, report_type=report_type, content_type=content_type, marketplaces=(DE,)) as report:
        for block in report.blocks():
            rejected += block.rejected
            for line in block.lines:
                values = dict(zip(report.fields, line.values, strict=True))
                buyer = {f"buyer.{k}": v for k, v in zip(report.buyer_fields, line.buyer, strict=True)}
                told.append({"number": line.number, "key": line.key, "changed_at": line.changed_at} | values | buyer)
    return report, told, rejected


# ------------------------------------------------------------------------------------------------------- what it says


def test_an_item_has_the_columns_that_a_flat_file_gives_it():
    """The same line may come in either format: it must end in the same row."""
    report, (line,), _ = read(envelope(order(1)))

    assert report.rows == report.counts.read == 1
    assert line["key"] == ("701-0000000-0000001", "00000000000001")
    assert {name: line[name] for name in ("sku", "product_name", "quantity", "currency", "item_price", "item_tax")} == {
        "sku": "SK-1",
        "product_name": "Mug",
        "quantity": "1",
        "currency": "EUR",
        "item_price": "19.90",
        "item_tax": "1.40",
    }
    assert (line["purchased_at"], line["paid_at"]) == ("2026-05-11T09:15:00+00:00", "2026-05-11T09:20:00+00:00")
    assert line["shipping_price"] is None  # no such component: unknown, not zero
    assert line["changed_at"] is None


def test_billing_and_shipping_addresses_go_to_their_own_groups():
    """A parcel must not go to the one who pays."""
    _, (line,), _ = read(envelope(order(1)))

    assert (line["buyer.bill_address_1"], line["buyer.bill_city"]) == ("9 Bill Row", "Wexlade")
    assert (line["buyer.ship_address_1"], line["buyer.ship_city"]) == ("14 Ship Row", "Sampleford")
    assert (line["buyer.buyer_name"], line["buyer.recipient_name"]) == ("Ilka Morvenna", "Ilka Morvenna")
    assert json.loads(line["buyer.extra"]) == {"billingdata/address/name": "Ilka Morvenna"}


def test_what_has_no_column_is_kept_and_is_personal_unless_declared():
    """An element may be added without notice, and hold a name."""
    more = "<ItemFees><Fee><Type>Commission</Type><Amount currency='EUR'>-2.11</Amount></Fee></ItemFees><New>Z9</New>"
    report, (line,), _ = read(envelope(order(1, item(more=more), more="<Referrer>Ashdown</Referrer>")))

    assert json.loads(line["extra"]) == {
        "amazonsessionid": "701-0000000-0000009",
        "fulfillmentdata/fulfillmentmethod": "Ship",
        "item/itemfees/commission": "-2.11",
    }
    assert json.loads(line["buyer.extra"]) | {"referrer": "Ashdown", "item/new": "Z9"} == json.loads(
        line["buyer.extra"]
    )
    assert "item/itemfees/commission" in report.extra_names
    assert "referrer" not in report.extra_names


def test_a_column_that_no_item_of_the_file_has_is_not_told():
    """A version of the format that leaves IsPrime out does not say that nobody is."""
    without, _, _ = read(envelope(order(1)))
    _, (first, second), _ = read(envelope(order(1, more="<IsPrime>true</IsPrime>"), order(2)))

    assert "is_prime" not in without.fields
    assert (first["is_prime"], second["is_prime"]) == ("true", None)
    assert "item_tax" in without.fields


def test_every_item_of_an_order_is_a_line_with_all_of_its_order():
    """One order, three items."""
    _, told, _ = read(envelope(order(1, item(1), item(2), item(3)), order(2, item(4))))

    assert [line["key"][1][-1] for line in told] == ["1", "2", "3", "4"]
    assert {line["buyer.buyer_name"] for line in told} == {"Ilka Morvenna"}


def test_repeated_elements_are_all_kept():
    """Up to five addresses, ten facts about the buyer: none may take another's place."""
    more = "".join(f"<CustomerOrderInfo><Type>Color</Type><Value>{c}</Value></CustomerOrderInfo>" for c in "RGB")
    more += "<OtherAddresses>" + "<Address><City>Wexlade</City></Address>" * 2 + "</OtherAddresses>"
    _, (line,), _ = read(envelope(order(1, more=more)))

    extra = json.loads(line["buyer.extra"])
    names = ("customerorderinfo/color", "customerorderinfo/color/2", "customerorderinfo/color/3")
    assert [extra[name] for name in names] == ["R", "G", "B"]
    assert extra["otheraddresses/address/city/2"] == "Wexlade"


def typed(name: str, kind: str, value: str) -> str:
    return f"<{name}><Type>{kind}</Type><Value>{value}</Value></{name}>"


@pytest.mark.parametrize("name", ["CustomerOrderInfo", "BillingData", "FulfillmentData", "New"])
@pytest.mark.parametrize(
    "kind",
    [
        *("PurchaseOrderNumber", "IsPrime", "IsBusinessOrder", "AmazonOrderID", "MarketplaceName", "AmazonSessionID"),
        *("MarketplaceNameOfBuyer", "FulfillmentMethod", "BuyerName", "Principal"),
    ],
)
def test_a_type_makes_no_other_column_of_its_element(name: str, kind: str):
    """A type is text: whatever it says, its value is the buyer's, and takes no column's place."""
    told = (
        "<PurchaseOrderNumber>PO-9</PurchaseOrderNumber><IsPrime>true</IsPrime><IsBusinessOrder>true</IsBusinessOrder>"
    )
    plain = order(1, more=told)
    _, (before,), _ = read(envelope(plain))
    _, (line,), rejected = read(envelope(plain.replace("<OrderDate>", f"{typed(name, kind, 'Jane Doe')}<OrderDate>")))

    extra = json.loads(line.pop("buyer.extra"))
    del before["buyer.extra"]
    assert (line, rejected) == (before, [])
    assert [path for path, value in extra.items() if value == "Jane Doe"] == [
        f"customerorderinfo/{kind.lower()}" if name == "CustomerOrderInfo" else f"{name.lower()}/value"
    ]


@pytest.mark.parametrize("kind", ["Quantity", "SKU", "AmazonOrderItemCode", "ProductTaxCode", "ItemPrice"])
def test_a_type_within_an_item_makes_no_other_column_of_its_element(kind: str):
    """What the buyer had engraved is no quantity."""
    bare = order(1, item(1))
    _, (before,), _ = read(envelope(bare))
    _, (line,), _ = read(envelope(bare.replace("<Item>", f"<Item>{typed('CustomizationInfo', kind, '7')}")))

    extra = json.loads(line.pop("buyer.extra"))
    del before["buyer.extra"]
    assert line == before
    assert extra[f"item/customizationinfo/{kind.lower()}"] == "7"


def test_what_only_begins_like_an_impersonal_element_is_personal():
    """`MarketplaceName` is declared; what another name says nobody knows."""
    more = "<MarketplaceName>amazon.de</MarketplaceName>" * 2 + "<MarketplaceNameOfBuyer>Jane</MarketplaceNameOfBuyer>"
    _, (line,), _ = read(envelope(order(1, item(more="<PromotionNote>Jane</PromotionNote>"), more=more)))

    extra, personal = json.loads(line["extra"]), json.loads(line["buyer.extra"])
    assert [extra["marketplacename"], extra["marketplacename/2"]] == ["amazon.de"] * 2
    assert [personal["marketplacenameofbuyer"], personal["item/promotionnote"]] == ["Jane"] * 2
    assert "Jane" not in line["extra"]


def promotion(code: str, **amounts: str) -> str:
    parts = "".join(component(kind, amount) for kind, amount in amounts.items())
    return f"<Promotion><PromotionClaimCode>C</PromotionClaimCode><MerchantPromotionID>{code}</MerchantPromotionID>{parts}</Promotion>"


def test_a_promotion_is_told_with_the_id_of_its_own_amount():
    """A discount of zero is none, and its id belongs to no amount."""
    more = promotion("FREESHIP", Principal="0.00", Shipping="-4.00") + promotion("TEN", Principal="-1.99", Shipping="0")
    _, (line,), _ = read(envelope(order(1, item(more=more))))

    assert (line["item_promotion_discount"], line["item_promotion_id"]) == ("-1.99", "TEN")
    assert (line["ship_promotion_discount"], line["ship_promotion_id"]) == ("-4.00", "FREESHIP")


def test_a_second_promotion_of_the_same_kind_is_kept_beside_the_first():
    """Nothing is added up, nothing lost, as with the continuation rows of a flat file."""
    more = (
        promotion("TEN", Principal="-1.99") + promotion("FIVE", Principal="-0.50") + promotion("NIL", Principal="0.00")
    )
    _, (line,), _ = read(envelope(order(1, item(more=more))))

    assert (line["item_promotion_discount"], line["item_promotion_id"]) == ("-1.99", "TEN")
    extra = json.loads(line["extra"])
    assert extra["item/promotion/principal/2"] == "-0.50"
    assert extra["item/promotion/principal/merchantpromotionid/2"] == "FIVE"
    assert extra["item/promotion/merchantpromotionid"] == "NIL"


def test_a_promotion_without_an_id_leaves_its_place_to_no_other():
    """Else the first one's amount would stand beside the second one's id."""
    nameless = f"<Promotion>{component('Principal', '-3.00')}</Promotion>"
    _, (line,), _ = read(envelope(order(1, item(more=nameless + promotion("TEN", Principal="-1.99")))))

    assert (line["item_promotion_discount"], line["item_promotion_id"]) == ("-3.00", None)


def test_an_amount_in_xml_has_a_decimal_point_whatever_the_marketplace():
    """In a German flat file 1.210 could be a thousand; Amazon's schema leaves no doubt here."""
    _, (line,), _ = read(envelope(order(1, item(price="1.210"))))

    assert line["item_price"] == "1.210"


def test_an_item_with_amounts_in_two_currencies_is_rejected():
    """A row has one currency: the other amount would be a wrong one."""
    more = "<ItemFees><Fee><Type>Commission</Type><Amount currency='USD'>-1</Amount></Fee></ItemFees>"
    _, told, (rejected,) = read(envelope(order(1, item(1), item(2, more=more))))

    assert ([line["sku"] for line in told], rejected.reason) == (["SK-1"], "holds amounts in different currencies")
    assert rejected.order_id == "701-0000000-0000001"


def test_text_is_what_was_written_markup_and_all():
    """Entities, CDATA, a comment inside, and a text that looks like a formula."""
    _, (line,), _ = read(envelope(order(1, item(title="<b>Mug</b> & saucer")), declaration='<?xml version="1.0"?>\n'))
    assert line["product_name"] == "<b>Mug</b> & saucer"

    said = item(title="X").replace("<Title>X", "<Title><![CDATA[=1+</Message><Message>]]><!-- </Message> -->&#x20AC;")
    _, (line,), rejected = read(envelope(order(1, said)))
    assert (line["product_name"], rejected) == ("=1+</Message><Message>€", [])


def test_namespaces_and_attributes_of_the_envelope_hold_in_its_messages():
    """A message is read by itself, under the envelope's own declarations."""
    _, told, rejected = read(envelope(order(1, more='<Gift xsi:nil="true"/>')))

    assert (len(told), rejected) == (1, [])


# ------------------------------------------------------------------------------------------- All Orders, and Pending


def all_order(number: int, *skus: str, status: str = "Shipped", updated: str = "2026-05-12T09:00:00Z") -> str:
    items = "".join(
        f"<OrderItem><ASIN>B0</ASIN><SKU>{sku}</SKU><ItemStatus>Shipped</ItemStatus><Quantity>1</Quantity>"
        f"<ItemPrice>{component('Principal', '15.5')}</ItemPrice></OrderItem>"
        for sku in skus
    )
    return (
        f"<Message>\n<Order><AmazonOrderID>701-0000000-{number:07d}</AmazonOrderID>"
        f"<PurchaseDate>2026-05-11T09:00:00+00:00</PurchaseDate><LastUpdatedDate>{updated}</LastUpdatedDate>"
        f"<OrderStatus>{status}</OrderStatus><FulfillmentData><Address><City>Sampleford</City></Address>"
        f"</FulfillmentData>{items}</Order></Message>\n"
    )


def test_twins_are_counted_within_one_order_element_and_a_repeated_element_is_a_duplicate():
    """The same order twice in a file (samples of 2017) is one order, with the same keys twice."""
    body = envelope(all_order(1, "A", "A", "B"), all_order(1, "A", "A", "B"), kind="AllOrdersReport")
    _, told, _ = read(body, report_type=ALL)

    assert [line["line_key"] for line in told] == ["A#1", "A#2", "B#1"] * 2
    assert {line["changed_at"] for line in told} == {"2026-05-12T09:00:00+00:00"}
    assert told[0]["ship_city"] == "Sampleford"


def test_several_orders_in_one_message_are_all_read():
    """Nothing says that a message holds one."""
    both = all_order(1, "A") + all_order(2, "B")
    body = envelope(both.replace("</Message>\n<Message>", ""), kind="AllOrdersReport")

    assert [line["line_key"] for line in read(body, report_type=ALL)[1]] == ["A#1", "B#1"]


def test_all_orders_with_item_codes_are_known_by_them():
    """Absent in 2017, there in 2023."""
    body = envelope(
        all_order(1, "A").replace("<ASIN>", "<AmazonOrderItemCode>00000000000007</AmazonOrderItemCode><ASIN>")
    )
    _, (line,), _ = read(body.replace("<MessageType>OrderReport</MessageType>", ""), report_type=ALL)

    assert line["line_key"] == line["order_item_id"] == "00000000000007"


def test_pending_orders_are_read_whatever_their_element_is_called():
    """The documentation names what stands in it, and not the element."""
    said = (
        "<Message><MessageID>1</MessageID><PendingOrder><AmazonOrderID>503-0000000-0000001</AmazonOrderID>"
        "<OrderDate>2026-05-11T09:00:00+09:00</OrderDate><PaymentType>CVS</PaymentType><Item><AmazonOrderItemCode>"
        "00000000000001</AmazonOrderItemCode><SKU>S</SKU><Title>湯呑</Title><Quantity>2</Quantity></Item>"
        "</PendingOrder></Message>"
    )
    _, (line,), _ = read(envelope(said, kind="PendingOrdersReport"), report_type=PENDING)

    assert (line["order_id"], line["quantity"], line["payment_type"]) == ("503-0000000-0000001", "2", "CVS")
    assert line["purchased_at"] == "2026-05-11T00:00:00+00:00"


# --------------------------------------------------------------------------------------------------- damage, one by one


def test_a_message_that_is_not_well_formed_costs_no_other():
    """One bad character must not keep ten thousand orders from being shipped."""
    bad = order(2, name="X").replace("<BuyerName>X", "<BuyerName>Ilka & Morvenna \x0b")
    report, told, (rejected,) = read(envelope(order(1), bad, order(3)))

    assert [line["sku"] for line in told] == ["SK-1", "SK-3"]
    assert (rejected.order_id, rejected.column) == ("701-0000000-0000002", None)
    assert "Morvenna" not in str(rejected)
    assert report.counts.read == report.rows == 3


@pytest.mark.parametrize(
    "damage",
    [
        ("</Message>", ""),  # the next message begins, or the envelope ends, in the middle of this one
        ("</OrderReport>", ""),
        ("<Title>", "<Title attribute>"),
        ("Mug", "&eacute;"),
        ("Mug", "&#0;"),
        ("Mug", "\ufffe"),
    ],
)
def test_every_way_to_break_a_message_breaks_that_message_alone(damage: tuple[str, str]):
    """Also the last one."""
    for place in range(3):
        parts = [order(n) for n in (1, 2, 3)]
        parts[place] = parts[place].replace(*damage)
        _, told, (rejected,) = read(envelope(*parts))

        assert [line["sku"] for line in told] == [f"SK-{n}" for n in (1, 2, 3) if n != place + 1]
        assert rejected.order_id == f"701-0000000-000000{place + 1}"
        assert rejected.reason == "holds a message that is no well-formed XML"


def test_a_bad_value_costs_its_item_and_names_the_column():
    """As in a flat file: the line, the column and why."""
    _, told, (rejected,) = read(envelope(order(1, item(1), item(2, quantity="two"), item(3))))

    assert [line["sku"] for line in told] == ["SK-1", "SK-3"]
    assert (rejected.column, rejected.order_item_id) == ("quantity-purchased", "00000000000002")


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("<Message/>", "holds a message without OrderReport"),
        ("<Message><MessageID>2</MessageID></Message>", "holds a message without OrderReport"),
        (
            "<Message><OrderReport><AmazonOrderID>X</AmazonOrderID></OrderReport></Message>",
            "holds an order without Item",
        ),
        (order(2).replace("<Title>Mug", "<Title>Mug<b>lost</b>"), "holds Title with text beside its elements"),
    ],
)
def test_a_message_without_what_makes_an_order_is_a_rejected_row(wrong: str, reason: str):
    """It is to be seen, not skipped."""
    report, told, (rejected,) = read(envelope(order(1), wrong))

    assert (len(told), rejected.reason, report.rows) == (1, reason, 2)


def test_a_rejected_row_is_found_by_its_line():
    """An editor shows the line where the item begins, also in a second document, and after blank lines."""
    body = envelope(order(1)) + "\n\n" + envelope(order(2), order(3, item(3), "\n" + item(4, quantity="two")))
    (number,) = [n for n, line in enumerate(body.split("\n"), 1) if "<Quantity>two" in line]
    _, _, (rejected,) = read(body)

    assert rejected.line == number


def test_rows_that_stand_on_one_line_have_numbers_of_their_own():
    """A rejected row is kept under its number, and of two equal lines the later one wins by it."""
    body = envelope(*(order(n) for n in range(5))).replace("\n", " ")
    _, told, _ = read(body)

    assert [line["number"] for line in told] == [1, 2, 3, 4, 5]


# ------------------------------------------------------------------------------------------------ damage, the whole file


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("<!DOCTYPE html><html></html>", "an HTML page"),
        ("<html><body>503</body></html>", "an HTML page"),
        ('{"errors": []}', "JSON"),
        ("order-id\torder-item-id\n1\t2\n", "the body is text"),
        ('<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Expired</Message></Error>', "root is Error"),
        ("<Error><Code>AccessDenied</Code></Error>", "root is Error"),
        (envelope(order(1), kind="ProcessingReport"), "messages of another type"),
        (envelope(kind="ProcessingReport"), "messages of another type"),
        (envelope(order(1)) + "<html>", "follows the first one"),
        (envelope(order(1)).replace("<Header>", "<Header"), "not well-formed outside"),
        ("</Message>" + envelope(order(1)), "a message ends that never began"),
        ('<?xml version="1.0" encoding="UTF-8"?>', "it has no element"),
        ('\ufeff<?xml version="1.0"?>\n<!-- no orders -->\n', "it has no element"),
        ("<!-- 503 -->", "it has no element"),
        ("<AmazonEnvelope/>", "its AmazonEnvelope holds nothing, not even a header"),
        ('<?xml version="1.0"?>\n<AmazonEnvelope a="b" />', "its AmazonEnvelope holds nothing"),
        ("<AmazonEnvelope>\n</AmazonEnvelope>", "its AmazonEnvelope holds nothing"),
        (envelope(order(1)) + "<AmazonEnvelope/>", "its AmazonEnvelope holds nothing"),
        ('<AmazonEnvelope a="b"', "the file is cut, or its XML not well-formed: the tag of its AmazonEnvelope"),
        (envelope(all_order(1, "A")), "1 of 1 rows are rejected; line 5 holds a message without OrderReport"),
    ],
)
def test_a_body_that_is_no_such_report_says_what_it_is(body: str, reason: str):
    """Well-formed XML without orders is not an empty report: nothing was sold is another thing than nothing came."""
    with pytest.raises(NotAReport, match=reason):
        read(body)


@pytest.mark.parametrize("body", ["", " \r\n", "\ufeff", envelope(), envelope() + envelope()])
def test_nothing_sold_is_an_empty_report(body: str):
    """An envelope without messages: done, and no error."""
    report, told, rejected = read(body)

    assert (report.empty, told, rejected) == (True, [], [])


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9, 0.97])
def test_a_file_that_is_cut_is_no_report(share: float):
    """Its first orders alone would be less than was sold, without a word; also when it ends between two messages."""
    body = envelope(*(order(n) for n in range(9)))
    whole = body[: body.index("<Message>", int(len(body) * share * 0.8))]

    for cut in (body[: int(len(body) * share)], whole, whole + "<!-- "):
        with pytest.raises(NotAReport, match="the file is cut"):
            read(cut)


BOMB = '<!DOCTYPE b [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
OUTSIDE = '<!DOCTYPE x [<!ENTITY file SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize("declared", [BOMB, OUTSIDE, "<!DOCTYPE AmazonEnvelope SYSTEM 'http://127.0.0.1:9/x.dtd'>"])
@pytest.mark.parametrize("place", ["before", "inside", "in a message"])
def test_a_document_type_is_refused_where_it_begins(declared: str, place: str):
    """No report has one: what it could do is expand to gigabytes, or read a file of ours into an order."""
    used = order(1, item(title="X").replace("<Title>X", "<Title>&b;&file;"))
    body = {
        "before": declared + envelope(used),
        "inside": envelope(used).replace("<Header>", declared + "<Header>"),
        "in a message": envelope(used.replace("<MessageID>", declared + "<MessageID>")),
    }[place]
    with pytest.raises(NotAReport, match="document type or entities"):
        read(body)


@pytest.mark.parametrize("depth", [300, 100_000])
def test_elements_in_elements_end_as_a_rejected_row(depth: int):
    """A stack that overflows would take the worker along."""
    deep = "<a>" * depth + "x" + "</a>" * depth
    _, told, (rejected,) = read(envelope(order(1), order(2, more=deep)))

    assert (len(told), rejected.order_id) == (1, "701-0000000-0000002")


def test_more_elements_than_the_format_has_are_refused(monkeypatch: pytest.MonkeyPatch):
    """Each path is a column: a file with a million of them is no order report."""
    monkeypatch.setattr(order_xml, "MAX_PATHS", 100)
    spread = [order(n, more="".join(f"<New{n}x{m}/>" for m in range(40))) for n in range(5)]
    with pytest.raises(NotAReport, match="more than 100 different elements"):
        read(envelope(*spread))

    _, told, (rejected,) = read(envelope(order(1), order(2, more="<New/>" * 101)))
    assert (len(told), rejected.reason) == (1, "holds more than 100 elements")


@pytest.mark.parametrize(
    "body",
    [
        "<AmazonEnvelope>" + "x" * 9000,
        "<AmazonEnvelope><Message>" + "x" * 9000,
        "<AmazonEnvelope><!-- " + "x" * 9000,
        "<AmazonEnvelope>" + "<!---->xxx" * 2000,
        "<AmazonEnvelope><Message>" + "<![CDATA[x]]>" * 2000,
    ],
)
def test_what_never_ends_is_refused_before_it_fills_memory(body: str, monkeypatch: pytest.MonkeyPatch):
    """A gigabyte without the end of a message is no order report."""
    monkeypatch.setattr(xml_messages, "MAX_MESSAGE", 5000)
    with pytest.raises(NotAReport, match=r"5,000 characters"):
        read(body)


def test_memory_stays_flat_whatever_the_size_of_the_file(monkeypatch: pytest.MonkeyPatch):
    """A year of orders in one file is read like a day of them."""
    monkeypatch.setattr("orderdrain.parsers.decoding.BLOCK", 1 << 14)
    monkeypatch.setattr(rows, "BLOCK_ROWS", 20)

    def peak(orders: int) -> int:
        body = io.BytesIO(envelope(*(order(n) for n in range(orders))).encode())
        tracemalloc.start()
        try:
            with open_report(body, report_type=NEW, content_type=None, marketplaces=()) as report:
                assert sum(len(block.lines) for block in report.blocks()) == orders
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1)  # what is made once
    assert peak(400) < 1.3 * peak(100)


# --------------------------------------------------------------------------------------------- charsets and documents


@pytest.mark.parametrize(
    ("charset", "declared", "content_type", "encoding"),
    [
        ("utf-8", "UTF-8", "text/xml", "utf-8"),
        ("utf-8", "ISO-8859-1", "text/xml", "utf-8"),  # a wrong declaration, and one that is absent
        ("utf-8", None, "text/xml; charset=Cp1252", "utf-8"),
        ("cp1252", "ISO-8859-1", "text/xml", "cp1252"),
        ("cp1252", "UTF-8", "text/xml;charset=ISO-8859-1", "cp1252"),
        ("cp1252", None, None, "cp1252"),  # the marketplaces' own
        ("utf-16", "UTF-16", None, "utf-16"),
        ("utf-8-sig", "UTF-8", None, "utf-8-sig"),
    ],
)
def test_the_declaration_is_a_label_and_no_more(charset: str, declared: str | None, content_type, encoding: str):
    """The rule is that of flat files; an XML parser alone would follow a wrong declaration, or stop at it."""
    declaration = f'<?xml version="1.0" encoding="{declared}" ?>\n' if declared else ""
    body = envelope(order(1, item(title="Größe “M” – 5 €")), declaration=declaration).encode(charset)
    report, (line,), _ = read(body, content_type=content_type)

    assert (report.encoding, line["product_name"]) == (encoding, "Größe “M” – 5 €")


def test_several_documents_may_follow_each_other():
    """Each with its own declaration; a file that was put together from two is still two."""
    one = envelope(order(1), declaration='<?xml version="1.0" encoding="UTF-8"?>\n')
    _, told, _ = read(one + "\n" + one.replace("SK-1", "SK-2") + "<!-- end -->\n")

    assert [line["sku"] for line in told] == ["SK-1", "SK-2"]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_it_does_not_matter_where_a_block_ends(size: int, monkeypatch: pytest.MonkeyPatch):
    """Marks, comments and CDATA may lie across two blocks of bytes."""
    said = item(title="X").replace("<Title>X", "<Title><![CDATA[<Message>]]>ok<!--</Message>-->")
    body = envelope(order(1, said), order(2), "<Message/>", declaration="<?xml version='1.0'?>")
    whole = read(body)[1:]
    monkeypatch.setattr("orderdrain.parsers.decoding.BLOCK", size)

    assert read(body)[1:] == whole
