from django.apps import AppConfig


class AccessConfig(AppConfig):
    name = "fleet.access"
    verbose_name = "Access"

    def ready(self) -> None:
        from fleet.access import logins  # noqa: F401 - it listens to log-ins
