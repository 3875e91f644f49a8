from django.apps import AppConfig


class TerminalsConfig(AppConfig):
    name = "terminals.estate"
    label = "terminals"  # the estate gave the project its name; tables and addresses keep it
    verbose_name = "Estate"

    def ready(self) -> None:
        from terminals.common.scope import grantor
        from terminals.estate.grants import read_grants

        grantor.grants_of = read_grants
