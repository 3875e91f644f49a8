from django.apps import AppConfig


class BulkConfig(AppConfig):
    name = "terminals.bulk"
    verbose_name = "Bulk work"
