"""What a terminal leaves behind when it is suspended, enrolled anew or retired: no way back, no key, no lost money."""

from collections.abc import Callable

import pytest

from terminals.common.audit.models import AuditEntry
from terminals.common.errors import Refusal
from terminals.common.facts.kinds import text_of
from terminals.common.facts.models import Fact
from terminals.enrolment.codes import issue_activation_code
from terminals.enrolment.models import ActivationCode, Certificate
from terminals.estate.models import Terminal
from terminals.estate.registering import register_terminal
from terminals.estate.rules import TerminalTransition
from terminals.estate.services import change_state
from terminals.keys.models import ProtectionKey, TerminalKey
from terminals.keys.services import request_key_delivery
from terminals.link.models import Command
from terminals.link.services import send_plain_command
from terminals.settlement.models import Batch, SettlementSchedule
from terminals.settlement.runs.services import request_settlement
from terminals.settlement.selectors import at_stake
from tests.conftest import deliver, enrolled_device, make_plan, obey, working_device

Register = Callable[[str], Terminal]


def test_a_retired_terminal_has_no_certificate_no_key_no_schedule_and_no_tid(register: Register) -> None:
    make_plan("nightly", cycle="30 22 * * *", time_zone="UTC", is_default=True)
    terminal = register("SN-1")
    Terminal.objects.update(tid="7")
    device = working_device(terminal)
    terminal.refresh_from_db()
    request_key_delivery(terminal=terminal, usage="P0", actor="ops")
    obey(device, "deliver_key")
    issue_activation_code(terminal=terminal, actor="ops")
    change_state(terminal=terminal, transition=TerminalTransition.retire, actor="ops")
    assert Certificate.objects.get().revoked_at is not None
    assert not ProtectionKey.objects.exists()
    key = TerminalKey.objects.get()
    assert (bytes(key.sealed_key), key.state, len(key.kcv)) == (b"", "destroyed", 6)
    assert not SettlementSchedule.objects.exists()
    assert not ActivationCode.objects.filter(used_at=None).exists()
    successor = register_terminal(serial="SN-2", model=terminal.model, store=terminal.store, tid="7", actor="ops")
    assert successor.tid == "7"


def test_money_is_not_stranded_by_retiring(register: Register) -> None:
    terminal = register("SN-1")
    device = working_device(terminal)
    device.sell()
    deliver(*device.upload_transactions())
    terminal.refresh_from_db()
    with pytest.raises(Refusal, match=r"EUR in 1 transaction on SN-1 are not settled; settle first") as refusal:
        change_state(terminal=terminal, transition=TerminalTransition.retire, actor="ops")
    assert refusal.value.reason == "unsettled_money"
    assert Terminal.objects.get().state == "active"
    request_settlement(terminal=terminal, actor="ops")
    obey(device, "settle")
    change_state(terminal=terminal, transition=TerminalTransition.retire, actor="ops")


def test_money_that_is_written_off_is_told_and_no_longer_unsettled(register: Register) -> None:
    lost = register("SN-2")
    other = working_device(lost)
    other.sell()
    deliver(*other.upload_transactions())
    lost.refresh_from_db()
    seen = at_stake(lost.pk).by_currency
    change_state(
        terminal=lost,
        transition=TerminalTransition.retire,
        actor="ops",
        reason="burnt",
        write_off=seen,
    )
    assert lost.state == "retired"
    assert AuditEntry.objects.get(action="terminal.retire", subject="terminal:SN-2").detail == {
        "from": "active",
        "to": "retired",
        "reason": "burnt",
    }
    batch = Batch.objects.get(terminal=lost)
    written_off = AuditEntry.objects.get(action="settlement.write_off")
    assert (written_off.actor, written_off.subject) == ("ops", "terminal:SN-2")
    told = Fact.objects.get(kind="settlement.written_off")
    assert told.body == {"amounts": [["EUR", batch.net_minor, 1]], "by": "ops"}
    assert "written off by ops" in text_of(told.kind, told.body)
    assert batch.closed, "what is written off is not shown as unsettled for ever"
    assert written_off.detail["batches"] == [
        {"batch_number": 1, "currency": "EUR", "net_minor": batch.net_minor, "transaction_count": 1}
    ]


def test_a_code_issued_before_a_suspension_does_not_work_after_it(register: Register) -> None:
    terminal = register("SN-1")
    deliver(enrolled_device(terminal).hello())
    terminal.refresh_from_db()
    issue_activation_code(terminal=terminal, actor="ops")
    change_state(terminal=terminal, transition=TerminalTransition.suspend, actor="ops")
    change_state(terminal=terminal, transition=TerminalTransition.resume, actor="ops")
    assert not ActivationCode.objects.filter(used_at=None).exists()


def test_enrolling_again_closes_what_was_queued_for_the_old_device(register: Register) -> None:
    terminal = register("SN-1")
    deliver(enrolled_device(terminal).hello())
    terminal.refresh_from_db()
    send_plain_command(terminal=terminal, command_type="reboot", actor="ops")
    enrolled_device(terminal)
    assert Command.objects.get().state == "cancelled"
