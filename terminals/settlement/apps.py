from django.apps import AppConfig


class SettlementConfig(AppConfig):
    name = "terminals.settlement"
    verbose_name = "Settlement"
