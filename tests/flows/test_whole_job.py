"""The whole job of a terminal, told once from the first registration to the settled batch."""

from collections.abc import Callable

import pytest

from firmware.models import Installation, InstalledSoftware
from firmware.services import assign_release
from terminals.common.audit import chain
from terminals.estate.models import Terminal
from terminals.health.models import HealthState
from terminals.keys.models import TerminalKey
from terminals.keys.services import request_key_delivery
from terminals.link.models import DeadLetter, DeviceSession
from terminals.settlement.models import SettlementRun
from terminals.settlement.runs.services import request_settlement
from terminals.simulator.faults import Faults
from tests.conftest import deliver, enrolled_device, obey, working_device
from tests.releases import ready


def test_a_terminal_goes_from_registration_to_a_balanced_settlement(register: Callable[[str], Terminal]) -> None:
    terminal = register("SN-1")
    device = working_device(terminal)
    terminal.refresh_from_db()
    assert terminal.state == "active"
    assert DeviceSession.objects.get(terminal=terminal).online

    assign_release(release=ready("2.0.0"), terminals=[terminal], actor="ops")
    obey(device, "install")
    assert device.pending_install is not None
    deliver(device.installing(50), device.finish_install())
    device.boot()
    deliver(device.hello())
    assert Installation.objects.get().state == "installed"
    assert InstalledSoftware.objects.get(component="payment").version == "2.0.0"

    key = request_key_delivery(terminal=terminal, usage="P0", actor="ops")
    assert obey(device, "deliver_key").state == "succeeded"
    key.refresh_from_db()
    assert (key.state, key.answered_kcv) == ("confirmed", key.kcv)

    for _ in range(5):
        assert device.sell()
    deliver(device.health())
    assert HealthState.objects.get().unsettled_count == 5

    request_settlement(terminal=terminal, actor="ops")
    obey(device, "settle")
    run = SettlementRun.objects.get()
    assert (run.state, run.difference_minor, run.trigger) == ("balanced", 0, "operator")
    assert DeadLetter.objects.count() == 0
    assert chain.seal() > 0
    assert chain.verify({}).broken == ""


def test_a_terminal_that_settles_more_than_it_sold_is_unbalanced_by_the_difference(
    register: Callable[[str], Terminal],
) -> None:
    terminal = register("SN-2")
    device = working_device(terminal, Faults(wrong_totals=True))
    device.sell()
    request_settlement(terminal=terminal, actor="ops")
    obey(device, "settle")
    run = SettlementRun.objects.get()
    assert (run.state, run.difference_minor) == ("unbalanced", 1234)


def test_a_key_with_another_check_value_is_not_confirmed(register: Callable[[str], Terminal]) -> None:
    terminal = register("SN-3")
    device = working_device(terminal, Faults(wrong_kcv=True))
    request_key_delivery(terminal=terminal, usage="P0", actor="ops")
    obey(device, "deliver_key")
    assert TerminalKey.objects.get().state == "mismatch"


def test_an_event_that_comes_twice_counts_once_and_is_acknowledged_twice(register: Callable[[str], Terminal]) -> None:
    device = enrolled_device(register("SN-4"))
    device.sell()
    events = device.upload_transactions()
    first, second = deliver(*events), deliver(*events)
    assert (first.fresh, second.fresh) == (1, 0)
    assert first.events == second.events


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"{", "malformed"),
        (b"\xff\x00", "malformed"),
        (b"x" * 70_000, "oversize"),
        (
            b'{"id":"0193a7b0-0000-7000-8000-000000000001","type":"dance","sent_at":"2026-01-01T00:00:00Z",'
            b'"boot_id":"b","seq":1,"body":{}}',
            "unknown_type",
        ),
    ],
)
def test_what_cannot_be_taken_becomes_a_dead_letter_and_the_rest_goes_on(
    register: Callable[[str], Terminal], payload: bytes, reason: str
) -> None:
    device = enrolled_device(register("SN-5"))
    good = device.health()
    bad = good._replace(payload=payload)
    taken = deliver(bad, good)
    assert (taken.fresh, taken.dead) == (1, 1)
    assert DeadLetter.objects.get().reason == reason
    assert HealthState.objects.count() == 1


def test_another_terminals_signature_is_refused_and_changes_nothing(register: Callable[[str], Terminal]) -> None:
    honest, thief = enrolled_device(register("SN-6")), enrolled_device(register("SN-7"))
    stolen = thief.hello()._replace(topic=honest.hello().topic)
    deliver(stolen)
    assert DeadLetter.objects.get().reason == "bad_signature"
    assert Terminal.objects.get(serial="SN-6").state == "enrolled"


def test_a_late_transaction_makes_its_settlement_balance(register: Callable[[str], Terminal]) -> None:
    terminal = register("SN-8")
    device = working_device(terminal)
    device.sell()
    late = device.upload_transactions()
    request_settlement(terminal=terminal, actor="ops")
    obey(device, "settle")
    assert SettlementRun.objects.get().state == "unbalanced"
    deliver(*late)
    assert SettlementRun.objects.get().state == "balanced"
