"""Everybody renews at once while they settle: no settlement is lost, and each terminal ends with one current certificate."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from terminals.enrolment.models import Certificate
from terminals.estate.models import Terminal
from terminals.link.models import Command, DeadLetter
from terminals.link.protocol import topics
from terminals.settlement.models import SettlementRun
from terminals.settlement.runs.services import request_settlement
from terminals.simulator import identity
from terminals.simulator.device import Device, Outgoing
from tests.conftest import deliver, working_device

TERMINALS = 40


def told(device: Device) -> list[Outgoing]:
    """Let a terminal do what it was told and has not done yet; return what it answers."""
    waiting = Command.objects.filter(terminal__serial=device.memory.serial, finished_at=None).order_by("id")
    topic = topics.command(device.memory.device_id)
    return [answer for command in waiting for answer in device.receive(topic, bytes(command.payload))]


@pytest.mark.parametrize("renew_first", [True, False])
def test_everybody_renews_while_they_settle(register: Callable[[str], Terminal], renew_first: bool) -> None:
    devices = [working_device(register(f"SN-{n}")) for n in range(TERMINALS)]
    with time_machine.travel(datetime.now(UTC) + timedelta(days=61)):
        for device in devices:
            device.sell()
            deliver(device.hello(), *device.upload_transactions())
            request_settlement(terminal=Terminal.objects.get(serial=device.memory.serial), actor="ops")
        asked = [message for device in devices for message in identity.renew_when_due(device)]
        settled = [message for device in devices for message in told(device)]
        deliver(*(asked + settled if renew_first else settled + asked))
        deliver(*(message for device in devices for message in told(device)))  # the new certificate
        deliver(*(device.hello() for device in devices))
        deliver(*(message for device in devices for message in device.pending_events()))
    assert DeadLetter.objects.count() == 0
    assert list(SettlementRun.objects.values_list("state", flat=True)) == ["balanced"] * TERMINALS
    assert Certificate.objects.filter(current=True).exclude(confirmed_at=None).count() == TERMINALS
    assert Certificate.objects.count() == 2 * TERMINALS
