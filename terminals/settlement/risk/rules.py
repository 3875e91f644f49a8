"""What is unusual about a batch: each signal holds what a batch's transactions look like against settings, against the terminal's
own past, and against its peers. Pure.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from statistics import median
from typing import Any, NamedTuple

from terminals.common.errors import Refusal
from terminals.common.money import minor_of_major
from terminals.settlement.reconciliation.rules import DifferenceKind

WINDOW = timedelta(minutes=10)
ENOUGH = 5  # batches of the past that say what is usual
KEPT = 30  # batches of the past that are looked at
HOURS = 24


class Sale(NamedTuple):
    """A transaction, as far as it may be unusual; `at` is by the store's clock."""

    kind: str
    amount_minor: int
    at: datetime
    card: str = ""


class Profile(NamedTuple):
    """What is kept of a batch: counts, amounts in minor units of its currency, how its sales lie over the day's hours."""

    currency: str
    sales_count: int = 0
    sales_minor: int = 0
    refund_count: int = 0
    refund_minor: int = 0
    largest_minor: int = 0
    round_count: int = 0
    most_of_a_card: int = 0
    most_in_ten_minutes: int = 0
    by_hour: tuple[int, ...] = (0,) * HOURS
    place: str = ""


def profile_of(transactions: Iterable[Sale], currency: str, place: str = "") -> Profile:
    """Return what is kept of a batch's transactions in one currency."""
    moved = [one for one in transactions if one.kind != "declined"]
    sales = [one for one in moved if one.kind == "sale"]
    back = [one for one in moved if one.kind in ("refund", "credit")]
    hours = Counter(one.at.hour for one in sales)
    cards = Counter(one.card for one in sales if one.card)
    ten = minor_of_major(10, currency)
    return Profile(
        currency,
        len(sales),
        sum(one.amount_minor for one in sales),
        len(back),
        sum(one.amount_minor for one in back),
        max((one.amount_minor for one in sales), default=0),
        sum(one.amount_minor % ten == 0 for one in sales),
        max(cards.values(), default=0),
        _densest([one.at for one in sales]),
        tuple(hours.get(hour, 0) for hour in range(HOURS)),
        place,
    )


def _densest(instants: Sequence[datetime]) -> int:
    """Return how many of the instants lie within ten minutes at most."""
    ordered, first, most = sorted(instants), 0, 0
    for last, instant in enumerate(ordered):
        while instant - ordered[first] > WINDOW:
            first += 1
        most = max(most, last - first + 1)
    return most


class Evidence(NamedTuple):
    """Why a batch is unusual: what was usual and what was found, as counts or as amounts in minor units."""

    kind: DifferenceKind
    expected_count: int = 0
    found_count: int = 0
    expected_minor: int = 0
    found_minor: int = 0
    detail: str = ""


Settings = Mapping[str, int]
Past = Sequence[Profile]  # the terminal's own, the newest first


class Setting(NamedTuple):
    default: int
    lowest: int
    highest: int


class Signal(NamedTuple):
    """One thing that may be unusual; `judge` gets a batch, the terminal's past, and its peers' past."""

    settings: Mapping[str, Setting]
    judge: Callable[[Profile, Past, Past, Settings], Evidence | None]


def _velocity(now: Profile, past: Past, peers: Past, said: Settings) -> Evidence | None:
    usual = _usual([one.most_in_ten_minutes for one in past])
    if now.most_in_ten_minutes < said["count"] or now.most_in_ten_minutes < 2 * usual:
        return None
    return Evidence(DifferenceKind.VELOCITY, usual, now.most_in_ten_minutes, found_minor=now.sales_minor)


def _refunds(now: Profile, past: Past, peers: Past, said: Settings) -> Evidence | None:
    share = now.refund_minor * 100 // max(now.sales_minor, 1)
    enough = now.refund_minor >= minor_of_major(said["amount"], now.currency)
    if not enough or share < said["percent"]:
        return None
    return Evidence(
        DifferenceKind.REFUND_SHARE,
        found_count=now.refund_count,
        found_minor=now.refund_minor,
        detail=str(min(share, 999)),
    )


def _off_hours(now: Profile, past: Past, peers: Past, said: Settings) -> Evidence | None:
    hours = _hours(said["from_hour"], said["to_hour"])
    found = sum(now.by_hour[hour] for hour in hours)
    if found < said["count"]:
        return None
    of_past = sum(sum(one.by_hour) for one in past)
    if len(past) >= ENOUGH and sum(one.by_hour[hour] for one in past for hour in hours) * 20 > of_past:
        return None  # it sells at night as a rule
    return Evidence(DifferenceKind.OFF_HOURS, found_count=found, detail=f"{said['from_hour']}-{said['to_hour']}")


