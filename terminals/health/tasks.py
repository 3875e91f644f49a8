"""Keeping the history of health at a size."""

from datetime import timedelta

from celery import shared_task
from django.db import connection
from django.utils import timezone

HISTORY_DAYS = 14
PRUNE = """
DELETE FROM health_healthsample
 WHERE ctid = ANY(ARRAY(SELECT ctid FROM health_healthsample WHERE received_at < %s LIMIT 50000))
"""


@shared_task
def prune_health_history() -> int:
    """Delete the oldest samples, at most 50,000 a run; the index by age leads to the table's beginning."""
    with connection.cursor() as cursor:
        cursor.execute(PRUNE, [timezone.now() - timedelta(days=HISTORY_DAYS)])
        return int(cursor.rowcount)
