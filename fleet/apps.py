from django.apps import AppConfig


class FleetConfig(AppConfig):
    """The roof: joins the parts that must not know each other."""

    name = "fleet"

    def ready(self) -> None:
        from fleet import device_routes
        from terminals.enrolment import services as enrolment
        from terminals.estate import services as estate
        from terminals.keys.services import establish_protection_key
        from terminals.link.services import cancel_commands
        from terminals.settlement.services import assign_batch_number

        device_routes.register()
        enrolment.on_enrolled = [establish_protection_key, assign_batch_number]
        estate.on_retired = [cancel_commands]
