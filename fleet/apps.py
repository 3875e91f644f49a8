from django.apps import AppConfig


class FleetConfig(AppConfig):
    """The roof: joins the parts that must not know each other."""

    name = "fleet"

    def ready(self) -> None:
        from fleet import device_routes
        from fleet.joints import join_rooms
        from fleet.translation import translate_models

        translate_models()
        device_routes.register()
        join_rooms()
