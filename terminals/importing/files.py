"""Reading the files that people bring: CSV and XLSX, hostile ones included. Nothing is trusted before it was measured."""

import csv
import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time
from typing import Any, NamedTuple

import openpyxl

from terminals.common.errors import Refusal
from terminals.importing.rules import COLUMNS, LONGEST_CELL, check_header

MOST_BYTES = 10 * 1024 * 1024
MOST_UNPACKED = 24 * 1024 * 1024  # of an XLSX, whose parts are packed
# What costs is tags, each of which becomes an object: 20,000 rows of all our columns take 900,000.
MOST_TAGS, MOST_TAGS_OF_A_ROW, MOST_TAGS_BESIDES = 1_000_000, 2_000, 50_000
ROW = re.compile(rb"<(?:\w+:)?row\b")
MOST_PARTS = 500
MOST_ROWS = 20_000
MOST_LINES = 2 * MOST_ROWS  # empty ones included
TOO_MANY_ROWS = Refusal("too_many_rows", "a file takes %(most)s rows at most; cut it in two", most=MOST_ROWS)
WIDEST = len(COLUMNS) + 20
SEPARATORS = ",;\t"


class Line(NamedTuple):
    """A row of a file: its number in the file, its cells by column, and why it cannot be read where it cannot."""

    number: int
    cells: dict[str, str]
    refusal: Refusal | None = None


def lines_of(name: str, content: bytes) -> list[Line]:
    """Return a file's rows without empty ones; raise Refusal for a file that is none, or too large."""
    if len(content) > MOST_BYTES:
        raise Refusal("too_large", "a file has at most %(most)s MB", most=MOST_BYTES >> 20)
    packed = content.startswith(b"PK")
    if packed != name.lower().endswith(".xlsx"):
        raise Refusal("unknown_format", "bring a CSV file (UTF-8) or an XLSX file, with a name that ends so")
    numbered = enumerate(_xlsx(content) if packed else _csv(content), start=1)
    columns: list[str] | None = None
    lines: list[Line] = []
    for number, cells in numbered:
        if not any(cells):
            continue
        if columns is None:
            columns = check_header([str(cell) for cell in cells])
            continue
        if len(lines) == MOST_ROWS:
            raise TOO_MANY_ROWS.again()
        lines.append(_line(number, columns, cells))
    if not lines:
        raise Refusal("no_rows", "the file has no rows below the line that names its columns")
    return lines


class Unusable(NamedTuple):
    """A cell that holds no text and no number."""

    kind: str


Cell = str | Unusable


def _line(number: int, columns: list[str], cells: Sequence[Cell]) -> Line:
    shown = {column: str(cell)[: LONGEST_CELL + 1] for column, cell in zip(columns, cells, strict=False) if cell}
    refusal = None
    if any(cells[len(columns) :]):
        refusal = Refusal("bad_row", "it has more cells than there are columns")
    for column, cell in zip(columns, cells, strict=False):
        if isinstance(cell, Unusable):
            shown[column] = ""
            refusal = Refusal(
                "bad_cell", "%(column)s holds a %(kind)s; write it as text", column=column, kind=cell.kind
            )
    return Line(number, shown, refusal)


def _csv(content: bytes) -> Iterator[list[Cell]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Refusal("bad_encoding", "the file is not UTF-8; save it as CSV UTF-8") from None
    if "\0" in text:
        raise Refusal("bad_encoding", "the file has characters U+0000; save it as CSV UTF-8")
    first = text.partition("\n")[0]
    separator = max(SEPARATORS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        for number, cells in enumerate(reader, start=1):
            if number == MOST_LINES:
                raise TOO_MANY_ROWS.again()
            yield [cell.strip() for cell in cells[:WIDEST]]
    except csv.Error as error:
        raise Refusal("bad_csv", "line %(line)s: %(error)s", line=reader.line_num, error=error) from None


def _xlsx(content: bytes) -> Iterator[list[Cell]]:
    """Yield the first sheet's rows. What it would unpack to is known before anything is unpacked; Python's zipfile reads no
    more of a part than it declares."""
    try:
        parts = zipfile.ZipFile(io.BytesIO(content)).infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        raise Refusal("bad_xlsx", "the XLSX file cannot be read") from None
    if len(parts) > MOST_PARTS or sum(part.file_size for part in parts) > MOST_UNPACKED:
        raise Refusal("too_large", "the XLSX file unpacks to more than %(most)s MB", most=MOST_UNPACKED >> 20)
    _refuse_costly(content)
    try:
        book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, keep_links=False)
        sheet = book.worksheets[0]
        sheet.reset_dimensions()  # what it says of its own size may be a lie
        for number, cells in enumerate(sheet.iter_rows(max_row=MOST_LINES, max_col=WIDEST), start=1):
            if number == MOST_LINES:
                raise TOO_MANY_ROWS.again()
            yield [_text_of(cell) for cell in cells]
    except Refusal:
        raise
    except Exception as error:  # noqa: BLE001 - a foreign parser fails on a hostile file in any way it likes
        raise Refusal("bad_xlsx", "the XLSX file cannot be read: %(error)s", error=type(error).__name__) from None


def _refuse_costly(content: bytes) -> None:
    """Refuse what would take gigabytes or minutes to parse, before the parser sees it: it builds an object of each tag."""
    tags = 0
    with zipfile.ZipFile(io.BytesIO(content)) as book:
        for part in book.infolist():
            try:
                text = book.read(part)
            except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError, zlib.error):
                raise Refusal("bad_xlsx", "the XLSX file cannot be read") from None
            number = text.count(b"<")
            tags += number
            sheet = part.filename.lower().startswith("xl/worksheets/")
            most = max(row.count(b"<") for row in ROW.split(text)) if sheet else 0
            plain = sheet or part.filename.lower().endswith("sharedstrings.xml")
            if tags > MOST_TAGS or most > MOST_TAGS_OF_A_ROW or (number > MOST_TAGS_BESIDES and not plain):
                raise Refusal("too_large", "the XLSX file holds too much besides its rows; save the rows as CSV")


def _text_of(cell: Any) -> Cell:
    value = cell.value
    if value is None:
        return ""
    if getattr(cell, "data_type", "") == "f":
        return Unusable("formula")
    if isinstance(value, bool | datetime | date | time):
        return Unusable("date" if isinstance(value, datetime | date | time) else "truth value")
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else str(value)
    return str(value).strip()
