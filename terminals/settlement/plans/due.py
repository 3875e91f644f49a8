"""When terminals are due next: each effective plan's crontab is walked once for all of its terminals. Writes schedules only."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection

from terminals.settlement.plans import calendars, cycles, rules
from terminals.settlement.plans.cycles import Cycle
from terminals.settlement.plans.models import EffectivePlan


class Slot(NamedTuple):
    """One terminal's schedule, as far as its next instant depends on it."""

    terminal_id: int
    effective_id: int
    jitter_share: float


class Due(NamedTuple):
    """When a terminal is due, the cycle's own instant, and when its readiness is looked at ahead (UTC; None: never)."""

    next_due_at: datetime | None
    cycle_at: datetime | None
    check_at: datetime | None


NEVER = Due(None, None, None)


def cycle_of(effective: EffectivePlan) -> Cycle:
    """Return an effective plan's cycle with its calendar (needs `calendar` loaded)."""
    days = effective.calendar.days() if effective.calendar else calendars.ALWAYS_OPEN
    return rules.cycle_of(effective.settings, days)


def next_dues(effective: EffectivePlan, shares: Sequence[float], now: datetime) -> list[Due]:
    """Return when terminals of one plan are due next, by their shares of its jitter."""
    settings = effective.settings
    shifts = [timedelta(seconds=share * settings["jitter_seconds"]) for share in shares]
    ahead = timedelta(minutes=settings["warn_minutes"])
    dues = []
    for at, shift in zip(cycles.next_instants(cycle_of(effective), shifts, now=now), shifts, strict=True):
        if at is None:
            dues.append(NEVER)
            continue
        check_at = at + shift - ahead if ahead else None
        dues.append(Due(at + shift, at, check_at))
    return dues


# Raw: the ORM's bulk_update takes a CASE for each row, ten times what this takes for 1,000 of them. Whoever is due stays due.
WRITE = """
UPDATE settlement_settlementschedule s
   SET effective_id = d.effective_id, is_stale = false,
       next_due_at = CASE WHEN kept THEN s.next_due_at ELSE d.next_due_at END,
       cycle_at = CASE WHEN kept THEN s.cycle_at ELSE d.cycle_at END,
       check_at = CASE WHEN kept THEN s.check_at ELSE d.check_at END,
       due_reason = CASE WHEN kept THEN s.due_reason ELSE 'cycle' END,
       problems = CASE WHEN kept THEN s.problems ELSE '[]' END, is_blocked = kept AND s.is_blocked
  FROM (SELECT d.*, %(keep)s AND k.next_due_at <= %(now)s AS kept
          FROM unnest(%(ids)s::bigint[], %(plans)s::bigint[], %(dues)s::timestamptz[], %(cycles)s::timestamptz[],
                      %(checks)s::timestamptz[]) AS d(terminal_id, effective_id, next_due_at, cycle_at, check_at)
          JOIN settlement_settlementschedule k USING (terminal_id)) d
 WHERE s.terminal_id = d.terminal_id
"""


def move_on(slots: Iterable[Slot], now: datetime, *, keep_due: bool = False) -> None:
    """Write when schedules are due next: one statement. `keep_due` leaves those that are due now as they are."""
    by_plan: dict[int, list[Slot]] = defaultdict(list)
    for slot in slots:
        by_plan[slot.effective_id].append(slot)
    plans = EffectivePlan.objects.select_related("calendar").in_bulk(by_plan)
    rows: list[tuple[int, int, Due]] = []
    for effective_id, mine in by_plan.items():
        dues = next_dues(plans[effective_id], [slot.jitter_share for slot in mine], now)
        rows += [(slot.terminal_id, effective_id, due) for slot, due in zip(mine, dues, strict=True)]
    if not rows:
        return
    parameters: dict[str, Any] = {
        "keep": keep_due,
        "now": now,
        "ids": [row[0] for row in rows],
        "plans": [row[1] for row in rows],
        "dues": [row[2].next_due_at for row in rows],
        "cycles": [row[2].cycle_at for row in rows],
        "checks": [row[2].check_at for row in rows],
    }
    with connection.cursor() as cursor:
        cursor.execute(WRITE, parameters)
