"""Campaigns: states, when a terminal is due, when a guard holds. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime, time, timedelta
from enum import StrEnum
from typing import NamedTuple
from zoneinfo import ZoneInfo

from terminals.common.states import Machine, Transition


class CampaignState(StrEnum):
    PROPOSED = "proposed"  # its terminals are chosen, nothing is moved
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    CANCELLED = "cancelled"


class WaveState(StrEnum):
    PLANNED = "planned"
    RUNNING = "running"  # its terminals have their turn
    SOAKING = "soaking"  # enough of them have had it; what it does to them shows in a while
    HELD = "held"  # its guard holds: the next wave may begin
    STOPPED = "stopped"  # its guard does not hold


class MemberState(StrEnum):
    PLANNED = "planned"  # its wave has not begun
    WAITING = "waiting"  # for its window, for a free place, for its next attempt
    ORDERED = "ordered"  # the terminal was asked; it holds what is to be moved
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LEFT_OUT = "left_out"  # it could not be asked at all
    SUPERSEDED = "superseded"  # a newer campaign moves the same thing
    CANCELLED = "cancelled"


_C, _W, _M = CampaignState, WaveState, MemberState
LIVE = (_C.RUNNING, _C.PAUSED)
OPEN_MEMBERS = (_M.WAITING, _M.ORDERED)
ENDED = (_M.SUCCEEDED, _M.FAILED, _M.LEFT_OUT, _M.SUPERSEDED, _M.CANCELLED)


class CampaignTransition(Machine):
    start = Transition((_C.PROPOSED,), _C.RUNNING)
    pause = Transition((_C.RUNNING,), _C.PAUSED)
    resume = Transition((_C.PAUSED,), _C.RUNNING)
    finish = Transition((_C.RUNNING,), _C.DONE)
    cancel = Transition((_C.PROPOSED, _C.RUNNING, _C.PAUSED), _C.CANCELLED)


class WaveTransition(Machine):
    begin = Transition((_W.PLANNED,), _W.RUNNING)
    soak = Transition((_W.RUNNING,), _W.SOAKING)
    hold = Transition((_W.SOAKING, _W.STOPPED), _W.HELD)
    stop = Transition((_W.RUNNING, _W.SOAKING), _W.STOPPED)
    look_again = Transition((_W.STOPPED,), _W.SOAKING)


class MemberTransition(Machine):
    begin = Transition((_M.PLANNED,), _M.WAITING)
    wait = Transition((_M.WAITING,), _M.WAITING)
    order = Transition((_M.WAITING,), _M.ORDERED)
    put_off = Transition((_M.ORDERED,), _M.WAITING)  # the terminal said later, or is tried again
    succeed = Transition((_M.ORDERED, _M.WAITING), _M.SUCCEEDED)
    fail = Transition((_M.ORDERED, _M.WAITING), _M.FAILED)
    leave_out = Transition((_M.PLANNED, _M.WAITING), _M.LEFT_OUT)
    supersede = Transition((_M.PLANNED, _M.WAITING), _M.SUPERSEDED)
    drop = Transition((_M.PLANNED, _M.WAITING), _M.CANCELLED)
    cancel = Transition((_M.ORDERED,), _M.CANCELLED)  # what was sent could be taken back
    try_again = Transition((_M.FAILED, _M.LEFT_OUT), _M.WAITING)


class Window(NamedTuple):
    """When terminals may be touched, by their own clocks: ISO days, from a time to another, which may be past midnight."""

    days: tuple[int, ...]
    opens: time
    closes: time


class Guard(NamedTuple):
    """What must hold before the next wave begins.

    `sample_percent` of the wave must have an outcome, `sample_least` terminals at least (or all of it, where it is smaller);
    of those `success_percent` succeeded; then it soaks, and no measure is worse by more than `worse_percent` points than it was
    on the same terminals before, and than it is on those that were not touched yet. No failure code has more than
    `code_percent` of the outcomes.
    """

    sample_percent: int = 80
    sample_least: int = 1
    success_percent: int = 95
    soak_minutes: int = 60
    worse_percent: int = 2
    code_percent: int = 100


# --- when a terminal is due ------------------------------------------------------------------------------------------
def opens_at(window: Window | None, zone: str, now: datetime) -> datetime:
    """Return now where the window is open by the clock of a zone, else the instant at which it opens next."""
    if window is None:
        return now
    local = now.astimezone(ZoneInfo(zone))
    for back in range(-1, 8):
        day = local.date() + timedelta(days=back)
        if day.isoweekday() not in window.days:
            continue
        ends = day if window.closes > window.opens else day + timedelta(days=1)
        opens = datetime.combine(day, window.opens, ZoneInfo(zone))
        closes = datetime.combine(ends, window.closes, ZoneInfo(zone))
        if closes.timestamp() > now.timestamp():
            return max(now, opens.astimezone(now.tzinfo))
    raise AssertionError("a window has a day in each week")


def next_attempt(attempt: int, retries: int, retry_minutes: int) -> timedelta | None:
    """Return how long to wait after so many attempts, twice as long each time; None where there is none left."""
    if attempt > retries:
        return None
    return timedelta(minutes=min(retry_minutes * 2 ** (attempt - 1), 7 * 1440))


# --- guards ----------------------------------------------------------------------------------------------------------
class Counts(NamedTuple):
    """What has become of a wave's terminals. Those that were left out, superseded or cancelled say nothing of it."""

    open: int
    succeeded: int
    failed: int
    codes: Mapping[str, int]

    @property
    def outcomes(self) -> int:
        return self.succeeded + self.failed

    @property
    def total(self) -> int:
        return self.open + self.outcomes


