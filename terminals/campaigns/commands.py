"""Plain commands (ping, reboot, lock, unlock) as campaigns move them: what is sent, and what an outcome means."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from terminals.campaigns.kinds import Order, asked_by
from terminals.campaigns.outcomes import answered, came_of
from terminals.campaigns.reports import ordered, report
from terminals.link.models import Command
from terminals.link.outcomes import take_back_commands
from terminals.link.routes import Outcome
from terminals.link.services import Target, check_plain, send_plain_commands

PREFIX = "command:"


def thing(arguments: Mapping[str, Any]) -> str:
    """What no two campaigns send at once; a lock and its opposite are one thing."""
    command = str(arguments["command"])
    return f"{PREFIX}{'lock' if command == 'unlock' else command}"


def check(arguments: Mapping[str, Any], user: Any) -> dict[str, Any]:
    """Return the arguments as they are kept; raise Refusal for a command that cannot be sent as it is."""
    return {"command": check_plain(str(arguments.get("command", "")))}


def order(targets: Sequence[Target], wanted: Order) -> None:
    """Send the command to terminals that are held and fit."""
    send_plain_commands(
        targets=targets,
        command_type=str(wanted.arguments["command"]),
        requested_by=wanted.requested_by,
        valid_for=wanted.valid_for,
    )


def take_back(ids: Sequence[int], wanted: Order) -> set[int]:
    """End a campaign's commands that no terminal can have seen; return their terminals."""
    return take_back_commands(ids, str(wanted.arguments["command"]), wanted.requested_by)


def on_outcomes(outcomes: Iterable[Outcome], command_type: str) -> None:
    """Tell campaigns what became of commands that they sent. One statement where no campaign waits for any."""
    ended = {one.command_id: one for one in outcomes if one.is_final}
    about = thing({"command": command_type})
    waited = ordered((one.terminal_id for one in ended.values()), about) if ended else []
    if not waited:
        return
    askers = {(one.terminal_id, asked_by(one.campaign_id)): one.campaign_id for one in waited}
    commands = Command.objects.filter(pk__in=ended).values_list("pk", "terminal_id", "requested_by")
    mine = {(pk, askers[pk, asker]): command_id for command_id, pk, asker in commands if (pk, asker) in askers}
    seen = answered(mine.values())
    report({key: came_of(ended[command_id], seen=command_id in seen) for key, command_id in mine.items()})
