"""Identities in trouble, for the overview: two devices with one, certificates that nobody renewed, a device CA that ends."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from terminals.common.scope import within
from terminals.enrolment import authority
from terminals.enrolment.models import Certificate, DeviceCA
from terminals.enrolment.targets import late
from terminals.estate.rules import LINKED_STATES
from terminals.link.models import DeviceSession
from terminals.link.sessions import SHARED_LATELY

MOST_NAMED = 5
# What it issues lasts no longer than it does: from its certificates' own life before its end on they get shorter and shorter.
CA_ENDS_SOON = authority.LIFETIME
# One that ran out and did not come back within a week is switched off; the filter `certificate_late` still finds it.
ENDED_LATELY = timedelta(days=7)


class Troubled(NamedTuple):
    """The first few of each; and the CA that issues, where it ends soon."""

    shared: list[DeviceSession]
    late: list[Certificate]
    ca: DeviceCA | None


def troubled(user: Any, permission: str, now: datetime) -> Troubled:
    """Return them, by partial indexes on what is rare: three statements, however large the fleet."""
    shared = DeviceSession.objects.filter(shared_at__gt=now - SHARED_LATELY, terminal__state__in=LINKED_STATES)
    ending = Certificate.objects.filter(late(), not_after__gt=now - ENDED_LATELY, terminal__state__in=LINKED_STATES)
    return Troubled(
        list(within(shared, user, permission).select_related("terminal").order_by("-shared_at")[:MOST_NAMED]),
        list(within(ending, user, permission).select_related("terminal").order_by("not_after")[:MOST_NAMED]),
        DeviceCA.objects.filter(issues=True, not_after__lt=now + CA_ENDS_SOON).first(),
    )
