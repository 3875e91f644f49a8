"""How lanes are shared out among the link processes that are alive. Pure."""

from collections.abc import Collection, Sequence
from typing import NamedTuple


class Share(NamedTuple):
    """What one process shall do now: which lanes to take that nobody holds, and which of its own to give up."""

    take: list[int]
    give: list[int]


def share(holders: Sequence[str], alive: Collection[str], me: str) -> Share:
    """Return what `me` shall take or give up so that all who are alive come to hold as many lanes, give or take one.

    `holders` names each lane's holder; where that is nobody who is alive, the lane is free. Each process asks for itself,
    one after the other; nobody takes a lane from a process that is alive, so that a lane never has two holders.
    """
    place = sorted(alive).index(me)
    quota = len(holders) // len(alive) + (place < len(holders) % len(alive))
    mine = [lane for lane, holder in enumerate(holders) if holder == me]
    free = [lane for lane, holder in enumerate(holders) if holder not in alive]
    return Share(take=free[: max(0, quota - len(mine))], give=mine[quota:])
