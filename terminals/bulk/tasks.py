"""Bulk work's share of the background work."""

import time

from celery import shared_task

from terminals.bulk import services

AT_A_TIME = 20  # seconds of one run: settlement and the link have their turns between


@shared_task
def run_bulk_jobs() -> None:
    """Every second: go on with what operators asked to be done to many terminals."""
    services.run_jobs(time.monotonic() + AT_A_TIME)
