"""Settlement: who is due, what is asked of them, and what came of it.

A run is opened at most once at a time for a terminal; the partial unique index holds it, not this code.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from terminals.common.audit import services as audit
from terminals.common.audit.services import subject_of
from terminals.common.errors import Refusal
from terminals.common.facts.kinds import Reason
from terminals.common.facts.services import record_fact_of_many, record_facts
from terminals.common.transitions import move
from terminals.estate.models import Terminal
from terminals.estate.replacing import predecessors
from terminals.estate.rules import COMMANDED_STATES
from terminals.estate.services import hold
from terminals.link.facts import failure_reason
from terminals.link.protocol.messages.settlement import Settle
from terminals.link.protocol.states import CommandState
from terminals.link.routes import Outcome
from terminals.link.services import CommandRequest, Target, create_commands, target_of
from terminals.settlement.facts import NotSettled, ScheduleChanged, TotalsMissing
from terminals.settlement.models import Batch, SettlementPlan, SettlementRun, SettlementSchedule
from terminals.settlement.rules import LAST_BATCH_NUMBER, OPEN, RunState, RunTransition, next_batch_number

SET_SCHEDULE = "settlement.change_settlementschedule"  # what putting a terminal under a plan needs
REQUEST_SETTLEMENT = "settlement.add_settlementrun"  # what asking a terminal to settle needs
# An offline terminal settles when it comes back, if that is soon; else the run fails and the next cycle tries again.
VALID_FOR = timedelta(hours=4)
REPORT_WITHIN = timedelta(hours=24)
# A terminal that did not settle although its money has reached the threshold is asked again after a while.
ASK_AGAIN_AFTER = timedelta(minutes=15)
ASK_AGAIN_FOR = timedelta(hours=1)
CHUNK = 500


def run_due_settlements(now: datetime) -> int:
    """Ask every terminal that is due to settle; return how many were asked. Cost grows with them, not with the fleet."""
    asked = 0
    while True:
        claimed, opened = _run_chunk(now)
        asked += opened
        if claimed < CHUNK:
            return asked


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
    due = list(
        SettlementSchedule.objects.filter(pk__in=chosen, next_due_at__lte=now)
        .select_related("plan", "terminal__store")
        .order_by("next_due_at")
        .select_for_update(skip_locked=True, of=("self",))
    )
    wanted = [
        (Target(schedule.pk, held[schedule.pk].device_id), schedule.due_reason)
        for schedule in due
        if schedule.plan.enabled and held[schedule.pk].state in COMMANDED_STATES
    ]
    runs = _open_runs(wanted, now, "settlement plan")
    for schedule in due:
        schedule.next_due_at = schedule.next_due_after(now)
        schedule.due_reason = "cycle"
    SettlementSchedule.objects.bulk_update(due, ["next_due_at", "due_reason"])
    return len(due), len(runs)


def _open_runs(wanted: Sequence[tuple[Target, str]], now: datetime, requested_by: str) -> list[SettlementRun]:
    """Open a run and queue its command for each terminal that has none open; the others are left alone."""
    busy = set(
        SettlementRun.objects.filter(
            terminal__in=[target.terminal_id for target, _ in wanted], state__in=OPEN
        ).values_list("terminal_id", flat=True)
    )
    free = [(target, reason) for target, reason in wanted if target.terminal_id not in busy]
    requests = [CommandRequest(target, "settle", Settle(reason=reason), VALID_FOR) for target, reason in free]  # type: ignore[arg-type]
    commands = create_commands(requests, requested_by=requested_by)
    return SettlementRun.objects.bulk_create(
        SettlementRun(terminal_id=target.terminal_id, trigger=reason, command=command, requested_at=now)
        for (target, reason), command in zip(free, commands, strict=True)
    )


@transaction.atomic
def request_settlement(*, terminal: Terminal, actor: str) -> SettlementRun:
    """Ask one terminal to settle now; raise Refusal where it is being settled already."""
    runs = _open_runs([(target_of(terminal), "operator")], timezone.now(), actor)
    if not runs:
        raise Refusal(
            "already_settling",
            "terminal %(serial)s was asked to settle before and has not answered; if it is offline, it does so when it is back",
            serial=terminal.serial,
        )
    audit.record(actor=actor, action="settlement.request", subject=subject_of(terminal), detail={"run": runs[0].pk})
    return runs[0]


@transaction.atomic
def set_schedule(
    *,
    terminal: Terminal,
    plan: SettlementPlan,
    actor: str,
    cycle: str = "",
    time_zone: str = "",
    threshold_minor: int | None = None,
    threshold_currency: str = "",
) -> SettlementSchedule:
    """Put a terminal under a plan, with what differs for it; raises ValidationError for an unusable schedule."""
    hold([terminal.pk])
    before = SettlementSchedule.objects.filter(terminal=terminal).select_for_update().first()
    old = audit.values_of(before) if before else {}
    schedule = before or SettlementSchedule(terminal=terminal)
    schedule.plan, schedule.cycle, schedule.time_zone = plan, cycle, time_zone
    schedule.threshold_minor, schedule.threshold_currency = threshold_minor, threshold_currency
    schedule.clean()
    now = timezone.now()
    if schedule.next_due_at is None or schedule.next_due_at > now:  # what is due stays due: no change makes it missed
        schedule.next_due_at, schedule.due_reason = schedule.next_due_after(now), "cycle"
    schedule.save(force_insert=before is None)
    mark_over_threshold([terminal.pk], now)
    schedule.refresh_from_db(fields=["next_due_at", "due_reason"])
    audit.record_change(
        actor=actor, action="settlement.schedule", instance=schedule, old=old, new=audit.values_of(schedule)
    )
    by_itself = schedule.settles_by_itself()
    fact = ScheduleChanged(by=actor, plan=plan.name, own=schedule.is_own, by_itself=by_itself)
    record_facts([(terminal.pk, fact)])
    return schedule


@transaction.atomic
def set_plan(*, terminal_ids: Sequence[int], plan: SettlementPlan, actor: str) -> None:
    """Put terminals under a plan, without anything of their own, set-based; whoever calls it audits it. Who is due stays due."""
    now = timezone.now()
    mine = SettlementSchedule.objects.filter(terminal__in=terminal_ids)
    mine.update(plan=plan, cycle="", time_zone="", threshold_minor=None, threshold_currency="")
    lacking = set(terminal_ids) - set(mine.values_list("terminal_id", flat=True))
    SettlementSchedule.objects.bulk_create(SettlementSchedule(terminal_id=pk, plan=plan) for pk in sorted(lacking))
    _reschedule(mine)
    mark_over_threshold(terminal_ids, now)
    by_itself = plan.enabled and bool(plan.cycle or plan.threshold_minor)
    record_fact_of_many(terminal_ids, ScheduleChanged(by=actor, plan=plan.name, own=False, by_itself=by_itself))


@transaction.atomic
def request_settlements(*, targets: Sequence[Target], actor: str) -> int:
    """Ask terminals to settle now, set-based; those that are settling already are left alone. Whoever calls it audits it."""
    return len(_open_runs([(target, "operator") for target in targets], timezone.now(), actor))


def assign_batch_number(terminal: Terminal, public_key: object) -> dict[str, Any]:
    """Tell a terminal that enrols which batch it opens: a new device must not count from 1 again into settled batches."""
    numbers = (
        Batch.objects.filter(terminal__in=predecessors(terminal)).values_list("batch_number", flat=True).distinct()
    )
    return {"batch_number": next_batch_number(numbers)}


def take_over_schedule(old_id: int, new_id: int, actor: str) -> None:
    """Put a device that replaces another under the same plan, with what was the other's own."""
    schedule = SettlementSchedule.objects.select_related("plan").filter(terminal=old_id).first()
    if schedule is not None:
        schedule.terminal = Terminal.objects.select_related("store").get(pk=new_id)
        schedule.next_due_at, schedule.due_reason = schedule.next_due_after(timezone.now()), "cycle"
        schedule.save(force_insert=True)


