"""Cases: their states, how urgent they are, and when two must look at their end. Pure."""

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum

from terminals.common.money import minor_of_major
from terminals.common.states import Machine, Transition
from terminals.settlement.reconciliation.rules import DifferenceKind


class CaseState(StrEnum):
    OPEN = "open"
    APPROVING = "approving"  # somebody has closed it, somebody else must agree
    RESOLVED = "resolved"
    EXPLAINED = "explained"  # what came later explains it: it closed by itself


_C = CaseState
LIVE = (_C.OPEN, _C.APPROVING)


class CaseTransition(Machine):
    propose = Transition((_C.OPEN,), _C.APPROVING)
    resolve = Transition((_C.OPEN, _C.APPROVING), _C.RESOLVED)
    send_back = Transition((_C.APPROVING,), _C.OPEN)
    take_back = Transition((_C.APPROVING,), _C.OPEN)
    explain = Transition(LIVE, _C.EXPLAINED)
    reopen = Transition((_C.RESOLVED, _C.EXPLAINED), _C.OPEN)
    grow = Transition(LIVE, _C.OPEN)  # what is added was not looked at by who closed it


class Severity(StrEnum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class Subject(StrEnum):
    """What a case is about: differences of one subject and terminal are one case, however many nights they come."""

    RECORDS = "records"
    SETTLING = "settling"
    CREDIT = "credit"
    RISK = "risk"


SUBJECTS: Mapping[DifferenceKind, Subject] = {
    **dict.fromkeys(DifferenceKind, Subject.RECORDS),
    DifferenceKind.UNCLOSED_BATCH: Subject.SETTLING,
    DifferenceKind.NOT_SETTLED: Subject.SETTLING,
    DifferenceKind.HOST: Subject.SETTLING,
    DifferenceKind.HOST_TOTALS: Subject.SETTLING,
    **dict.fromkeys(
        (
            DifferenceKind.UNKNOWN_TERMINAL,
            DifferenceKind.CREDITED_SHORT,
            DifferenceKind.CREDITED_OVER,
            DifferenceKind.CREDITED_TWICE,
            DifferenceKind.OTHER_ACCOUNT,
            DifferenceKind.NOT_CREDITED,
        ),
        Subject.CREDIT,
    ),
    **dict.fromkeys(
        (
            DifferenceKind.VELOCITY,
            DifferenceKind.REFUND_SHARE,
            DifferenceKind.OFF_HOURS,
            DifferenceKind.UNUSUAL_AMOUNT,
            DifferenceKind.REPEATED_CARD,
            DifferenceKind.ROUND_AMOUNTS,
            DifferenceKind.MOVED,
        ),
        Subject.RISK,
    ),
}
# Why a case was closed.
RESOLUTIONS = (
    "terminal_error",
    "host_error",
    "acquirer_corrects",
    "merchant_charged",
    "written_off",
    "fraud",
    "no_difference",
)
# Major units of any currency at stake, from which a case is of this severity, and how long it may stay open.
URGENT: tuple[tuple[int, Severity, timedelta], ...] = (
    (1000, Severity.HIGH, timedelta(days=1)),
    (100, Severity.MEDIUM, timedelta(days=3)),
    (0, Severity.LOW, timedelta(days=7)),
)
FOUR_EYES_FROM = 500  # major units: from there on one person closes a case and another agrees


def urgency(amount_minor: int, currency: str) -> tuple[Severity, timedelta]:
    """Return a case's severity and how long it may stay open."""
    for major, severity, within in URGENT:
        if amount_minor >= minor_of_major(major, currency):
            return severity, within
    raise AssertionError("the last step begins at nothing")


def needs_four_eyes(amount_minor: int, currency: str) -> bool:
    """Whether one person alone may not close a case of so much money."""
    return amount_minor >= minor_of_major(FOUR_EYES_FROM, currency)
