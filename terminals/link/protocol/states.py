"""The link's rules, pure: how a command moves, and when it is offered again."""

from collections.abc import Iterable
from enum import StrEnum
from typing import TypeVar

from terminals.common.states import Machine, Transition


class CommandState(StrEnum):
    QUEUED = "queued"
    SENT = "sent"
    ACCEPTED = "accepted"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


_C = CommandState
OPEN = (_C.QUEUED, _C.SENT, _C.ACCEPTED, _C.RUNNING)
OPEN_STATES = tuple(state.value for state in OPEN)


class CommandTransition(Machine):
    send = Transition((_C.QUEUED,), _C.SENT)
    accept = Transition((_C.QUEUED, _C.SENT, _C.ACCEPTED), _C.ACCEPTED)
    run = Transition(OPEN, _C.RUNNING)
    succeed = Transition(OPEN, _C.SUCCEEDED)
    fail = Transition(OPEN, _C.FAILED)
    reject = Transition(OPEN, _C.REJECTED)
    expire = Transition(OPEN, _C.EXPIRED)
    cancel = Transition(OPEN, _C.CANCELLED)


# How far a terminal's word has got; what has none of these ranks is not a terminal's word.
RANK = {
    _C.QUEUED: 0,
    _C.SENT: 1,
    _C.ACCEPTED: 2,
    _C.RUNNING: 3,
    _C.SUCCEEDED: 4,
    _C.FAILED: 4,
    _C.REJECTED: 4,
}
# The first pause before a command is offered again; it doubles with each attempt (relay.CLAIM).
FIRST_RETRY_SECONDS = 10
LONGEST_RETRY_SECONDS = 3600
T = TypeVar("T")


def last_word(states: Iterable[tuple[T, str]]) -> T | None:
    """Of one command's results in the order they came, return the one that counts: the first final, else the furthest."""
    best: tuple[T, str] | None = None
    for item, state in states:
        if best is None or _rank(state) > _rank(best[1]) or _rank(state) == _rank(best[1]) < 4:
            best = (item, state)
    return best[0] if best else None


def is_final(state: str) -> bool:
    """Whether a command in this state moves no more; raise ValueError for an unknown state."""
    return CommandState(state) not in OPEN


def _rank(state: str) -> int:
    return RANK[CommandState(state)]
