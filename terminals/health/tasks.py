"""Keeping the history of health at a size."""

from datetime import timedelta

from celery import shared_task
from django.utils import timezone

from terminals.common.sql import delete_in_chunks

HISTORY_DAYS = 14
# Raw: the ORM cannot delete so many of the oldest.
PRUNE = """
DELETE FROM health_healthsample
 WHERE ctid = ANY(ARRAY(SELECT ctid FROM health_healthsample WHERE received_at < %s LIMIT 50000))
"""


@shared_task
def prune_health_history() -> int:
    """Delete samples older than HISTORY_DAYS; the index by age leads to the table's beginning."""
    return delete_in_chunks(PRUNE, [timezone.now() - timedelta(days=HISTORY_DAYS)])
