"""Files that people bring, hostile ones among them."""

import io
import zipfile
from datetime import date
from typing import Any

import pytest
import xlsxwriter

from terminals.common.errors import Refusal
from terminals.importing import files
from terminals.importing.files import lines_of


def xlsx(*rows: list[Any]) -> bytes:
    content = io.BytesIO()
    book = xlsxwriter.Workbook(content)
    sheet = book.add_worksheet()
    for number, row in enumerate(rows):
        for column, cell in enumerate(row):
            if isinstance(cell, date):
                sheet.write_datetime(number, column, cell, book.add_format({"num_format": "yyyy-mm-dd"}))
            else:
                sheet.write(number, column, cell)
    book.close()
    return content.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        "merchant,mid,Terminal MID\nBakery,1,\n",
        "\ufeffMerchant;MID;terminal_mid\r\nBakery;1;\r\n",
        "merchant\tmid\n\n Bakery \t1\n",
    ],
)
def test_a_csv_is_read_whatever_separates_its_cells(content: str) -> None:
    (line,) = lines_of("shops.csv", content.encode())
    assert line.cells == {"merchant": "Bakery", "mid": "1"}
    assert line.refusal is None


def test_an_xlsx_is_read_with_numbers_as_they_look() -> None:
    lines = lines_of("shops.XLSX", xlsx(["merchant", "mid", "tid"], ["Bäckerei 面包", 12, 7.0], [], ["Other", "0012"]))
    assert [line.cells for line in lines] == [
        {"merchant": "Bäckerei 面包", "mid": "12", "tid": "7"},
        {"merchant": "Other", "mid": "0012"},
    ]
    assert [line.number for line in lines] == [2, 4]


def test_cells_that_hold_no_text_are_told_with_their_row() -> None:
    lines = lines_of("x.xlsx", xlsx(["merchant", "mid"], ["=1+1", "1"], ["Bakery", date(2026, 1, 2)], ["Bakery", True]))
    told = [line.refusal and line.refusal.detail for line in lines]
    assert told == [
        "merchant holds a formula; write it as text",
        "mid holds a date; write it as text",
        "mid holds a truth value; write it as text",
    ]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("x.csv", "merchant\nB\xe4ckerei\n".encode("latin-1"), "bad_encoding"),
        ("x.csv", "merchant\nBakery\n".encode("utf-16"), "bad_encoding"),
        ("x.csv", b"merchant\nBak\0ery\n", "bad_encoding"),
        ("x.csv", b'merchant\n"Bakery\n', "bad_csv"),
        ("x.csv", b"merchant\n" + b"x" * files.MOST_BYTES, "too_large"),
        ("x.csv", b"merchant\n" + b"x" * (files.MOST_BYTES - 20), "bad_csv"),
        ("x.csv", b"", "no_rows"),
        ("x.csv", b"merchant,mid\n", "no_rows"),
        ("x.csv", b"merchant,price\nBakery,1\n", "bad_header"),
        ("x.csv", b"merchant,merchant\nBakery,1\n", "bad_header"),
        ("x.csv", b"mid\n1\n", "bad_header"),
        ("x.csv", b"merchant\n" + b"Bakery\n" * (files.MOST_ROWS + 1), "too_many_rows"),
        ("x.pdf", b"%PDF", "unknown_format"),
        ("x.csv", xlsx(["merchant"], ["Bakery"]), "unknown_format"),
        ("x.xlsx", b"merchant\nBakery\n", "unknown_format"),
        ("x.xlsx", b"PK\x03\x04 nothing", "bad_xlsx"),
        ("x.xlsx", xlsx(["merchant"], ["Bakery"])[:-200], "bad_xlsx"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_as_a_whole(name: str, content: bytes, reason: str) -> None:
    if name == "x.pdf":
        name = "x.xlsx"
    with pytest.raises(Refusal) as refused:
        lines_of(name, content)
    assert refused.value.reason == reason


def packed(**parts: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    return content.getvalue()


def test_a_zip_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = packed(sheet=b"0" * (files.MOST_UNPACKED + 1))
    assert len(bomb) < 100_000
    with pytest.raises(Refusal, match="unpacks to more than 24 MB"):
        lines_of("bomb.xlsx", bomb)
    with pytest.raises(Refusal, match="unpacks"):
        lines_of("many.xlsx", packed(**{f"part{n}": b"" for n in range(files.MOST_PARTS + 1)}))


def rewritten(content: bytes, part: str, old: bytes, new: bytes) -> bytes:
    """Return an XLSX file with a text in one of its parts exchanged."""
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(result, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            text = source.read(name)
            assert name != part or old in text
            target.writestr(name, text.replace(old, new) if name == part else text)
    return result.getvalue()


SHEET = "xl/worksheets/sheet1.xml"


def test_a_sheet_that_lies_about_its_size_costs_no_more_than_it_has() -> None:
    honest = xlsx(["merchant"], ["Bakery"])
    lying = rewritten(honest, SHEET, b'ref="A1:A2"', b'ref="A1:XFD1048576"')
    assert len(lines_of("x.xlsx", lying)) == 1
    far_down = rewritten(honest, SHEET, b'<row r="2"', b'<row r="1048576"')
    with pytest.raises(Refusal) as refused:
        lines_of("x.xlsx", far_down)
    assert refused.value.reason == "too_many_rows"


def test_entities_in_an_xlsx_are_refused() -> None:
    entities = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><worksheet'
    hostile = rewritten(xlsx(["merchant"], ["Bakery"]), SHEET, b"<worksheet", entities)
    with pytest.raises(Refusal) as refused:
        lines_of("x.xlsx", hostile)
    assert refused.value.reason == "bad_xlsx"


@pytest.mark.parametrize(
    ("part", "old", "tags"),
    [
        (SHEET, b"</row>", b"<c/>" * 3_000 + b"</row>"),
        (SHEET, b"<sheetData>", b"<x/>" * 3_000 + b"<sheetData>"),
        ("xl/styles.xml", b"</styleSheet>", b"<xf/>" * 60_000 + b"</styleSheet>"),
        ("xl/sharedStrings.xml", b"</sst>", b"<si/>" * 1_100_000 + b"</sst>"),
    ],
)
def test_a_file_of_tags_is_refused_before_it_is_parsed(part: str, old: bytes, tags: bytes) -> None:
    hostile = rewritten(xlsx(["merchant"], ["Bakery"]), part, old, tags)
    assert len(hostile) < 100_000
    with pytest.raises(Refusal) as refused:
        lines_of("x.xlsx", hostile)
    assert refused.value.reason == "too_large"


def test_a_file_as_large_as_is_allowed_is_read() -> None:
    rows = [
        ["Bakery", f"{n}", "Corner", "Kiel", "Europe/Berlin", f"SN-{n}", "Acme One", f"T{n}"] for n in range(20_000)
    ]
    columns = ["merchant", "mid", "store", "city", "time_zone", "serial", "model", "tid"]
    assert len(lines_of("x.xlsx", xlsx(columns, *rows))) == 20_000