def resume_settling(terminal_ids: Sequence[int]) -> None:
    """Terminals that are back in service settle what reached its threshold while nobody could ask them."""
    mark_over_threshold(terminal_ids, timezone.now())


def ensure_schedules(terminal_ids: Iterable[int], now: datetime) -> None:
    """Put terminals without a schedule under the default plan, where there is one."""
    scheduled = SettlementSchedule.objects.filter(terminal__in=terminal_ids).values_list("terminal_id", flat=True)
    missing = set(terminal_ids) - set(scheduled)
    plan = SettlementPlan.objects.filter(is_default=True).first() if missing else None
    if plan is None:
        return
    terminals = Terminal.objects.filter(pk__in=missing).select_related("store").order_by("pk")
    schedules = [SettlementSchedule(terminal=terminal, plan=plan) for terminal in terminals]
    for schedule in schedules:
        schedule.next_due_at = schedule.next_due_after(now)
    SettlementSchedule.objects.bulk_create(schedules, ignore_conflicts=True)


@transaction.atomic
def change_plan(plan: SettlementPlan, *, actor: str) -> None:
    """Save an edited or a new plan; its terminals are due by it at once. Who is due now stays due."""
    old = audit.stored_values(plan)
    plan.save()
    action = f"settlementplan.{'update' if old else 'create'}"
    audit.record_change(actor=actor, action=action, instance=plan, old=old, new=audit.stored_values(plan))
    _reschedule(plan.schedules.all())


