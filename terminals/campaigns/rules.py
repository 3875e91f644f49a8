"""Campaigns: states, when a terminal is due, when a guard holds. Pure."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
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
    SUPERSEDED = "superseded"  # a newer campaign moves or has moved the same thing
    CANCELLED = "cancelled"


ACTOR = "campaign"  # who did what no operator did
_C, _W, _M = CampaignState, WaveState, MemberState
LIVE = (_C.RUNNING, _C.PAUSED)
STARTED = (*LIVE, _C.DONE)
UNFINISHED = (_C.PROPOSED, *LIVE)
OPEN_MEMBERS = (_M.WAITING, _M.ORDERED)
ENDED = (_M.SUCCEEDED, _M.FAILED, _M.LEFT_OUT, _M.SUPERSEDED, _M.CANCELLED)


class CampaignTransition(Machine):
    start = Transition((_C.PROPOSED,), _C.RUNNING)
    pause = Transition((_C.RUNNING,), _C.PAUSED)
    resume = Transition((_C.PAUSED,), _C.RUNNING)
    finish = Transition(LIVE, _C.DONE)
    cancel = Transition((_C.PROPOSED, _C.RUNNING, _C.PAUSED), _C.CANCELLED)


class WaveTransition(Machine):
    begin = Transition((_W.PLANNED,), _W.RUNNING)
    soak = Transition((_W.RUNNING,), _W.SOAKING)
    hold = Transition((_W.SOAKING, _W.STOPPED), _W.HELD)
    wait_on = Transition((_W.SOAKING,), _W.RUNNING)  # outcomes that were enough are none any more: they are tried again
    stop = Transition((_W.RUNNING, _W.SOAKING, _W.HELD), _W.STOPPED)
    look_again = Transition((_W.STOPPED,), _W.RUNNING)  # sample and soak are done anew


class MemberTransition(Machine):
    begin = Transition((_M.PLANNED,), _M.WAITING)
    wait = Transition((_M.WAITING,), _M.WAITING)
    order = Transition((_M.WAITING,), _M.ORDERED)
    put_off = Transition((_M.ORDERED,), _M.WAITING)  # the terminal said later, or is tried again
    succeed = Transition((_M.ORDERED, _M.WAITING, _M.FAILED), _M.SUCCEEDED)  # some were only too slow to say so
    fail = Transition((_M.ORDERED, _M.WAITING), _M.FAILED)
    leave_out = Transition((_M.PLANNED, _M.WAITING, _M.ORDERED), _M.LEFT_OUT)
    supersede = Transition((_M.PLANNED, _M.WAITING), _M.SUPERSEDED)
    drop = Transition((_M.PLANNED, _M.WAITING), _M.CANCELLED)
    cancel = Transition((_M.ORDERED,), _M.CANCELLED)  # what was sent could be taken back
    try_again = Transition((_M.FAILED, _M.LEFT_OUT), _M.WAITING)
    lose = Transition((_M.SUCCEEDED,), _M.FAILED)  # it went back to what was there before
    # Followed: it does not have it (any more), or another device is there.
    plan_again = Transition((_M.SUCCEEDED, _M.LEFT_OUT, _M.SUPERSEDED), _M.PLANNED)
    begin_anew = Transition((_M.WAITING, _M.ORDERED, _M.SUCCEEDED, _M.LEFT_OUT, _M.FAILED, _M.SUPERSEDED), _M.PLANNED)


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
def _instant(day: date, at: time, zone: ZoneInfo) -> datetime:
    """Return the instant at which the clock of a zone shows a time; of a time that it skips, the end of the gap."""
    wanted = datetime.combine(day, at, zone)
    instant = wanted.astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) == wanted.replace(tzinfo=None):
        return instant
    earlier = wanted.replace(fold=1).astimezone(UTC)  # before the gap; `instant` is after it
    while (later := earlier + timedelta(minutes=1)).astimezone(zone).utcoffset() == wanted.utcoffset():
        earlier = later
    return later


def _opening(window: Window, day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return when a window that opens on a day opens and closes."""
    ends = day if window.closes > window.opens else day + timedelta(days=1)
    return _instant(day, window.opens, zone), _instant(ends, window.closes, zone)


def opens_at(window: Window | None, zone: str, now: datetime) -> datetime:
    """Return now where the window is open by the clock of a zone, else the instant at which it opens next."""
    if window is None:
        return now
    today = now.astimezone(ZoneInfo(zone)).date()
    for ahead in range(-1, 15):  # a week, and one more where the clocks skip a window
        day = today + timedelta(days=ahead)
        if day.isoweekday() not in window.days:
            continue
        opens, closes = _opening(window, day, ZoneInfo(zone))
        if closes > max(opens, now):
            return max(now, opens.astimezone(now.tzinfo))
    raise AssertionError("a window has a day in each week")


def closes_at(window: Window | None, zone: str, now: datetime) -> datetime | None:
    """Return when a window that is open now closes by the clock of a zone; None where there is no window."""
    if window is None:
        return None
    today = now.astimezone(ZoneInfo(zone)).date()
    days = [day for day in (today - timedelta(days=1), today) if day.isoweekday() in window.days]
    openings = [_opening(window, day, ZoneInfo(zone)) for day in days]
    return max((closes for opens, closes in openings if opens <= now < closes), default=now)


def next_attempt(attempt: int, retries: int, retry_minutes: int) -> timedelta | None:
    """Return how long to wait after so many attempts, twice as long each time; None where there is none left."""
    if attempt > retries:
        return None
    return timedelta(minutes=min(retry_minutes * 2 ** (attempt - 1), 7 * 1440))


