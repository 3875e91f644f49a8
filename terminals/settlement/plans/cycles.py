"""When a cycle comes due, by its crontab, its zone, its calendar and its cut-off. Pure: no clock, no database."""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from terminals.common.errors import Refusal
from terminals.settlement.plans.calendars import ALWAYS_OPEN, Days, closed_because

FIELDS = 5  # minute, hour, day of month, month, day of week
FURTHEST = timedelta(days=5 * 366)  # a cycle of 29 February comes due at least so often, but for centuries' turns


class Cycle(NamedTuple):
    """A crontab in an IANA zone, held to business days; an empty crontab never comes due. `cut_off` is local time."""

    crontab: str
    time_zone: str
    days: Days = ALWAYS_OPEN
    cut_off: time | None = None


class Skipped(NamedTuple):
    """A day on which the cycle would have come due, had banks worked."""

    day: date
    why: str


class Occurrence(NamedTuple):
    """An instant (UTC) at which a cycle is due, and the days before it that were skipped."""

    at: datetime
    skipped: tuple[Skipped, ...] = ()


def check_crontab(crontab: str) -> str:
    """Return a crontab of five fields as it is; raise Refusal unless it ever comes due. Empty is none."""
    if crontab:
        try:
            if len(crontab.split()) != FIELDS:
                raise CronSimError("six fields would mean seconds")
            next(CronSim(crontab, datetime(2026, 1, 1, tzinfo=UTC)))
        except (CronSimError, StopIteration):
            raise Refusal(
                "bad_cycle",
                "%(cycle)s is no crontab that comes due; write for example 30 22 * * *",
                cycle=repr(crontab),
            ) from None
    return crontab


def occurrences(cycle: Cycle, after: datetime) -> Iterator[Occurrence]:
    """Yield the instants later than `after` at which a cycle is due, at most five years ahead.

    The crontab is read in its own zone: on the day the clock skips 02:30 a cycle of 02:30 comes due at 03:00, and on the day
    it repeats it comes due once. A day on which banks do not work is skipped.
    """
    if not cycle.crontab:
        return
    skipped: dict[date, str] = {}
    for found in CronSim(cycle.crontab, after.replace(microsecond=0).astimezone(ZoneInfo(cycle.time_zone))):
        instant = found.astimezone(UTC)
        if instant <= after:  # where the clock goes back, one of the first pass is offered again from the second
            continue
        if instant - after > FURTHEST:
            return
        if why := closed_because(cycle.days, found.date()):
            skipped[found.date()] = why
            continue
        yield Occurrence(instant, tuple(Skipped(day, reason) for day, reason in skipped.items()))
        skipped.clear()


def next_instants(cycle: Cycle, shifts: Sequence[timedelta], *, now: datetime) -> list[datetime | None]:
    """Return for each shift the cycle's first instant that, moved by it, lies after `now`: one walk over the crontab for all."""
    if not shifts:
        return []
    candidates: list[datetime] = []
    for occurrence in occurrences(cycle, now - max(shifts)):
        candidates.append(occurrence.at)
        if occurrence.at > now:
            break
    return [next((at for at in candidates if at + shift > now), None) for shift in shifts]


def business_day(cycle: Cycle, instant: datetime) -> date:
    """Return the business day to which a settlement belongs: after the cut-off it is the next one."""
    local = instant.astimezone(ZoneInfo(cycle.time_zone))
    day = local.date()
    if cycle.cut_off is not None and local.time().replace(tzinfo=None) >= cycle.cut_off:
        day += timedelta(days=1)
    for _ in range(366):
        if not closed_because(cycle.days, day):
            break
        day += timedelta(days=1)
    return day


def share_of(terminal_id: int) -> float:
    """Return a number in [0, 1) that is the same for a terminal every time and evenly spread over terminals."""
    digest = hashlib.blake2b(terminal_id.to_bytes(8, "big"), digest_size=4).digest()
    return int.from_bytes(digest, "big") / 2**32
