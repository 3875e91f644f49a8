"""Keeping the history of health at a size."""

from celery import shared_task
from django.utils import timezone

from terminals.common.partitions import Partitioned, keep_partitions

HISTORY_DAYS = 14
SAMPLES = Partitioned("health_healthsample", "received_at", keep=HISTORY_DAYS, daily=True)


@shared_task
def prune_health_history() -> None:
    """Make the coming days' partitions, and drop days that are older than HISTORY_DAYS."""
    keep_partitions(SAMPLES, timezone.now().date())