def follow_terminals(terminal_ids: Sequence[int]) -> None:
    """Terminals moved to another store: they are due by that one's clock, where their plan goes by it."""
    _reschedule(SettlementSchedule.objects.filter(terminal__in=terminal_ids))


def follow_store(store_id: int) -> None:
    """The store's clock was changed: its terminals whose plan goes by it are due by the new one."""
    _reschedule(SettlementSchedule.objects.filter(terminal__store=store_id))


@transaction.atomic
def _reschedule(schedules: QuerySet[SettlementSchedule]) -> None:
    """Compute anew when terminals are due; set-based, a chunk at a time."""
    now = timezone.now()
    last = 0
    while True:
        chunk = list(
            schedules.exclude(next_due_at__lte=now)
            .select_related("plan", "terminal__store")
            .filter(terminal_id__gt=last)
            .order_by("terminal_id")
            .select_for_update(of=("self",))[: CHUNK * 4]
        )
        if not chunk:
            return
        for schedule in chunk:
            schedule.next_due_at = schedule.next_due_after(now)
        SettlementSchedule.objects.bulk_update(chunk, ["next_due_at"])
        last = chunk[-1].terminal_id
        mark_over_threshold([schedule.terminal_id for schedule in chunk], now)


def fail_runs(runs: QuerySet[SettlementRun], reason: Reason) -> int:
    """End open runs without a settlement; say why on their terminals' timelines. Return how many ended."""
    return _fail(runs, lambda run: reason)


def _fail(runs: QuerySet[SettlementRun], why: Callable[[SettlementRun], Reason]) -> int:
    """End the open ones of these runs, each for its reason, in three statements for any number of them."""
    locked = list(runs.filter(state__in=OPEN).order_by("pk").select_for_update(of=("self",)))
    for run in locked:
        run.state, run.finished_at = RunTransition.fail.after(run.state), timezone.now()
        run.reasons = [why(run).stored()]
    SettlementRun.objects.bulk_update(locked, ["state", "finished_at", "reasons"], batch_size=1000)
    record_facts((run.terminal_id, NotSettled(reasons=run.reasons)) for run in locked)
    return len(locked)


