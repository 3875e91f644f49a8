from importlib import import_module

from django.apps import AppConfig


class SettlementConfig(AppConfig):
    name = "terminals.settlement"
    verbose_name = "Settlement"

    def ready(self) -> None:
        import_module("terminals.settlement.credits.facts")  # told by the worker alone, and read by pages
