"""Whom terminals say that they trust: parsed here, done by services."""

from typing import cast

from terminals.enrolment import trust
from terminals.link.protocol.messages.link import Hello
from terminals.link.routes import Received


def on_hello(messages: list[Received]) -> None:
    """Note what terminals trust; one that does not say is left as it is."""
    held = {m.terminal_id: said for m in messages if (said := cast(Hello, m.body).trust)}
    if held:
        trust.note_trust(held, messages[-1].received_at)
