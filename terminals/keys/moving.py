"""Working keys as campaigns move them: a new one of a usage for each terminal, counted when it confirms the check value."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, Q

from terminals.campaigns.kinds import Order, asked_by
from terminals.campaigns.outcomes import answered, came_of
from terminals.campaigns.reports import Came, ordered, report
from terminals.keys.models import TerminalKey
from terminals.keys.rules import HELD, KeyState
from terminals.keys.services import deliver_keys
from terminals.link.models import Command
from terminals.link.outcomes import take_back_commands
from terminals.link.routes import Outcome
from terminals.link.services import Target

PREFIX = "key:"


def thing(arguments: Mapping[str, Any]) -> str:
    """What no two campaigns deliver at once: a key of one usage."""
    return f"{PREFIX}{arguments['usage']}"


def order(targets: Sequence[Target], wanted: Order) -> None:
    """Deliver a new key to terminals that are held and fit."""
    pairs = [(target, str(wanted.arguments["usage"])) for target in targets]
    deliver_keys(pairs, requested_by=wanted.requested_by, valid_for=wanted.valid_for)


def has_it(arguments: Mapping[str, Any]) -> Q:
    """Return what holds for terminals that are not given another key of a usage by themselves."""
    return Q(Exists(TerminalKey.objects.filter(terminal=OuterRef("pk"), usage=arguments["usage"], state__in=HELD)))


def take_back(ids: Sequence[int], wanted: Order) -> set[int]:
    """End a campaign's deliveries that no terminal can have seen; return their terminals."""
    return take_back_commands(ids, "deliver_key", wanted.requested_by)


def report_ended(keys: Sequence[TerminalKey], outcomes: Mapping[UUID, Outcome]) -> None:
    """Tell campaigns what became of their deliveries. One statement where none waits for any."""
    waited = {(one.terminal_id, one.thing): one for one in ordered((key.terminal_id for key in keys), PREFIX)}
    if not waited:
        return
    commands = Command.objects.filter(pk__in=[key.command_id for key in keys]).values_list("pk", "requested_by")
    askers, seen = dict(commands), answered(key.command_id for key in keys)
    came: dict[tuple[int, int], Came] = {}
    for key in keys:
        about = thing({"usage": key.usage})
        one = waited.get((key.terminal_id, about))
        if one is None or key.command_id is None or askers.get(key.command_id) != asked_by(one.campaign_id):
            continue
        said = came_of(outcomes[key.command_id], seen=key.command_id in seen)
        if (
            key.state == KeyState.MISMATCH
        ):  # the terminal calls it a success; somebody must look before another key is sent
            said = Came(False, "wrong_check_value", final=True)
        came[key.terminal_id, one.campaign_id] = said
    report(came)
