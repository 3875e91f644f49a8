from django.apps import AppConfig


class ParametersConfig(AppConfig):
    name = "terminals.parameters"
    verbose_name = "Parameters"
