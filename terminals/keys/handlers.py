"""Deliveries' answers, and the keys that a terminal lacks when it says hello."""

from terminals.estate.rules import COMMANDED_STATES
from terminals.keys import services
from terminals.keys.models import KeyRequirement, TerminalKey
from terminals.keys.rules import HELD
from terminals.link.routes import Outcome, Received
from terminals.link.services import Target


def on_key_outcomes(batch: list[Outcome]) -> None:
    """Confirm a key only if the terminal computed the same check value; a wrong one is a mismatch, for a person."""
    services.end_deliveries({outcome.command_id: outcome for outcome in batch if outcome.is_final})


def on_hello(batch: list[Received]) -> None:
    """Give each terminal the keys that its model requires and that it neither has nor awaits.

    A mismatch or a refusal is not tried again by itself: it would come back at each hello, and somebody must look.
    """
    terminal_ids = {received.terminal_id for received in batch}
    required = KeyRequirement.objects.filter(
        model__terminals__in=terminal_ids, model__terminals__state__in=COMMANDED_STATES
    ).values_list("model__terminals__id", "model__terminals__device_id", "usage")
    held = set(
        TerminalKey.objects.filter(terminal__in=terminal_ids, state__in=HELD).values_list("terminal_id", "usage")
    )
    missing = [(Target(pk, device_id), usage) for pk, device_id, usage in required if (pk, usage) not in held]
    if missing:
        services.deliver_keys(missing, requested_by="key requirement")