def _hours(first: int, end: int) -> list[int]:
    return [(first + n) % HOURS for n in range((end - first) % HOURS)]


def _amount(now: Profile, past: Past, peers: Past, said: Settings) -> Evidence | None:
    """The batch's sum, or its largest sale, against the terminal's own past, or its peers' where it has none."""
    known = [one for one in (past if len(past) >= ENOUGH else peers) if one.currency == now.currency]
    if len(known) < ENOUGH or now.sales_minor < minor_of_major(said["amount"], now.currency):
        return None
    for name in ("sales_minor", "largest_minor"):
        usual, found = _usual([getattr(one, name) for one in known]), getattr(now, name)
        if usual and found >= said["times"] * usual:
            return Evidence(
                DifferenceKind.UNUSUAL_AMOUNT, expected_minor=usual, found_minor=found, detail=name.partition("_")[0]
            )
    return None


def _card(now: Profile, past: Past, peers: Past, said: Settings) -> Evidence | None:
    usual = _usual([one.most_of_a_card for one in past])
    if now.most_of_a_card < said["count"] or now.most_of_a_card < 2 * usual:
        return None
    return Evidence(DifferenceKind.REPEATED_CARD, usual, now.most_of_a_card)


def _round(now: Profile, past: Past, peers: Past, said: Settings) -> Evidence | None:
    usual_share = _usual([one.round_count * 100 // max(one.sales_count, 1) for one in past])
    share = now.round_count * 100 // max(now.sales_count, 1)
    if now.round_count < said["count"] or share < said["percent"] or share < 2 * usual_share:
        return None
    return Evidence(DifferenceKind.ROUND_AMOUNTS, now.sales_count, now.round_count)


def _moved(now: Profile, past: Past, peers: Past, said: Settings) -> Evidence | None:
    places = [one.place for one in past if one.place]
    if not now.place or len(places) < said["batches"] or now.place in places:
        return None
    return Evidence(DifferenceKind.MOVED, found_minor=now.sales_minor, detail=now.place)


def _usual(values: Sequence[int]) -> int:
    return round(median(values)) if len(values) >= ENOUGH else 0


SIGNALS: Mapping[str, Signal] = {
    "velocity": Signal({"count": Setting(12, 2, 1000)}, _velocity),
    "refund_share": Signal({"percent": Setting(40, 1, 100), "amount": Setting(50, 0, 10**6)}, _refunds),
    "off_hours": Signal(
        {"from_hour": Setting(0, 0, 23), "to_hour": Setting(5, 0, 23), "count": Setting(3, 1, 1000)}, _off_hours
    ),
    "unusual_amount": Signal({"times": Setting(4, 2, 100), "amount": Setting(500, 0, 10**6)}, _amount),
    "repeated_card": Signal({"count": Setting(4, 2, 1000)}, _card),
    "round_amounts": Signal({"percent": Setting(60, 1, 100), "count": Setting(6, 1, 1000)}, _round),
    "moved": Signal({"batches": Setting(5, 1, KEPT)}, _moved),
}


def checked(signal: str, settings: Any) -> dict[str, int]:
    """Return a signal's settings, whole; raise Refusal for what it has not, or what does not fit."""
    if signal not in SIGNALS or not isinstance(settings, dict):
        raise Refusal("bad_signal", "%(signal)s is none of %(known)s", signal=repr(signal[:20]), known=tuple(SIGNALS))
    known = SIGNALS[signal].settings
    if unknown := sorted(settings.keys() - known.keys()):
        raise Refusal("bad_signal", "%(name)s is none of %(known)s", name=repr(unknown[0][:40]), known=", ".join(known))
    kept = {}
    for name, setting in known.items():
        value = settings.get(name, setting.default)
        if isinstance(value, bool) or not isinstance(value, int) or not setting.lowest <= value <= setting.highest:
            raise Refusal(
                "bad_signal",
                "%(name)s is a whole number from %(lowest)s to %(highest)s",
                name=name,
                lowest=setting.lowest,
                highest=setting.highest,
            )
        kept[name] = value
    return kept


def judge(signal: str, settings: Settings, now: Profile, past: Past, peers: Past) -> Evidence | None:
    """Return why a batch is unusual by one signal; nothing where it is not."""
    return SIGNALS[signal].judge(now, past, peers, settings)
