"""Damaged files, each whole kind of them: what must become of every row.

The first test takes the files outside this repository, with the answers beside them; the others write theirs.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from orderdrain.families import family_of
from orderdrain.parsers import parse_file

ROOT = Path(__file__).resolve().parents[2]
DAMAGE = ROOT.parent / "shared" / "damage"
SHIPPING = "GET_FLAT_FILE_ORDER_REPORT_DATA_SHIPPING"
DE, JP = "A1PA6795UKMFR9", "A1VC38T7YXB528"
HEADER = "order-id\torder-item-id\tsku\tquantity-purchased\tproduct-name\tcurrency\titem-price\trecipient-name\n"

PARSE = """
import json, pathlib, sys
from orderdrain.parsers import parse_file
file, report_type, marketplace, *content_type = sys.argv[1:]
told = parse_file(pathlib.Path(file), report_type=report_type, marketplace=marketplace,
                  content_type=content_type[0] if content_type else None)
print(json.dumps(told))
"""


def _cases() -> list[str]:
    answers = {path.name: json.loads(path.read_text()) for path in sorted(DAMAGE.glob("*.expect.json"))}
    return [answer["file"] for answer in answers.values() if family_of(answer["report_type"])] or ["absent"]


@pytest.mark.parametrize("file", _cases())
def test_the_damaged_files_become_what_their_answers_say(file: str, tmp_path: Path):
    """The judge is not the program that is judged: check.py compares each row, and looks for buyer data in reasons."""
    if file == "absent":
        pytest.skip("the damaged files are absent: ../shared/damage")
    program = tmp_path / "parse.py"
    program.write_text(PARSE)
    command = (
        f"env PYTHONPATH={ROOT} {sys.executable} {program} {{file}} {{report_type}} {{marketplace}} {{content_type}}"
    )

    done = subprocess.run(
        [sys.executable, DAMAGE / "check.py", "--dir", DAMAGE, "--only", f"^{file}$", "--cmd", command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def parsed(tmp_path: Path, body: bytes, *, marketplace: str = DE, content_type: str | None = None, **options) -> dict:
    file = tmp_path / "report"
    file.write_bytes(body)
    return parse_file(file, report_type=SHIPPING, marketplace=marketplace, content_type=content_type, **options)


def row(n: int, *, title: str = "Mug", price: str = "19.90", name: str = "Ilka Morvenna") -> str:
    return f"701-0000000-{n:07d}\t{n:014d}\tSK-{n}\t1\t{title}\tEUR\t{price}\t{name}\n"


def test_full_width_japanese_in_windows_31j(tmp_path: Path):
    """Circled digits and the wave dash break a strict shift_jis; cp932 has them."""
    body = (HEADER + row(1, title="①番～㈱", name="鈴木　一郎")).encode("cp932")
    told = parsed(tmp_path, body, marketplace=JP, content_type="text/plain;charset=Shift_JIS", with_buyers=True)

    assert (told["encoding"], told["rows"][0]["product_name"]) == ("cp932", "①番～㈱")
    assert told["rows"][0]["buyer"]["recipient_name"] == "鈴木　一郎"


def test_a_gzip_that_nobody_announced(tmp_path: Path):
    """SP-API sends gzip as text/plain, and a body that is announced as gzip is plain at times."""
    body = (HEADER + row(1)).encode()

    assert [r["sku"] for r in parsed(tmp_path, gzip.compress(body))["rows"]] == ["SK-1"]
    assert [r["sku"] for r in parsed(tmp_path, body, content_type="application/x-gzip")["rows"]] == ["SK-1"]


def test_utf_16_of_a_download(tmp_path: Path):
    """A spreadsheet's "Unicode text" has a byte order mark."""
    told = parsed(tmp_path, (HEADER + row(1, title="Größe ①")).encode("utf-16"), content_type="text/plain")

    assert (told["encoding"], told["rows"][0]["product_name"]) == ("utf-16", "Größe ①")


@pytest.mark.parametrize("price", ["1.210,00", "1.210,00 €", "1210.00"])
def test_money_as_a_german_download_writes_it(tmp_path: Path, price: str):
    """Read only because the marketplace writes so."""
    assert parsed(tmp_path, (HEADER + row(1, price=price)).encode())["rows"][0]["item_price"] == "1210.00"


def test_ambiguous_money_is_rejected_with_the_column_and_no_amount(tmp_path: Path):
    """1.210 is one and a bit, or more than a thousand: the next row is still read."""
    told = parsed(tmp_path, (HEADER + row(1, price="1.210") + row(2)).encode())

    assert [r["sku"] for r in told["rows"]] == ["SK-2"]
    assert [(r["line"], r["column"]) for r in told["rejected"]] == [(2, "item-price")]
    assert "1.210" not in told["rejected"][0]["reason"]


def test_what_copy_would_take_for_its_own_is_text(tmp_path: Path):
    """A backslash, an N after it, the end-of-data mark: titles may hold them."""
    titles = ["\\N", "\\.", "a\\tb", "=cmd()", "'; DROP TABLE"]
    told = parsed(tmp_path, (HEADER + "".join(row(n, title=t) for n, t in enumerate(titles))).encode())

    assert [r["product_name"] for r in told["rows"]] == titles


def test_half_a_file_is_quarantined(tmp_path: Path):
    """Cut in the middle of a row, or of a gzip: its first rows alone would be less than was sold, without a word."""
    body = (HEADER + row(1) + row(2)).encode()

    assert parsed(tmp_path, body[:-40])["reason"].startswith("the file is cut")
    assert parsed(tmp_path, gzip.compress(body)[:-9])["reason"].startswith("the gzip is cut")


def test_an_unknown_charset_is_quarantined_with_what_was_tried(tmp_path: Path):
    """The reason is where a person begins to look."""
    body = (HEADER + row(1, title="caf\u00e9")).encode("cp1252")
    told = parsed(tmp_path, body, marketplace="A39IBJ37TRP1C6", content_type="text/plain; charset=UTF-8")

    assert (told["outcome"], told["rows"]) == ("quarantined", [])
    assert told["reason"] == (
        "the charset is unknown: not UTF-8, label UTF-8 does not fit, and its marketplaces have none in common"
    )


def test_no_reason_holds_a_buyers_data(tmp_path: Path):
    """Reasons go to logs, messages and screens."""
    damaged = [
        row(1, title="Desk\nlamp"),
        row(2, title="Desk\tlamp"),
        row(3, name="Ilka\0Morvenna"),
        row(4, price="Morvenna"),
        "Ilka Morvenna\t1\tSK\t1\tMug\tEUR\t1.00\tMorvenna\n",
    ]
    told = parsed(tmp_path, (HEADER + "".join(damaged) + row(9)).encode())

    assert [r["line"] for r in told["rejected"]] == [2, 3, 4, 5, 6, 7]
    assert "Morvenna" not in json.dumps(told["rejected"])
