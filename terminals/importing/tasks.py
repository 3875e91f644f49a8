"""Imports' share of the background work."""

import time

from celery import shared_task

from terminals.importing import services

AT_A_TIME = 20  # seconds of one run: settlement and the link have their turns between


@shared_task
def run_imports() -> None:
    """Every second: go on with what operators let be imported."""
    services.run_imports(time.monotonic() + AT_A_TIME)
