from typing import TYPE_CHECKING

from django.apps import AppConfig

if TYPE_CHECKING:
    from terminals.estate.models import Terminal


class FleetConfig(AppConfig):
    """The roof: joins the parts that must not know each other."""

    name = "fleet"

    def ready(self) -> None:
        from firmware.installations import forget_software
        from fleet import device_routes
        from fleet.translation import translate_models
        from terminals.enrolment import services as enrolment
        from terminals.estate.rules import TerminalTransition
        from terminals.estate.services import hooks
        from terminals.health.services import forget_condition
        from terminals.keys.services import destroy_keys, establish_protection_key
        from terminals.link.services import cancel_commands
        from terminals.link.sessions import close_session
        from terminals.parameters.services import forget_parameters
        from terminals.settlement.services import assign_batch_number, end_schedule, refuse_stranded_money

        translate_models()
        device_routes.register()
        # An earlier device's commands end before the new one is given anything.
        enrolment.on_enrolled = [cancel_queued, establish_protection_key, assign_batch_number, forget_parameters]
        hooks.before = {TerminalTransition.retire: [refuse_stranded_money]}
        hooks.after = {
            TerminalTransition.suspend: [enrolment.withdraw_codes],
            TerminalTransition.retire: [
                cancel_commands,
                enrolment.withdraw_codes,
                enrolment.revoke_certificates,
                destroy_keys,
                end_schedule,
                close_session,
                forget_condition,
                forget_software,
            ],
        }


def cancel_queued(terminal: "Terminal", public_key: object) -> dict[str, object]:
    """Close what was queued for the device that held this identity before."""
    from terminals.link.services import cancel_commands

    cancel_commands(terminal.pk)
    return {}
