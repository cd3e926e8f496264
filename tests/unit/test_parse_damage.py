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

from orderdrain.families import REPORT_TYPES
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
    return [json.loads(path.read_text())["file"] for path in sorted(DAMAGE.glob("*.expect.json"))] or ["absent"]


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


# ------------------------------------------------------------------------- each kind of damage, in every type of report

ALL_TYPES = sorted(name for name, known in REPORT_TYPES.items() if known.format == "flat")
#: What a good cell of each type is, by line.
GOOD = {
    "id": "{n:014d}",
    "code": "SK-{n}",
    "text": "Mug {n}",
    "integer": "{n}",
    "money": "19.9{n}",
    "currency": "EUR",
    "timestamp": "2026-05-11T09:15:0{n}+00:00",
    "boolean": "false",
}


class Flat:
    """A flat file of one type, whole until it is damaged: all columns of its family, three rows."""

    def __init__(self, report_type: str) -> None:
        self.report_type = report_type
        self.columns = REPORT_TYPES[report_type].family.columns
        self.header = [column.name for column in self.columns]
        self.rows = [[self._cell(column, n) for column in self.columns] for n in (1, 2, 3)]

    @staticmethod
    def _cell(column, n: int) -> str:
        if column.field == "order_id":
            return f"701-0000000-{n:07d}"
        return "Quenby Ashdown" if column.personal else GOOD[column.type].format(n=n)

    def place(self, type_: str, *, required: bool = False) -> int:
        """The first column of a type that is nobody's personal data."""
        return next(
            n
            for n, c in enumerate(self.columns)
            if c.type == type_ and c.field and not c.personal and (c.required or not required)
        )

    def read(self, tmp_path: Path, body: bytes | None = None) -> dict:
        file = tmp_path / "report"
        lines = [self.header, *self.rows]
        file.write_bytes(body or "".join("\t".join(line) + "\n" for line in lines).encode())
        told = parse_file(file, report_type=self.report_type, marketplace=DE, with_buyers=True)
        assert "Ashdown" not in json.dumps([told["rejected"], told["reason"]])
        return told


every_type = pytest.mark.parametrize("report_type", ALL_TYPES)


@every_type
def test_every_flat_report_type_reads_all_of_its_columns(report_type: str, tmp_path: Path):
    """Each cell comes back as it was written: under its own name, and nothing twice."""
    flat = Flat(report_type)
    told = flat.read(tmp_path)

    assert (told["outcome"], len(told["rows"]), told["rejected"]) == ("rows", 3, [])
    for n, row in enumerate(told["rows"], 1):
        for column in flat.columns:
            where = (row["buyer"] if column.personal else row) if column.field else None
            kept = row["buyer"]["extra"] if column.of_buyer else row["extra"]
            said = where[column.shown_as] if where else kept[column.name.lower()]
            wrote = flat._cell(column, n)
            wanted = {"integer": n, "boolean": False}.get(column.type, wrote)
            assert said == (wrote.replace("+00:00", "Z") if column.type == "timestamp" else wanted), column.name


DAMAGED = [
    ("id", "5.80293E+13"),
    ("id", ""),
    ("id", "Quenby Ashdown"),
    ("integer", "two"),
    ("integer", "9" * 10_000),
    ("integer", "2.0"),
    ("money", "1.210"),
    ("money", "9" * 5_000),
    ("money", "NaN"),
    ("timestamp", "2026-02-30T00:00:00Z"),
    ("timestamp", "2013-01-15T12:24:57+00e00"),
    ("text", "nul\0nul"),
]


@every_type
def test_a_damaged_cell_costs_its_row_in_every_report_type(report_type: str, tmp_path: Path):
    """One row, named by line and column; the rows around it are read."""
    types = {column.type for column in Flat(report_type).columns}
    for type_, cell in DAMAGED:
        if type_ not in types:
            continue
        flat = Flat(report_type)
        place = flat.place(type_, required=not cell)
        flat.rows[1][place] = cell
        told = flat.read(tmp_path)

        assert [(r["line"], r["column"]) for r in told["rejected"]] == [(3, flat.columns[place].name)]
        assert len(told["rows"]) == 2
        assert not cell or cell not in told["rejected"][0]["reason"]


@every_type
def test_a_text_that_looks_like_damage_is_kept_as_it_is_in_every_report_type(report_type: str, tmp_path: Path):
    """Quotes that never close, formulas, what COPY or SQL would take for its own, line ends of Unicode, 200 kB."""
    texts = [
        '"Never closed',
        "=1+1",
        "\\N",
        "\\.",
        "'; DROP TABLE",
        "a\u0085b\u2028c\vd\fe",
        "x" * 200_000,
        "---",
        "👩\u200d👧 \u202ex\u202c",
    ]
    flat = Flat(report_type)
    place = flat.place("text")
    for said in texts:
        flat.rows[1][place] = said
        row = flat.read(tmp_path)["rows"][1]
        assert row[flat.columns[place].shown_as] == said


