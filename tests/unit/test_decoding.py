"""Bytes to text: each rule of decoding, each with a body for which guessing would go wrong."""

from __future__ import annotations

import gzip
import io
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orderdrain.errors import NotAReport
from orderdrain.parsers import decoding
from orderdrain.parsers.decoding import blocks, decide, text

US, DE, JP, SG, AU = "ATVPDKIKX0DER", "A1PA6795UKMFR9", "A1VC38T7YXB528", "A19VAU5U5O7RUS", "A39IBJ37TRP1C6"


def decoded(body: bytes, content_type: str | None = None, *marketplaces: str) -> tuple[str, str]:
    file = io.BytesIO(body)
    found = decide(file, content_type=content_type, marketplaces=marketplaces)
    return found.encoding, "".join(text(file, found.encoding))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_wins_over_the_label(encoding: str):
    """Downloads of Seller Central carry one, whatever their headers say."""
    assert decoded("größe ①".encode(encoding), "text/plain; charset=windows-1252", US) == (encoding, "größe ①")


def test_big_endian_utf_16_is_read_by_its_mark():
    """The mark says in which order the bytes stand."""
    assert decoded(b"\xfe\xff" + "größe".encode("utf-16-be")) == ("utf-16", "größe")


def test_a_body_that_belies_its_byte_order_mark_is_no_report():
    """A mark is a promise about all bytes: half a promise is damage."""
    with pytest.raises(NotAReport, match="byte order mark"):
        decoded(b"\xef\xbb\xbfgr\xf6\xdfe", "text/plain; charset=windows-1252", US)


def test_valid_utf_8_beyond_ascii_is_utf_8_and_a_differing_label_is_noted():
    """Text in another charset is hardly ever valid UTF-8 by chance; labels are wrong often."""
    file = io.BytesIO("größe".encode())
    found = decide(file, content_type="text/plain;charset=windows-1252", marketplaces=(US,))

    assert found.encoding == "utf-8"
    assert "windows-1252" in found.reason


def test_one_wrong_byte_at_the_very_end_makes_it_not_utf_8():
    """The whole body is looked at: a guess from its beginning would fail on the last buyer's name."""
    body = "größe\n".encode() * 100_000 + "größe".encode("cp1252")

    assert decoded(body, "text/plain; charset=Cp1252")[0] == "cp1252"


@pytest.mark.parametrize(
    ("label", "encoding", "said"),
    [
        ("text/plain; charset=Cp1252", "cp1252", "10 € – “x”"),
        ("text/plain;charset=windows-1252", "cp1252", "10 € – “x”"),
        ("text/plain; charset=ISO-8859-1", "cp1252", "10 € – “x”"),
        ('text/plain; Charset="iso-8859-1"', "cp1252", "10 € – “x”"),
        ("text/plain; charset=Shift_JIS", "cp932", "㈱鈴木 ①～"),
        ("text/plain;charset=windows-31j", "cp932", "㈱鈴木 ①～"),
        ("text/plain; charset=MS932", "cp932", "㈱鈴木 ①～"),
        ("text/plain; charset=GB2312", "gb18030", "深圳㎡"),
        ("text/plain; charset=ISO-8859-15", "iso8859-15", "10 € Šumava"),
    ],
)
def test_the_label_is_read_as_what_it_means(label: str, encoding: str, said: str):
    """Amazon's ISO-8859-1 holds curly quotes, its Shift_JIS circled digits: the strict names would refuse both."""
    assert decoded(said.encode(encoding), label) == (encoding, said)


def test_letters_between_escapes_are_those_of_the_label():
    """ISO-2022-JP writes each letter in two bytes of ASCII: taken for ASCII it would be stored as nonsense."""
    label, said = "text/plain; charset=ISO-2022-JP", "order-id\n商品\tx\n" * 40_000
    assert decoded(said.encode("iso2022_jp"), label, JP) == ("iso2022_jp", said)
    assert decoded(b"order-id\nMug", label, JP)[0] == "ascii"
    assert decoded(b"order-id\n\x1bMug", "text/plain; charset=UTF-8", JP)[0] == "ascii"
    with pytest.raises(NotAReport, match="has escapes, but label ISO-2022-JP does not fit"):
        decoded(b"order-id\n\x1b$B>&\x1b(Q", label, JP)


@pytest.mark.parametrize("byte", [0x81, 0x8D, 0x8F, 0x90, 0x9D])
def test_a_byte_that_windows_1252_does_not_have_fits_no_label(byte: int):
    """A decoder that lets it through would hide that the body is in another charset."""
    with pytest.raises(NotAReport, match="charset is unknown"):
        decoded(b"caf\xe9 " + bytes([byte]) + b" ", "text/plain; charset=windows-1252", US)


def test_without_a_label_the_marketplaces_decide():
    """Bodies of 2014 came as application/octet-stream (recorded traffic)."""
    assert decoded("weiß".encode("cp1252"), "application/octet-stream", DE) == ("cp1252", "weiß")
    assert decoded("鈴木".encode("cp932"), None, JP) == ("cp932", "鈴木")


def test_a_label_that_does_not_fit_gives_way_to_the_marketplaces():
    """A Japanese body labelled windows-1252 holds bytes that windows-1252 lacks."""
    assert decoded("東京、大阪".encode("cp932"), "text/plain; charset=windows-1252", JP) == ("cp932", "東京、大阪")


@pytest.mark.parametrize("marketplaces", [(), (US, JP), (AU,), (SG,), ("A0UNKNOWN00000",)])
def test_no_charset_is_invented(marketplaces: tuple[str, ...]):
    """Where nothing is known, a person looks: a wrong guess is a wrong name on a parcel."""
    with pytest.raises(NotAReport, match="charset is unknown"):
        decoded("weiß".encode("cp1252"), "text/plain", *marketplaces)


