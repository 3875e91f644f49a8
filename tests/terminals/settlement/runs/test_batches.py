"""Batches over a terminal's life: what a new device may not undo, and what a lost one leaves behind."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from django.utils import timezone

from fleet.pages import selectors
from terminals.common.audit.models import AuditEntry
from terminals.common.errors import Refusal
from terminals.common.facts.kinds import text_of
from terminals.common.facts.models import Fact
from terminals.estate.models import Terminal
from terminals.estate.rules import TerminalTransition
from terminals.estate.services import change_state
from terminals.link.models import Command
from terminals.link.protocol.messages.link import Result
from terminals.link.protocol.messages.settlement import Settlement, TransactionRecord
from terminals.link.services import new_id
from terminals.settlement.models import Batch, SettlementRun, SettlementSchedule, Transaction
from terminals.settlement.runs.facts import TerminalRetired
from terminals.settlement.runs.opening import run_due_settlements
from terminals.settlement.runs.services import fail_runs, request_settlement
from terminals.settlement.selectors import at_stake
from terminals.simulator.books import batch_totals
from terminals.simulator.device import Device
from terminals.simulator.identity import sign_pending_anew
from tests.conftest import deliver, enrolled_device, make_plan, obey, set_schedule, sold, working_device

Register = Callable[[str], Terminal]


def sell_and_settle(device: Device) -> None:
    device.memory.paper = 100
    device.sell()
    request_settlement(terminal=Terminal.objects.get(serial=device.memory.serial), actor="ops")
    obey(device, "settle")


def test_a_device_that_takes_anothers_place_goes_on_with_the_next_batch(register: Register) -> None:
    terminal = register("SN-1")
    first = working_device(terminal)
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
    make_plan("by amount", time_zone="UTC", is_default=True, amount_limits={"EUR": 1})
    terminal = register("SN-1")
    lost = working_device(terminal)
    lost.sell()
    deliver(*lost.upload_transactions())
    second = working_device(terminal)
    assert run_due_settlements(timezone.now()) == 1
    obey(second, "settle")
    assert list(Batch.objects.order_by("batch_number").values_list("batch_number", "closed")) == [(1, False), (2, True)]
    set_schedule(terminal=terminal, plan=None, actor="ops", amount_limits={"EUR": 10**9})
    second.memory.paper = 100
    second.sell()
    deliver(*second.upload_transactions())
    assert run_due_settlements(timezone.now()) == 0


def test_a_second_report_of_a_settled_batch_changes_nothing_and_is_seen(register: Register) -> None:
    device = working_device(register("SN-1"))
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
    device = working_device(register("SN-1"))
    device.sell()
    sold = device.memory.batch[0].amount_minor
    deliver(*device.upload_transactions())
    first = Settlement(1, device.now(), "EUR", batch_totals(device.memory.batch))
    deliver(device.report("settlement", first), device.report("settlement", Settlement(1, device.now(), "EUR", [])))
    run = SettlementRun.objects.get()
    assert (run.state, run.reported_minor) == ("balanced", sold)


def test_money_in_another_currency_does_not_balance(register: Register) -> None:
    device = working_device(register("SN-1"))
    device.sell()
    deliver(*device.upload_transactions())
    totals = [msgspec.structs.replace(total, currency="JPY") for total in batch_totals(device.memory.batch)]
    deliver(device.report("settlement", Settlement(1, device.now(), "JPY", totals)))
    run = SettlementRun.objects.get()
    assert run.state == "unbalanced"
    assert "EUR in 1 transaction is not settled: another currency" in run.reason
    assert "JPY in 1 reported, 0 JPY in 0 recorded" in run.reason


def test_events_that_were_pending_when_a_terminal_enrolled_again_are_not_lost(register: Register) -> None:
    terminal = register("SN-1")
    device = working_device(terminal)
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
    device = working_device(register("SN-1"))
    deliver(sold(device, 100, "EUR"), sold(device, 7, "AUD"))
    deliver(sold(device, 50, "EUR"), sold(device, 3, "AUD"), sold(device, 1, "AED"))
    assert list(Batch.objects.order_by("currency").values_list("currency", "net_minor", "transaction_count")) == [
        ("AED", 1, 1),
        ("AUD", 10, 2),
        ("EUR", 150, 2),
    ]
    assert str(at_stake(Terminal.objects.get().pk)) == (
        "0.01 AED in 1 transaction, 0.10 AUD in 2 transactions, 1.50 EUR in 2 transactions"
    )
    assert selectors.overview(device.now()).unsettled == ["0.01 AED", "0.10 AUD", "1.50 EUR"]
    deliver(device.report("settlement", Settlement(1, device.now(), "EUR", [])))
    assert str(at_stake(Terminal.objects.get().pk)) == "0.01 AED in 1 transaction, 0.10 AUD in 2 transactions"
    assert SettlementRun.objects.get().state == "unbalanced"
    deliver(sold(device, 5, "CHF"))
    assert not Batch.objects.get(currency="CHF").closed, "it was not settled with the euros"
    assert "0.05 CHF in 1 transaction is not settled" in SettlementRun.objects.get().reason


def test_a_threshold_counts_the_money_of_its_own_currency(register: Register) -> None:
    make_plan("p", is_default=True, amount_limits={"EUR": 100})
    device = working_device(register("SN-1"))
    deliver(sold(device, 5000, "AUD"))
    assert SettlementSchedule.objects.get().due_reason == "cycle"
    deliver(sold(device, 99, "EUR"))
    assert SettlementSchedule.objects.get().due_reason == "cycle"
    deliver(sold(device, 1, "EUR"))
    assert SettlementSchedule.objects.get().due_reason == "threshold"


def test_late_transactions_that_change_the_difference_are_told(register: Register) -> None:
    device = working_device(register("SN-1"))
    device.sell()
    [late] = device.upload_transactions()
    deliver(device.report("settlement", Settlement(1, device.now(), "EUR", [])))
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
        answers.append(device.answer(Result(command.pk, "rejected", code="busy", detail=f"customer {n}")))
    with django_assert_max_num_queries(18):
        deliver(*answers)
    assert sorted(run.reason for run in SettlementRun.objects.all())[0] == "rejected: busy: customer 0"
    assert Fact.objects.filter(kind="settlement.not_settled").count() == 8


def test_a_run_that_was_settled_meanwhile_is_not_told_as_not_done(register: Register) -> None:
    device = working_device(register("SN-1"))
    sell_and_settle(device)
    assert fail_runs(SettlementRun.objects.all(), TerminalRetired()) == 0
    assert not Fact.objects.filter(kind="settlement.not_settled").exists()


def test_what_is_written_off_is_what_was_seen_and_no_more(register: Register) -> None:
    terminal = register("SN-1")
    device = working_device(terminal)
    deliver(sold(device, 100, "EUR"), sold(device, 100, "AUD"))
    terminal.refresh_from_db()
    for seen in ({"EUR": 100}, {"AUD": 100}, {"EUR": 100, "AUD": 99}, {}):
        with pytest.raises(Refusal, match=r"1.00 AUD in 1 transaction, 1.00 EUR in 1 transaction on SN-1"):
            change_state(terminal=terminal, transition=TerminalTransition.retire, actor="ops", write_off=seen)
    change_state(
        terminal=terminal, transition=TerminalTransition.retire, actor="ops", write_off={"EUR": 100, "AUD": 100}
    )
    told = Fact.objects.get(kind="settlement.written_off")
    assert text_of(told.kind, told.body) == "1.00 AUD, 1.00 EUR written off by ops, never to be settled"


def test_writing_off_takes_every_open_batch(register: Register) -> None:
    terminal = register("SN-1")
    device = working_device(terminal)
    for n in range(1, 13):
        deliver(sold(device, 100, batch_number=n))
    terminal.refresh_from_db()
    change_state(
        terminal=terminal,
        transition=TerminalTransition.retire,
        actor="ops",
        write_off=at_stake(terminal.pk).by_currency,
    )
    assert not Batch.objects.filter(closed=False).exists()
    assert len(AuditEntry.objects.get(action="settlement.write_off").detail["batches"]) == 12
