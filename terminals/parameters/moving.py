"""Parameters as campaigns move them: values set at each terminal when its turn comes, counted when it has applied them.

What is set stays set: a terminal that was switched off gets it when it connects, whatever the window said.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from terminals.campaigns.kinds import Order
from terminals.campaigns.outcomes import answered, came_of
from terminals.campaigns.reports import Came, ordered, report
from terminals.estate.models import Terminal
from terminals.link.protocol.states import CommandState
from terminals.link.routes import Outcome
from terminals.link.services import Target
from terminals.parameters.models import TerminalParameters
from terminals.parameters.sending import mark_due
from terminals.parameters.services import set_at_terminals

THING = "parameters"


def thing(arguments: Mapping[str, Any]) -> str:
    """What no two campaigns change at once: a terminal's parameters."""
    return THING


def order(targets: Sequence[Target], wanted: Order) -> None:
    """Set the values at terminals that are held and fit; those that they do not fit after all have failed."""
    ids = [target.terminal_id for target in targets]
    refused = set_at_terminals(terminal_ids=ids, values=wanted.arguments["values"], actor=wanted.requested_by)
    # Also where nothing changes: whoever waits hears that the terminal has it.
    mark_due(Terminal.objects.filter(pk__in=set(ids) - refused.keys()), again=True)
    if refused:
        report({(pk, wanted.campaign_id): Came(False, why.reason[:40], final=True) for pk, why in refused.items()})


def report_answers(answers: Sequence[tuple[TerminalParameters, Outcome]]) -> None:
    """Tell campaigns which terminals applied their values. One statement where none waits for any."""
    waited = {one.terminal_id: one for one in ordered((row.terminal_id for row, _outcome in answers), THING)}
    if not waited:
        return
    seen = answered(row.command_id for row, _outcome in answers)
    came: dict[tuple[int, int], Came] = {}
    for row, outcome in answers:
        one = waited.get(row.terminal_id)
        if one is None or row.wanted is None or outcome.state == CommandState.CANCELLED:
            continue  # a newer document is on its way
        if any(row.wanted.values.get(name) != value for name, value in one.arguments["values"].items()):
            continue  # an earlier document, which has nothing of it
        came[row.terminal_id, one.campaign_id] = came_of(outcome, seen=row.command_id in seen)
    report(came)
