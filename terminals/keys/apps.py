from django.apps import AppConfig


class KeysConfig(AppConfig):
    name = "terminals.keys"
    verbose_name = "Keys"
