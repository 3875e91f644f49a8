"""What every room of settlement shares: kinds of money, batch numbers. Pure: no clock, no database."""

from collections.abc import Iterable, Mapping
from typing import get_args

from terminals.link.protocol.messages.settlement import Kind, Method

METHODS: tuple[str, ...] = get_args(Method)
KINDS: tuple[str, ...] = get_args(Kind)
# What a kind adds to a batch's net amount. A void or a reversal takes back a sale; what was declined moved no money.
SIGNS: Mapping[str, int] = {"sale": 1, "refund": -1, "credit": -1, "void": -1, "reversal": -1, "declined": 0}
LAST_BATCH_NUMBER = 999_999  # ISO 8583 DE60 has six digits


def is_newer(batch_number: int, than: int) -> bool:
    """Whether a batch was opened after another of its terminal: ISO 8583's six digits begin again after 999999."""
    return 0 < (batch_number - than) % LAST_BATCH_NUMBER <= LAST_BATCH_NUMBER // 2


def next_batch_number(numbers: Iterable[int]) -> int:
    """Return the number that follows a terminal's newest batch; 1 where it had none."""
    newest = 0
    for number in numbers:
        newest = number if not newest or is_newer(number, newest) else newest
    return newest % LAST_BATCH_NUMBER + 1
