"""Folding the tallies."""

from datetime import UTC, timedelta

from celery import shared_task
from django.db import connection, transaction
from django.utils import timezone

from fleet.pages.models import DAILY, Tally

# What a day of the past came to is reports' business; two are kept for the time zones' sake.
KEEP_DAYS = timedelta(days=2)


# Raw: one statement, so that what is deleted is inserted, whatever is written meanwhile.
FOLD = """
WITH folded AS (
    DELETE FROM pages_tally WHERE id IN (SELECT id FROM pages_tally ORDER BY id LIMIT 50000 FOR UPDATE SKIP LOCKED)
    RETURNING measure, label, amount
)
INSERT INTO pages_tally (measure, label, amount)
SELECT measure, label, greatest(least(sum(amount), 9e18), -9e18) FROM folded
 GROUP BY measure, label HAVING sum(amount) <> 0  -- no sum that terminals make up may stop the folding
"""


@shared_task
@transaction.atomic
def fold_tallies() -> None:
    """Fold each number's lines into one."""
    oldest = f"{timezone.now().astimezone(UTC) - KEEP_DAYS:%Y-%m-%d %H:%M}"
    Tally.objects.filter(measure__in=DAILY, label__lt=oldest).delete()
    with connection.cursor() as cursor:
        cursor.execute(FOLD)
