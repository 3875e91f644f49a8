"""Which parameter versions terminals have applied, and the first that they get."""

from terminals.link.routes import Outcome, Received
from terminals.parameters import services


def on_configure_outcomes(outcomes: list[Outcome]) -> None:
    """Note applied and refused versions."""
    services.note_answers({outcome.command_id: outcome for outcome in outcomes if outcome.is_final})


def on_hello(messages: list[Received]) -> None:
    """Give terminals that never got parameters those of their model."""
    services.send_defaults({message.terminal_id for message in messages})
