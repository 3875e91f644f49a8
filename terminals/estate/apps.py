from django.apps import AppConfig


class TerminalsConfig(AppConfig):
    name = "terminals.estate"
    label = "terminals"  # the estate gave the project its name; tables and addresses keep it
    verbose_name = "Estate"
