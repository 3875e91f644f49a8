"""Who is due, and when: what a plan, an override, a store's clock and a crossed threshold come to."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from rest_framework.test import APIClient

from terminals.common.audit.models import AuditEntry
from terminals.estate.models import Store, Terminal
from terminals.estate.rules import TerminalTransition
from terminals.estate.services import change_state
from terminals.link.models import Command
from terminals.link.outcomes import expire_commands
from terminals.link.protocol.messages.settlement import Settlement
from terminals.settlement.models import SettlementPlan, SettlementRun, SettlementSchedule
from terminals.settlement.plans.services import change_plan
from terminals.settlement.rules import is_newer, next_batch_number
from terminals.settlement.runs.opening import run_due_settlements
from terminals.settlement.runs.services import ask_again, assign_batch_number, fail_silent_runs
from terminals.simulator.device import Device
from tests.conftest import deliver, make_plan, obey, set_schedule, sold, working_device

Register = Callable[[str], Terminal]


@pytest.fixture
def plan(db: None) -> SettlementPlan:
    """A threshold of 1.00 EUR and no cycle; what fails is not tried again within its window."""
    return make_plan("p", time_zone="UTC", is_default=True, amount_limits={"EUR": 100}, retries=0, check_network="warn")


@pytest.fixture
def device(plan: SettlementPlan, register: Register) -> Device:
    return working_device(register("SN-1"))


def change(plan: SettlementPlan, **settings: Any) -> None:
    plan.settings = {**plan.settings, **settings}
    change_plan(plan, actor="ops")


def hour_of(schedule: SettlementSchedule, zone: str) -> int:
    assert schedule.next_due_at is not None
    return schedule.next_due_at.astimezone(ZoneInfo(zone)).hour


def test_a_terminal_that_was_away_is_asked_again_while_its_money_reaches_the_threshold(device: Device) -> None:
    deliver(sold(device, 100))
    assert run_due_settlements(timezone.now()) == 1
    Command.objects.filter(type="settle").update(expires_at=timezone.now() - timedelta(seconds=1))
    expire_commands()
    now = timezone.now()
    assert SettlementRun.objects.get().state == "failed"
    ask_again(now)
    assert run_due_settlements(now) == 0, "not at once"
    later = now + timedelta(minutes=16)
    ask_again(later)
    assert run_due_settlements(later) == 1
    ask_again(later + timedelta(minutes=16))
    assert run_due_settlements(later + timedelta(minutes=16)) == 0, "it is settling"


@pytest.mark.parametrize(("minutes", "asked"), [(14, 0), (16, 1), (70, 1), (80, 0)])
def test_a_worker_that_was_away_asks_again_within_the_hour(device: Device, minutes: int, asked: int) -> None:
    deliver(sold(device, 100))
    run_due_settlements(timezone.now())
    Command.objects.filter(type="settle").update(expires_at=timezone.now() - timedelta(seconds=1))
    expire_commands()
    later = timezone.now() + timedelta(minutes=minutes)
    ask_again(later)
    assert run_due_settlements(later) == asked


def test_a_plan_that_is_made_or_edited_by_program_is_audited_once(api: APIClient) -> None:
    made = api.post("/api/v1/settlement/plans/", {"name": "p", "settings": {"cycle": "0 1 * * *"}}, format="json")
    assert made.status_code == 201
    edited = api.patch(
        f"/api/v1/settlement/plans/{made.json()['id']}/", {"settings": {"cycle": "0 2 * * *"}}, format="json"
    )
    assert edited.json()["settings"] == {"cycle": "0 2 * * *"}
    entries = AuditEntry.objects.filter(action__startswith="settlementplan.").order_by("id")
    assert list(entries.values_list("action", flat=True)) == ["settlementplan.create", "settlementplan.update"]
    detail = entries[1].detail
    assert (detail["old"], detail["new"]) == (
        {"settings": {"cycle": "0 1 * * *"}},
        {"settings": {"cycle": "0 2 * * *"}},
    )


def test_money_that_reached_the_threshold_during_a_suspension_is_asked_for_after_it(device: Device) -> None:
    terminal = Terminal.objects.get()
    change_state(terminal=terminal, transition=TerminalTransition.suspend, actor="ops")
    deliver(sold(device, 100))
    assert run_due_settlements(timezone.now()) == 0
    change_state(terminal=terminal, transition=TerminalTransition.resume, actor="ops")
    assert run_due_settlements(timezone.now()) == 1


@pytest.mark.parametrize("how", ["plan", "schedule"])
def test_a_threshold_that_is_lowered_below_what_is_open_counts_at_once(
    device: Device, plan: SettlementPlan, how: str
) -> None:
    deliver(sold(device, 99))
    assert run_due_settlements(timezone.now()) == 0
    if how == "plan":
        change(plan, amount_limits={"EUR": 50})
    else:
        set_schedule(terminal=Terminal.objects.get(), plan=plan, actor="ops", amount_limits={"EUR": 50})
    assert run_due_settlements(timezone.now()) == 1


def test_a_plan_that_is_not_enabled_settles_nobody_not_even_who_is_due(device: Device, plan: SettlementPlan) -> None:
    deliver(sold(device, 100))
    change(plan, enabled=False)
    assert run_due_settlements(timezone.now()) == 0
    deliver(sold(device, 100))
    assert run_due_settlements(timezone.now()) == 0
    change(plan, enabled=False, cycle="0 1 * * *")
    assert SettlementSchedule.objects.get().next_due_at is None


def test_a_plan_without_a_zone_goes_by_each_stores_clock(
    device: Device, plan: SettlementPlan, api: APIClient, staff: Client
) -> None:
    store = Store.objects.get()
    change(plan, time_zone="", cycle="30 22 * * *")
    assert hour_of(SettlementSchedule.objects.get(), "UTC") == 22
    assert api.patch(f"/api/v1/stores/{store.pk}/", {"time_zone": "Asia/Shanghai"}).status_code == 200
    assert hour_of(SettlementSchedule.objects.get(), "Asia/Shanghai") == 22
    form = {"merchant": store.merchant_id, "name": store.name, "city": "", "time_zone": "America/Lima"}
    assert staff.post(reverse("admin:terminals_store_change", args=[store.pk]), form).status_code == 302
    assert hour_of(SettlementSchedule.objects.get(), "America/Lima") == 22
    set_schedule(terminal=Terminal.objects.get(), plan=plan, actor="ops", time_zone="Asia/Tokyo")
    assert hour_of(SettlementSchedule.objects.get(), "Asia/Tokyo") == 22


def test_after_a_threshold_the_cycle_counts_again(device: Device, plan: SettlementPlan) -> None:
    change(plan, cycle="0 1 * * *")
    deliver(sold(device, 100))
    assert SettlementSchedule.objects.get().due_reason == "threshold"
    assert run_due_settlements(timezone.now()) == 1
    schedule = SettlementSchedule.objects.get()
    assert (schedule.due_reason, hour_of(schedule, "UTC")) == ("cycle", 1)


def test_an_edited_cycle_and_jitter_move_those_who_are_not_due(device: Device, plan: SettlementPlan) -> None:
    change(plan, cycle="0 1 * * *")
    before = SettlementSchedule.objects.get()
    change(plan, cycle="0 5 * * *", jitter_seconds=3600)
    after = SettlementSchedule.objects.get()
    assert (hour_of(before, "UTC"), hour_of(after, "UTC")) == (1, 5)
    assert after.next_due_at is not None
    assert after.next_due_at.minute or after.next_due_at.second, "it has its own part of the hour"


def test_totals_that_never_come_end_a_run_after_a_day(device: Device) -> None:
    deliver(sold(device, 100))
    run_due_settlements(timezone.now())
    answers = obey(device, "settle")
    SettlementRun.objects.update(state="settling", finished_at=None, batch_number=None)
    with time_machine.travel(timezone.now() + timedelta(hours=23)):
        assert fail_silent_runs(timezone.now()) == 0
    with time_machine.travel(timezone.now() + timedelta(hours=25)):
        assert fail_silent_runs(timezone.now()) == 1
    assert answers.finished_at is not None
    assert SettlementRun.objects.get().reason == "the terminal's totals did not arrive"


@pytest.mark.parametrize(
    ("one", "other", "newer"),
    [(2, 1, True), (1, 2, False), (1, 1, False), (1, 999_999, True), (999_999, 1, False), (999_999, 999_998, True)],
)
def test_which_batch_is_newer_follows_the_numbers_and_their_wrap(one: int, other: int, newer: bool) -> None:
    assert is_newer(one, other) is newer


@pytest.mark.parametrize(
    ("numbers", "following"), [([], 1), ([3, 1, 2], 4), ([999_998, 999_999, 1], 2), ([999_999], 1), ([7, 7], 8)]
)
def test_a_new_device_opens_the_batch_after_the_newest(numbers: list[int], following: int) -> None:
    assert next_batch_number(numbers) == following


def test_a_late_sale_of_an_old_batch_does_not_make_it_the_newest(device: Device) -> None:
    terminal = Terminal.objects.get()
    for number in (1, 2):
        deliver(device.report("settlement", Settlement(number, device.now(), "EUR", [])))
    deliver(sold(device, 5, "CHF", batch_number=1))
    assert assign_batch_number(terminal, None) == {"batch_number": 3}
    deliver(sold(device, 100, batch_number=3), sold(device, 5, "CHF", batch_number=2))
    assert run_due_settlements(timezone.now()) == 1, "batch 3 is the newest and has reached its threshold"


def test_an_empty_settled_batch_that_arrives_with_the_next_ones_sales_does_not_hide_them(device: Device) -> None:
    deliver(device.report("settlement", Settlement(1, device.now(), "EUR", [])), sold(device, 150, batch_number=2))
    assert run_due_settlements(timezone.now()) == 1


def test_when_a_batch_was_closed_is_kept_besides_when_we_heard_of_it(device: Device) -> None:
    closed_at = datetime(2026, 11, 1, 22, 30, tzinfo=UTC)
    deliver(device.report("settlement", Settlement(1, closed_at, "EUR", [])))
    run = SettlementRun.objects.get()
    assert run.closed_at == closed_at
    assert run.finished_at is not None
    assert run.finished_at > closed_at


def test_a_terminal_that_settled_by_itself_before_it_was_asked_is_not_asked_for_an_empty_batch(device: Device) -> None:
    deliver(sold(device, 100))
    assert SettlementSchedule.objects.get().next_due_at is not None
    deliver(device.report("settlement", Settlement(1, device.now(), "EUR", [])), sold(device, 5, batch_number=2))
    assert run_due_settlements(timezone.now()) == 0
    assert SettlementRun.objects.get().trigger == "terminal"
    deliver(sold(device, 100, batch_number=2))
    assert run_due_settlements(timezone.now()) == 1


def test_a_cycle_that_passed_while_a_served_threshold_waited_still_counts(device: Device, plan: SettlementPlan) -> None:
    change(plan, cycle="0 23 * * *", time_zone="UTC")
    with time_machine.travel(datetime(2026, 11, 24, 9, tzinfo=UTC), tick=False):
        deliver(sold(device, 100))
        deliver(device.report("settlement", Settlement(1, device.now(), "EUR", [])))
        deliver(sold(device, 5, batch_number=2))
    for minute in (5, 6):
        run_due_settlements(datetime(2026, 11, 24, 23, minute, tzinfo=UTC))
    assert list(SettlementRun.objects.order_by("id").values_list("trigger", flat=True)) == ["terminal", "cycle"]
