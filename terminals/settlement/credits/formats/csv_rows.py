"""Credit files as CSV, row by row, in the form that a profile describes."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any, BinaryIO

from terminals.common.errors import Refusal
from terminals.common.money import check_currency
from terminals.settlement.credits import rules
from terminals.settlement.credits.formats.read import Other, Read, Reject, without_card_data
from terminals.settlement.credits.rules import LONGEST_TEXT, Entry, Named

LONGEST_CELL = 1000
LONGEST_LINE = 100_000
WIDEST = 200
MOST_BLANK = 100_000
LONGEST_ROW = 200_000  # characters; a quoted cell may have line ends


def read(stream: BinaryIO, settings: Mapping[str, Any]) -> Iterator[Read]:
    """Yield what each row below the header tells. Raises Refusal for a file without the profile's columns, of another encoding,
    or that is no CSV."""
    rows = _rows(stream, settings)
    _line, header = next(rows, (0, []))
    places = _places(header, settings["columns"])
    blank = 0
    for number, cells in rows:
        if not any(cells):
            blank += 1
            if blank > MOST_BLANK:
                raise Refusal("bad_csv", "line %(line)s: %(error)s", line=number, error="too many empty lines")
            continue
        try:
            if len(cells) != len(header):
                raise Refusal(
                    "bad_row",
                    "line %(line)s has %(cells)s cells, the header %(columns)s",
                    line=number,
                    cells=len(cells),
                    columns=len(header),
                )
            said = {name: cells[place] for name, place in places.items()}
            entry = _entry(number, said, settings)
            yield Other(number) if entry is None else without_card_data(entry)
        except Refusal as refusal:
            yield Reject(number, refusal)


def _rows(stream: BinaryIO, settings: Mapping[str, Any]) -> Iterator[tuple[int, list[str]]]:
    encoding = "utf-8-sig" if settings["encoding"] == "utf-8" else settings["encoding"]
    text = io.TextIOWrapper(stream, encoding=encoding, newline="")
    lines = Lines(text)
    reader = csv.reader(lines, delimiter=rules.DELIMITERS[settings["delimiter"]], strict=True)
    try:
        for cells in reader:
            lines.length = 0
            if len(cells) > WIDEST or any(len(cell) > LONGEST_CELL for cell in cells):
                raise Refusal("bad_csv", "line %(line)s: %(error)s", line=reader.line_num, error="too much in one row")
            yield reader.line_num, [cell.strip() for cell in cells]
    except UnicodeDecodeError:
        raise Refusal(
            "bad_encoding", "the file is not %(encoding)s, as its profile says", encoding=settings["encoding"]
        ) from None
    except csv.Error as error:
        raise Refusal("bad_csv", "line %(line)s: %(error)s", line=reader.line_num, error=error) from None


class Lines:
    """A file's lines, of which a row may take no more than LONGEST_ROW characters; `length` is how many the present one has."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text, self.length = text, 0

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> str:
        line = self._text.readline(LONGEST_LINE)
        if not line:
            raise StopIteration
        self.length += len(line)
        if "\0" in line or len(line) == LONGEST_LINE or self.length > LONGEST_ROW:
            raise Refusal("bad_csv", "this is no CSV file: it has a line without an end, or characters U+0000")
        return line


def _places(header: Sequence[str], columns: Mapping[str, str]) -> dict[str, int]:
    known = [name.lower() for name in header]
    for column in columns.values():
        if known.count(column.lower()) != 1:
            raise Refusal(
                "bad_header",
                "the header must name %(column)s once; it names %(known)s",
                column=repr(column),
                known=", ".join(name[:40] for name in header[:30]),
            )
    return {name: known.index(column.lower()) for name, column in columns.items()}


def _entry(number: int, said: Mapping[str, str], settings: Mapping[str, Any]) -> Entry | None:
    named = _named(said, settings)
    if named is None:
        return None
    currency = check_currency(said.get("currency", "").upper() or settings["currency"])
    net, fee = _money(said, currency, settings)
    method, scheme = rules.method_of(said.get("method", ""), settings["methods"])
    entry_id = said.get("entry_id", "")
    if len(entry_id) > LONGEST_TEXT or not entry_id.isprintable():
        raise Refusal("bad_entry_id", "the entry's id has at most %(most)s characters", most=LONGEST_TEXT)
    return Entry(
        number,
        named.tid,
        named.batch_number,
        currency,
        net,
        fee,
        _day(said.get("value_date", ""), rules.DATE_FORMATS[settings["date_format"]]),
        named.mid,
        "".join(said.get("account", "").split()).upper()[:40],
        method,
        scheme,
        entry_id,
        named.reference,
    )


def _named(said: Mapping[str, str], settings: Mapping[str, Any]) -> Named | None:
    if "tid" in said and "batch" in said:
        if not said["tid"] and not said["batch"]:
            return None  # a subtotal, or a fee of the month
        return rules.named_by(said["tid"], said["batch"], said.get("mid", ""))
    return rules.named_in(said["reference"], settings["reference"])


def _money(said: Mapping[str, str], currency: str, settings: Mapping[str, Any]) -> tuple[int, int]:
    """Return net and fee; of net, gross and fee two are enough, and three must agree."""
    mark, minor = rules.DECIMAL_MARKS[settings["decimal_mark"]], settings["amounts"] == "minor"
    read = {
        name: rules.amount_of(said[name], currency, mark=mark, minor=minor)
        for name in ("net", "gross", "fee")
        if said.get(name)
    }
    if "net" not in read and "gross" not in read:
        raise Refusal("bad_amount", "it has no amount")
    if "fee" in read:  # some write what is kept with a minus, others do not: it has the sign of what it is kept of
        of = read.get("gross", read.get("net", 0))
        read["fee"] = -abs(read["fee"]) if of < 0 else abs(read["fee"])
    gross = read.get("gross", read.get("net", 0) + read.get("fee", 0))
    net = read.get("net", gross - read.get("fee", 0))
    if "fee" in read and gross - net != read["fee"]:
        raise Refusal("amounts_differ", "gross less fee is not net")
    return net, gross - net


def _day(text: str, form: str) -> date | None:
    if not text:
        return None
    try:
        return datetime.strptime(text[:40], form).date()  # noqa: DTZ007 - a day has no zone
    except ValueError:
        raise Refusal("bad_date", "%(text)s is no day as the profile writes it", text=repr(text[:40])) from None
