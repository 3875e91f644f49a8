"""When a terminal settles, and whether a settlement balances. Pure: no clock, no database."""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from terminals.common.errors import Refusal
from terminals.common.states import Machine, Transition
from terminals.estate.rules import check_time_zone

LAST_BATCH_NUMBER = 999_999  # ISO 8583 DE60 has six digits
FIELDS = 5  # minute, hour, day of month, month, day of week


class RunState(StrEnum):
    REQUESTED = "requested"
    SETTLING = "settling"
    BALANCED = "balanced"
    UNBALANCED = "unbalanced"
    FAILED = "failed"


_R = RunState
OPEN = (_R.REQUESTED, _R.SETTLING)
TROUBLE = (_R.UNBALANCED, _R.FAILED)  # money that somebody must look after


class RunTransition(Machine):
    start = Transition((_R.REQUESTED,), _R.SETTLING)
    fail = Transition(OPEN, _R.FAILED)
    # A report that came too late still settles the batch; a late transaction has it compared again.
    balance = Transition(tuple(RunState), _R.BALANCED)
    unbalance = Transition(tuple(RunState), _R.UNBALANCED)


class Effective(NamedTuple):
    """The cycle that applies to a terminal; an empty `cycle` is none."""

    cycle: str
    time_zone: str
    jitter_seconds: int


class Totals(NamedTuple):
    """A batch's totals for one method, amounts in minor units."""

    sale_count: int = 0
    sale_minor: int = 0
    refund_count: int = 0
    refund_minor: int = 0

    @property
    def net_minor(self) -> int:
        return self.sale_minor - self.refund_minor


class Comparison(NamedTuple):
    """`difference_minor`: reported less recorded, net. Zero does not mean balanced: counts must agree too."""

    balanced: bool
    difference_minor: int


def is_newer(batch_number: int, than: int) -> bool:
    """Whether a batch was opened after another of its terminal: ISO 8583's six digits begin again after 999999."""
    return 0 < (batch_number - than) % LAST_BATCH_NUMBER <= LAST_BATCH_NUMBER // 2


def next_batch_number(numbers: Iterable[int]) -> int:
    """Return the number that follows a terminal's newest batch; 1 where it had none."""
    newest = 0
    for number in numbers:
        newest = number if not newest or is_newer(number, newest) else newest
    return newest % LAST_BATCH_NUMBER + 1


def check_cycle(cycle: str, time_zone: str) -> None:
    """Raise Refusal unless the zone is known and the crontab (five fields, or empty) ever comes due."""
    zone = ZoneInfo(check_time_zone(time_zone))
    if cycle:
        try:
            if len(cycle.split()) != FIELDS:
                raise CronSimError("six fields would mean seconds")
            next(CronSim(cycle, datetime(2026, 1, 1, tzinfo=zone)))
        except (CronSimError, StopIteration):
            raise Refusal(
                "bad_cycle", "%(cycle)s is no crontab that comes due; write for example 30 22 * * *", cycle=repr(cycle)
            ) from None


def next_due(effective: Effective, *, after: datetime, terminal_id: int) -> datetime | None:
    """Return the first instant (UTC) later than `after` at which the terminal is due, or None without a cycle.

    The crontab is read in its own zone: on the day the clock skips 02:30 a cycle of 02:30 comes due at 03:00, and on
    the day it repeats it comes due once. Jitter moves a terminal by a part of `jitter_seconds` that is always its own.
    """
    if not effective.cycle:
        return None
    shift = timedelta(seconds=_share(terminal_id) * effective.jitter_seconds)
    base = after - shift
    return _next_minute(effective.cycle, effective.time_zone, base.replace(microsecond=0)) + shift


@lru_cache(maxsize=4096)
def _next_minute(cycle: str, time_zone: str, after: datetime) -> datetime:
    # Where the clock goes back, a cycle whose time was in the first pass of the hour is offered again from the second.
    for found in CronSim(cycle, after.astimezone(ZoneInfo(time_zone))):
        if (instant := found.astimezone(UTC)) > after:
            return instant
    raise Refusal("bad_cycle", "%(cycle)s never comes due again", cycle=repr(cycle))


def _share(terminal_id: int) -> float:
    """Return a number in [0, 1) that is the same for a terminal every time and evenly spread over terminals."""
    digest = hashlib.blake2b(terminal_id.to_bytes(8, "big"), digest_size=4).digest()
    return int.from_bytes(digest, "big") / 2**32


def compare(reported: Mapping[str, Totals], recorded: Mapping[str, Totals]) -> Comparison:
    """Hold what the terminal settled against what its transactions add up to, method by method."""
    methods = reported.keys() | recorded.keys()
    none = Totals()
    balanced = all(reported.get(method, none) == recorded.get(method, none) for method in methods)
    net_reported = sum(totals.net_minor for totals in reported.values())
    net_recorded = sum(totals.net_minor for totals in recorded.values())
    return Comparison(balanced, net_reported - net_recorded)


def differences(
    reported: Mapping[str, Totals], recorded: Mapping[str, Totals]
) -> list[tuple[str, str, tuple[int, int], tuple[int, int]]]:
    """Return where they differ: (method, `sale` or `refund`, (count, minor units) reported, the same recorded)."""
    none = Totals()
    found = []
    for method in sorted(reported.keys() | recorded.keys()):
        said, held = reported.get(method, none), recorded.get(method, none)
        for kind, ours, theirs in (("sale", said[:2], held[:2]), ("refund", said[2:], held[2:])):
            if ours != theirs:
                found.append((method, kind, ours, theirs))
    return found
