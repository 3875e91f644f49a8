"""What hosts count of a batch, as their acquirers lay it out in their answers."""

from collections.abc import Callable
from typing import Any

import pytest

from terminals.common.errors import Refusal
from terminals.estate.models import Terminal
from terminals.link.protocol.messages.settlement import Settlement, Total
from terminals.settlement.cases.words import sentence_of
from terminals.settlement.dialects import HostTotals, layout_of, read_totals
from terminals.settlement.models import Case, Difference, SettlementRun
from terminals.simulator.device import Device
from tests.conftest import deliver, make_plan, set_schedule, sold, working_device

Register = Callable[[str], Terminal]
DE63 = "002000000004890" + "001000000000500"
UNIONPAY = "000000004000" + "001" + "000000000500" + "001" + "1" + "000000000890" + "001" + "0" * 15 + "1"


def test_known_layouts_are_read() -> None:
    assert read_totals({"63": DE63}, "de63") == HostTotals(2, 4890, 1, 500)
    assert len(UNIONPAY) == 62
    assert read_totals({"48": UNIONPAY}, "unionpay") == HostTotals(2, 4890, 1, 500)
    written = "62: debit_count 4, debit_amount 10, skip 2, credit_count 4, credit_amount 10"
    assert read_totals({"62": "0002" + "0000004890" + "99" + "0001" + "0000000500"}, written) == HostTotals(
        2, 4890, 1, 500
    )


@pytest.mark.parametrize("fields", [{}, {"48": DE63}, {"63": DE63[1:]}, {"63": DE63.replace("2", "x", 1)}])
def test_an_answer_that_is_laid_out_otherwise_says_nothing(fields: dict[str, str]) -> None:
    assert read_totals(fields, "de63") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "de64",
        "63",
        "63: debit_count 3",
        "x: " + "debit_count 3",
        "63: debit_count 0",
        "63: colour 3",
        "63: debit_count 99",
    ],
)
def test_what_describes_no_totals_is_refused(text: str) -> None:
    with pytest.raises(Refusal):
        layout_of(text)


@pytest.fixture
def device(register: Register) -> Device:
    terminal = register("SN-1")
    device = working_device(terminal)
    set_schedule(terminal=terminal, plan=make_plan("p", host_totals="de63"), actor="ops")
    return device


def settle(device: Device, **fields: Any) -> SettlementRun:
    deliver(sold(device, 4890))
    deliver(
        device.report(
            "settlement", Settlement(1, device.now(), "EUR", [Total("card", "sale", "EUR", 1, 4890)], **fields)
        )
    )
    return SettlementRun.objects.get()


def test_a_host_that_counted_the_same_leaves_a_run_balanced(device: Device) -> None:
    same = "001000000004890" + "0" * 15
    assert settle(device, host_fields={"63": same}).state == "balanced"
    assert not Case.objects.exists()


def test_a_host_that_counted_otherwise_unbalances_the_run_and_stays_so(device: Device) -> None:
    run = settle(device, host_fields={"63": "002000000006124" + "0" * 15})
    assert (run.state, run.reason) == ("unbalanced", "the host counted 61.24 EUR, the terminal 48.90 EUR")
    told = "batch 000001: the host counted 61.24 EUR in 2, the terminal 48.90 EUR in 1"
    assert sentence_of(Difference.objects.get()) == told
    deliver(sold(device, 1, "AUD"))
    assert Difference.objects.get(kind="host_totals").is_open, "a later comparison finds the same"


def test_fields_that_nobody_described_are_kept_and_not_compared(device: Device) -> None:
    run = settle(device, host_fields={"48": "1"})
    assert (run.state, run.host_fields) == ("balanced", {"48": "1"})
