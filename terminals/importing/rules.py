"""What a row of an import may say, and how an import and its rows move. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from functools import partial
from typing import NamedTuple

from terminals.common.errors import Refusal
from terminals.common.states import Machine, Transition
from terminals.estate.rules import check_identifier, check_mid, check_tags, check_tid, check_time_zone, device_id_for

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


def read_row(cells: Mapping[str, str]) -> tuple[Row, list[Refusal]]:
    """Return what a row's cells say, and each thing because of which they cannot be a merchant, store or terminal."""
    said = {column: text for column, text in cells.items() if text and column != "tags"}
    tags = tuple(filter(None, (tag.strip() for tag in cells.get("tags", "").split(TAG_SEPARATOR))))
    row = Row(merchant=said.pop("merchant", ""), tags=tags, **said)
    bad_cells = [partial(check_cell, column, text) for column, text in cells.items()]
    faults = [*_refused(bad_cells), *_missing(row)]
    return row, faults or _refused(_checks(row))


def _refused(checks: Iterable[Callable[[], object]]) -> list[Refusal]:
    found = []
    for check in checks:
        try:
            check()
        except Refusal as refusal:
            found.append(refusal)
    return found


def _checks(row: Row) -> Iterator[Callable[[], object]]:
    yield partial(check_identifier, row.mid)
    if row.time_zone:
        yield partial(check_time_zone, row.time_zone)
    if row.serial:
        yield partial(device_id_for, row.serial)
        yield partial(check_tid, row.tid)
        yield partial(check_mid, row.terminal_mid)
    yield partial(check_tags, row.tags)


def _missing(row: Row) -> list[Refusal]:
    """Return what a row leaves out: it says something of a store or a terminal, and not which."""
    of_terminal = bool(row.serial or row.model or row.tid or row.terminal_mid or row.tags)
    needed = {
        "merchant": True,
        "store": bool(row.serial or row.city or row.time_zone),
        "serial": of_terminal,
        "model": bool(row.serial),
    }
    return [
        Refusal("incomplete", "the column %(column)s is empty", column=column)
        for column, wanted in needed.items()
        if wanted and not getattr(row, column)
    ]


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
