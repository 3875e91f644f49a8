"""One settlement for each occasion, however many attempts, ticks and outages it takes."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import IntegrityError
from django.utils import timezone

from terminals.common.errors import Refusal
from terminals.common.facts.kinds import text_of
from terminals.common.facts.models import Fact
from terminals.estate.models import Terminal
from terminals.link.models import Command
from terminals.link.outcomes import expire_commands
from terminals.link.protocol.messages.link import Result
from terminals.link.protocol.messages.settlement import Settlement
from terminals.settlement.models import SettlementRun, SettlementSchedule
from terminals.settlement.plans.services import ensure_schedules
from terminals.settlement.runs.opening import run_due_settlements
from terminals.settlement.runs.rules import pause_before
from terminals.settlement.runs.services import request_settlement
from terminals.settlement.runs.waiting import look_again
from terminals.simulator.device import Device
from tests.conftest import deliver, make_plan, obey, sold, working_device

Register = Callable[[str], Terminal]
PLAN: dict[str, Any] = {"cycle": "30 22 * * *", "time_zone": "UTC", "check_network": "ignore", "window_minutes": 120}


def a_device(register: Register, **settings: Any) -> Device:
    make_plan("nightly", is_default=True, **{**PLAN, **settings})
    return working_device(register("SN-1"))


def due(hours_ago: float = 0) -> datetime:
    """Let the schedule be due since so many hours; return the cycle's instant."""
    at = timezone.now() - timedelta(hours=hours_ago, seconds=1)
    SettlementSchedule.objects.update(next_due_at=at, cycle_at=at)
    return at


def expire() -> None:
    Command.objects.filter(type="settle").update(expires_at=timezone.now() - timedelta(seconds=1))
    expire_commands()


@pytest.mark.parametrize(("attempt", "minutes"), [(2, 5), (3, 10), (4, 20), (5, 40), (20, 5 * 64)])
def test_each_pause_is_twice_the_one_before_up_to_a_limit(attempt: int, minutes: int) -> None:
    assert pause_before(attempt, 5) == timedelta(minutes=minutes)


def test_an_attempt_that_expires_is_followed_by_another_and_settles_once(register: Register) -> None:
    device = a_device(register)
    due()
    run_due_settlements(timezone.now())
    expire()
    run = SettlementRun.objects.get()
    assert (run.state, run.attempt) == ("waiting", 1)
    assert run.retry_at is not None
    assert look_again(run.retry_at - timedelta(seconds=1)) == 0
    assert look_again(run.retry_at + timedelta(seconds=1)) == 1
    assert obey(device, "settle").state == "succeeded"
    run.refresh_from_db()
    assert (run.state, run.attempt, run.reasons) == ("balanced", 2, [])
    told = Fact.objects.get(kind="settlement.tried_again")
    assert text_of(told.kind, told.body).startswith("settlement attempt 1 failed: expired; the next one is at ")


def test_a_failure_that_may_pass_is_tried_again_and_a_final_one_is_not(register: Register) -> None:
    device = a_device(register)
    for retryable, state in ((True, "waiting"), (False, "failed")):
        SettlementRun.objects.all().delete()
        request_settlement(terminal=Terminal.objects.get(), actor="ops")
        command = Command.objects.filter(type="settle").latest("id")
        deliver(device.answer(Result(command.pk, "failed", code="host_down", retryable=retryable)))
        assert SettlementRun.objects.get().state == state


def test_retries_end_with_their_number_and_with_the_window(register: Register) -> None:
    a_device(register, retries=2, retry_minutes=30)
    due()
    run_due_settlements(timezone.now())
    for attempt, state in ((1, "waiting"), (2, "waiting"), (3, "failed")):
        run = SettlementRun.objects.get()
        assert run.attempt == attempt
        expire()
        run.refresh_from_db()
        assert run.state == (state if attempt != 2 else run.state)
        if run.retry_at:
            look_again(run.retry_at + timedelta(seconds=1))
    assert run.state == "failed"
    assert SettlementRun.objects.count() == 1


def test_the_answer_to_an_earlier_attempt_settles_the_run_and_ends_the_next_one(register: Register) -> None:
    device = a_device(register)
    deliver(sold(device, 100))
    due()
    run_due_settlements(timezone.now())
    first = Command.objects.get(type="settle")
    expire()
    run = SettlementRun.objects.get()
    assert run.retry_at is not None
    look_again(run.retry_at + timedelta(seconds=1))
    deliver(device.report("settlement", Settlement(1, device.now(), "EUR", [], command_id=first.pk)))
    run.refresh_from_db()
    assert (run.state, run.batch_number) == ("unbalanced", 1)
    assert SettlementRun.objects.count() == 1
    assert Command.objects.filter(type="settle").latest("id").state == "cancelled", "it would settle an empty batch"


