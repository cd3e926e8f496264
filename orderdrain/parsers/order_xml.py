"""XML order reports: each item of each order is a row, under the columns that a flat file would have.

What an element says is found by its path (orderdrain/families, XmlLayout). Nothing is left out: what has no column goes
to `extra` under its path, and is personal unless it is declared otherwise. Which columns a file tells depends on what
stands in it, so it is read once more before its rows are.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from orderdrain.errors import NotAReport
from orderdrain.families import EXTRA, Column, Family, XmlLayout
from orderdrain.parsers.cells import Unreadable
from orderdrain.parsers.decoding import Decoded, text
from orderdrain.parsers.table import Row, read_table
from orderdrain.parsers.xml_messages import messages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lxml import etree

    from orderdrain.marketplaces import Style
    from orderdrain.parsers.rows import ParsedReport

#: Different paths in a file: the format has some two hundred.
MAX_PATHS = 2000
#: The path of the one currency that an item's amounts are in.
_CURRENCY = "@currency"
# A type that may stand in a path, `Principal`: it names, and is nobody's text.
_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9]{0,40}")


def read_order_xml(file: BinaryIO, family: Family, layout: XmlLayout, decoded: Decoded, style: Style) -> ParsedReport:
    """Understands which columns the file tells, and counts its rows. Raises NotAReport: no envelope of such orders,
    a file cut, a document type."""
    paths = _paths(file, layout, decoded)
    # Whatever the marketplace, an amount in XML is a decimal number (Amazon's schema).
    style = replace(style, decimal=".", symbol=None)
    return read_table(
        family,
        [_column(family, layout, path) for path in paths],
        lambda: _rows(file, layout, decoded, paths),
        decoded,
        style,
    )


def _column(family: Family, layout: XmlLayout, path: str) -> Column:
    name = layout.names.get(path)
    if name:
        return family.by_name[name.lower()]
    return Column(path, personal=None if layout.is_impersonal(path) else EXTRA)


def _paths(file: BinaryIO, layout: XmlLayout, decoded: Decoded) -> tuple[str, ...]:
    """The paths that the file tells: those that every document tells, then the others in the order they stand."""
    found = dict.fromkeys(layout.columns)
    for item in _items(file, layout, decoded):
        found.update(dict.fromkeys(item.said))
        if len(found) > MAX_PATHS:
            raise NotAReport(f"the XML holds more than {MAX_PATHS:,} different elements: this is no order report")
    return tuple(found)


def _rows(file: BinaryIO, layout: XmlLayout, decoded: Decoded, paths: tuple[str, ...]) -> Iterator[Row]:
    number = 0
    for item in _items(file, layout, decoded):
        # Where several items stand on one line, each still has a number of its own.
        number = max(number + 1, item.line)
        yield Row(number, [item.said.get(path, "") for path in paths], item.bad, item.order)


# --------------------------------------------------------------------------------------------------------- the items


class _Item(NamedTuple):
    """What one item of an order says, and its order: value by path. `order` counts the orders of the file."""

    line: int
    order: int
    said: dict[str, str]
    bad: Unreadable | None = None


def _items(file: BinaryIO, layout: XmlLayout, decoded: Decoded) -> Iterator[_Item]:
    """Each item of the file, and each message or order that has none, as unreadable."""
    number = 0
    for message in messages(text(file, decoded.encoding), layout.message_type):
        number += 1
        if message.element is None:
            said = {"AmazonOrderID": message.order_id} if message.order_id else {}
            yield _Item(message.line, number, said, Unreadable("holds a message that is no well-formed XML"))
            continue
        orders = [e for e in message.element if _name(e) == layout.order or (not layout.order and len(e))]
        if not orders:
            yield _Item(message.line, number, {}, Unreadable(f"holds a message without {layout.order or 'an order'}"))
        for order in orders:
            number += 1
            yield from _items_of(order, layout, message.line, number)


def _items_of(order: etree._Element, layout: XmlLayout, line: int, number: int) -> Iterator[_Item]:
    said: dict[str, str] = {}
    bad: Unreadable | None = None
    try:
        said = _said(order, layout, leave_out=layout.item)
        said.pop(_CURRENCY, None)
    except Unreadable as error:
        bad = error
    items = [element for element in order if _name(element) == layout.item]
    if not items:
        yield _Item(line + _line(order), number, said, bad or Unreadable(f"holds an order without {layout.item}"))
    for item in items:
        own, wrong = said, bad
        try:
            own = said | {f"{layout.item}/{path}": value for path, value in _said(item, layout).items()}
        except Unreadable as error:
            wrong = bad or error
        yield _Item(line + _line(item), number, own, wrong)


# --------------------------------------------------------------------------------------------------- what it all says


def _said(element: etree._Element, layout: XmlLayout, leave_out: str = "") -> dict[str, str]:
    """Value by path of all below an element. Raises Unreadable where that would lose something."""
    said: dict[str, str] = {}
    currencies: set[str] = set()
    for child in element:
        if _name(child) != leave_out:
            for path, value in _values(child, layout, "", currencies):
                said[_free(said, path)] = value
                if len(said) > MAX_PATHS:
                    raise Unreadable(f"holds more than {MAX_PATHS:,} elements")
    if len(currencies) > 1:
        raise Unreadable("holds amounts in different currencies")
    return said | dict.fromkeys((_CURRENCY,) if currencies else (), *currencies)


def _values(element: etree._Element, layout: XmlLayout, prefix: str, currencies: set[str]) -> Iterator[tuple[str, str]]:
    if element.get("currency"):
        currencies.add(element.get("currency", "").strip())
    if not len(element):
        yield prefix + _name(element), (element.text or "").strip()
        return
    if any((words or "").strip() for words in (element.text, *(child.tail for child in element))):
        raise Unreadable(f"holds {_name(element)} with text beside its elements")
    if _name(element) == "Promotion" and any(_is_component(child, layout) for child in element):
        yield from _promotion(element, layout, prefix, currencies)
        return
    by_type = _is_component(element, layout)
    kind = _typed(element) if by_type or _name(element) in layout.with_type else None
    for child in element:
        if kind is None:
            yield from _values(child, layout, f"{prefix}{_name(element)}/", currencies)
        elif _name(child) != "Type":
            # <Component><Type>Principal</Type><Amount>..: the type is the name, and its value needs no other.
            name = kind if by_type else f"{_name(element)}/{kind}"
            for path, value in _values(child, layout, "", currencies):
                yield f"{prefix}{name}" + ("" if path in {"Amount", "Value"} else f"/{path}"), value


def _is_component(element: etree._Element, layout: XmlLayout) -> bool:
    """Whether it goes by its type alone."""
    parent = element.getparent()
    return parent is not None and f"{_name(parent)}/{_name(element)}" in layout.by_type


def _promotion(
    element: etree._Element, layout: XmlLayout, prefix: str, currencies: set[str]
) -> Iterator[tuple[str, str]]:
    """A promotion's id stands beside each of its amounts, once for the item, once for shipping, as in a flat file. An
    amount of zero is no discount, and gives way to another promotion's that is one."""
    name = f"{prefix}Promotion"
    given = (element.findtext("{*}MerchantPromotionID") or "").strip()
    parent = element.getparent()
    discounts = {_typed(c) for c in (() if parent is None else parent.iterfind("{*}Promotion/{*}Component")) if _sum(c)}
    for child in element:
        kind = _typed(child)
        if _name(child) == "MerchantPromotionID" and not any(map(_sum, element)):
            yield f"{name}/MerchantPromotionID", given
        elif _name(child) == "Component" and not _sum(child) and kind in discounts:
            yield from _values(child, layout, f"{name}/Unused/", currencies)
        elif _name(child) != "MerchantPromotionID":
            yield from _values(child, layout, f"{name}/", currencies)
            if _sum(child):
                yield f"{name}/{kind}/MerchantPromotionID", given


def _sum(component: etree._Element) -> str:
    """Something of an amount that is not zero."""
    return (component.findtext("{*}Amount") or "").strip().strip("+-0.")


def _typed(element: etree._Element) -> str | None:
    kind = (element.findtext("{*}Type") or "").strip()
    return kind if _TYPE.fullmatch(kind) else None


def _free(said: dict[str, str], path: str) -> str:
    """The path, with the number of its repetition where it has been said before."""
    number, free = 1, path
    while free in said:
        number += 1
        free = f"{path}/{number}"
    return free


def _name(element: etree._Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _line(element: etree._Element) -> int:
    """How many lines below its message it begins."""
    line = element.sourceline
    return line - 1 if isinstance(line, int) else 0