class Measured(NamedTuple):
    """Of how many terminals a measure (offline, printer, ...) was bad: the wave's before and after, and those not touched yet."""

    name: str
    before: int
    after: int
    peers: int
    peer_total: int


class Unmet(NamedTuple):
    """What keeps a guard from holding: a name of `WHY`, and the numbers that say so."""

    why: str
    found: int
    limit: int
    about: str = ""


class Verdict(StrEnum):
    NOT_YET = "not_yet"  # too few outcomes
    ENOUGH = "enough"  # let it soak
    UNMET = "unmet"


def judge_outcomes(guard: Guard, counts: Counts) -> tuple[Verdict, list[Unmet]]:
    """Return whether a wave's outcomes are enough, and good enough. A share of failures that the rest cannot make good any more
    is known before the sample is complete."""
    unmet = _too_many_failures(guard, counts)
    if unmet:
        return Verdict.UNMET, unmet
    wanted = max(min(guard.sample_least, counts.total), (counts.total * guard.sample_percent + 99) // 100)
    return (Verdict.ENOUGH if counts.outcomes >= wanted else Verdict.NOT_YET), []


def _too_many_failures(guard: Guard, counts: Counts) -> list[Unmet]:
    enough = max(min(guard.sample_least, counts.total), (counts.total * guard.sample_percent + 99) // 100)
    base = max(counts.outcomes, enough)  # were all others of the sample to succeed
    if not base:
        return []
    unmet = []
    most = 100 - guard.success_percent
    if counts.failed * 100 > most * base:
        unmet.append(Unmet("failures", counts.failed * 100 // base, most))
    for code, number in sorted(counts.codes.items()):
        if number * 100 > guard.code_percent * base:
            unmet.append(Unmet("code", number * 100 // base, guard.code_percent, code))
    return unmet


def judge_measures(guard: Guard, total: int, measured: Sequence[Measured]) -> list[Unmet]:
    """Return the measures that are worse than before, and worse than on those that were not touched yet."""
    unmet = []
    for one in measured:
        peers = one.peers / one.peer_total if one.peer_total else 0.0
        usual = max(one.before / total if total else 0.0, peers)
        worse = (one.after / total if total else 0.0) - usual
        if worse * 100 > guard.worse_percent:
            unmet.append(Unmet("worse", round(worse * 100), guard.worse_percent, one.name))
    return unmet
