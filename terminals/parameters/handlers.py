"""Which parameter versions terminals have applied, and the first that they get."""

from django.db.models import F

from terminals.common.facts.services import record_facts
from terminals.common.transitions import move
from terminals.link.protocol.states import CommandState
from terminals.link.routes import Outcome, Received
from terminals.parameters import services
from terminals.parameters.facts import ParametersAnswered
from terminals.parameters.models import TerminalParameters
from terminals.parameters.rules import ParameterTransition


def on_configure_outcomes(outcomes: list[Outcome]) -> None:
    """Note applied and refused versions; an answer to an older command than the last one sent changes nothing."""
    applied = [outcome.command_id for outcome in outcomes if outcome.state == CommandState.SUCCEEDED]
    failed = [
        outcome.command_id for outcome in outcomes if outcome.is_final and outcome.state != CommandState.SUCCEEDED
    ]
    move(TerminalParameters.objects.filter(command__in=applied), ParameterTransition.apply, applied_id=F("wanted_id"))
    move(TerminalParameters.objects.filter(command__in=failed), ParameterTransition.fail)
    record_facts(
        (outcome.terminal_id, ParametersAnswered(outcome=outcome.state)) for outcome in outcomes if outcome.is_final
    )


def on_hello(messages: list[Received]) -> None:
    """Give terminals that never got parameters those of their model."""
    services.send_defaults({message.terminal_id for message in messages})
