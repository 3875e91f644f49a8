"""How far the links are behind: the oldest message that a link has in hand, and the oldest command that none has taken up.

What still waits at the broker nobody here can see; but a link that gets on takes it within moments, and one that does not has
something old in hand.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

from django.db.models import Max

from terminals.estate.rules import COMMANDED_STATES
from terminals.link.heartbeat import links_alive
from terminals.link.models import Command

BEHIND = timedelta(seconds=30)


class Lag(NamedTuple):
    """Ages in seconds; 0 where nothing waits."""

    oldest_message_seconds: float
    oldest_due_command_seconds: float

    @property
    def behind(self) -> bool:
        """Whether somebody should look why."""
        return max(self) > BEHIND.total_seconds()


def lag(now: datetime) -> Lag:
    """Return the lag of all links: two statements on a few rows."""
    waits = links_alive(now).aggregate(most=Max("lag_seconds"))["most"] or 0.0
    due = Command.objects.filter(
        next_attempt_at__lte=now, finished_at=None, expires_at__gt=now, terminal__state__in=COMMANDED_STATES
    )
    oldest = due.order_by("next_attempt_at").values_list("next_attempt_at", flat=True).first()
    return Lag(waits, (now - oldest).total_seconds() if oldest else 0.0)
