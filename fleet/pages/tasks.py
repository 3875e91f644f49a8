"""Folding the tallies."""

from celery import shared_task
from django.db import connection, transaction

# One statement: what is deleted is what is inserted, whatever is written meanwhile.
FOLD = """
WITH folded AS (
    DELETE FROM pages_tally WHERE id IN (SELECT id FROM pages_tally ORDER BY id LIMIT 50000 FOR UPDATE SKIP LOCKED)
    RETURNING measure, label, amount
)
INSERT INTO pages_tally (measure, label, amount)
SELECT measure, label, sum(amount) FROM folded GROUP BY measure, label HAVING sum(amount) <> 0
"""
# Yesterday's settlements are reports' business; a week of them is kept for the time zones' sake and for a look back.
FORGET = """
DELETE FROM pages_tally
 WHERE measure LIKE 'settled%' AND left(label, 10) < to_char(now() - interval '7 days', 'YYYY-MM-DD')
"""


@shared_task
@transaction.atomic
def fold_tallies() -> None:
    """Fold each number's lines into one."""
    with connection.cursor() as cursor:
        cursor.execute(FOLD)
        cursor.execute(FORGET)
