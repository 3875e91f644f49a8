from django.apps import AppConfig


class ImportingConfig(AppConfig):
    name = "terminals.importing"
    verbose_name = "Import"
