from django.apps import AppConfig


class HealthConfig(AppConfig):
    name = "terminals.health"
    verbose_name = "Health"
