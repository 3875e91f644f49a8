"""What may be said of a campaign: its settings, each with its check and what is usual, and how they cut its waves. Pure."""

from collections.abc import Callable, Mapping, Sequence
from datetime import time
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

from terminals.campaigns.rules import Guard, Window
from terminals.common.errors import Refusal

MOST_WAVES = 20
DAYS = (1, 2, 3, 4, 5, 6, 7)  # ISO: Monday is 1


def _whole(least: int, most: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise Refusal("bad_campaign", "a whole number from %(least)s to %(most)s", least=least, most=most)
        return value

    return check


def _filter(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 2000:
        raise Refusal("bad_campaign", "a filter, for example tag = canary")
    return value.strip()


def _waves(value: Any) -> list[dict[str, Any]]:
    """Filters, those that pass one have their turn together; then cumulated percentages or numbers of the other terminals, the
    last of which is 100 per cent. Each may have a guard of its own."""
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_WAVES:
        raise Refusal("bad_campaign", "a list of 1 to %(most)s percentages, for example 1, 10, 100", most=MOST_WAVES)
    kept = [_wave(one) for one in value]
    percentages = [one["percent"] for one in kept if "percent" in one]
    numbers = [one["number"] for one in kept if "number" in one]
    filters = [place for place, one in enumerate(kept) if "filter" in one]
    if filters != list(range(len(filters))):
        raise Refusal("bad_campaign", "waves by a filter come first")
    if "percent" not in kept[-1] or percentages[-1] != 100 or any(b <= a for a, b in pairwise(percentages)):
        raise Refusal("bad_campaign", "they add up: each is more than the one before, and the last is 100")
    if any(b <= a for a, b in pairwise(numbers)):
        raise Refusal("bad_campaign", "they add up: each number is more than the one before")
    return kept


def _wave(value: Any) -> dict[str, Any]:
    sizes = {"percent": _whole(1, 100), "number": _whole(1, 1_000_000), "filter": _wave_filter}
    said = value if isinstance(value, dict) else {"percent": value}
    if unknown := sorted(said.keys() - {*sizes, *Guard._fields}):
        known = ", ".join(Guard._fields)
        raise Refusal("bad_campaign", "a wave has a percent, and may have %(known)s", known=known, unknown=unknown[0])
    guard = {name: SETTINGS[name].check(said[name]) for name in Guard._fields if name in said}
    size = [name for name in sizes if name in said]
    if len(size) != 1:
        raise Refusal("bad_campaign", "a wave has a percent, a number or a filter: one of them")
    return {size[0]: sizes[size[0]](said[size[0]]), **guard}


def _wave_filter(value: Any) -> str:
    if not (kept := _filter(value)):
        raise Refusal("bad_campaign", "a filter, for example tag = canary")
    return kept


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
    opens, closes = (one.replace(second=0, microsecond=0) for one in (opens, closes))
    if opens.tzinfo or closes.tzinfo or opens == closes:
        raise Refusal("bad_campaign", "it opens and closes at two different times of day, without an offset")
    return {"days": days, "opens": opens.isoformat("minutes"), "closes": closes.isoformat("minutes")}


NETWORKS = ("cellular", "wifi", "ethernet")


def _conditions(value: Any) -> dict[str, Any]:
    """What must hold at a terminal; those that ask for nothing are left out."""
    known = {
        **dict.fromkeys(("idle", "no_open_batch", "settle_first", "charging"), _switch),
        "battery_percent": _whole(0, 100),
        "storage_mb": _whole(0, 1_000_000),
        "networks": _networks,
    }
    if not isinstance(value, dict) or value.keys() - known.keys():
        raise Refusal("bad_campaign", "conditions are %(known)s", known=", ".join(known))
    kept = {name: known[name](one) for name, one in value.items()}
    return {name: one for name, one in kept.items() if one}


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Refusal("bad_campaign", "write true or false")
    return value


def _networks(value: Any) -> list[str]:
    if not isinstance(value, list) or any(one not in NETWORKS for one in value):
        raise Refusal("bad_campaign", "name some of %(known)s", known=", ".join(NETWORKS))
    return sorted(set(value))


class Setting(NamedTuple):
    default: Any
    check: Callable[[Any], Any]


SETTINGS: Mapping[str, Setting] = {
    "canary": Setting("", _filter),  # these first, a wave of their own
    "waves": Setting([{"percent": 1}, {"percent": 10}, {"percent": 100}], _waves),
    "window": Setting(None, _window),
    "follows": Setting(False, _switch),  # terminals that come to pass the filter later are included; it has no deadline
    "download_ahead": Setting(False, _switch),  # asked at any time, changed within the window
    "conditions": Setting({}, _conditions),
    "jitter_minutes": Setting(0, _whole(0, 24 * 60)),  # a wave's terminals are spread over so long
    "per_minute": Setting(600, _whole(1, 100_000)),
    "at_once": Setting(10_000, _whole(1, 1_000_000)),  # terminals that are asked and have not answered
    "timeout_minutes": Setting(120, _whole(1, 3 * 1440)),  # to come back in, once it was asked
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


def guards_of(settings: Mapping[str, Any]) -> list[Guard]:
    """Return the guard of each wave in order; that of the canaries is the campaign's."""
    usual = Guard(**{name: settings[name] for name in Guard._fields})
    own = [{name: wave[name] for name in Guard._fields if name in wave} for wave in settings["waves"]]
    return ([usual] if settings["canary"] else []) + [usual._replace(**guard) for guard in own]


def filters_of(settings: Mapping[str, Any]) -> list[str]:
    """Return the filters of the waves that have one, in order: they come first."""
    own = [wave["filter"] for wave in settings["waves"] if "filter" in wave]
    return ([settings["canary"]] if settings["canary"] else []) + own


def window_of(settings: Mapping[str, Any]) -> Window | None:
    said = settings["window"]
    if said is None:
        return None
    opens, closes = (time.fromisoformat(said[name]) for name in ("opens", "closes"))
    return Window(tuple(said["days"]), opens, closes)


# --- waves -----------------------------------------------------------------------------------------------------------
class Cut(NamedTuple):
    """One wave: the place of its last terminal among all, those that pass its filters first, and its guard."""

    last: int
    guard: Guard


def cut(settings: Mapping[str, Any], passing: Sequence[int], total: int) -> list[Cut]:
    """Return a campaign's waves; `passing`: how many pass each of `filters_of`, those before aside. Each has one terminal at
    least: a small target has fewer waves, and one of none has the last, empty."""
    guards = guards_of(settings)
    places = list(accumulate(passing))
    first = sum(passing)
    rest = total - first
    places += [
        first + (min(wave["number"], rest) if "number" in wave else (rest * wave["percent"] + 99) // 100)
        for wave in settings["waves"]
        if "filter" not in wave
    ]
    waves: list[Cut] = []
    for place, guard in zip(places, guards, strict=True):
        if place > (waves[-1].last if waves else 0):
            waves.append(Cut(place, guard))
    return waves or [Cut(0, guards[-1])]
