"""Reports as files: CSV, XLSX with numbers as numbers, and PDF to print. Money stands in major units beside its currency."""

import io
import tempfile
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import IO, Any

import xlsxwriter
from django.utils import formats, timezone
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4, landscape
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import LongTable, Paragraph, SimpleDocTemplate, Spacer, TableStyle

from terminals.common.exports import csv_lines, harmless
from terminals.common.money import digits_of
from terminals.common.words import word
from terminals.settlement.reports.figures import Row, names_of, totals_of
from terminals.settlement.reports.rules import Figures, Spec

TYPES = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pdf": "application/pdf",
}


def money_columns(figures: Figures) -> list[int]:
    """Return a row's amounts in the order of its columns, in minor units."""
    return [
        figures.card_minor,
        figures.qr_minor,
        figures.settled_minor,
        figures.fee_minor,
        figures.credited_minor,
        figures.outstanding_minor,
        figures.excess_minor,
        figures.open_difference_minor,
    ]


def header(spec: Spec) -> list[str]:
    """Return the names of a report's columns."""
    named = [word(spec.level).capitalize()] + ([_("Where")] if spec.level in ("terminal", "store") else [])
    named += [_("Day")] if spec.by_day else []
    named += [_("Currency"), _("Batches"), _("Transactions"), _("Cards"), _("QR"), _("Settled"), _("Fees")]
    return [*named, _("Credited"), _("Not credited"), _("Credited too much"), _("Open differences")]


def lines_of(spec: Spec, rows: Sequence[Row]) -> Iterator[tuple[list[str], Figures]]:
    """Yield what stands left of each row's figures, and these."""
    names = names_of(spec.level, {row.key for row in rows})
    for row in rows:
        name, where = names.get(row.key or 0, ("-", ""))
        told = [name] + ([where] if spec.level in ("terminal", "store") else [])
        told += [row.day.isoformat() if row.day else ""] if spec.by_day else []
        yield told, row.figures


def title_of(spec: Spec) -> str:
    first, last = (formats.date_format(day, "DATE_FORMAT") for day in spec.period)
    return _("Settlement, %(first)s to %(last)s") % {"first": first, "last": last}


def as_csv(spec: Spec, rows: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of a CSV file: plain numbers with a decimal point, the currency in a column of its own."""
    return csv_lines(
        header(spec),
        (
            [
                *told,
                figures.currency,
                str(figures.batches),
                str(figures.transactions),
                *(_plain(n, figures.currency) for n in money_columns(figures)),
            ]
            for told, figures in lines_of(spec, rows)
        ),
    )


def _plain(minor: int, currency: str) -> str:
    return digits_of(minor, currency).replace(",", "")


def as_xlsx(spec: Spec, rows: Sequence[Row]) -> IO[bytes]:
    """Return an XLSX file at its beginning."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - whoever sends it closes it
    book = xlsxwriter.Workbook(file, {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False})
    sheet, bold = book.add_worksheet(), book.add_format({"bold": True})
    sheet.write_row(0, 0, header(spec), bold)
    sheet.freeze_panes(1, 0)
    for number, (told, figures) in enumerate(lines_of(spec, rows), start=1):
        texts = [*(harmless(cell) for cell in told), figures.currency]
        for column, cell in enumerate(texts):
            sheet.write_string(number, column, cell)
        counts = [figures.batches, figures.transactions]
        amounts = [Decimal(_plain(n, figures.currency)) for n in money_columns(figures)]
        for column, amount in enumerate([*counts, *amounts], start=len(texts)):
            sheet.write_number(number, column, amount)
    book.close()
    file.seek(0)
    return file


def _font() -> str:
    """Return a font for the reader's language: Chinese is in none of the Latin ones."""
    if (get_language() or "").startswith("zh"):
        if "STSong-Light" not in pdfmetrics.getRegisteredFontNames():
            pdfmetrics.registerFont(UnicodeCIDFont("STSong-Light"))
        return "STSong-Light"
    if "Vera" not in pdfmetrics.getRegisteredFontNames():
        pdfmetrics.registerFont(TTFont("Vera", "Vera.ttf"))  # ships with reportlab: Latin letters with their accents
    return "Vera"


def as_pdf(spec: Spec, rows: Sequence[Row]) -> bytes:
    """Return a PDF to print: a table with its sums, page numbers, and when it was made."""
    font, out = _font(), io.BytesIO()
    document = SimpleDocTemplate(
        out,
        pagesize=landscape(A4),
        leftMargin=15 * mm,
        rightMargin=15 * mm,
        topMargin=12 * mm,
        bottomMargin=15 * mm,
        title=title_of(spec),
    )
    title = ParagraphStyle("title", fontName=font, fontSize=14, leading=20)
    foot = _foot(font)
    parts = [Paragraph(title_of(spec), title), Spacer(1, 3 * mm), _table(spec, rows, font)]
    document.build(parts, onFirstPage=foot, onLaterPages=foot)
    return out.getvalue()


def _foot(font: str) -> Callable[[Any, Any], None]:
    """Return what draws the foot of a page: when the report was made, and the page's number."""
    made = formats.date_format(timezone.localtime(), "DATETIME_FORMAT")

    def draw(canvas: Any, document: Any) -> None:
        canvas.setFont(font, 7)
        canvas.drawString(15 * mm, 8 * mm, _("made %(when)s") % {"when": made})
        canvas.drawRightString(landscape(A4)[0] - 15 * mm, 8 * mm, _("page %(n)s") % {"n": document.page})

    return draw


def _table(spec: Spec, rows: Sequence[Row], font: str) -> LongTable:
    text = ParagraphStyle("text", fontName=font, fontSize=8, leading=10)
    cells: list[list[Any]] = [[Paragraph(name, text) for name in header(spec)]]
    for told, figures in lines_of(spec, rows):
        cells.append([*(Paragraph(_escaped(cell), text) for cell in told), *_printed(figures)])
    width = len(cells[0])
    sums = [["", *[""] * (width - 12), *_printed(figures)] for figures in totals_of(rows)]
    for place, line in enumerate(sums):
        line[0] = Paragraph(_("Sum"), text) if place == 0 else ""
    table = LongTable(cells + sums, repeatRows=1)
    table.setStyle(
        TableStyle(
            [
                ("FONT", (0, 0), (-1, -1), font, 8),
                ("ALIGN", (width - 10, 0), (-1, -1), "RIGHT"),
                ("LINEBELOW", (0, 0), (-1, -1), 0.25, colors.lightgrey),
                ("LINEABOVE", (0, len(cells)), (-1, len(cells)), 0.75, colors.black),
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ]
        )
    )
    return table


def _printed(figures: Figures) -> list[str]:
    amounts = [digits_of(n, figures.currency) for n in money_columns(figures)]
    return [figures.currency, str(figures.batches), str(figures.transactions), *amounts]


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def content_of(spec: Spec, rows: Sequence[Row], file_format: str) -> bytes:
    """Return a report's file as bytes."""
    if file_format == "csv":
        return "".join(as_csv(spec, rows)).encode()
    if file_format == "xlsx":
        with as_xlsx(spec, rows) as file:
            return file.read()
    return as_pdf(spec, rows)


def name_of(spec: Spec, file_format: str) -> str:
    return f"settlement-{spec.level}-{spec.period.first}-{spec.period.last}.{file_format}"
