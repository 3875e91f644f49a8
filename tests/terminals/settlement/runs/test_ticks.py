"""The settlement tick: who is due is asked, once, at a cost that grows with them and not with the fleet."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from terminals.common.errors import Refusal
from terminals.estate.models import Terminal
from terminals.link.models import Command
from terminals.link.outcomes import expire_commands
from terminals.settlement.models import SettlementPlan, SettlementRun, SettlementSchedule
from terminals.settlement.plans.services import change_plan
from terminals.settlement.runs.opening import run_due_settlements
from terminals.settlement.runs.services import request_settlement
from terminals.simulator.device import Device
from tests.conftest import deliver, enrolled_device, make_plan, obey, set_schedule

Register = Callable[[str], Terminal]


@pytest.fixture
def plan(db: None) -> SettlementPlan:
    return make_plan("nightly", cycle="30 22 * * *", time_zone="Europe/Berlin", is_default=True)


def at_work(register: Register, count: int) -> list[Device]:
    devices = [enrolled_device(register(f"SN-{n:03d}")) for n in range(count)]
    deliver(*(device.hello() for device in devices))
    return devices


def change(plan: SettlementPlan, **settings: Any) -> None:
    plan.settings = {**plan.settings, **settings}
    change_plan(plan, actor="ops")


def make_due(count: int) -> None:
    ids = SettlementSchedule.objects.values_list("pk", flat=True).order_by("pk")[:count]
    SettlementSchedule.objects.filter(pk__in=list(ids)).update(next_due_at=timezone.now() - timedelta(seconds=1))


def test_a_terminal_at_work_is_under_the_default_plan_and_settles_when_due(
    register: Register, plan: SettlementPlan
) -> None:
    [device] = at_work(register, 1)
    assert run_due_settlements(timezone.now()) == 0
    make_due(1)
    assert run_due_settlements(timezone.now()) == 1
    assert run_due_settlements(timezone.now()) == 0
    assert obey(device, "settle").state == "succeeded"
    run = SettlementRun.objects.get()
    assert (run.state, run.trigger) == ("balanced", "cycle")
    due = SettlementSchedule.objects.get().next_due_at
    assert due is not None
    assert timezone.now() < due <= timezone.now() + timedelta(hours=25)


def test_a_tick_costs_the_same_for_any_number_of_due_terminals(register: Register, plan: SettlementPlan) -> None:
    at_work(register, 30)
    costs = []
    for due in (1, 25):
        SettlementRun.objects.all().delete()
        make_due(due)
        with CaptureQueriesContext(connection) as captured:
            assert run_due_settlements(timezone.now()) == due
        costs.append(len(captured))
    assert costs[0] == costs[1]
    with CaptureQueriesContext(connection) as idle:
        run_due_settlements(timezone.now())
    assert len([q for q in idle if "SAVEPOINT" not in q["sql"]]) == 1


def test_a_batch_that_reaches_its_threshold_is_settled_by_the_next_tick(
    register: Register, plan: SettlementPlan
) -> None:
    change(plan, amount_limits={"EUR": 1})
    devices = at_work(register, 2)
    devices[0].sell()
    deliver(*devices[0].upload_transactions())
    assert run_due_settlements(timezone.now()) == 1
    assert obey(devices[0], "settle").state == "succeeded"
    run = SettlementRun.objects.get()
    assert (run.terminal.serial, run.trigger, run.state) == ("SN-000", "threshold", "balanced")


def test_an_override_of_the_threshold_counts_for_its_terminal(register: Register, plan: SettlementPlan) -> None:
    change(plan, amount_limits={"EUR": 1})
    devices = at_work(register, 2)
    set_schedule(
        terminal=Terminal.objects.get(serial="SN-000"),
        plan=plan,
        actor="ops",
        amount_limits={"EUR": 10**9},
    )
    for device in devices:
        device.sell()
        deliver(*device.upload_transactions())
    assert run_due_settlements(timezone.now()) == 1
    assert SettlementRun.objects.get().terminal.serial == "SN-001"


def test_nobody_is_asked_twice_at_once(register: Register, plan: SettlementPlan) -> None:
    at_work(register, 1)
    terminal = Terminal.objects.get()
    request_settlement(terminal=terminal, actor="ops")
    with pytest.raises(Refusal, match="was asked to settle before"):
        request_settlement(terminal=terminal, actor="ops")
    make_due(1)
    assert run_due_settlements(timezone.now()) == 0
    assert (SettlementRun.objects.count(), Command.objects.filter(type="settle").count()) == (1, 1)


def test_a_suspended_terminal_is_passed_over_and_its_schedule_goes_on(register: Register, plan: SettlementPlan) -> None:
    at_work(register, 1)
    Terminal.objects.update(state="suspended")
    make_due(1)
    assert run_due_settlements(timezone.now()) == 0
    due = SettlementSchedule.objects.get().next_due_at
    assert due is not None
    assert due > timezone.now()


def test_a_command_that_expires_ends_its_run_as_failed(register: Register, plan: SettlementPlan) -> None:
    change(plan, retries=0)
    at_work(register, 1)
    request_settlement(terminal=Terminal.objects.get(), actor="ops")
    Command.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert expire_commands() == 1
    run = SettlementRun.objects.get()
    assert (run.state, Command.objects.get(type="settle").state) == ("failed", "expired")
    assert run.finished_at is not None


@pytest.mark.parametrize(("cycle", "zone"), [("61 * * * *", "UTC"), ("30 22 * * *", "Mars/Olympus")])
def test_an_unusable_schedule_is_refused_and_the_old_one_stays(
    register: Register, plan: SettlementPlan, cycle: str, zone: str
) -> None:
    at_work(register, 1)
    before = SettlementSchedule.objects.values().get()
    with pytest.raises(Refusal):
        set_schedule(terminal=Terminal.objects.get(), plan=plan, actor="ops", cycle=cycle, time_zone=zone)
    assert SettlementSchedule.objects.values().get() == before


def test_an_edit_of_the_plan_does_not_move_who_is_due_already(register: Register, plan: SettlementPlan) -> None:
    at_work(register, 2)
    make_due(1)
    change_plan(plan, actor="ops")
    assert run_due_settlements(timezone.now()) == 1
    make_due(2)
    set_schedule(terminal=Terminal.objects.get(serial="SN-001"), plan=plan, actor="ops", cycle="0 4 * * *")
    assert run_due_settlements(timezone.now()) == 1


def test_a_batch_in_another_currency_does_not_reach_the_threshold(register: Register, plan: SettlementPlan) -> None:
    change(plan, amount_limits={"JPY": 1})
    [device] = at_work(register, 1)
    device.sell()
    deliver(*device.upload_transactions())
    assert run_due_settlements(timezone.now()) == 0


def test_a_threshold_is_typed_in_major_units_with_its_currency(
    client: Client, operator: Any, plan: SettlementPlan
) -> None:
    client.force_login(operator)
    url = reverse("admin:settlement_settlementplan_change", args=[plan.pk])
    form = {"name": "nightly", "cycle": "30 22 * * *", "time_zone": "Europe/Berlin", "jitter_seconds": "0"}
    refused = client.post(url, {**form, "amount_limits": "150"})
    assert "is not an amount; write for example 150.00 EUR" in refused.content.decode()
    assert client.post(url, {**form, "amount_limits": "150 EUR; 20.50 USD"}).status_code == 302
    plan.refresh_from_db()
    assert plan.settings["amount_limits"] == {"EUR": 15_000, "USD": 20_50}
    assert "150.00 EUR" in client.get(url).content.decode()
    assert client.post(url, {**form, "amount_limits": ""}).status_code == 302
    plan.refresh_from_db()
    assert "amount_limits" not in plan.settings


def test_a_schedule_cannot_be_deleted_in_the_admin(
    client: Client, operator: Any, register: Register, plan: SettlementPlan
) -> None:
    at_work(register, 1)
    client.force_login(operator)
    schedule = SettlementSchedule.objects.get()
    url = reverse("admin:settlement_settlementschedule_delete", args=[schedule.pk])
    assert client.post(url, {"post": "yes"}).status_code == 403
    assert SettlementSchedule.objects.exists()
