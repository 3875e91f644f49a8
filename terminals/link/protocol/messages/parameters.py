"""A terminal's parameters."""

from typing import Any

from msgspec import Struct

from terminals.link.protocol.messages.base import CommandType, Count, Word


class Configure(Struct):
    """Replace the terminal's parameters by this document."""

    name: Word
    version: Count
    parameters: dict[str, Any]


COMMANDS = (CommandType("configure", Configure("shop", 3, {"currency": "EUR", "tip_enabled": True})),)