@every_type
def test_a_torn_row_shifts_no_cell_in_any_report_type(report_type: str, tmp_path: Path):
    """A line feed or a tab inside a title: the pieces are rejected with their numbers, all others are read."""
    flat = Flat(report_type)
    place = flat.place("text")
    for torn, lines in (("Desk\nlamp", [3, 4]), ("Desk\tlamp", [3])):
        flat.rows[1][place] = torn
        told = flat.read(tmp_path)
        assert ([r["line"] for r in told["rejected"]], len(told["rows"])) == (lines, 2)


@every_type
@pytest.mark.parametrize("torn", ["Desk\nlamp", "Desk\r\nlamp", "Desk\n\nlamp", "Desk\nlamp\nbulb", "Desk\nlamp\n"])
def test_a_text_that_is_torn_at_the_end_of_its_row_is_not_kept_in_half(report_type: str, torn: str, tmp_path: Path):
    """Its first piece has as many cells as a whole row: the line of one cell after it shows that it is none."""
    flat = Flat(report_type)
    last = flat.place("text")
    for line in (flat.header, *flat.rows):
        line.append(line.pop(last))
    flat.rows[1][-1] = torn
    told = flat.read(tmp_path)

    rejected = [(r["line"], r["column"]) for r in told["rejected"]]
    rest = [3 + n for n, piece in enumerate(torn.split("\n")) if n and piece]
    assert rejected == [(3, flat.header[-1]), *((line, None) for line in rest)]
    assert told["rejected"][0]["reason"] == f"is torn by a line feed: line {rest[0]} may be the rest of it"
    assert len(told["rows"]) == 2


@every_type
def test_the_header_may_be_padded_in_capitals_with_a_mark_and_an_unknown_column(report_type: str, tmp_path: Path):
    """Columns are found by name, wherever they stand; what nobody knows is kept with the buyer."""
    flat = Flat(report_type)
    plain = flat.read(tmp_path)["rows"]
    for line, more in zip((flat.header, *flat.rows), ("Brand-New", "Z1", "Z2", "Z3"), strict=True):
        line.insert(3, more)
    flat.header = ["\ufeff" + flat.header[0].upper(), *(f" {name.upper()} " for name in flat.header[1:])]
    told = flat.read(tmp_path)["rows"]

    assert [row["buyer"]["extra"].pop("brand-new") for row in told] == ["Z1", "Z2", "Z3"]
    assert told == [row | {"buyer": row["buyer"] | {"extra": row["buyer"]["extra"] or {}}} for row in plain]


@every_type
def test_a_whole_file_that_is_damaged_is_quarantined_in_every_report_type(report_type: str, tmp_path: Path):
    """Cut, compressed and cut, an error in its place, a column missing: its first rows alone would be too few."""
    flat = Flat(report_type)
    body = "\n".join("\t".join(line) for line in [flat.header, *flat.rows]).encode()
    bodies = {
        "the file is cut": body[: body.rindex(b"\t", 0, -40)],
        "the gzip is cut": gzip.compress(body)[:-9],
        "the gzip is damaged": gzip.compress(body)[:-6] + b"broken",
        "XML": b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
        "HTML": b"<html>503 Service Unavailable</html>",
        "lacks": body.partition(b"\n")[2],
        "byte order mark": b"\xef\xbb\xbf" + body + b"\xff",
    }
    for reason, damaged in bodies.items():
        told = flat.read(tmp_path, damaged)
        assert (told["outcome"], told["rows"]) == ("quarantined", [])
        assert reason in told["reason"]


@every_type
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252", "gzip"])
def test_every_report_type_is_read_in_every_charset(report_type: str, encoding: str, tmp_path: Path):
    """The charset is a matter of the marketplace, not of the report type."""
    flat = Flat(report_type)
    place = flat.place("text")
    flat.rows[0][place] = "Größe “M” – 5 €"
    body = "".join("\t".join(line) + "\r\n" for line in [flat.header, *flat.rows])
    told = flat.read(tmp_path, gzip.compress(body.encode()) if encoding == "gzip" else body.encode(encoding))

    assert told["rows"][0][flat.columns[place].shown_as] == "Größe “M” – 5 €"
    assert told["encoding"] == ("utf-8" if encoding == "gzip" else encoding)


@every_type
def test_a_header_alone_is_empty_in_every_report_type(report_type: str, tmp_path: Path):
    """Nothing sold, nothing waiting: done, and no error."""
    flat = Flat(report_type)
    flat.rows = []

    assert flat.read(tmp_path)["outcome"] == "empty"
