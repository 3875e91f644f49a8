"""Opening runs: who is due is asked, once. A run is open at most once at a time for a terminal; the partial unique index holds
it, not this code.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from django.db import connection, transaction

from terminals.common.facts.services import record_facts
from terminals.common.sql import id_set
from terminals.estate.rules import COMMANDED_STATES
from terminals.estate.services import hold
from terminals.link.protocol.messages.settlement import Settle
from terminals.link.services import CommandRequest, Target, create_commands, rfc3339
from terminals.settlement.plans import cycles, due, rules
from terminals.settlement.plans.models import EffectivePlan, SettlementSchedule
from terminals.settlement.plans.thresholds import still_over
from terminals.settlement.readiness import READY, Found, look_at
from terminals.settlement.runs.facts import Blocked, Missed, NotWithinWindow
from terminals.settlement.runs.models import OPEN_VALUES
from terminals.settlement.runs.rules import RunState

CHUNK = 2000
LOOK_AGAIN_AFTER = timedelta(seconds=30)
BY_MONEY = ("threshold", "count")
DEFAULTS = rules.complete({"time_zone": "UTC"})


class Occasion(NamedTuple):
    """Why and when one terminal is to settle, and by which settings. `due_at` is a cycle's own instant, before jitter."""

    target: Target
    trigger: str
    settings: Mapping[str, Any]
    business_day: date
    ends_at: datetime
    due_at: datetime | None = None
    missed: bool = False  # nobody could ask within the window, and the plan wants an alarm


class Claimed(NamedTuple):
    """A due schedule, as far as opening its run needs it."""

    pk: int
    effective_id: int
    jitter_share: float
    next_due_at: datetime
    cycle_at: datetime | None
    due_reason: str


def run_due_settlements(now: datetime) -> int:
    """Ask every terminal that is due to settle; return how many runs were opened. Cost grows with them, not with the fleet."""
    opened = 0
    while True:
        claimed, count = _run_chunk(now)
        opened += count
        if claimed < CHUNK:
            return opened


@transaction.atomic
def _run_chunk(now: datetime) -> tuple[int, int]:
    """Claim up to CHUNK due schedules, open their runs and move them on, in one transaction."""
    chosen = list(
        SettlementSchedule.objects.filter(next_due_at__lte=now)
        .order_by("next_due_at")
        .values_list("pk", flat=True)[:CHUNK]
    )
    if not chosen:
        return 0, 0
    held = hold(chosen)
    due_now = SettlementSchedule.objects.filter(pk__in=id_set(chosen), next_due_at__lte=now).order_by("next_due_at")
    rows = due_now.select_for_update(skip_locked=True, of=("self",)).values_list(*Claimed._fields)
    claimed = [Claimed(*row) for row in rows]
    plans = EffectivePlan.objects.select_related("calendar").in_bulk({schedule.effective_id for schedule in claimed})
    by_money = [schedule.pk for schedule in claimed if schedule.due_reason in BY_MONEY]
    served = set(by_money) - still_over(by_money) if by_money else set()
    wanted = [
        _occasion(schedule, plans[schedule.effective_id], Target(schedule.pk, held[schedule.pk].device_id), now)
        for schedule in claimed
        if schedule.pk not in served
        and plans[schedule.effective_id].settings["enabled"]
        and held[schedule.pk].state in COMMANDED_STATES
    ]
    opened = open_runs([occasion for occasion in wanted if occasion], now, "settlement plan")
    _tell_missed(claimed, plans, now)
    due.move_on([due.Slot(*schedule[:3]) for schedule in claimed if schedule.pk not in served], now)
    # Those that were served came due in the place of their cycle: one that has passed since then still counts.
    for marked in sorted({schedule.next_due_at for schedule in claimed if schedule.pk in served}):
        mine = [schedule for schedule in claimed if schedule.pk in served and schedule.next_due_at == marked]
        due.move_on([due.Slot(*schedule[:3]) for schedule in mine], marked)
    return len(claimed), len(opened)


