from django.apps import AppConfig, apps
from django.db.models.signals import post_migrate


class FleetConfig(AppConfig):
    """The roof: joins the parts that must not know each other."""

    name = "fleet"

    def ready(self) -> None:
        from fleet import device_routes
        from fleet.joints import join_rooms
        from fleet.roles import keep_roles
        from fleet.translation import translate_models

        translate_models()
        device_routes.register()
        join_rooms()
        post_migrate.connect(keep_roles, sender=apps.get_app_config("firmware"))
