"""Batches over a terminal's life: what a new device may not undo, and what a lost one leaves behind."""

from collections.abc import Callable

from django.utils import timezone

from terminals.models import Terminal, TimelineEntry
from terminals.settlement.models import Batch, SettlementPlan, SettlementRun
from terminals.settlement.services import request_settlement, run_due_settlements
from terminals.simulator.device import Device
from tests.conftest import deliver, enrolled_device, obey

Register = Callable[[str], Terminal]


def sell_and_settle(device: Device) -> None:
    device.memory.paper = 100
    device.sell()
    request_settlement(terminal=Terminal.objects.get(serial=device.memory.serial), actor="ops")
    obey(device, "settle")


def test_a_device_that_takes_anothers_place_goes_on_with_the_next_batch(register: Register) -> None:
    terminal = register("SN-1")
    first = enrolled_device(terminal)
    deliver(first.hello())
    sell_and_settle(first)
    sell_and_settle(first)
    second = enrolled_device(terminal)
    assert second.memory.batch_number == 3
    deliver(second.hello())
    sell_and_settle(second)
    assert list(SettlementRun.objects.order_by("batch_number").values_list("batch_number", "state")) == [
        (1, "balanced"),
        (2, "balanced"),
        (3, "balanced"),
    ]


def test_a_batch_that_a_lost_device_left_open_does_not_ask_for_settlement_for_ever(register: Register) -> None:
    SettlementPlan.objects.create(name="by amount", threshold_minor=1, time_zone="UTC", is_default=True)
    terminal = register("SN-1")
    lost = enrolled_device(terminal)
    deliver(lost.hello())
    lost.sell()
    deliver(*lost.upload_transactions())
    second = enrolled_device(terminal)
    deliver(second.hello())
    assert run_due_settlements(timezone.now()) == 1
    obey(second, "settle")
    assert list(Batch.objects.order_by("batch_number").values_list("batch_number", "closed")) == [(1, False), (2, True)]
    SettlementPlan.objects.update(threshold_minor=10**9)
    second.memory.paper = 100
    second.sell()
    deliver(*second.upload_transactions())
    assert run_due_settlements(timezone.now()) == 0


def test_a_second_report_of_a_settled_batch_changes_nothing_and_is_seen(register: Register) -> None:
    device = enrolled_device(register("SN-1"))
    deliver(device.hello())
    sell_and_settle(device)
    before = SettlementRun.objects.values().get()
    device.memory.batch_number = 1
    sell_and_settle(device)
    first = SettlementRun.objects.get(batch_number=1)
    assert first.reported_minor == before["reported_minor"]
    assert TimelineEntry.objects.filter(text__contains="the first report stands").exists()