def _is_missed(schedule: Claimed, settings: Mapping[str, Any], now: datetime) -> bool:
    window = timedelta(minutes=settings["window_minutes"])
    return schedule.cycle_at is not None and now > schedule.next_due_at + window


def _occasion(schedule: Claimed, plan: EffectivePlan, target: Target, now: datetime) -> Occasion | None:
    """Return why a due terminal settles now; None where its time is over and its plan skips what was missed."""
    settings = plan.settings
    missed = _is_missed(schedule, settings, now)
    if missed and settings["when_missed"] == "skip":
        return None
    begun = now if missed else schedule.next_due_at
    return Occasion(
        target,
        schedule.due_reason,
        settings,
        cycles.business_day(due.cycle_of(plan), schedule.next_due_at),
        begun + timedelta(minutes=settings["window_minutes"]),
        schedule.cycle_at,
        missed and settings["when_missed"] == "alarm",
    )


def _tell_missed(claimed: Sequence[Claimed], plans: Mapping[int, EffectivePlan], now: datetime) -> None:
    """Say on timelines whose settlement nobody could ask for in time, and what was done then."""
    record_facts(
        (s.pk, Missed(due_at=rfc3339(s.next_due_at), policy=plans[s.effective_id].settings["when_missed"]))
        for s in claimed
        if s.next_due_at
        and plans[s.effective_id].settings["enabled"]
        and _is_missed(s, plans[s.effective_id].settings, now)
    )


# Raw: the ORM's bulk_create takes five times as long for 1,000.
INSERT = """
INSERT INTO settlement_settlementrun (terminal_id, trigger, state, command_id, requested_at, due_at, business_day, ends_at,
       attempt, retry_at, problems, finished_at, currency, host_response, host_fields, upload_complete, reasons)
SELECT terminal_id, trigger, state, command_id, %s, due_at, business_day, ends_at, 1, retry_at, problems, finished_at, '', '',
       '{}', true, reasons
  FROM json_to_recordset(%s) AS r(terminal_id bigint, trigger text, state text, command_id uuid, due_at timestamptz,
       business_day date, ends_at timestamptz, retry_at timestamptz, problems jsonb, finished_at timestamptz, reasons jsonb)
RETURNING id, terminal_id
"""


def open_runs(occasions: Sequence[Occasion], now: datetime, requested_by: str) -> dict[int, int]:
    """Open a run for each terminal that has none open, and ask those that are ready; return terminal -> run.

    A cycle that meets an open run is served by that one: it settles all that is in the batch.
    """
    busy = _busy(occasions)
    _serve(occasions, busy)
    free = {occasion.target.terminal_id: occasion for occasion in occasions if occasion.target.terminal_id not in busy}
    if not free:
        return {}
    in_time = {pk: occasion for pk, occasion in free.items() if not occasion.missed}
    found = look_at({pk: occasion.settings for pk, occasion in in_time.items()})
    blocked = {pk for pk, one in found.items() if one.is_blocked}
    commands = ask([occasion for pk, occasion in in_time.items() if pk not in blocked], now, requested_by)
    opened = _insert(
        [_new_run(occasion, found.get(pk, READY), commands.get(pk), now) for pk, occasion in free.items()], now
    )
    record_facts((pk, Blocked(ahead=False, reasons=found[pk].problems)) for pk in sorted(blocked))
    return opened


class NewRun(msgspec.Struct):
    """A run's columns as INSERT takes them."""

    terminal_id: int
    trigger: str
    state: str
    command_id: UUID | None
    due_at: datetime | None
    business_day: date
    ends_at: datetime
    retry_at: datetime | None
    problems: list[dict[str, Any]]
    finished_at: datetime | None
    reasons: list[dict[str, Any]]


def _new_run(occasion: Occasion, found: Found, command_id: UUID | None, now: datetime) -> NewRun:
    state = RunState.BLOCKED if found.is_blocked else RunState.REQUESTED if command_id else RunState.FAILED
    failed = state is RunState.FAILED
    return NewRun(
        occasion.target.terminal_id,
        occasion.trigger,
        state.value,
        command_id,
        occasion.due_at,
        occasion.business_day,
        occasion.ends_at,
        now + LOOK_AGAIN_AFTER if found.is_blocked else None,
        found.problems,
        now if failed else None,
        [NotWithinWindow(rfc3339(occasion.due_at or now)).stored()] if failed else [],
    )


