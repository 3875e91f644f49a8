"""Where device messages and commands' outcomes go: a registry that the project fills (fleet/device_routes.py).

The link knows no feature. A handler gets **many messages at once** inside the link's transaction: it must be set-based, must not
acknowledge anything, and returns the messages that it refuses: they become dead letters, and later handlers do not see
them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from msgspec import Struct

from terminals.common.errors import Refusal
from terminals.link.protocol.messages import COMMANDS, INBOUND
from terminals.link.protocol.messages.base import Envelope
from terminals.link.protocol.messages.link import Result
from terminals.link.protocol.states import is_final


class Sender(NamedTuple):
    """What the link knows of a terminal that said something, as it was when these messages were taken up; its row is held, and
    only handlers of the same messages can change it."""

    terminal_id: int
    serial: str
    state: str
    public_key_pem: str
    earlier_key_pem: str


class Received(NamedTuple):
    """A parsed, verified message seen for the first time; `key_pem` is the key that signed it, empty where it is not signed."""

    sender: Sender
    envelope: Envelope
    body: Struct
    received_at: datetime
    key_pem: str

    @property
    def terminal_id(self) -> int:
        return self.sender.terminal_id


class Outcome(NamedTuple):
    """A command that moved. `result` is what the terminal said, or None where it expired or was cancelled."""

    command_id: UUID
    terminal_id: int
    state: str
    result: Result | None

    @property
    def is_final(self) -> bool:
        return is_final(self.state)


class RefusedMessage(NamedTuple):
    """A message that a handler does not take, and why."""

    message: Received
    refusal: Refusal


MessageHandler = Callable[[list[Received]], list[RefusedMessage] | None]
OutcomeHandler = Callable[[list[Outcome]], None]


@dataclass
class DeviceRoutes:
    """`messages`: type -> handlers in order; `outcomes`: command type -> its feature's handler."""

    messages: dict[str, list[MessageHandler]] = field(default_factory=dict)
    outcomes: dict[str, OutcomeHandler] = field(default_factory=dict)

    def fill(self, messages: dict[str, list[MessageHandler]], outcomes: dict[str, OutcomeHandler]) -> None:
        """Take the project's handlers; raise ValueError for a declared type that has none, or one that nobody declared."""
        if wrong := messages.keys() ^ INBOUND.keys() or outcomes.keys() - COMMANDS.keys():
            raise ValueError(f"message or command types without a handler, or not declared: {', '.join(sorted(wrong))}")
        self.messages, self.outcomes = messages, outcomes


routes = DeviceRoutes()
