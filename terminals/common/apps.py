from django.apps import AppConfig


class CommonConfig(AppConfig):
    name = "terminals.common"
    verbose_name = "Audit and facts"