def test_a_cycle_that_meets_an_open_run_is_served_by_it(register: Register) -> None:
    a_device(register)
    run = request_settlement(terminal=Terminal.objects.get(), actor="ops")
    at = due()
    assert run_due_settlements(timezone.now()) == 0
    run.refresh_from_db()
    assert (run.trigger, run.due_at) == ("operator", at)
    SettlementSchedule.objects.update(next_due_at=at, cycle_at=at)
    SettlementRun.objects.update(state="balanced")
    assert run_due_settlements(timezone.now()) == 0, "this instant has had its settlement"


def test_the_database_holds_one_run_for_an_instant_of_a_cycle(register: Register) -> None:
    a_device(register)
    said = {"terminal": Terminal.objects.get(), "trigger": "cycle", "state": "balanced", "due_at": timezone.now()}
    SettlementRun.objects.create(requested_at=timezone.now(), **said)
    with pytest.raises(IntegrityError):
        SettlementRun.objects.create(requested_at=timezone.now(), **said)


@pytest.mark.parametrize(
    ("policy", "hours", "state", "told"),
    [
        ("catch_up", 1.5, "requested", False),  # an outage of 90 minutes is within the window
        ("skip", 1.5, "requested", False),
        ("catch_up", 3, "requested", True),
        ("skip", 3, None, True),
        ("alarm", 3, "failed", True),
    ],
)
def test_what_was_missed_is_caught_up_once_skipped_or_told(
    register: Register, policy: str, hours: float, state: str | None, told: bool
) -> None:
    a_device(register, when_missed=policy)
    at = due(hours)
    run_due_settlements(timezone.now())
    run_due_settlements(timezone.now())
    runs = SettlementRun.objects.all()
    assert [run.state for run in runs] == ([state] if state else [])
    assert Fact.objects.filter(kind="settlement.missed").count() == told
    if state == "failed":
        assert runs[0].reason.endswith("could not be done within its window")
    if state == "requested":
        assert (runs[0].due_at, runs[0].business_day) == (at, at.date())
    schedule = SettlementSchedule.objects.get()
    assert schedule.next_due_at is not None
    assert schedule.next_due_at > timezone.now()


def test_a_number_of_transactions_makes_a_terminal_due(register: Register) -> None:
    device = a_device(register, cycle="", count_limit=3)
    deliver(sold(device, 100), sold(device, 5, "AUD"))
    assert run_due_settlements(timezone.now()) == 0
    deliver(sold(device, 100))
    assert run_due_settlements(timezone.now()) == 1
    assert SettlementRun.objects.get().trigger == "count"


def test_a_plan_that_lets_nobody_ask_refuses_who_does(register: Register) -> None:
    a_device(register, by_hand=False)
    with pytest.raises(Refusal, match="does not let it be settled by hand"):
        request_settlement(terminal=Terminal.objects.get(), actor="ops")
    assert not SettlementRun.objects.exists()


def test_two_beats_over_a_month_with_an_outage_settle_every_night_once(register: Register) -> None:
    """Over the autumn's change of the clock, with holidays, at two different paces, and a night on which both were away."""
    make_plan(
        "nightly", is_default=True, **{**PLAN, "time_zone": "Europe/Berlin", "jitter_seconds": 900, "warn_minutes": 0}
    )
    terminals = [register(f"SN-{n}") for n in range(3)]
    Terminal.objects.update(state="active")
    start = datetime(2026, 10, 10, 12, tzinfo=UTC)
    with time_machine.travel(start, tick=False):
        ensure_schedules([terminal.pk for terminal in terminals], start)
    away = (datetime(2026, 10, 24, 20, tzinfo=UTC), datetime(2026, 10, 24, 21, 30, tzinfo=UTC))  # 90 minutes
    for step in range(30 * 24 * 4):
        now = start + timedelta(minutes=15 * step)
        if away[0] <= now <= away[1]:
            continue
        for beat in (now, now + timedelta(seconds=7)):
            if SettlementSchedule.objects.filter(next_due_at__lte=beat).exists():
                run_due_settlements(beat)
                SettlementRun.objects.filter(state="requested").update(state="balanced")
    days = sorted(SettlementRun.objects.values_list("terminal__serial", "business_day"))
    first = datetime(2026, 10, 10, tzinfo=UTC).date()
    expected = [(f"SN-{n}", first + timedelta(days=day)) for n in range(3) for day in range(30)]
    assert days == expected
