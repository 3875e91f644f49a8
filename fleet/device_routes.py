"""Which handler takes which kind of device message: the only place that knows the link and every feature.

Order matters twice: types are handled in the order of `messages` (a session before what is said in it, a key's use before another
is asked for, money before the result that speaks of it), and a type's handlers in the order of their list.
"""

from functools import partial

from firmware import handlers as firmware
from terminals.campaigns import commands as campaign_commands
from terminals.campaigns import handlers as campaigns
from terminals.enrolment import handlers as enrolment
from terminals.health import handlers as health
from terminals.keys import handlers as keys
from terminals.link import handlers as link
from terminals.link.routes import MessageHandler, Outcome, OutcomeHandler, routes
from terminals.link.services import PLAIN_COMMANDS
from terminals.parameters import handlers as parameters
from terminals.settlement import handlers as settlement


def register() -> None:
    """Fill the link's registry; it refuses a declared message that nobody handles."""
    messages: dict[str, list[MessageHandler]] = {
        "hello": [
            link.on_hello,
            enrolment.on_hello,
            firmware.on_hello,
            keys.on_hello,
            parameters.on_hello,
            settlement.on_hello,
            campaigns.on_hello,
        ],
        "health": [health.on_health],
        "transactions": [settlement.on_transactions],
        "settlement": [settlement.on_settlement],
        "tamper": [health.on_tamper],
        "certificate_request": [enrolment.on_certificate_requests],
        "result": [link.on_result],
        "presence": [link.on_presence],
    }
    outcomes: dict[str, OutcomeHandler] = {
        "install": firmware.on_install_outcomes,
        "deliver_key": keys.on_key_outcomes,
        "settle": settlement.on_settle_outcomes,
        "configure": parameters.on_configure_outcomes,
        **{name: partial(_on_plain_outcomes, name) for name in PLAIN_COMMANDS},
    }
    routes.fill(messages, outcomes)


def _on_plain_outcomes(command_type: str, outcomes: list[Outcome]) -> None:
    """What a plain command did, and what it was sent for."""
    if command_type in ("lock", "unlock"):
        link.on_lock_outcomes(outcomes, locked=command_type == "lock")
    campaign_commands.on_outcomes(outcomes, command_type)
