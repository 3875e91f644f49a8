"""What reading one entry of a file comes to. Pure."""

from typing import NamedTuple

from terminals.common.card_data import has_card_data
from terminals.common.errors import Refusal
from terminals.settlement.credits.rules import Entry


class Reject(NamedTuple):
    """An entry that cannot be read."""

    number: int
    refusal: Refusal


class Other(NamedTuple):
    """An entry about something else than a terminal's batch."""

    number: int


Read = Entry | Reject | Other


def without_card_data(entry: Entry) -> Entry:
    """Return an entry as it is; raise Refusal where a text that would be kept looks like a full card number or a track."""
    if has_card_data(f" {entry.reference} | {entry.entry_id} ".encode()):
        raise Refusal("card_data", "it holds what looks like a full card number or a track")
    return entry
