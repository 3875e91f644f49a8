"""What a row of an import may say, and how an import and its rows move. Pure."""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from terminals.common.errors import Refusal
from terminals.common.states import Machine, Transition
from terminals.estate.rules import check_identifier, check_tags, check_terminal, check_time_zone

COLUMNS = (
    "organisation",
    "merchant",
    "mid",
    "store",
    "city",
    "time_zone",
    "serial",
    "model",
    "tid",
    "terminal_mid",
    "tags",
)
LONGEST = {"organisation": 120, "merchant": 120, "mid": 15, "store": 120, "city": 80, "time_zone": 64, "model": 121}
LONGEST_CELL = 300
TAG_SEPARATOR = ";"


class ImportState(StrEnum):
    CHECKED = "checked"
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


class RowState(StrEnum):
    READY = "ready"
    MADE = "made"
    UNCHANGED = "unchanged"
    REFUSED = "refused"
    CANCELLED = "cancelled"


_I, _R = ImportState, RowState


class ImportTransition(Machine):
    start = Transition((_I.CHECKED,), _I.RUNNING)
    finish = Transition((_I.RUNNING,), _I.DONE)
    cancel = Transition((_I.CHECKED, _I.RUNNING), _I.CANCELLED)
    fail = Transition((_I.RUNNING,), _I.FAILED)


class RowTransition(Machine):
    make = Transition((_R.READY,), _R.MADE)
    find = Transition((_R.READY,), _R.UNCHANGED)
    refuse = Transition((_R.READY,), _R.REFUSED)
    cancel = Transition((_R.READY,), _R.CANCELLED)


class Row(NamedTuple):
    """A row as it was written: a merchant, and where they are filled in its store and a terminal there."""

    merchant: str
    organisation: str = ""
    mid: str = ""
    store: str = ""
    city: str = ""
    time_zone: str = ""
    serial: str = ""
    model: str = ""
    tid: str = ""
    terminal_mid: str = ""
    tags: tuple[str, ...] = ()


def read_row(cells: Mapping[str, str]) -> Row:
    """Return what a row's cells say; raise Refusal where they cannot be a merchant, store or terminal."""
    for column, text in cells.items():
        check_cell(column, text)
    said = {column: text for column, text in cells.items() if text and column != "tags"}
    tags = tuple(filter(None, (tag.strip() for tag in cells.get("tags", "").split(TAG_SEPARATOR))))
    row = Row(merchant=said.pop("merchant", ""), tags=tags, **said)
    if not row.merchant:
        raise Refusal("incomplete", "the column %(column)s is empty", column="merchant")
    _check_whole(row)
    check_identifier(row.mid)
    if row.time_zone:
        check_time_zone(row.time_zone)
    if row.serial:
        check_terminal(row.serial, row.tid, row.terminal_mid)
    check_tags(row.tags)
    return row


def _check_whole(row: Row) -> None:
    """Refuse a row that says something of a store or a terminal, and not which."""
    of_terminal = row.model or row.tid or row.terminal_mid or row.tags
    if of_terminal and not row.serial:
        raise Refusal("incomplete", "the column %(column)s is empty", column="serial")
    if row.serial and not row.model:
        raise Refusal("incomplete", "the column %(column)s is empty", column="model")
    if (row.serial or row.city or row.time_zone) and not row.store:
        raise Refusal("incomplete", "the column %(column)s is empty", column="store")


def check_cell(column: str, text: str) -> None:
    """Raise Refusal for what no name could be: too long, with control characters, or a formula of a spreadsheet."""
    longest = LONGEST.get(column, LONGEST_CELL)
    if len(text) > longest:
        raise Refusal("too_long", "%(column)s: at most %(longest)s characters", column=column, longest=longest)
    if not text.isprintable():
        raise Refusal("control_characters", "%(column)s has characters that cannot be printed", column=column)
    if text.startswith(("=", "@")):
        raise Refusal("formula", "%(column)s begins like a formula; write the value", column=column)


def check_header(header: list[str]) -> list[str]:
    """Return the columns that a file's first line names; raise Refusal where one is unknown or there twice."""
    columns = ["_".join(name.strip().lower().split()) for name in header]
    while columns and not columns[-1]:
        columns.pop()
    if unknown := [name for name in columns if name not in COLUMNS]:
        raise Refusal(
            "bad_header",
            "the first line must name the columns; %(unknown)s is none of %(known)s",
            unknown=repr(unknown[0][:40]),
            known=", ".join(COLUMNS),
        )
    if len(set(columns)) != len(columns) or "merchant" not in columns:
        raise Refusal("bad_header", "the first line must name each column once, merchant among them")
    return columns
