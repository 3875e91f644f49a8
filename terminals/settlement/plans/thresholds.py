"""Who is due by money: an open batch that has reached its plan's amount or number."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db import connection

from terminals.settlement.rules import LAST_BATCH_NUMBER
from terminals.settlement.runs.models import OPEN_VALUES

# Raw, all of this module's: one statement decides for each of a batch of terminals which limit counts. The newest batch only
# (rules.is_newer): one that a broken terminal left open can never be settled, and must not ask for it for ever.
OVER = """
WITH open AS (
    SELECT terminal_id, batch_number, currency, net_minor,
           sum(transaction_count) OVER (PARTITION BY terminal_id, batch_number) AS number
      FROM settlement_batch WHERE terminal_id = ANY(%(ids)s) AND NOT closed
), over AS (
    SELECT s.terminal_id,
           CASE WHEN b.net_minor >= (p.settings->'amount_limits'->>b.currency)::bigint THEN 'threshold' ELSE 'count' END AS reason
      FROM settlement_settlementschedule s
      JOIN settlement_effectiveplan p ON p.id = s.effective_id AND (p.settings->>'enabled')::boolean
      JOIN open b ON b.terminal_id = s.terminal_id
     WHERE (b.net_minor >= (p.settings->'amount_limits'->>b.currency)::bigint
            OR b.number >= (p.settings->>'count_limit')::bigint)
       AND NOT EXISTS (SELECT 1 FROM settlement_batch n WHERE n.terminal_id = b.terminal_id
                          AND (n.batch_number - b.batch_number + %(last)s) %% %(last)s BETWEEN 1 AND %(last)s / 2)
)
"""
# Raw: see above.
MARK = """
UPDATE settlement_settlementschedule s
   SET next_due_at = %(now)s, cycle_at = NULL, check_at = NULL, due_reason = o.reason
  FROM over o
 WHERE s.terminal_id = o.terminal_id AND (s.next_due_at IS NULL OR s.next_due_at > %(now)s)
   AND NOT EXISTS (SELECT 1 FROM settlement_settlementrun r
                    WHERE r.terminal_id = s.terminal_id AND r.state = ANY(%(open)s))
"""
# Raw: see above.
STILL = """
SELECT DISTINCT terminal_id FROM over
"""


def mark_over_threshold(terminal_ids: Iterable[int], now: datetime) -> None:
    """Make those of the given terminals due whose open batch has reached a limit and that are not settling."""
    said: dict[str, Any] = {"ids": list(terminal_ids), "now": now, "open": OPEN_VALUES, "last": LAST_BATCH_NUMBER}
    with connection.cursor() as cursor:
        cursor.execute(OVER + MARK, said)


def still_over(terminal_ids: Iterable[int]) -> set[int]:
    """Return which of the given terminals have reached a limit; others settled by themselves since they were made due."""
    with connection.cursor() as cursor:
        cursor.execute(OVER + STILL, {"ids": list(terminal_ids), "last": LAST_BATCH_NUMBER})
        return {terminal_id for (terminal_id,) in cursor.fetchall()}
