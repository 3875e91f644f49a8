"""Runs: asked for by hand, moved by what terminals answer, tried again, ended. The money is settled by the `settlement` event
alone (runs/settling.py), never by a command's result.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from terminals.common.audit import services as audit
from terminals.common.audit.services import subject_of
from terminals.common.errors import Refusal
from terminals.common.facts.kinds import Reason
from terminals.common.facts.services import record_facts
from terminals.common.sql import id_set
from terminals.common.transitions import move
from terminals.estate.models import Terminal
from terminals.estate.replacing import predecessors
from terminals.link.facts import failure_reason
from terminals.link.protocol.states import CommandState
from terminals.link.routes import Outcome
from terminals.link.services import Target, rfc3339, target_of
from terminals.settlement.cases.differences import Found, note
from terminals.settlement.plans.models import SettlementSchedule
from terminals.settlement.plans.thresholds import mark_over_threshold
from terminals.settlement.reconciliation.rules import DifferenceKind
from terminals.settlement.rules import next_batch_number
from terminals.settlement.runs.facts import NotSettled, TotalsMissing, TriedAgain
from terminals.settlement.runs.models import SettlementRun
from terminals.settlement.runs.opening import DEFAULTS, by_hand, open_runs
from terminals.settlement.runs.rules import ASKED, OPEN, RunState, RunTransition, pause_before
from terminals.settlement.selectors import stakes
from terminals.settlement.transactions.models import Batch

REQUEST_SETTLEMENT = "settlement.add_settlementrun"  # what asking a terminal to settle needs
REPORT_WITHIN = timedelta(hours=24)
# A terminal that did not settle although its money has reached the threshold is asked again after a while.
ASK_AGAIN_AFTER = timedelta(minutes=15)
ASK_AGAIN_FOR = timedelta(hours=1)


# --- by hand ---------------------------------------------------------------------------------------------------------
@transaction.atomic
def request_settlement(*, terminal: Terminal, actor: str) -> SettlementRun:
    """Ask one terminal to settle now; raise Refusal where it is being settled already, or its plan lets nobody ask."""
    target = target_of(terminal)
    if terminal.pk in not_by_hand([terminal.pk]):
        raise NOT_BY_HAND.again()
    opened = _request([target], actor)
    if not opened:
        raise Refusal(
            "already_settling",
            "terminal %(serial)s was asked to settle before and has not answered; if it is offline, it does so when it is back",
            serial=terminal.serial,
        )
    run = SettlementRun.objects.get(pk=opened[terminal.pk])
    audit.record(actor=actor, action="settlement.request", subject=subject_of(terminal), detail={"run": run.pk})
    return run


@transaction.atomic
def request_settlements(*, targets: Sequence[Target], actor: str) -> int:
    """Ask terminals to settle now, set-based; those that are settling already, or whose plan lets nobody ask, are left alone.
    Whoever calls it audits it."""
    barred = not_by_hand([target.terminal_id for target in targets])
    return len(_request([target for target in targets if target.terminal_id not in barred], actor))


NOT_BY_HAND = Refusal("not_by_hand", "its settlement plan does not let it be settled by hand")


def not_by_hand(terminal_ids: Sequence[int]) -> set[int]:
    """Return the terminals whose plan lets nobody ask them to settle (ISO 20022 ONDM is not among its policies)."""
    barred = SettlementSchedule.objects.filter(pk__in=id_set(terminal_ids), effective__settings__by_hand=False)
    return set(barred.values_list("pk", flat=True))


def _request(targets: Sequence[Target], actor: str) -> dict[int, int]:
    now = timezone.now()
    ids = [target.terminal_id for target in targets]
    schedules = SettlementSchedule.objects.select_related("effective__calendar").in_bulk(ids)
    return open_runs([by_hand(target, schedules.get(target.terminal_id), now) for target in targets], now, actor)


def assign_batch_number(terminal: Terminal, public_key: object) -> dict[str, Any]:
    """Tell a terminal that enrols which batch it opens: a new device must not count from 1 again into settled batches."""
    numbers = (
        Batch.objects.filter(terminal__in=predecessors(terminal)).values_list("batch_number", flat=True).distinct()
    )
    return {"batch_number": next_batch_number(numbers)}


def resume_settling(terminal_ids: Sequence[int]) -> None:
    """Terminals that are back in service settle what reached its threshold while nobody could ask them."""
    mark_over_threshold(terminal_ids, timezone.now())


# --- what becomes of them --------------------------------------------------------------------------------------------
def fail_runs(runs: QuerySet[SettlementRun], reason: Reason) -> int:
    """End open runs without a settlement; say why on their terminals' timelines. Return how many ended."""
    return _fail(runs, lambda run: reason)


def _fail(runs: QuerySet[SettlementRun], why: Callable[[SettlementRun], Reason]) -> int:
    """End the open ones of these runs, each for its reason, in three statements for any number of them."""
    locked = list(runs.filter(state__in=OPEN).order_by("pk").select_for_update(of=("self",)))
    for run in locked:
        run.state, run.finished_at = RunTransition.fail.after(run.state), timezone.now()
        run.reasons, run.retry_at = [why(run).stored()], None
    SettlementRun.objects.bulk_update(locked, ["state", "finished_at", "reasons", "retry_at"], batch_size=1000)
    note_failed(locked)
    return len(locked)


