"""The forms of credit files. Each reads a stream to its end and yields, entry by entry, what it tells; nothing is trusted."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

from terminals.settlement.credits.formats import camt, csv_rows
from terminals.settlement.credits.formats.read import Read

# What reads each form: raises Refusal where the file as a whole cannot be believed.
FORMATS: Mapping[str, Callable[[BinaryIO, Mapping[str, Any]], Iterator[Read]]] = {
    "camt": camt.read,
    "csv": csv_rows.read,
}
