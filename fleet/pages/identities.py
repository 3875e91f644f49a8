"""Terminals whose identity is in trouble, for the overview: two devices that share one, and certificates that nobody renewed."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from terminals.common.scope import within
from terminals.enrolment.models import Certificate
from terminals.enrolment.targets import late
from terminals.estate.rules import LINKED_STATES
from terminals.link.models import DeviceSession
from terminals.link.sessions import SHARED_LATELY

MOST_NAMED = 5
# One that ran out and did not come back within a week is switched off; the filter `certificate_late` still finds it.
ENDED_LATELY = timedelta(days=7)


class Troubled(NamedTuple):
    """The first few of each, and whether there are more."""

    shared: list[DeviceSession]
    late: list[Certificate]


def troubled(user: Any, permission: str, now: datetime) -> Troubled:
    """Return them, by partial indexes on what is rare: two statements, however large the fleet."""
    shared = DeviceSession.objects.filter(shared_at__gt=now - SHARED_LATELY, terminal__state__in=LINKED_STATES)
    ending = Certificate.objects.filter(late(), not_after__gt=now - ENDED_LATELY, terminal__state__in=LINKED_STATES)
    return Troubled(
        list(within(shared, user, permission).select_related("terminal").order_by("-shared_at")[:MOST_NAMED]),
        list(within(ending, user, permission).select_related("terminal").order_by("not_after")[:MOST_NAMED]),
    )
