"""What is declared is routed: a message that nobody handles keeps the server from starting."""

import pytest

from terminals.link.protocol.messages import INBOUND
from terminals.link.routes import DeviceRoutes, MessageHandler


def test_a_declared_message_without_a_handler_is_refused() -> None:
    messages: dict[str, list[MessageHandler]] = {name: [] for name in INBOUND if name != "tamper"}
    with pytest.raises(ValueError, match="tamper"):
        DeviceRoutes().fill(messages, {})


def test_a_handler_for_what_nobody_declared_is_refused() -> None:
    messages: dict[str, list[MessageHandler]] = {name: [] for name in INBOUND}
    with pytest.raises(ValueError, match="setle"):
        DeviceRoutes().fill(messages, {"setle": lambda outcomes: None})
