"""Business days: which are closed, and why. Pure: the same days for the same calendar, holidays from the `holidays` library."""

from datetime import date
from functools import lru_cache
from typing import NamedTuple

import holidays

from terminals.common.errors import Refusal

DAYS = 7
MOST_DAYS = 400  # of one's own
MOST_TEXT = 80


class Days(NamedTuple):
    """A calendar: ISO 3166 country and subdivision (empty: no holidays), ISO days of the week that are closed, own closed and
    open days as (ISO date, why)."""

    country: str = ""
    subdivision: str = ""
    weekend: tuple[int, ...] = ()
    closed_days: tuple[tuple[str, str], ...] = ()
    open_days: tuple[tuple[str, str], ...] = ()


ALWAYS_OPEN = Days()


def usual_weekend() -> list[int]:
    """Return Saturday and Sunday."""
    return [6, 7]


def check(days: Days) -> None:
    """Raise Refusal for a calendar that names no known country, no day, or no working day at all."""
    if days.country:
        try:
            holidays.country_holidays(days.country, subdiv=days.subdivision or None, years=2026)
        except NotImplementedError:
            raise Refusal(
                "bad_calendar",
                "no holidays are known for %(place)s; write an ISO 3166 country as DE, with a subdivision as BY or none",
                place="-".join(filter(None, (days.country, days.subdivision))),
            ) from None
    elif days.subdivision:
        raise Refusal("bad_calendar", "a subdivision needs its country")
    if not all(isinstance(day, int) and 1 <= day <= DAYS for day in days.weekend) or len(set(days.weekend)) >= DAYS:
        raise Refusal("bad_calendar", "the weekend is a list of days from 1 (Monday) to 7, and not all of them")
    for listed in (days.closed_days, days.open_days):
        if len(listed) > MOST_DAYS:
            raise Refusal("bad_calendar", "at most %(limit)s days of one's own", limit=MOST_DAYS)
        for day, why in listed:
            _check_day(day, why)


def _check_day(day: object, why: object) -> None:
    try:
        date.fromisoformat(str(day))
    except ValueError:
        raise Refusal("bad_calendar", "%(day)s is no day; write it as 2026-12-24", day=repr(day)) from None
    if not isinstance(why, str) or len(why) > MOST_TEXT:
        raise Refusal("bad_calendar", "each day has a name of at most %(limit)s characters", limit=MOST_TEXT)


def closed_because(days: Days, day: date) -> str:
    """Return why banks do not work on a day: a holiday's name, `weekend` or `closed`; nothing for a business day."""
    if days == ALWAYS_OPEN:
        return ""
    iso = day.isoformat()
    closed, opened = _own(days)
    if iso in opened:
        return ""
    if iso in closed:
        return closed[iso] or "closed"
    if days.country and (name := _holidays(days.country, days.subdivision).get(day)):
        return str(name)
    return "weekend" if day.isoweekday() in days.weekend else ""


@lru_cache(maxsize=256)
def _own(days: Days) -> tuple[dict[str, str], dict[str, str]]:
    return dict(days.closed_days), dict(days.open_days)


@lru_cache(maxsize=256)
def _holidays(country: str, subdivision: str) -> holidays.HolidayBase:
    """Return a country's holidays, named in English where the library can; it works out each year when it is first asked for."""
    return holidays.country_holidays(country, subdiv=subdivision or None, language="en_US")
