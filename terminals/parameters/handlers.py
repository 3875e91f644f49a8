"""What terminals say of their parameters: answers to `configure`, and what they have when they connect."""

from typing import cast

from terminals.link.protocol.messages.link import Hello
from terminals.link.routes import Outcome, Received
from terminals.parameters import moving, sending


def on_configure_outcomes(outcomes: list[Outcome]) -> None:
    """Note applied and refused documents."""
    answers = sending.note_answers({outcome.command_id: outcome for outcome in outcomes if outcome.is_final})
    moving.report_answers(answers)


def on_hello(messages: list[Received]) -> None:
    """Let terminals without parameters get them, and those that have others than they should."""
    reported = {}
    for message in messages:
        hello = cast(Hello, message.body)
        reported[message.terminal_id] = (hello.parameters_version, hello.parameters_digest)
    sending.look_at_hellos(reported)
