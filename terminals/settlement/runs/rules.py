"""The states of a settlement run, and how long until it is tried again. Pure."""

from datetime import timedelta
from enum import StrEnum

from terminals.common.states import Machine, Transition


class RunState(StrEnum):
    BLOCKED = "blocked"  # due, but the terminal is not ready: it goes off when that clears
    REQUESTED = "requested"
    SETTLING = "settling"
    WAITING = "waiting"  # an attempt failed; the next one is at `retry_at`
    BALANCED = "balanced"
    UNBALANCED = "unbalanced"
    FAILED = "failed"


_R = RunState
OPEN = (_R.BLOCKED, _R.REQUESTED, _R.SETTLING, _R.WAITING)
ASKED = (_R.REQUESTED, _R.SETTLING)
TROUBLE = (_R.UNBALANCED, _R.FAILED)  # money that somebody must look after
MOST_DOUBLED = 6


class RunTransition(Machine):
    ask = Transition((_R.BLOCKED, _R.WAITING), _R.REQUESTED)
    start = Transition((_R.REQUESTED,), _R.SETTLING)
    wait = Transition(ASKED, _R.WAITING)
    block = Transition((_R.WAITING,), _R.BLOCKED)
    fail = Transition(OPEN, _R.FAILED)
    # A report that came too late still settles the batch; a late transaction has it compared again.
    balance = Transition(tuple(RunState), _R.BALANCED)
    unbalance = Transition(tuple(RunState), _R.UNBALANCED)


def pause_before(attempt: int, retry_minutes: int) -> timedelta:
    """Return how long to wait before attempt 2, 3, ...: each pause twice the one before."""
    return timedelta(minutes=retry_minutes * 2 ** min(attempt - 2, MOST_DOUBLED))
