"""By when settled batches are to be credited, and which were not. Each batch is looked at twice, never the fleet."""

from datetime import date, timedelta

from django.db import connection, transaction
from django.utils import timezone

from terminals.estate.services import hold_alone
from terminals.settlement.credits.comparing import compare
from terminals.settlement.credits.judging import days_over
from terminals.settlement.plans.calendars import Days, closed_because
from terminals.settlement.plans.due import cycle_of
from terminals.settlement.plans.models import EffectivePlan

CHUNK = 2000

# Raw, all of this module's: pairs of columns, and locks that are skipped, joined to what decides the day.
UNDATED = """
SELECT b.id, coalesce(r.settled_on, r.finished_at::date), s.effective_id
  FROM settlement_batch b
  JOIN settlement_settlementrun r USING (terminal_id, batch_number)
  LEFT JOIN settlement_settlementschedule s USING (terminal_id)
 WHERE b.awaits_credit AND b.credit_due_on IS NULL
 ORDER BY b.id LIMIT %s FOR UPDATE OF b SKIP LOCKED
"""
# Raw: as above.
DATE = """
UPDATE settlement_batch b SET credit_due_on = d.due, awaits_credit = d.due IS NOT NULL
  FROM unnest(%s::bigint[], %s::date[]) AS d(id, due) WHERE b.id = d.id
"""
# Raw: as above.
OVERDUE = """
SELECT terminal_id, batch_number FROM settlement_batch
 WHERE awaits_credit AND credit_due_on < %s ORDER BY credit_due_on LIMIT %s
"""
# Raw: as above.
LOOKED_AT = """
UPDATE settlement_batch b SET awaits_credit = false
  FROM unnest(%s::bigint[], %s::integer[]) AS k(terminal_id, batch_number)
 WHERE (b.terminal_id, b.batch_number) = (k.terminal_id, k.batch_number) AND b.credit_due_on < %s
"""


@transaction.atomic
def date_credits() -> int:
    """Work out by which day the next settled batches are to be credited; return how many were dated."""
    with connection.cursor() as cursor:
        cursor.execute(UNDATED, [CHUNK])
        rows = cursor.fetchall()
        if not rows:
            return 0
        effective_ids = {effective for _pk, _day, effective in rows if effective is not None}
        plans = EffectivePlan.objects.select_related("calendar").in_bulk(effective_ids)
        due = {(effective, day): _due(plans.get(effective), day) for _pk, day, effective in rows}
        cursor.execute(DATE, [[row[0] for row in rows], [due[effective, day] for _pk, day, effective in rows]])
    return len(rows)


def _due(effective: EffectivePlan | None, settled_on: date) -> date | None:
    """Return the day by which a batch of a day is to be credited; nothing where none is expected any more."""
    if effective is None or effective.settings["credit_days"] is None:
        return None
    return after_business_days(cycle_of(effective).days, settled_on, effective.settings["credit_days"])


def after_business_days(days: Days, start: date, number: int) -> date:
    """Return the day that lies so many business days after another; 0 is that day itself."""
    day = start
    while number > 0:
        day += timedelta(days=1)
        number -= not closed_because(days, day)
    return day


@transaction.atomic
def note_overdue() -> int:
    """Compare the next batches whose day has passed; what did not come becomes a difference. Return how many were looked at."""
    today = days_over(timezone.now())
    with connection.cursor() as cursor:
        cursor.execute(OVERDUE, [today, CHUNK])
        keys = sorted(set(cursor.fetchall()))
        if not keys:
            return 0
        hold_alone(key[0] for key in keys)
        cursor.execute(LOOKED_AT, [[key[0] for key in keys], [key[1] for key in keys], today])
    compare(keys)
    return len(keys)
