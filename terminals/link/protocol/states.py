"""The link's rules, pure: how a command moves, and when it is offered again."""

from collections.abc import Iterable
from typing import TypeVar

RANK = {"queued": 0, "sent": 1, "accepted": 2, "running": 3, "succeeded": 4, "failed": 4, "rejected": 4}
# The first pause before a command is offered again; it doubles with each attempt (relay.CLAIM).
FIRST_RETRY_SECONDS = 10
LONGEST_RETRY_SECONDS = 3600
T = TypeVar("T")


def last_word(states: Iterable[tuple[T, str]]) -> T | None:
    """Of one command's results in the order they came, return the one that counts: the first final, else the furthest."""
    best: tuple[T, str] | None = None
    for item, state in states:
        if best is None or RANK[state] > RANK[best[1]] or RANK[state] == RANK[best[1]] < 4:
            best = (item, state)
    return best[0] if best else None
