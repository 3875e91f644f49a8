"""What terminals say, for campaigns."""

from terminals.campaigns.following import note_newcomers
from terminals.link.routes import Received


def on_hello(messages: list[Received]) -> None:
    """Have those that spoke up looked at by the campaigns that follow."""
    note_newcomers(message.terminal_id for message in messages)
