"""What stands in the way of a settlement: seen ahead, held back, and let go as soon as it clears."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from firmware.models import Installation, InstalledSoftware, Package
from firmware.readiness import outdated
from terminals.campaigns.models import Member
from terminals.common.facts.kinds import reasons_text
from terminals.common.facts.models import Fact
from terminals.estate.models import Merchant, Terminal
from terminals.health.models import HealthState
from terminals.keys.models import KeyRequirement, TerminalKey
from terminals.link.models import Command, DeviceSession
from terminals.link.services import new_id
from terminals.settlement.accounts.services import approve, propose
from terminals.settlement.models import SettlementAccount, SettlementPlan, SettlementRun, SettlementSchedule
from terminals.settlement.plans.rules import CHECKS, complete
from terminals.settlement.plans.services import change_plan
from terminals.settlement.readiness import look_at
from terminals.settlement.runs.opening import run_due_settlements
from terminals.settlement.runs.services import request_settlement
from terminals.settlement.runs.waiting import check_ahead, look_again
from terminals.simulator.device import Device
from tests.conftest import deliver, make_plan, obey, working_device
from tests.releases import keep_at, row

Register = Callable[[str], Terminal]
IBAN = "DE89370400440532013000"


@pytest.fixture
def plan(db: None) -> SettlementPlan:
    return make_plan("nightly", cycle="30 22 * * *", is_default=True, check_printer="block", window_minutes=60)


@pytest.fixture
def device(plan: SettlementPlan, register: Register) -> Device:
    device = working_device(register("SN-1"))
    deliver(device.health())
    return device


def make_due() -> None:
    SettlementSchedule.objects.update(next_due_at=timezone.now() - timedelta(seconds=1))


def no_paper(device: Device, left: int = 0) -> None:
    device.memory.paper = left
    deliver(device.health())


def break_everything(terminal: Terminal) -> None:
    """Let each check find something."""
    DeviceSession.objects.update(online=False)
    HealthState.objects.update(printer="fault", screen="fault", keypad="absent")
    HealthState.objects.update(sent_at=timezone.now() + timedelta(minutes=12))
    package = Package.objects.create(name="pay", component="payment")
    release = row(package)
    Installation.objects.create(terminal=terminal, release=release, state="installing", assigned_by="ops")
    keep_at(release)
    Member.objects.update(ordered_at=timezone.now())
    KeyRequirement.objects.create(model=terminal.model, usage="D0")


def test_each_check_names_what_it_finds_and_nothing_is_found_of_a_ready_one(device: Device) -> None:
    terminal = Terminal.objects.get()
    everything = complete({f"check_{name}": "block" for name in CHECKS})
    approve(account=propose(merchant=Merchant.objects.get(), holder="B", number=IBAN, actor="ann"), actor="bob")
    assert look_at({terminal.pk: everything}) == {}
    SettlementAccount.objects.all().delete()
    break_everything(terminal)
    found = look_at({terminal.pk: everything})[terminal.pk]
    assert found.is_blocked
    assert [one["check"] for one in found.problems] == list(CHECKS)
    told = reasons_text(found.problems)
    assert told.startswith("it is offline, last heard at ")
    assert told.split(" UTC; ")[1] == (
        "screen: fault; printer: fault; keypad: absent; the payment software is 1.0.0, it should be 2.0.0; no settlement "
        "account of its merchant is on file; pay 2.0.0 is being installed; its clock is 12 minutes fast; it lacks a key: D0"
    )


def test_what_only_warns_is_told_and_what_is_ignored_is_not_asked(device: Device) -> None:
    terminal = Terminal.objects.get()
    break_everything(terminal)
    ignored = {f"check_{name}": "ignore" for name in CHECKS}
    with CaptureQueriesContext(connection) as captured:
        assert look_at({terminal.pk: complete(ignored)}) == {}
    assert len(captured) == 0
    [problem] = look_at({terminal.pk: complete({**ignored, "check_printer": "warn"})})[terminal.pk].problems
    assert (problem["check"], problem["severity"]) == ("printer", "warn")


def test_readiness_costs_the_same_for_any_number(register: Register, plan: SettlementPlan) -> None:
    for n in range(12):
        deliver(working_device(register(f"SN-{n}")).health())
    HealthState.objects.update(printer="fault")
    ids = list(Terminal.objects.values_list("pk", flat=True))
    costs = []
    for some in (ids[:1], ids):
        with CaptureQueriesContext(connection) as captured:
            assert len(look_at(dict.fromkeys(some, complete({})))) == len(some)
        costs.append(len(captured))
    assert costs[0] == costs[1]


def test_a_blocked_settlement_goes_off_by_itself_when_it_clears(device: Device) -> None:
    no_paper(device)
    make_due()
    assert run_due_settlements(timezone.now()) == 1
    run = SettlementRun.objects.get()
    assert (run.state, run.command, run.reason) == ("blocked", None, reasons_text(run.problems))
    assert "printer: out of paper" in run.reason
    assert (
        "settlement BLOCKED: " in Fact.objects.get(kind="settlement.blocked").body["reasons"][0]["kind"] or run.problems
    )
    soon = timezone.now() + timedelta(minutes=1)
    assert look_again(soon) == 1
    assert SettlementRun.objects.get().state == "blocked"
    no_paper(device, left=50)
    assert look_again(soon + timedelta(minutes=1)) == 1
    assert obey(device, "settle").state == "succeeded"
    run.refresh_from_db()
    assert (run.state, run.trigger, run.attempt, run.retry_at) == ("balanced", "cycle", 1, None)


def test_what_does_not_clear_within_the_window_fails_with_its_reason(device: Device) -> None:
    no_paper(device)
    make_due()
    run_due_settlements(timezone.now())
    assert look_again(timezone.now() + timedelta(minutes=61)) == 1
    run = SettlementRun.objects.get()
    assert (run.state, run.retry_at) == ("failed", None)
    assert "printer: out of paper" in run.reason
    assert not Command.objects.filter(type="settle").exists()
    assert Fact.objects.filter(kind="settlement.not_settled").count() == 1


def test_a_blocked_settlement_is_seen_ahead_and_its_clearing_is_told(device: Device) -> None:
    no_paper(device)
    due = timezone.now() + timedelta(minutes=20)
    SettlementSchedule.objects.update(next_due_at=due, check_at=due - timedelta(minutes=30))
    assert check_ahead(timezone.now()) == 1
    schedule = SettlementSchedule.objects.get()
    assert schedule.is_blocked
    assert "printer: out of paper" in reasons_text(schedule.problems)
    assert check_ahead(timezone.now()) == 0, "not again within the minute"
    assert check_ahead(timezone.now() + timedelta(minutes=2)) == 1
    assert [fact.body["ahead"] for fact in Fact.objects.filter(kind="settlement.blocked")] == [True], "told once"
    no_paper(device, left=50)
    check_ahead(timezone.now() + timedelta(minutes=4))
    schedule.refresh_from_db()
    assert (schedule.is_blocked, schedule.check_at) == (False, None)
    assert Fact.objects.filter(kind="settlement.cleared").count() == 1


def test_an_idle_look_costs_one_statement_each(device: Device) -> None:
    SettlementSchedule.objects.update(check_at=timezone.now() + timedelta(hours=1))
    for look in (look_again, check_ahead):
        with CaptureQueriesContext(connection) as captured:
            assert look(timezone.now()) == 0
        assert len([query for query in captured if "SAVEPOINT" not in query["sql"]]) == 1


def test_who_asks_by_hand_is_told_that_it_is_blocked(device: Device, staff: Any) -> None:
    no_paper(device)
    run = request_settlement(terminal=Terminal.objects.get(), actor="ops")
    assert (run.state, run.trigger) == ("blocked", "operator")
    SettlementRun.objects.all().delete()
    page = staff.post(f"/admin/terminals/{Terminal.objects.get().pk}/action/", {"action": "settle"}, follow=True)
    assert "It is not ready: " in page.content.decode()
    assert "It settles as soon as that clears" in page.content.decode()


def test_a_terminal_that_is_offline_settles_when_it_is_back(device: Device) -> None:
    DeviceSession.objects.update(online=False)
    make_due()
    run_due_settlements(timezone.now())
    assert SettlementRun.objects.get().state == "blocked"
    deliver(device.hello())
    look_again(timezone.now() + timedelta(minutes=1))
    assert obey(device, "settle").state == "succeeded"
    assert SettlementRun.objects.get().state == "balanced"


def test_a_suspended_one_that_is_blocked_is_not_asked(device: Device, plan: SettlementPlan) -> None:
    no_paper(device)
    make_due()
    run_due_settlements(timezone.now())
    no_paper(device, left=50)
    Terminal.objects.update(state="suspended")
    look_again(timezone.now() + timedelta(minutes=1))
    assert SettlementRun.objects.get().state == "blocked"
    assert not Command.objects.filter(type="settle").exists()


def test_a_plan_without_a_look_ahead_looks_at_nobody(device: Device, plan: SettlementPlan) -> None:
    plan.settings = {**plan.settings, "warn_minutes": 0}
    change_plan(plan, actor="ops")
    assert SettlementSchedule.objects.get().check_at is None


def test_a_key_of_another_state_is_no_key(device: Device) -> None:
    terminal = Terminal.objects.get()
    KeyRequirement.objects.create(model=terminal.model, usage="P0")
    only_keys = {f"check_{name}": "ignore" for name in CHECKS} | {"check_key": "block"}
    assert look_at({terminal.pk: complete(only_keys)})[terminal.pk].is_blocked
    key: dict[str, Any] = {"terminal": terminal, "usage": "P0", "algorithm": "A", "sealed_key": b"x", "kcv": "000000"}
    TerminalKey.objects.create(id=new_id(), state="mismatch", **key)
    assert look_at({terminal.pk: complete(only_keys)})[terminal.pk].is_blocked
    TerminalKey.objects.create(id=new_id(), state="confirmed", **key)
    assert look_at({terminal.pk: complete(only_keys)}) == {}


def test_a_newer_version_than_a_campaign_keeps_is_not_called_outdated(device: Device) -> None:
    package = Package.objects.create(name="pay", component="payment")
    terminal = Terminal.objects.get()
    keep_at(row(package))
    for version, told in (("1.9.0", True), ("2.0.0", False), ("2.0.1", False), ("?", True)):
        InstalledSoftware.objects.filter(component="payment").update(version=version)
        assert bool(outdated([terminal.pk])) is told, version
