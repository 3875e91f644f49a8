"""Working keys as campaigns move them: a new one of a usage for each terminal, counted when it confirms the check value."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.utils import timezone

from terminals.campaigns.kinds import Order
from terminals.campaigns.services import TAKEN_BACK, Came, ordered, report
from terminals.keys.models import TerminalKey
from terminals.keys.rules import KeyState
from terminals.keys.services import deliver_keys
from terminals.link.facts import failure_reason
from terminals.link.models import Command
from terminals.link.protocol.states import CommandState
from terminals.link.routes import Outcome
from terminals.link.services import Target, take_back_commands

PREFIX = "key:"


def thing(arguments: Mapping[str, Any]) -> str:
    """What no two campaigns deliver at once: a key of one usage."""
    return f"{PREFIX}{arguments['usage']}"


def order(targets: Sequence[Target], wanted: Order) -> None:
    """Deliver a new key to terminals that are held and fit."""
    pairs = [(target, str(wanted.arguments["usage"])) for target in targets]
    deliver_keys(pairs, requested_by=wanted.requested_by, valid_for=wanted.valid_for)


def take_back(ids: Sequence[int], wanted: Order) -> set[int]:
    """End a campaign's deliveries that no terminal can have seen; return their terminals."""
    return take_back_commands(ids, "deliver_key", wanted.requested_by)


def report_ended(keys: Sequence[TerminalKey], outcomes: Mapping[UUID, Outcome]) -> None:
    """Tell campaigns what became of their deliveries. One statement where none waits for any."""
    waited = {(one.terminal_id, one.thing): one for one in ordered((key.terminal_id for key in keys), PREFIX)}
    if not waited:
        return
    commands = {one.pk: one for one in Command.objects.filter(pk__in=[key.command_id for key in keys]).defer("payload")}
    came: dict[str, dict[int, Came]] = defaultdict(dict)
    for key in keys:
        about = thing({"usage": key.usage})
        one = waited.get((key.terminal_id, about))
        command = commands.get(key.command_id) if key.command_id else None
        if one is not None and command is not None and command.requested_by == f"campaign {one.campaign_id}":
            came[about][key.terminal_id] = _came(key, outcomes[command.pk], answered=command.answered_at is not None)
    for about, some in came.items():
        report(about, some)


def _came(key: TerminalKey, outcome: Outcome, *, answered: bool) -> Came:
    """A wrong check value is final: somebody must look before another key is sent."""
    if key.state == KeyState.CONFIRMED:
        return Came(True)
    reasons = (failure_reason(outcome).stored(),)
    if outcome.state == CommandState.CANCELLED:
        return Came(False, TAKEN_BACK, reasons)
    if outcome.state == CommandState.EXPIRED and not answered:
        return Came(False, "switched_off", reasons, later=timezone.now())
    if key.state == KeyState.MISMATCH:
        return Came(False, "wrong_check_value", reasons, final=True)
    result = outcome.result
    code = (result.code if result else None) or outcome.state
    return Came(False, code[:40], reasons, final=outcome.state == CommandState.REJECTED)