def lost_again(failures: int, had_since: datetime | None, now: datetime) -> int:
    """Return the failures of a terminal that lost what it was brought: of one that kept it for a day the earlier ones are
    over."""
    return 1 if had_since is not None and now - had_since > timedelta(days=1) else failures + 1


# --- guards ----------------------------------------------------------------------------------------------------------
class Counts(NamedTuple):
    """What has become of a wave's terminals. Those that were left out or cancelled say nothing of it, but for those that left
    service after they were asked: these count as failed. `in_doubt`, of the open ones: it failed there and is tried again.
    """

    open: int
    succeeded: int
    failed: int
    codes: Mapping[str, int]
    in_doubt: int = 0
    superseded: int = 0

    @property
    def outcomes(self) -> int:
        return self.succeeded + self.failed

    @property
    def total(self) -> int:
        return self.open + self.outcomes + self.superseded


FEW = 10  # of so many terminals a single one that breaks is enough to stop


class Measured(NamedTuple):
    """Of how many terminals a measure (offline, printer, ...) was bad: the wave's before and after, and those not touched yet."""

    name: str
    before: int
    after: int
    peers: int
    peer_total: int
    touched: int = 0  # of so many terminals `after` speaks: those that were asked


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


def judge_outcomes(guard: Guard, counts: Counts, *, size: int, is_last: bool) -> tuple[Verdict, list[Unmet]]:
    """Return whether the outcomes of a wave of so many terminals are enough, and good enough. A share of failures that the rest
    cannot make good any more is known before the sample is complete; a wave that nobody tried says nothing of the next."""
    wanted = _sample(guard, counts, size)
    in_doubt = counts._replace(
        failed=counts.failed + counts.in_doubt
    )  # a success comes first, a failure after its retries
    if unmet := _too_many_failures(guard, counts, max(counts.outcomes, wanted)):
        return Verdict.UNMET, unmet
    if counts.outcomes >= wanted and (counts.outcomes or is_last):
        doubtful = counts.in_doubt and _too_many_failures(guard, in_doubt, max(in_doubt.outcomes, wanted))
        return (Verdict.NOT_YET if doubtful else Verdict.ENOUGH), []
    if not counts.open and not is_last:
        return Verdict.UNMET, [Unmet("sample", counts.outcomes, max(wanted, 1))]
    return (Verdict.NOT_YET if counts.open else Verdict.ENOUGH), []


def judge_lately(guard: Guard, counts: Counts) -> list[Unmet]:
    """Return why a campaign that follows does not go on, by what became lately of terminals in a wave that held: few say
    nothing."""
    if counts.outcomes < FEW:
        return []
    return _too_many_failures(guard, counts, counts.outcomes)


def _sample(guard: Guard, counts: Counts, size: int) -> int:
    return max(min(guard.sample_least, size), (counts.total * guard.sample_percent + 99) // 100)


def _too_many_failures(guard: Guard, counts: Counts, base: int) -> list[Unmet]:
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


def judge_measures(guard: Guard, size: int, measured: Sequence[Measured]) -> list[Unmet]:
    """Return the measures that are worse on the terminals that were touched than on their wave (of so many) before, and worse
    than on those that were not touched yet."""
    unmet = []
    for one in measured:
        usual = max(_share(one.before, size), _share(one.peers, one.peer_total))
        worse = (_share(one.after, one.touched) - usual) * 100
        if one.touched > FEW and one.after < usual * one.touched + 2:
            continue  # among many one breaks by chance
        if worse > guard.worse_percent:
            unmet.append(Unmet("worse", round(worse), guard.worse_percent, one.name))
    return unmet


def _share(number: int, of: int) -> float:
    return number / of if of else 0.0


def overlap(thing: str, other: str) -> bool:
    """Whether two things have a part in common and are not the same: `software:os+payment` and `software:payment`."""
    (kind, _, parts), (other_kind, _, other_parts) = thing.partition(":"), other.partition(":")
    common = set(parts.split("+")) & set(other_parts.split("+"))
    return thing != other and kind == other_kind and bool(common)


# --- when it is done -------------------------------------------------------------------------------------------------
class Course(NamedTuple):
    """How far a wave is: how many of its terminals have an outcome, and how long it is watched then."""

    state: WaveState
    total: int
    ended: int
    soak: timedelta
    soaks_until: datetime | None

    def watched(self, now: datetime) -> timedelta:
        """Return for how long it has only been watched: that says nothing of the pace."""
        if self.state is WaveState.SOAKING and self.soaks_until is not None:
            return self.soak - max(self.soaks_until - now, timedelta(0))
        return self.soak if self.state is WaveState.HELD else timedelta(0)


def expected_end(waves: Sequence[Course], started_at: datetime, now: datetime) -> datetime | None:
    """Return when a campaign that runs is done at the pace so far: outcomes since it started, without the time in which waves
    were watched. None before the first outcome. Windows to come are in it only as those that were passed are."""
    ended, total = sum(one.ended for one in waves), sum(one.total for one in waves)
    watched = sum((one.watched(now) for one in waves), timedelta(0))
    spent = max(now - started_at - watched, timedelta(minutes=1))
    if not ended:
        return None
    left = spent * (total - ended) / ended
    for one in waves:
        if one.state is WaveState.SOAKING and one.soaks_until is not None:
            left += max(one.soaks_until - now, timedelta(0))
        elif one.state is not WaveState.HELD:
            left += one.soak
    return now + min(left, timedelta(days=365))
