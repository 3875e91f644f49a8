from django.apps import AppConfig


class SimulatorConfig(AppConfig):
    name = "terminals.simulator"
    verbose_name = "Simulator"
