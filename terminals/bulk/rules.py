"""How a job and its items move. Pure."""

from collections.abc import Iterable
from enum import StrEnum

from terminals.common.states import Machine, Transition


class JobState(StrEnum):
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


class ItemState(StrEnum):
    WAITING = "waiting"
    DONE = "done"
    LEFT_OUT = "left_out"
    CANCELLED = "cancelled"


class JobTransition(Machine):
    finish = Transition((JobState.RUNNING,), JobState.DONE)
    cancel = Transition((JobState.RUNNING,), JobState.CANCELLED)
    fail = Transition((JobState.RUNNING,), JobState.FAILED)


class ItemTransition(Machine):
    do = Transition((ItemState.WAITING,), ItemState.DONE)
    leave_out = Transition((ItemState.WAITING,), ItemState.LEFT_OUT)
    cancel = Transition((ItemState.WAITING,), ItemState.CANCELLED)


def ranges(numbers: Iterable[int]) -> str:
    """Return numbers in few words, `1-500,502`: so an audit entry names 100,000 terminals."""
    said: list[list[int]] = []
    for number in sorted(set(numbers)):
        if said and said[-1][1] == number - 1:
            said[-1][1] = number
        else:
            said.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in said)