def test_nearly_utf_8_that_calls_itself_so_is_not_read_as_windows_1252():
    """Every byte is a letter there: one damaged byte would make two wrong letters of each umlaut in the file."""
    for label in ("text/plain; charset=UTF-8", None):
        declaration = "" if label else '<?xml version="1.0" encoding="UTF-8"?>'
        body = f"{declaration}größe\n".encode() + b"gr\xf6\xdfe\n"
        with pytest.raises(NotAReport, match="most of it is the UTF-8 that its label says"):
            decoded(body, label, DE)


def test_a_label_of_utf_8_on_a_body_without_any_is_simply_wrong():
    """Nothing of it is UTF-8: then the marketplaces' charset is a better witness than the label."""
    assert decoded("weiß".encode("cp1252"), "text/plain; charset=UTF-8", DE) == ("cp1252", "weiß")
    # Half-width letters in windows-31j look like UTF-8 here and there; its own rules say more.
    assert decoded("ﾃｼﾞﾀﾙ 鈴木".encode("cp932"), "text/plain; charset=UTF-8", JP) == ("cp932", "ﾃｼﾞﾀﾙ 鈴木")


def test_an_xml_declaration_is_a_label_behind_that_of_the_download():
    """It is all there is where a body came as text/xml; a download's own label was made later."""
    body = '<?xml version="1.0" encoding="Shift_JIS"?><a>①鈴木</a>'
    found = decide(io.BytesIO(body.encode("cp932")), content_type="text/xml", marketplaces=())
    assert (found.encoding, found.reason) == ("cp932", "declaration Shift_JIS")

    found = decide(io.BytesIO(body.encode("cp932")), content_type="text/xml; charset=windows-31j", marketplaces=())
    assert (found.encoding, found.reason) == ("cp932", "label windows-31j")

    found = decide(io.BytesIO(body.encode()), content_type="text/xml", marketplaces=())
    assert (found.encoding, found.reason) == (
        "utf-8",
        "valid UTF-8 with bytes beyond ASCII; its declaration says Shift_JIS",
    )


@pytest.mark.parametrize("label", ["utf-7", "rot13", "unicode_escape", "idna", "base64", "no-such", "UTF-16"])
def test_a_label_that_names_no_charset_of_reports_is_not_followed(label: str):
    """Python knows codecs that run code paths nobody meant: only charsets that extend ASCII are taken."""
    assert decoded("weiß".encode("cp1252"), f"text/plain; charset={label}", DE) == ("cp1252", "weiß")


def test_pure_ascii_is_called_ascii():
    """It says that no charset was put to the test."""
    assert decoded(b"order-id\t1", "text/plain; charset=windows-31j", JP) == ("ascii", "order-id\t1")


def test_gzip_is_found_by_content_once_or_twice():
    """Announced or not, and also where a gzip was sent gzipped: the archive holds bytes as they came."""
    body = "größe\n".encode() * 1000

    assert decoded(gzip.compress(body)) == ("utf-8", body.decode())
    assert decoded(gzip.compress(gzip.compress(body))) == ("utf-8", body.decode())
    assert decoded(gzip.compress(body) + gzip.compress(body) + b"\0" * 20) == ("utf-8", body.decode() * 2)


@pytest.mark.parametrize("cut", [4, 10, 200, -1])
def test_a_gzip_that_is_cut_is_no_report(cut: int):
    """Its first rows inflate without an error, and the rest would be lost for good."""
    body = gzip.compress("".join(f"{n}\n" for n in range(5000)).encode())

    with pytest.raises(NotAReport, match="gzip is cut"):
        decoded(body[:cut])


@pytest.mark.parametrize("at", [-5, 40])
def test_a_gzip_with_a_wrong_byte_is_no_report(at: int):
    """Its checksum is the last witness that the bytes are Amazon's."""
    body = bytearray(gzip.compress("".join(f"{n}\n" for n in range(5000)).encode()))
    body[at] ^= 0xFF

    with pytest.raises(NotAReport, match="gzip is"):
        decoded(bytes(body))


def test_a_gzip_bomb_is_stopped_while_it_inflates(monkeypatch: pytest.MonkeyPatch):
    """A megabyte that inflates to a gigabyte is an attack or an accident, and no report."""
    monkeypatch.setattr(decoding, "SMALL", 1 << 20)
    bomb = gzip.compress(gzip.compress(bytes(64 << 20)))
    tracemalloc.start()
    try:
        with pytest.raises(NotAReport, match="inflates beyond"):
            decoded(bomb)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 8 << 20


@settings(deadline=None)
@given(st.text(), st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]), st.booleans())
def test_text_survives_its_encoding(said: str, encoding: str, zipped: bool):
    """Nothing is replaced, normalised or left out: what was sent is what is stored."""
    body = said.encode(encoding, "surrogatepass") if encoding == "utf-16" else said.encode(encoding)
    if said.startswith("\ufeff"):
        return

    assert decoded(gzip.compress(body) if zipped else body)[1] == said


@settings(deadline=None)
@given(st.binary(max_size=400), st.sampled_from([None, "text/plain; charset=Shift_JIS", "x; charset="]))
def test_any_bytes_are_decoded_or_refused(body: bytes, content_type: str | None):
    """No crash, and never a replaced character that the body did not hold."""
    try:
        encoding, said = decoded(body, content_type, DE)
    except NotAReport:
        return
    inflated = b"".join(blocks(io.BytesIO(body)))

    assert said == inflated.decode(encoding)
