"""What stands in the way of settlements: seen ahead of them, and looked at again until it clears or their window ends."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction

from terminals.common.facts.services import record_facts
from terminals.common.sql import id_set
from terminals.estate.rules import COMMANDED_STATES
from terminals.estate.services import hold
from terminals.link.services import Target
from terminals.settlement.plans.models import SettlementSchedule
from terminals.settlement.readiness import READY, Found, look_at
from terminals.settlement.runs.facts import Blocked, Cleared
from terminals.settlement.runs.models import SettlementRun
from terminals.settlement.runs.opening import CHUNK, DEFAULTS, LOOK_AGAIN_AFTER, Occasion, ask
from terminals.settlement.runs.rules import RunState, RunTransition
from terminals.settlement.runs.services import note_failed, settings_of

CHECK_AGAIN_AFTER = timedelta(minutes=1)


def check_ahead(now: datetime) -> int:
    """Look at terminals that settle soon; say of those that are not ready, and look at them again each minute until they are due.
    Return how many were looked at."""
    looked_at = 0
    while count := _check_chunk(now):
        looked_at += count
        if count < CHUNK:
            break
    return looked_at


@transaction.atomic
def _check_chunk(now: datetime) -> int:
    near = SettlementSchedule.objects.filter(check_at__lte=now).order_by("check_at").select_related("effective")
    rows = list(near.select_for_update(of=("self",), skip_locked=True)[:CHUNK])
    if not rows:
        return 0
    found = look_at({row.pk: row.effective.settings for row in rows if row.effective.settings["enabled"]})
    _tell(rows, found)
    for row in rows:
        row.is_blocked, row.problems = found.get(row.pk, READY)
        still = row.next_due_at is not None and now + CHECK_AGAIN_AFTER < row.next_due_at
        row.check_at = now + CHECK_AGAIN_AFTER if row.is_blocked and still else None
    SettlementSchedule.objects.bulk_update(rows, ["is_blocked", "problems", "check_at"], batch_size=500)
    return len(rows)


def _tell(rows: Sequence[SettlementSchedule], found: dict[int, Found]) -> None:
    blocked = [row for row in rows if found.get(row.pk, READY).is_blocked]
    record_facts((row.pk, Blocked(ahead=True, reasons=found[row.pk].problems)) for row in blocked if not row.is_blocked)
    record_facts((row.pk, Cleared()) for row in rows if row.is_blocked and not found.get(row.pk, READY).is_blocked)


def look_again(now: datetime) -> int:
    """Ask the terminals of runs that waited: for their next attempt, or for what blocked them to clear. Those whose
    window is over fail. Return how many were looked at."""
    looked_at = 0
    while count := _look_chunk(now):
        looked_at += count
        if count < CHUNK:
            break
    return looked_at


@transaction.atomic
def _look_chunk(now: datetime) -> int:
    due = SettlementRun.objects.filter(retry_at__lte=now)
    chosen = list(due.order_by("retry_at").values_list("terminal_id", flat=True)[:CHUNK])
    if not chosen:
        return 0
    held = hold(chosen)
    runs = list(
        due.filter(terminal__in=id_set(chosen)).order_by("pk").select_for_update(of=("self",), skip_locked=True)
    )
    settings = settings_of([run.terminal_id for run in runs])
    over = [run for run in runs if _is_over(run, now)]
    rest = [run for run in runs if not _is_over(run, now) and held[run.terminal_id].state in COMMANDED_STATES]
    found = look_at({run.terminal_id: settings.get(run.terminal_id, DEFAULTS) for run in rest})
    ready = {run.terminal_id: run for run in rest if not found.get(run.terminal_id, READY).is_blocked}
    occasions = [
        Occasion(
            Target(pk, held[pk].device_id),
            "operator" if run.trigger == "terminal" else run.trigger,
            settings.get(pk, DEFAULTS),
            run.business_day or now.date(),
            run.ends_at or now,
        )
        for pk, run in ready.items()
    ]
    commands = ask(occasions, now, "settlement plan")
    newly = [run for run in rest if run.terminal_id not in ready and run.state != RunState.BLOCKED]
    for run in runs:
        _move(
            run,
            now,
            over=_is_over(run, now),
            command_id=commands.get(run.terminal_id),
            found=found.get(run.terminal_id, READY),
        )
    columns = ["state", "retry_at", "command", "attempt", "problems", "reasons", "finished_at", "requested_at"]
    SettlementRun.objects.bulk_update(runs, columns, batch_size=500)
    record_facts((run.terminal_id, Blocked(ahead=False, reasons=run.problems)) for run in newly)
    note_failed(over)
    return len(runs)


def _is_over(run: SettlementRun, now: datetime) -> bool:
    return run.ends_at is None or run.ends_at <= now


def _move(run: SettlementRun, now: datetime, *, over: bool, command_id: UUID | None, found: Found) -> None:
    """Move one run that was looked at: ended, asked once more, or to be looked at again."""
    if over:
        run.state, run.retry_at, run.finished_at = RunTransition.fail.after(run.state), None, now
        run.reasons = run.reasons or run.problems
        return
    run.problems = found.problems
    if command_id is not None:
        run.attempt += run.state == RunState.WAITING
        run.state, run.retry_at, run.requested_at = RunTransition.ask.after(run.state), None, now
        run.command_id, run.reasons = command_id, []
        return
    if found.is_blocked and run.state == RunState.WAITING:
        run.state = RunTransition.block.after(run.state)
    run.retry_at = now + LOOK_AGAIN_AFTER
