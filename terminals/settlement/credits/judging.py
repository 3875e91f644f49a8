"""When a credit is wrong, and when it is late. Pure."""

from datetime import date, datetime, timedelta
from typing import NamedTuple

from terminals.common.errors import Refusal
from terminals.settlement.credits.rules import Entry
from terminals.settlement.reconciliation.rules import DifferenceKind

MOST_AHEAD = timedelta(days=90)


def within_time(entry: Entry, today: date) -> Entry:
    """Return an entry as it is; raise Refusal for a value date that is too far ahead: month and day were taken for each other, or
    the year is wrong."""
    if entry.value_date is not None and entry.value_date > today + MOST_AHEAD:
        raise Refusal("bad_date", "%(day)s is too far ahead for a value date", day=entry.value_date.isoformat())
    return entry


def days_over(now: datetime) -> date:
    """Return the first day that is not over everywhere: a store's own day may end twelve hours after UTC's."""
    return (now - timedelta(hours=12)).date()


class Credited(NamedTuple):
    """What was settled of a batch (in one currency, of one method or of all) beside what was credited for it, fees included.
    `entries` is how many said so; `overdue` is the day by which it should have come, where that has passed."""

    expected_minor: int
    credited_minor: int
    entries: int
    fee_most_bp: int = 0
    other_account: str = ""
    overdue: date | None = None


def judge_credit(one: Credited) -> list[DifferenceKind]:
    """Return what is wrong with a credit."""
    if one.entries == 0:
        return [DifferenceKind.NOT_CREDITED] if one.overdue is not None and one.expected_minor else []
    wrong = [DifferenceKind.OTHER_ACCOUNT] if one.other_account else []
    short = one.expected_minor - one.credited_minor
    if short == 0 or 0 < short <= abs(one.expected_minor) * one.fee_most_bp // 10_000:
        return wrong
    if one.entries > 1 and one.expected_minor and one.credited_minor == one.expected_minor * one.entries:
        return [*wrong, DifferenceKind.CREDITED_TWICE]
    return [*wrong, DifferenceKind.CREDITED_SHORT if short > 0 else DifferenceKind.CREDITED_OVER]