def fail_repeated(answered: Mapping[tuple[int, UUID], Reason]) -> None:
    """End the open runs whose command (terminal id, command id) was answered by what cannot be its settlement."""
    asked = SettlementRun.objects.filter(command__in=[command_id for _, command_id in answered], batch_number=None)
    mine = [run.pk for run in asked if (run.terminal_id, run.command_id) in answered]
    _fail(SettlementRun.objects.filter(pk__in=mine), lambda run: answered[run.terminal_id, cast(UUID, run.command_id)])


def follow_commands(outcomes: Sequence[Outcome]) -> None:
    """Move runs with their commands. The money is settled by the `settlement` event alone, never by a result."""
    started = [outcome.command_id for outcome in outcomes if not outcome.is_final]
    move(SettlementRun.objects.filter(command__in=started), RunTransition.start)
    ended = {o.command_id: o for o in outcomes if o.is_final and o.state != CommandState.SUCCEEDED}
    if ended:
        _fail(
            SettlementRun.objects.filter(command__in=ended),
            lambda run: failure_reason(ended[cast(UUID, run.command_id)]),
        )


@transaction.atomic
def fail_silent_runs(now: datetime) -> int:
    """End runs whose terminal said that it settled but whose totals never came; the next cycle may try again."""
    late = SettlementRun.objects.filter(requested_at__lt=now - REPORT_WITHIN, command__finished_at__isnull=False)
    return fail_runs(late, TotalsMissing())


# Raw: one statement decides for each of a batch of terminals which amount counts, its own or its plan's.
MARK_THRESHOLD = """
UPDATE settlement_settlementschedule s SET next_due_at = %(now)s, due_reason = 'threshold'
  FROM settlement_settlementplan p, settlement_batch b
 WHERE s.plan_id = p.id AND p.enabled AND b.terminal_id = s.terminal_id AND NOT b.closed
   AND s.terminal_id = ANY(%(ids)s) AND (s.next_due_at IS NULL OR s.next_due_at > %(now)s)
   -- the newest batch only (rules.is_newer): one that a broken terminal left open can never be settled, and must not ask
   -- for it for ever
   AND NOT EXISTS (SELECT 1 FROM settlement_batch n WHERE n.terminal_id = b.terminal_id
                      AND (n.batch_number - b.batch_number + %(last)s) %% %(last)s BETWEEN 1 AND %(last)s / 2)
   AND b.net_minor >= coalesce(s.threshold_minor, p.threshold_minor)
   AND b.currency = CASE WHEN s.threshold_minor IS NULL THEN p.threshold_currency ELSE s.threshold_currency END
   AND NOT EXISTS (SELECT 1 FROM settlement_settlementrun r
                    WHERE r.terminal_id = s.terminal_id AND r.state = ANY(%(open)s))
"""


def mark_over_threshold(terminal_ids: Iterable[int], now: datetime) -> None:
    """Make those of the given terminals due whose open batch has reached its threshold and that are not settling."""
    said: dict[str, Any] = {
        "ids": list(terminal_ids),
        "now": now,
        "open": [state.value for state in OPEN],
        "last": LAST_BATCH_NUMBER,
    }
    with connection.cursor() as cursor:
        cursor.execute(MARK_THRESHOLD, said)


@transaction.atomic
def ask_again(now: datetime) -> None:
    """Make terminals due whose last run failed a while ago and whose money still reaches the threshold.

    Looks at the runs that failed within an hour before that, so that a worker that was away misses none; one that is
    asked and fails again has a new run.
    """
    since, until = now - ASK_AGAIN_AFTER - ASK_AGAIN_FOR, now - ASK_AGAIN_AFTER
    failed = SettlementRun.objects.filter(state=RunState.FAILED, finished_at__range=(since, until))
    later = SettlementRun.objects.filter(terminal=OuterRef("terminal"), pk__gt=OuterRef("pk"))
    waiting = list(failed.filter(~Exists(later)).values_list("terminal_id", flat=True))
    if waiting:
        mark_over_threshold(waiting, now)
