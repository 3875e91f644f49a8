"""Parameters' share of the background work."""

import time

from celery import shared_task

from terminals.parameters import sending

AT_A_TIME = 20  # seconds of one run: settlement and the link have their turns between


@shared_task
def send_due_parameters() -> None:
    """Every second: work out the parameters of terminals for which something changed."""
    sending.run_due(time.monotonic() + AT_A_TIME)
