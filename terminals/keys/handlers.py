"""Deliveries' answers, and the keys that a terminal lacks when it says hello: parsed here, done by services."""

from terminals.keys import moving, services
from terminals.link.routes import Outcome, Received


def on_key_outcomes(outcomes: list[Outcome]) -> None:
    """Confirm or refuse the keys whose delivery has ended."""
    ended = {outcome.command_id: outcome for outcome in outcomes if outcome.is_final}
    moving.report_ended(services.end_deliveries(ended), ended)


def on_hello(messages: list[Received]) -> None:
    """Give each terminal the keys that it lacks."""
    services.deliver_required({message.terminal_id for message in messages})
