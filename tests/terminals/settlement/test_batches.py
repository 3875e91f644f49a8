"""Batches over a terminal's life: what a new device may not undo, and what a lost one leaves behind."""

from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives import serialization
from django.utils import timezone

from terminals.common.audit.models import AuditEntry
from terminals.common.facts.models import Fact
from terminals.estate.models import Terminal
from terminals.estate.services import transition
from terminals.link.models import Command
from terminals.link.protocol.messages.link import Result
from terminals.link.protocol.messages.settlement import Settlement, TransactionRecord, Transactions
from terminals.link.services import new_id
from terminals.settlement.facts import TerminalRetired
from terminals.settlement.models import Batch, SettlementPlan, SettlementRun, Transaction
from terminals.settlement.services import fail_runs, request_settlement, run_due_settlements
from terminals.simulator.books import batch_totals
from terminals.simulator.device import Device, Outgoing
from terminals.simulator.enrol import sign_pending_anew
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
    SettlementPlan.objects.create(
        name="by amount", threshold_minor=1, threshold_currency="EUR", time_zone="UTC", is_default=True
    )
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
    assert Fact.objects.get(kind="settlement.reported_again").body == {"batch_number": 1}
    asked = SettlementRun.objects.latest("id")
    assert (asked.state, asked.reason) == (
        "failed",
        "the terminal answered with batch 000001, which was settled before",
    )


def test_of_two_reports_of_a_batch_in_one_go_the_first_stands(register: Register) -> None:
    device = enrolled_device(register("SN-1"))
    deliver(device.hello())
    device.sell()
    sold = device.memory.batch[0].amount_minor
    deliver(*device.upload_transactions())
    first = Settlement(1, device.now(), "EUR", batch_totals(device.memory.batch))
    deliver(
        device._critical("settlement", first), device._critical("settlement", Settlement(1, device.now(), "EUR", []))
    )
    run = SettlementRun.objects.get()
    assert (run.state, run.reported_minor) == ("balanced", sold)


def test_money_in_another_currency_does_not_balance(register: Register) -> None:
    device = enrolled_device(register("SN-1"))
    deliver(device.hello())
    device.sell()
    deliver(*device.upload_transactions())
    totals = batch_totals(device.memory.batch)
    deliver(device._critical("settlement", Settlement(1, device.now(), "JPY", totals)))
    run = SettlementRun.objects.get()
    assert (run.state, run.reason) == ("unbalanced", "it has transactions in EUR")


def test_events_that_were_pending_when_a_terminal_enrolled_again_are_not_lost(register: Register) -> None:
    terminal = register("SN-1")
    device = enrolled_device(terminal)
    deliver(device.hello())
    device.sell()
    [event] = device.upload_transactions()
    again = enrolled_device(terminal)
    again.memory.pending = device.memory.pending
    private_key: Any = serialization.load_pem_private_key(again.memory.private_key_pem.encode(), None)
    sign_pending_anew(again.memory, private_key)
    assert deliver(event).dead == 1
    assert deliver(*again.pending_events()).fresh == 1
    assert Transaction.objects.count() == 1


def test_money_of_two_currencies_is_never_added_up(register: Register) -> None:
    device = enrolled_device(register("SN-1"))
    deliver(device.hello())

    def sale(currency: str, amount_minor: int) -> Outgoing:
        record = TransactionRecord(new_id(), "sale", "card", amount_minor, currency, device.now())
        return device._critical("transactions", Transactions(1, [record]))

    deliver(sale("EUR", 100), sale("AUD", 7))
    assert Batch.objects.values_list("currency", "net_minor", "transaction_count").get() == ("AUD", 7, 2)
    deliver(sale("EUR", 50), sale("AUD", 3), sale("AED", 1))
    assert Batch.objects.values_list("currency", "net_minor", "transaction_count").get() == ("AUD", 10, 5)
    assert Transaction.objects.count() == 5


def test_late_transactions_that_change_the_difference_are_told(register: Register) -> None:
    device = enrolled_device(register("SN-1"))
    deliver(device.hello())
    device.sell()
    [late] = device.upload_transactions()
    deliver(device._critical("settlement", Settlement(1, device.now(), "EUR", [])))
    assert SettlementRun.objects.get().state == "balanced"
    deliver(late)
    device.memory.unsent = [TransactionRecord(new_id(), "sale", "card", 500, "EUR", device.now())]
    device.memory.batch_number = 1
    deliver(*device.upload_transactions())
    told = (
        Fact.objects.filter(kind="settlement.settled").order_by("id").values_list("body__difference_minor", flat=True)
    )
    assert len(set(told)) == 3, "each new difference is on the timeline"


def test_rejections_with_words_of_their_own_cost_no_statement_each(
    register: Register, django_assert_max_num_queries: Any
) -> None:
    devices = [enrolled_device(register(f"SN-{n}")) for n in range(8)]
    deliver(*(device.hello() for device in devices))
    answers = []
    for n, device in enumerate(devices):
        request_settlement(terminal=Terminal.objects.get(serial=device.memory.serial), actor="ops")
        command = Command.objects.get(terminal__serial=device.memory.serial, type="settle")
        answers.append(device._result(Result(command.pk, "rejected", code="busy", detail=f"customer {n}")))
    with django_assert_max_num_queries(18):
        deliver(*answers)
    assert sorted(run.reason for run in SettlementRun.objects.all())[0] == "rejected: busy: customer 0"
    assert Fact.objects.filter(kind="settlement.not_settled").count() == 8


def test_a_run_that_was_settled_meanwhile_is_not_told_as_not_done(register: Register) -> None:
    device = enrolled_device(register("SN-1"))
    deliver(device.hello())
    sell_and_settle(device)
    assert fail_runs(SettlementRun.objects.all(), TerminalRetired()) == 0
    assert not Fact.objects.filter(kind="settlement.not_settled").exists()


def test_writing_off_takes_every_open_batch(register: Register) -> None:
    terminal = register("SN-1")
    device = enrolled_device(terminal)
    deliver(device.hello())
    for n in range(1, 13):
        record = TransactionRecord(new_id(), "sale", "card", 100, "EUR", device.now())
        deliver(device._critical("transactions", Transactions(n, [record])))
    terminal.refresh_from_db()
    transition(terminal=terminal, name="retire", actor="ops", write_off=True)
    assert not Batch.objects.filter(closed=False).exists()
    assert len(AuditEntry.objects.get(action="settlement.write_off").detail["batches"]) == 12