def note_failed(runs: Sequence[SettlementRun]) -> None:
    """Say of runs that ended without a settlement, and follow the money that they leave unsettled as a case."""
    record_facts((run.terminal_id, NotSettled(reasons=run.reasons)) for run in runs)
    ids = [run.terminal_id for run in runs]
    found = [
        Found(pk, None, DifferenceKind.NOT_SETTLED, currency, expected_count=count, expected_minor=net)
        for pk, stake in (stakes(ids) if ids else {}).items()
        for currency, net, count in stake.amounts
    ]
    if ids:
        note(found, of=Q(terminal__in=id_set(ids)), kinds=[DifferenceKind.NOT_SETTLED])


def fail_repeated(answered: Mapping[tuple[int, UUID], Reason]) -> None:
    """End the open runs whose command (terminal id, command id) was answered by what cannot be its settlement."""
    asked = SettlementRun.objects.filter(command__in=[command_id for _, command_id in answered], batch_number=None)
    mine = [run.pk for run in asked if (run.terminal_id, run.command_id) in answered]
    _fail(SettlementRun.objects.filter(pk__in=mine), lambda run: answered[run.terminal_id, cast(UUID, run.command_id)])


def follow_commands(outcomes: Sequence[Outcome]) -> None:
    """Move runs with their commands: started, tried again where the failure may pass, or failed."""
    started = [outcome.command_id for outcome in outcomes if not outcome.is_final]
    move(SettlementRun.objects.filter(command__in=started), RunTransition.start)
    ended = {o.command_id: o for o in outcomes if o.is_final and o.state != CommandState.SUCCEEDED}
    if not ended:
        return
    passing = {command_id: outcome for command_id, outcome in ended.items() if _may_pass(outcome)}
    waiting = _wait(passing, timezone.now()) if passing else set()
    rest = {command_id: outcome for command_id, outcome in ended.items() if command_id not in waiting}
    if rest:
        _fail(
            SettlementRun.objects.filter(command__in=rest), lambda run: failure_reason(rest[cast(UUID, run.command_id)])
        )


def _may_pass(outcome: Outcome) -> bool:
    """Whether another attempt may do better: a command that nobody answered, or a failure that the terminal calls passing."""
    if outcome.state == CommandState.EXPIRED:
        return True
    return outcome.state == CommandState.FAILED and bool(outcome.result and outcome.result.retryable)


def _wait(passing: Mapping[UUID, Outcome], now: datetime) -> set[UUID]:
    """Let runs wait for their next attempt, where their plan has one left within the window; return their commands."""
    asked = SettlementRun.objects.filter(command__in=passing, state__in=ASKED)
    runs = list(asked.order_by("pk").select_for_update(of=("self",)))
    settings = settings_of([run.terminal_id for run in runs])
    waiting = []
    for run in runs:
        mine = settings.get(run.terminal_id, DEFAULTS)
        retry_at = now + pause_before(run.attempt + 1, mine["retry_minutes"])
        if run.attempt <= mine["retries"] and run.ends_at is not None and retry_at < run.ends_at:
            run.state, run.retry_at = RunTransition.wait.after(run.state), retry_at
            run.reasons = [failure_reason(passing[cast(UUID, run.command_id)]).stored()]
            waiting.append(run)
    SettlementRun.objects.bulk_update(waiting, ["state", "retry_at", "reasons"], batch_size=1000)
    record_facts(
        (run.terminal_id, TriedAgain(run.attempt, rfc3339(cast(datetime, run.retry_at)), run.reasons))
        for run in waiting
    )
    return {cast(UUID, run.command_id) for run in waiting}


def settings_of(terminal_ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Return the settings that hold for terminals, of those that have a schedule."""
    rows = SettlementSchedule.objects.filter(pk__in=id_set(terminal_ids)).select_related("effective")
    return {schedule.pk: schedule.effective.settings for schedule in rows}


@transaction.atomic
def fail_silent_runs(now: datetime) -> int:
    """End runs whose terminal said that it settled but whose totals never came; the next cycle may try again."""
    late = SettlementRun.objects.filter(
        state__in=ASKED, requested_at__lt=now - REPORT_WITHIN, command__finished_at__lt=now - REPORT_WITHIN
    )
    return fail_runs(late, TotalsMissing())


def failed_between(now: datetime) -> tuple[datetime, datetime]:
    """Return when the runs failed whose terminals are looked at again now."""
    return now - ASK_AGAIN_AFTER - ASK_AGAIN_FOR, now - ASK_AGAIN_AFTER


@transaction.atomic
def ask_again(now: datetime) -> None:
    """Make terminals due whose last run failed a while ago and whose money still reaches the threshold.

    Looks at the runs that failed within an hour before that, so that a worker that was away misses none; one that is
    asked and fails again has a new run.
    """
    failed = SettlementRun.objects.filter(state=RunState.FAILED, finished_at__range=failed_between(now))
    later = SettlementRun.objects.filter(terminal=OuterRef("terminal"), pk__gt=OuterRef("pk"))
    waiting = list(failed.filter(~Exists(later)).values_list("terminal_id", flat=True))
    if waiting:
        mark_over_threshold(waiting, now)
