"""What a settlement report may be about: its level, its period, its columns. Pure."""

from collections.abc import Mapping
from datetime import date, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from terminals.common.errors import Refusal
from terminals.common.states import Machine, Transition

LEVELS = ("organisation", "merchant", "store", "terminal")
FORMATS = ("csv", "xlsx", "pdf")
PERIODS = ("today", "yesterday", "last_week", "this_month", "last_month")
MOST_DAYS = 400
MOST_RECIPIENTS = 10


class ReportState(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


_S = ReportState


class ReportTransition(Machine):
    start = Transition((_S.WAITING, _S.RUNNING), _S.RUNNING)  # of one that a worker left, too
    finish = Transition((_S.RUNNING,), _S.DONE)
    fail = Transition((_S.RUNNING,), _S.FAILED)


class Period(NamedTuple):
    """Days, both of which belong to it."""

    first: date
    last: date


class Spec(NamedTuple):
    """What a report tells: a row for each object of a level (and each day), below a node of the tree or everywhere."""

    level: str
    period: Period
    by_day: bool = False
    node: tuple[str, int] | None = None


def period_of(name: str, today: date) -> Period:
    """Return the days of a period that is named by where it lies from today."""
    if name == "today":
        return Period(today, today)
    if name == "yesterday":
        return Period(today - timedelta(days=1), today - timedelta(days=1))
    if name == "last_week":  # Monday to Sunday
        monday = today - timedelta(days=today.weekday() + 7)
        return Period(monday, monday + timedelta(days=6))
    first = today.replace(day=1)
    if name == "this_month":
        return Period(first, today)
    if name == "last_month":
        last = first - timedelta(days=1)
        return Period(last.replace(day=1), last)
    raise Refusal("bad_period", "%(name)s is none of %(known)s", name=repr(name[:20]), known=PERIODS)


def spec_of(said: Mapping[str, Any], today: date) -> Spec:
    """Return what a report's address or schedule asks for: `level`, `period` or `first` and `last`, `by_day`, `at`."""
    level = str(said.get("level") or "terminal")
    if level not in LEVELS:
        raise Refusal("bad_level", "%(level)s is none of %(known)s", level=repr(level[:20]), known=LEVELS)
    if said.get("first") or said.get("last"):
        period = Period(_day(said.get("first")), _day(said.get("last")))
    else:
        period = period_of(str(said.get("period") or "yesterday"), today)
    if not 0 <= (period.last - period.first).days < MOST_DAYS:
        raise Refusal("bad_period", "the days of a report are in order, and at most %(most)s", most=MOST_DAYS)
    return Spec(level, period, str(said.get("by_day") or "") in ("1", "true", "True", "on"), _node(said.get("at")))


def _day(text: Any) -> date:
    try:
        return date.fromisoformat(str(text))
    except ValueError:
        raise Refusal("bad_period", "%(day)s is no day; write it as 2026-12-24", day=repr(str(text)[:20])) from None


def _node(text: Any) -> tuple[str, int] | None:
    if not text:
        return None
    kind, _colon, key = str(text).partition(":")
    if kind not in LEVELS or not key.isascii() or not key.isdecimal() or len(key) > 18:
        raise Refusal("bad_node", "%(node)s is no place; write for example merchant:3", node=repr(str(text)[:40]))
    return kind, int(key)


class Figures(NamedTuple):
    """What was settled in one currency, in minor units: `settled` is what terminals reported, net; `credited` arrived, `fee` was
    kept; of each batch by itself, `outstanding` is what did neither, and `excess` what came too much; `open_difference` is
    what open differences are about."""

    currency: str
    batches: int = 0
    transactions: int = 0
    card_minor: int = 0
    qr_minor: int = 0
    settled_minor: int = 0
    recorded_minor: int = 0
    credited_minor: int = 0
    fee_minor: int = 0
    outstanding_minor: int = 0
    excess_minor: int = 0
    open_difference_minor: int = 0


SUMS = Figures._fields[1:]


def added(one: Figures, other: Figures) -> Figures:
    """Return two rows of one currency as one."""
    return Figures(one.currency, *(a + b for a, b in zip(one[1:], other[1:], strict=True)))
