"""Campaigns' share of the background work."""

import time

from celery import shared_task

from terminals.campaigns import engine

AT_A_TIME = 20  # seconds of one run: settlement and the link have their turns between


@shared_task
def run_campaigns() -> None:
    """Every few seconds: whose turn it is, who did not come back, whose guard holds."""
    engine.run_campaigns(time.monotonic() + AT_A_TIME)
