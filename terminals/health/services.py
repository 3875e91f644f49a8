"""A terminal's condition: alarms that it raises with signed events, and the end of it."""

from collections.abc import Sequence

from terminals.common.facts.services import record_facts
from terminals.health.facts import TamperChanged
from terminals.health.models import HealthState, TamperAlarm
from terminals.link.protocol.messages.health import Tamper


def forget_condition(terminal_id: int) -> None:
    """A terminal that left service for good has no condition; what it was remains in the history and the facts."""
    HealthState.objects.filter(terminal=terminal_id).delete()
    TamperAlarm.objects.filter(terminal=terminal_id).delete()


def note_tamper(events: Sequence[tuple[int, Tamper]]) -> None:
    """Store each terminal's latest word, and every event as a fact; (terminal id, event) in the order they came."""
    latest = dict(events)
    TamperAlarm.objects.bulk_create(
        [
            TamperAlarm(terminal_id=pk, active=event.active, detail=event.detail, occurred_at=event.occurred_at)
            for pk, event in sorted(latest.items())
        ],
        update_conflicts=True,
        unique_fields=["terminal"],
        update_fields=["active", "detail", "occurred_at"],
    )
    record_facts((pk, TamperChanged(active=event.active, detail=event.detail)) for pk, event in events)
