"""Campaigns: states, what may be said of one, how its waves are cut, when a guard holds, when a terminal is due. Pure."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, time, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from terminals.common.errors import Refusal
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


# --- what may be said of a campaign ----------------------------------------------------------------------------------
MOST_WAVES = 20
DAYS = (1, 2, 3, 4, 5, 6, 7)  # ISO: Monday is 1


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


def _whole(least: int, most: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise Refusal("bad_campaign", "a whole number from %(least)s to %(most)s", least=least, most=most)
        return value

    return check


def _canary(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 2000:
        raise Refusal("bad_campaign", "a filter, for example tag = canary")
    return value.strip()


def _waves(value: Any) -> list[dict[str, int]]:
    """Cumulated percentages of the terminals, the last of which is 100; each may have a guard of its own."""
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_WAVES:
        raise Refusal("bad_campaign", "a list of 1 to %(most)s percentages, for example 1, 10, 100", most=MOST_WAVES)
    kept = [_wave(one) for one in value]
    percentages = [one["percent"] for one in kept]
    if percentages[-1] != 100 or any(b <= a for a, b in pairwise(percentages)):
        raise Refusal("bad_campaign", "they add up: each is more than the one before, and the last is 100")
    return kept


def _wave(value: Any) -> dict[str, int]:
    said = value if isinstance(value, dict) else {"percent": value}
    if unknown := sorted(said.keys() - {"percent", *Guard._fields}):
        known = ", ".join(Guard._fields)
        raise Refusal("bad_campaign", "a wave has a percent, and may have %(known)s", known=known, unknown=unknown[0])
    guard = {name: SETTINGS[name].check(said[name]) for name in Guard._fields if name in said}
    return {"percent": _whole(1, 100)(said.get("percent")), **guard}


def _window(value: Any) -> dict[str, Any] | None:
    if value in (None, {}):
        return None
    try:
        days = sorted({*value["days"]})
        opens, closes = (time.fromisoformat(value[name]) for name in ("opens", "closes"))
    except (TypeError, KeyError, ValueError):
        raise Refusal(
            "bad_campaign", 'a window is {"days": [1, 2], "opens": "02:00", "closes": "05:00"}; 1 is Monday'
        ) from None
    if not days or any(type(day) is not int or day not in DAYS for day in days):
        raise Refusal("bad_campaign", "name days from 1 (Monday) to 7 (Sunday)")
    if opens.tzinfo or closes.tzinfo or opens == closes:
        raise Refusal("bad_campaign", "it opens and closes at two different times of day, without an offset")
    return {"days": days, "opens": opens.isoformat("minutes"), "closes": closes.isoformat("minutes")}


class Setting(NamedTuple):
    default: Any
    check: Callable[[Any], Any]


SETTINGS: Mapping[str, Setting] = {
    "canary": Setting("", _canary),  # these first, a wave of their own
    "waves": Setting([{"percent": 1}, {"percent": 10}, {"percent": 100}], _waves),
    "window": Setting(None, _window),
    "jitter_minutes": Setting(0, _whole(0, 24 * 60)),  # a wave's terminals are spread over so long
    "per_minute": Setting(600, _whole(1, 100_000)),
    "at_once": Setting(10_000, _whole(1, 1_000_000)),  # terminals that are asked and have not answered
    "timeout_minutes": Setting(120, _whole(1, 7 * 1440)),  # to come back in, once it was asked
    "retries": Setting(2, _whole(0, 20)),
    "retry_minutes": Setting(30, _whole(1, 7 * 1440)),  # twice as long after each
    "deadline_days": Setting(14, _whole(1, 180)),  # so long those are waited for that are switched off
    "sample_percent": Setting(80, _whole(1, 100)),
    "sample_least": Setting(1, _whole(1, 1_000_000)),
    "success_percent": Setting(95, _whole(0, 100)),
    "soak_minutes": Setting(60, _whole(0, 30 * 1440)),
    "worse_percent": Setting(2, _whole(0, 100)),
    "code_percent": Setting(100, _whole(0, 100)),
}


def checked(settings: Any) -> dict[str, Any]:
    """Return a campaign's settings, whole, as they are kept; raise Refusal that names the one that cannot be."""
    if not isinstance(settings, dict) or (unknown := sorted(settings.keys() - SETTINGS.keys())):
        named = unknown[0] if isinstance(settings, dict) else ""
        raise Refusal("bad_campaign", "%(name)s is none of %(known)s", name=repr(named[:40]), known=", ".join(SETTINGS))
    kept = {}
    for name, setting in SETTINGS.items():
        try:
            kept[name] = setting.check(settings.get(name, setting.default))
        except Refusal as refusal:
            raise Refusal(refusal.reason, "%(name)s: %(why)s", name=name, why=refusal) from None
    return kept


def guards_of(settings: Mapping[str, Any], *, canaries: bool) -> list[Guard]:
    """Return the guard of each wave in order; that of the canaries is the campaign's."""
    usual = Guard(**{name: settings[name] for name in Guard._fields})
    own = [{name: number for name, number in wave.items() if name != "percent"} for wave in settings["waves"]]
    return ([usual] if canaries else []) + [usual._replace(**guard) for guard in own]


def window_of(settings: Mapping[str, Any]) -> Window | None:
    said = settings["window"]
    if said is None:
        return None
    opens, closes = (time.fromisoformat(said[name]) for name in ("opens", "closes"))
    return Window(tuple(said["days"]), opens, closes)


# --- waves -----------------------------------------------------------------------------------------------------------
class Cut(NamedTuple):
    """One wave: the place of its last terminal among all, canaries first, and its guard."""

    last: int
    guard: Guard


def cut(settings: Mapping[str, Any], canaries: int, total: int) -> list[Cut]:
    """Return a campaign's waves. Each has one terminal at least: a small target has fewer waves."""
    guards = guards_of(settings, canaries=canaries > 0)
    rest = total - canaries
    places = [canaries] if canaries else []
    places += [canaries + (rest * wave["percent"] + 99) // 100 for wave in settings["waves"]]
    waves: list[Cut] = []
    for place, guard in zip(places, guards, strict=True):
        if place > (waves[-1].last if waves else 0):
            waves.append(Cut(place, guard))
    return waves


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
