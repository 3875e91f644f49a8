"""What ties rooms together that must not know each other: who follows when a terminal enrols, moves, or changes its state."""

from firmware.installations import forget_software, reset_software
from terminals.enrolment import services as enrolment
from terminals.estate.models import Terminal
from terminals.estate.rules import TerminalTransition
from terminals.estate.services import hooks, on_move, on_store_clock
from terminals.health.services import forget_condition
from terminals.keys.services import destroy_keys, establish_protection_key
from terminals.link.services import cancel_commands
from terminals.link.sessions import close_session
from terminals.parameters.services import forget_parameters
from terminals.settlement import services as settlement


def join_rooms() -> None:
    """Fill the rooms' lists of followers; called once, at start."""
    # An earlier device's commands end before the new one is given anything.
    enrolment.on_enrolled = [
        cancel_queued,
        establish_protection_key,
        settlement.assign_batch_number,
        forget_parameters,
        reset_software,
    ]
    on_store_clock[:] = [settlement.follow_store]
    on_move[:] = [settlement.follow_terminal]
    hooks.before = {TerminalTransition.retire: [settlement.refuse_stranded_money]}
    hooks.after = {
        TerminalTransition.resume: [settlement.resume_settling],
        TerminalTransition.suspend: [enrolment.withdraw_codes],
        TerminalTransition.retire: [
            cancel_commands,
            enrolment.withdraw_codes,
            enrolment.revoke_certificates,
            destroy_keys,
            settlement.end_schedule,
            close_session,
            forget_condition,
            forget_software,
        ],
    }


def cancel_queued(terminal: Terminal, public_key: object) -> dict[str, object]:
    """Close what was queued for the device that held this identity before."""
    cancel_commands(terminal.pk)
    return {}
