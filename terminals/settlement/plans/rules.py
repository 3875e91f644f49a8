"""The settings of a plan: what each may be, its default, and how levels of the tree are merged. Pure.

After ISO 20022's reconciliation policies: CYCL is `cycle`, TTLT is `amount_limits`, NBLT is `count_limit`, ONDM is `by_hand`.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import time
from typing import Any, NamedTuple

from terminals.common.errors import Refusal
from terminals.common.money import LARGEST_MINOR, check_currency
from terminals.estate.rules import check_time_zone
from terminals.settlement.dialects import layout_of
from terminals.settlement.plans.calendars import ALWAYS_OPEN, Days
from terminals.settlement.plans.cycles import Cycle, check_crontab

CHECKS = ("network", "screen", "printer", "keypad", "software", "account", "update", "clock", "key")
SEVERITIES = ("block", "warn", "ignore")
WHEN_MISSED = ("catch_up", "skip", "alarm")
MOST_CURRENCIES = 12
LONGEST_TEXT = 200


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Refusal("bad_setting", "it is true or false")
    return value


def _whole(lowest: int, highest: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            raise Refusal(
                "bad_setting", "it is a whole number from %(lowest)s to %(highest)s", lowest=lowest, highest=highest
            )
        return value

    return check


def _optional(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else check(value)


def _one_of(*words: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in words:
            raise Refusal("bad_setting", "it is one of %(words)s", words=words)
        return str(value)

    return check


def _text(check: Callable[[str], str]) -> Callable[[Any], str]:
    def checked(value: Any) -> str:
        if not isinstance(value, str) or len(value) > LONGEST_TEXT:
            raise Refusal("bad_setting", "it is a text of at most %(most)s characters", most=LONGEST_TEXT)
        return check(value.strip()) if value.strip() else ""

    return checked


def _cut_off(value: str) -> str:
    try:
        return time.fromisoformat(value).strftime("%H:%M")
    except ValueError:
        raise Refusal("bad_setting", "it is a local time as 23:00") from None


def _layout(value: str) -> str:
    layout_of(value)
    return value


def _amounts(value: Any) -> dict[str, int]:
    """Amounts in minor units by currency."""
    if not isinstance(value, dict) or len(value) > MOST_CURRENCIES:
        raise Refusal("bad_setting", 'it is an amount in minor units for each currency, as {"EUR": 15000}')
    check = _whole(1, LARGEST_MINOR)
    return {check_currency(str(currency)): check(amount) for currency, amount in sorted(value.items())}


class Setting(NamedTuple):
    """What one setting may be; `check` returns it as it is kept or raises Refusal."""

    default: Any
    check: Callable[[Any], Any]


SETTINGS: dict[str, Setting] = {
    "enabled": Setting(True, _switch),
    "cycle": Setting("", _text(check_crontab)),
    "time_zone": Setting("", _text(check_time_zone)),  # empty: each store's own
    "calendar": Setting(None, _optional(_whole(1, 2**62))),  # a BusinessCalendar's id
    "cut_off": Setting("", _text(_cut_off)),
    "amount_limits": Setting({}, _amounts),
    "count_limit": Setting(None, _optional(_whole(1, 10**6))),
    "by_hand": Setting(True, _switch),
    "jitter_seconds": Setting(0, _whole(0, 12 * 3600)),
    "window_minutes": Setting(240, _whole(5, 7 * 1440)),
    "expiry_minutes": Setting(240, _whole(1, 1440)),
    "retries": Setting(3, _whole(0, 20)),
    "retry_minutes": Setting(5, _whole(1, 240)),
    "when_missed": Setting("catch_up", _one_of(*WHEN_MISSED)),
    "warn_minutes": Setting(30, _whole(0, 1440)),
    "host_totals": Setting("", _text(_layout)),  # where the host's answer has its own totals (dialects.py)
    "credit_days": Setting(
        None, _optional(_whole(0, 30))
    ),  # business days until it must be credited; none: not watched
    # A terminal that cannot be reached, or is about to restart, is not asked; of the rest it is said.
    **{
        f"check_{name}": Setting("block" if name in ("network", "update") else "warn", _one_of(*SEVERITIES))
        for name in CHECKS
    },
}


def checked(settings: Any) -> dict[str, Any]:
    """Return settings as they are kept; raise Refusal for one that is unknown or does not fit."""
    if not isinstance(settings, dict):
        raise Refusal("bad_setting", "settings are an object: name -> value")
    unknown = sorted(settings.keys() - SETTINGS.keys())
    if unknown:
        raise Refusal(
            "bad_setting", "%(name)s is no setting; known are %(known)s", name=unknown[0], known=", ".join(SETTINGS)
        )
    kept = {}
    for name in SETTINGS:
        if name in settings:
            try:
                kept[name] = SETTINGS[name].check(settings[name])
            except Refusal as refusal:
                raise Refusal(refusal.reason, "%(name)s: %(why)s", name=name, why=refusal) from None
    return kept


class Layer(NamedTuple):
    """What one level says: a plan's settings, which replace all that is inherited, and single ones, which go before it."""

    origin: Any
    plan: Mapping[str, Any] | None
    settings: Mapping[str, Any]


def merged(layers: Sequence[Layer]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the whole settings that come of levels, from the top down, and for each the origin it comes from (None: default)."""
    values: dict[str, Any] = {}
    origins: dict[str, Any] = {}
    for layer in layers:
        if layer.plan is not None:
            values, origins = dict(layer.plan), dict.fromkeys(layer.plan, layer.origin)
        values |= layer.settings
        origins |= dict.fromkeys(layer.settings, layer.origin)
    return complete(values), {name: origins.get(name) for name in SETTINGS}


def complete(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with the defaults of those that are absent."""
    return {name: settings.get(name, setting.default) for name, setting in SETTINGS.items()}


def cycle_of(settings: Mapping[str, Any], days: Days = ALWAYS_OPEN) -> Cycle:
    """Return the cycle of whole settings; of a plan that is not enabled, one that never comes due."""
    cut_off = time.fromisoformat(settings["cut_off"]) if settings["cut_off"] else None
    return Cycle(settings["cycle"] if settings["enabled"] else "", settings["time_zone"] or "UTC", days, cut_off)


def settles_by_itself(settings: Mapping[str, Any]) -> bool:
    """Whether a clock, an amount or a number makes a terminal settle without being asked."""
    by_money = settings["amount_limits"] or settings["count_limit"]
    return bool(settings["enabled"] and (settings["cycle"] or by_money))
