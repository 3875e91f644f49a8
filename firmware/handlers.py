"""What terminals say that they run, and how their installations go: parsed here, done by services."""

from typing import cast

from firmware import installations
from terminals.link.protocol.messages.link import Hello
from terminals.link.routes import Outcome, Received


def on_hello(messages: list[Received]) -> None:
    """Note what terminals run (of several hellos the latest)."""
    software = {m.terminal_id: cast(Hello, m.body).software for m in messages}
    installations.report_software(software, messages[-1].received_at)


def on_install_outcomes(outcomes: list[Outcome]) -> None:
    """Move installations with their commands."""
    installations.follow_commands({outcome.command_id: outcome for outcome in outcomes})
