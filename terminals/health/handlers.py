"""Telemetry and tamper events: parsed here, stored by services."""

from typing import cast

from terminals.health import services
from terminals.link.protocol.messages.health import Tamper
from terminals.link.routes import Received


def on_health(messages: list[Received]) -> None:
    """Store readings."""
    services.store_readings(messages)


def on_tamper(messages: list[Received]) -> None:
    """Note signed tamper events; an alarm shows until the terminal says, signed, that it is cleared."""
    services.note_tamper([(received.terminal_id, cast(Tamper, received.body)) for received in messages])
