"""Deliveries' answers, and the keys that a terminal lacks when it says hello."""

from django.utils import timezone

from terminals.common.facts.kinds import FactBody
from terminals.common.facts.services import record_facts
from terminals.estate.rules import COMMANDED_STATES
from terminals.keys import services
from terminals.keys.facts import KeyConfirmed, KeyMismatched, KeyNotDelivered
from terminals.keys.models import KeyRequirement, TerminalKey
from terminals.link.routes import Outcome, Received
from terminals.link.services import Target


def on_key_outcomes(batch: list[Outcome]) -> None:
    """Confirm a key only if the terminal computed the same check value; a wrong one is a mismatch, for a person."""
    final = {outcome.command_id: outcome for outcome in batch if outcome.is_final}
    keys = list(TerminalKey.objects.filter(command__in=final, state="pending").select_for_update())
    for key in keys:
        outcome = final[key.command_id]  # type: ignore[index]  # filtered by command above
        key.answered_at = timezone.now()
        key.answered_kcv = (outcome.result.kcv or "") if outcome.result else ""
        key.state = "expired" if outcome.result is None else "failed"
        if outcome.state == "succeeded":
            key.state = "confirmed" if key.answered_kcv == key.kcv else "mismatch"
    _retire_predecessors([key for key in keys if key.state == "confirmed"])
    TerminalKey.objects.bulk_update(keys, ["state", "answered_at", "answered_kcv"])
    record_facts((key.terminal_id, _fact(key, final[key.command_id].state)) for key in keys)  # type: ignore[index]


def _retire_predecessors(confirmed: list[TerminalKey]) -> None:
    """Make room for the newly confirmed: the database holds one confirmed key for a terminal and usage."""
    for usage in {key.usage for key in confirmed}:
        terminal_ids = [key.terminal_id for key in confirmed if key.usage == usage]
        TerminalKey.objects.filter(terminal__in=terminal_ids, usage=usage, state="confirmed").update(state="replaced")


def _fact(key: TerminalKey, outcome: str) -> FactBody:
    if key.state == "mismatch":
        return KeyMismatched(usage=key.usage, kcv=key.kcv, answered_kcv=key.answered_kcv)
    if key.state == "confirmed":
        return KeyConfirmed(usage=key.usage, kcv=key.kcv)
    return KeyNotDelivered(usage=key.usage, outcome=outcome)


def on_hello(batch: list[Received]) -> None:
    """Give each terminal the keys that its model requires and that it neither has nor awaits.

    A mismatch or a refusal is not tried again by itself: it would come back at each hello, and somebody must look.
    """
    terminal_ids = {received.terminal_id for received in batch}
    required = KeyRequirement.objects.filter(
        model__terminals__in=terminal_ids, model__terminals__state__in=COMMANDED_STATES
    ).values_list("model__terminals__id", "model__terminals__device_id", "usage")
    held = set(
        TerminalKey.objects.filter(
            terminal__in=terminal_ids, state__in=["pending", "confirmed", "mismatch", "failed"]
        ).values_list("terminal_id", "usage")
    )
    missing = [(Target(pk, device_id), usage) for pk, device_id, usage in required if (pk, usage) not in held]
    if missing:
        services.deliver_keys(missing, requested_by="key requirement")
