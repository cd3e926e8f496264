"""Cells: each style that real files show, and each that looks like one and must be refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orderdrain.families import SQL_TYPES
from orderdrain.marketplaces import Style, style_of
from orderdrain.parsers.cells import MAX_CODE, READERS, Unreadable, read_cell

US, GB, ES, JP, ANY = (
    style_of([marketplace]) if marketplace else Style()
    for marketplace in ("ATVPDKIKX0DER", "A1F83G8C2ARO7P", "A1RKKUPIHCS9HS", "A1VC38T7YXB528", None)
)
KINDS = sorted(READERS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cell", ["", " ", "  ", "\u3000", "\u00a0 "])
def test_a_blank_cell_is_null_whatever_its_type(kind, cell):
    """Blank is unknown: not zero, not an empty text."""
    assert read_cell(cell, kind, US) is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cell", ["--", "N/A", "n/a", " -- "])
def test_a_dash_says_unknown_whatever_the_type(kind, cell):
    """Amazon writes them for money that does not apply, and for a town in Japan: as a text it would replace the address."""
    assert read_cell(cell, kind, US) is None


def test_text_is_kept_as_sent():
    """Quotes, formulas, emoji, decomposed accents, line ends of Unicode: only padding blanks are taken off."""
    for said in (
        "5' 6\" pole",
        "=1+1",
        "👩‍👩‍👧 mug",
        "Cafe\u0301",
        "a\ufeffb",
        "a\u0085b\u2028c\vd\fe",
        "\\N",
        "\\.",
        "---",
        "n/A",
        "-- or N/A",
    ):
        assert read_cell(f" {said}  ", "text", US) == said


@pytest.mark.parametrize("kind", KINDS)
def test_a_nul_is_refused_in_every_type(kind):
    """Postgres takes none in a text: one such cell must not fail the COPY of all rows."""
    with pytest.raises(Unreadable, match="NUL"):
        read_cell("a\0b", kind, US)


@pytest.mark.parametrize(
    "cell", ["701-0010001-0896632", "01010015493782", "AMZ-ORDER-1", "ITEM-A", "S01-1234567-1234567"]
)
def test_ids_are_text_with_their_leading_zeros(cell):
    """An id is a name, not a number."""
    assert read_cell(cell, "id", US) == cell


@pytest.mark.parametrize(
    "cell",
    [
        "5.80293E+13",
        "5,80293E+13",
        "1.06271e14",
        "1E14",
        "58029300000000.0",
        "#########",
        "a b",
        "a\x01b",
        "１２３",
        "x" * 65,
    ],
)
def test_a_damaged_id_is_refused(cell):
    """A spreadsheet took its digits: two orders may share what is left of them."""
    with pytest.raises(Unreadable):
        read_cell(cell, "id", US)


def test_a_code_is_text_of_bounded_length():
    """A SKU of a megabyte would fail an index, and with it every row of the report."""
    assert read_cell(" 00 SKU/é ", "code", US) == "00 SKU/é"
    with pytest.raises(Unreadable, match=str(MAX_CODE)):
        read_cell("x" * (MAX_CODE + 1), "code", US)


@pytest.mark.parametrize(("cell", "value"), [("2", "2"), ("0", "0"), ("-1", "-1"), ("007", "7"), ("+3", "3")])
def test_whole_numbers(cell, value):
    """Zero is kept: a cancelled line has it."""
    assert read_cell(cell, "integer", US) == value


@pytest.mark.parametrize(
    "cell", ["two", "1.5", "2.0", "1,000", "１２", "1e3", "99999999999", "9" * 10_000, "NaN", "0x10", "1_0"]
)
def test_what_is_no_whole_number_is_refused(cell):
    """int() would take some of these, and raise beyond 4,300 digits."""
    with pytest.raises(Unreadable):
        read_cell(cell, "integer", US)


@pytest.mark.parametrize(
    ("cell", "style", "value"),
    [
        ("20.00", US, "20.00"),
        ("640.0", ANY, "640.0"),
        ("195", JP, "195"),
        ("24732.00", JP, "24732.00"),
        ("0", ES, "0"),
        ("-3.85", US, "-3.85"),
        ("+3.85", US, "3.85"),
        ("19.90", ES, "19.90"),
        ("0.123456789", US, "0.123456789"),
        ("123456789012345678901234.56", US, "123456789012345678901234.56"),
        ("1,210.00", US, "1210.00"),
        ("1.210,00", ES, "1210.00"),
        ("-1.210,00", ES, "-1210.00"),
        ("1.210.000,5", ES, "1210000.5"),
        ("19,90", ES, "19.90"),
        ("1.210,00 €", ES, "1210.00"),
        ("€ 19,90", ES, "19.90"),
        ("19,90\u00a0€", ES, "19.90"),
        ("$5.00", US, "5.00"),
        ("1.210", US, "1.210"),
        ("0.125", ES, "0.125"),
    ],
)
def test_money_is_every_digit_that_amazon_wrote(cell, style, value):
    """Nothing is rounded; other signs than the point only where the marketplace writes so."""
    assert read_cell(cell, "money", style) == value


@pytest.mark.parametrize(
    ("cell", "style"),
    [
        ("1.210", ES),  # one and a bit, or a thousand?
        ("1.210", ANY),
        ("1,210", US),
        ("1,210", ES),
        ("1.210,00", US),
        ("1,210.00", ES),
        ("1,210.00", ANY),
        ("19,90", US),
        ("19,90", ANY),
        ("1 210,00", ES),
        ("1.21.00", US),
        ("€5.00", US),
        ("5.00 €", GB),
        ("(3.85)", US),
        ("3.85-", US),
        (".50", US),
        ("5.", US),
        ("1e3", US),
        ("NaN", US),
        ("Infinity", US),
        ("１９.９０", US),
        ("free", US),
        ("€", ES),
        ("9" * 10_000, US),
    ],
)
def test_money_is_never_guessed(cell, style):
    """A wrong amount looks like a right one; a rejected row is seen."""
    with pytest.raises(Unreadable):
        read_cell(cell, "money", style)


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("2026-05-11T09:15:00+00:00", "2026-05-11T09:15:00+00:00"),
        ("2026-05-11T09:15:00Z", "2026-05-11T09:15:00+00:00"),
        ("2026-05-11 09:15:00+0000", "2026-05-11T09:15:00+00:00"),
        ("2026-05-11T09:15:00.000Z", "2026-05-11T09:15:00+00:00"),
        ("2026-05-11T09:15:00.25Z", "2026-05-11T09:15:00.250000+00:00"),
        ("2026-11-01T01:30:00-08:00", "2026-11-01T09:30:00+00:00"),
        ("2026-12-31T23:59:59+05:30", "2026-12-31T18:29:59+00:00"),
        ("2026-01-01T00:00:00+09:00", "2025-12-31T15:00:00+00:00"),
        ("2024-02-29", "2024-02-29T00:00:00+00:00"),
        ("05-17-2011", "2011-05-17T00:00:00+00:00"),
    ],
)
def test_a_time_is_the_instant_that_it_names(cell, value):
    """Nothing is read as local time: the hour that a clock repeats or skips has its offset beside it."""
    assert read_cell(cell, "timestamp", US) == value


@pytest.mark.parametrize(
    "cell",
    [
        "2013-01-15T12:24:57+00e00",
        "2026-05-11T09:15:00",
        "2026-02-30T00:00:00Z",
        "2023-02-29",
        "2026-05-11T24:00:00Z",
        "2026-05-11T09:60:00Z",
        "2026-05-11T09:15:00+15:00",
        "0001-01-01T00:00:00+09:00",
        "9999-12-31T23:59:59-09:00",
        "0000-00-00",
        "5/11/2026 9:15",
        "13-13-2011",
        "now",
        "infinity",
        "20260511",
        "２０２６-05-11",
    ],
)
def test_a_time_that_does_not_exist_is_refused(cell):
    """Postgres would take 'now' and 'infinity', and a time without an offset in its own zone."""
    with pytest.raises(Unreadable):
        read_cell(cell, "timestamp", US)


def test_the_american_date_is_read_elsewhere_only_where_it_has_one_meaning():
    """05-07-2011 is May in the United States, and July for whoever writes the day first."""
    assert read_cell("05-07-2011", "timestamp", US) == "2011-05-07T00:00:00+00:00"
    assert read_cell("05-17-2011", "timestamp", ES) == "2011-05-17T00:00:00+00:00"
    with pytest.raises(Unreadable, match="two ways"):
        read_cell("05-07-2011", "timestamp", ES)


def test_currencies_and_booleans():
    """Both have few right forms: what is none of them stands in a wrong column."""
    assert read_cell("USD", "currency", US) == "USD"
    assert [read_cell(cell, "boolean", US) for cell in ("true", "FALSE")] == ["true", "false"]
    for cell, kind in (("usd", "currency"), ("US", "currency"), ("ＵＳＤ", "currency"), ("maybe", "boolean")):
        with pytest.raises(Unreadable):
            read_cell(cell, kind, US)


@settings(deadline=None)
@given(st.datetimes(), st.timedeltas(timedelta(hours=-14), timedelta(hours=14)))
def test_any_instant_comes_out_as_itself(moment, offset):
    """Whatever offset it was written with."""
    zoned = moment.replace(microsecond=0, tzinfo=timezone(timedelta(minutes=offset // timedelta(minutes=1))))
    try:
        expected = zoned.astimezone(UTC)
    except OverflowError:
        return

    assert datetime.fromisoformat(read_cell(zoned.isoformat(), "timestamp", US)) == expected


@settings(deadline=None)
@given(st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**12), max_value=10**12))
def test_any_amount_comes_out_as_itself(amount):
    """In the plain form, and grouped as each side of the Atlantic does."""
    american = f"{amount:,.2f}"
    spanish = american.translate(str.maketrans(",.", ".,"))

    for written, style in ((f"{amount:.2f}", ANY), (american, US), (spanish, ES)):
        assert Decimal(read_cell(written, "money", style)) == amount


@settings(deadline=None)
@given(st.text(max_size=60), st.sampled_from(KINDS), st.sampled_from([US, ES, ANY]))
def test_a_cell_is_read_or_refused_without_being_told(cell, kind, style):
    """No crash; and what a buyer wrote never stands in the reason."""
    reason = ""
    try:
        value = read_cell(cell, kind, style)
    except Unreadable as bad:
        value, reason = None, bad.reason

    assert value is None or (value and "\0" not in value)
    assert len(cell.strip()) < 4 or cell.strip() not in reason


def test_every_type_has_a_reader():
    """A type without one would fail at the first report that has it."""
    assert set(READERS) == set(SQL_TYPES) - {"json"}
