"""Lists as files: CSV and XLSX, row by row, with cells that no spreadsheet takes for a formula."""

import csv
import re
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO

import xlsxwriter

FORMULA = ("=", "+", "-", "@", "\t", "\r")
MOST_ROWS = 200_000  # of one file; a spreadsheet ends at 1,048,576
XLSX_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def harmless(cell: str) -> str:
    """Return a cell's text with an apostrophe before what a spreadsheet would run (OWASP: CSV injection)."""
    return f"'{cell}" if cell.startswith(FORMULA) and not _is_number(cell) else cell


def _is_number(cell: str) -> bool:
    """Whether a cell is a number, with a unit or without: -69 dBm, -12.34 EUR."""
    return re.fullmatch(r"[+-][0-9]+(\.[0-9]+)?( [A-Za-z]{1,3})?", cell) is not None


class _Line:
    """What csv writes to: it hands each line back."""

    def write(self, line: str) -> str:
        return line


def csv_lines(header: list[str], rows: Iterable[list[str]]) -> Iterator[str]:
    """Yield the lines of a CSV file (RFC 4180), as UTF-8 that spreadsheets recognise."""
    writer = csv.writer(_Line())
    yield "\ufeff" + writer.writerow(header)
    for row in rows:
        yield writer.writerow(list(map(harmless, row)))


def xlsx_file(header: list[str], rows: Iterable[list[str]]) -> IO[bytes]:
    """Return an XLSX file, at its beginning; all cells are text. Memory does not grow with the rows."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - whoever sends it closes it
    book = xlsxwriter.Workbook(file, {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False})
    sheet = book.add_worksheet()
    sheet.write_row(0, 0, header, book.add_format({"bold": True}))
    sheet.freeze_panes(1, 0)
    for number, row in enumerate(rows, start=1):
        for column, cell in enumerate(row):
            sheet.write_string(number, column, cell)
    book.close()
    file.seek(0)
    return file