def _insert(runs: Sequence[NewRun], now: datetime) -> dict[int, int]:
    with connection.cursor() as cursor:
        cursor.execute(INSERT, [now, msgspec.json.encode(runs).decode()])
        return {terminal_id: run_id for run_id, terminal_id in cursor.fetchall()}


# Raw: the ORM cannot ask for pairs of columns.
BUSY = """
SELECT terminal_id FROM settlement_settlementrun WHERE terminal_id = ANY(%(ids)s) AND state = ANY(%(open)s)
 UNION
SELECT terminal_id FROM settlement_settlementrun
  JOIN unnest(%(ids)s::bigint[], %(dues)s::timestamptz[]) AS o(terminal_id, due_at) USING (terminal_id, due_at)
"""


def _busy(occasions: Sequence[Occasion]) -> set[int]:
    """Return the terminals that have an open run, or have had one for this very instant of their cycle."""
    parameters: dict[str, Any] = {
        "ids": [occasion.target.terminal_id for occasion in occasions],
        "dues": [occasion.due_at for occasion in occasions],
        "open": OPEN_VALUES,
    }
    with connection.cursor() as cursor:
        cursor.execute(BUSY, parameters)
        return {terminal_id for (terminal_id,) in cursor.fetchall()}


# Raw: the ORM cannot update from an array of pairs.
SERVE = """
UPDATE settlement_settlementrun r SET due_at = o.due_at, business_day = o.business_day
  FROM unnest(%(ids)s::bigint[], %(dues)s::timestamptz[], %(days)s::date[]) AS o(terminal_id, due_at, business_day)
 WHERE r.terminal_id = o.terminal_id AND r.state = ANY(%(open)s) AND r.due_at IS NULL
"""


def _serve(occasions: Sequence[Occasion], busy: set[int]) -> None:
    """Let the open runs of busy terminals stand for the cycles that meet them."""
    met = [o for o in occasions if o.target.terminal_id in busy and o.due_at is not None]
    if not met:
        return
    parameters: dict[str, Any] = {
        "ids": [o.target.terminal_id for o in met],
        "dues": [o.due_at for o in met],
        "days": [o.business_day for o in met],
        "open": OPEN_VALUES,
    }
    with connection.cursor() as cursor:
        cursor.execute(SERVE, parameters)


def ask(occasions: Sequence[Occasion], now: datetime, requested_by: str) -> dict[int, UUID]:
    """Queue a settle command for each; return terminal -> command."""
    bodies = {trigger: Settle(reason=trigger) for trigger in ("cycle", "threshold", "count", "operator")}
    requests = [
        CommandRequest(o.target, "settle", bodies[o.trigger], _valid_for(o.settings, o.ends_at, now)) for o in occasions
    ]
    commands = create_commands(requests, requested_by=requested_by)
    return {command.terminal_id: command.pk for command in commands}


def _valid_for(settings: Mapping[str, Any], ends_at: datetime, now: datetime) -> timedelta:
    """A command is good for as long as the plan says, but not beyond its window."""
    return max(timedelta(minutes=1), min(timedelta(minutes=settings["expiry_minutes"]), ends_at - now))


def by_hand(target: Target, schedule: SettlementSchedule | None, now: datetime) -> Occasion:
    """Return the occasion of a settlement that an operator asks for (the schedule with its plan and calendar loaded)."""
    plan = schedule.effective if schedule else None
    settings = plan.settings if plan else DEFAULTS
    cycle = due.cycle_of(plan) if plan else rules.cycle_of(DEFAULTS)
    ends_at = now + timedelta(minutes=settings["window_minutes"])
    return Occasion(target, "operator", settings, cycles.business_day(cycle, now), ends_at)
