from django.apps import AppConfig


class LinkConfig(AppConfig):
    name = "terminals.link"
    verbose_name = "Device link"
