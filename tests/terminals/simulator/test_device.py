"""The virtual terminal judges what it is told as a real one must."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from terminals.estate.models import Terminal
from terminals.link import services
from terminals.link.models import Command
from terminals.link.protocol import signing
from terminals.link.protocol.messages.base import Empty
from terminals.link.protocol.messages.keys import DeliverKey
from terminals.link.protocol.messages.parameters import Configure
from terminals.link.protocol.messages.software import Install
from terminals.link.services import CommandRequest, Target, create_commands
from terminals.simulator import memory
from terminals.simulator.device import Device
from tests.conftest import deliver, enrolled_device, working_device

Register = Callable[[str], Terminal]


@pytest.fixture
def device(register: Register) -> Device:
    return working_device(register("SN-1"))


def command(kind: str = "ping", body: msgspec.Struct | None = None, valid_for: timedelta = timedelta(hours=1)) -> bytes:
    terminal = Terminal.objects.get(serial="SN-1")
    order = CommandRequest(Target(terminal.pk, terminal.device_id), kind, body or Empty(), valid_for)
    return bytes(create_commands([order], requested_by="ops")[0].payload)


def answers(device: Device, payload: bytes) -> list[dict[str, Any]]:
    return [json.loads(message.payload)["body"] for message in device.receive("", payload)]


def test_a_command_is_done_once_and_its_repeat_gets_the_same_answer(device: Device) -> None:
    payload = command("lock")
    assert [answer["state"] for answer in answers(device, payload)] == ["accepted", "succeeded"]
    device.memory.locked = False
    assert [answer["state"] for answer in answers(device, payload)] == ["succeeded"]
    assert device.memory.locked is False


def test_a_command_that_the_server_did_not_sign_is_not_even_answered(device: Device) -> None:
    envelope = json.loads(command())
    del envelope["sig"]
    forged = signing.sign_envelope(envelope, ec.generate_private_key(ec.SECP256R1()))
    for payload in (json.dumps(forged).encode(), json.dumps(envelope).encode(), b"{", b""):
        assert device.receive("", payload) == []
    assert device.refused_commands == 4


def test_a_command_for_another_terminal_is_refused(device: Device, register: Register) -> None:
    other = enrolled_device(register("SN-2"))
    assert other.receive("", command()) == []
    assert other.refused_commands == 1


def test_a_command_whose_time_is_over_is_rejected(device: Device) -> None:
    assert [a["code"] for a in answers(device, command(valid_for=timedelta(seconds=-1)))] == ["expired"]


def test_a_release_whose_assignment_does_not_hold_is_rejected(device: Device) -> None:
    order = Install(1, "pay", "2.0.0", "http://x/", 10, "0" * 64, "http://x/tuf/", assignment="a.b.c")
    rejected = answers(device, command("install", order))[-1]
    assert (rejected["state"], rejected["code"]) == ("rejected", "bad_assignment")
    assert device.pending_install is None


def test_a_damaged_key_block_is_rejected(device: Device) -> None:
    order = DeliverKey(services.new_id(), "P0", "D0112P0AE00E0000" + "A" * 96)
    rejected = answers(device, command("deliver_key", order))[-1]
    assert (rejected["state"], rejected["code"]) == ("rejected", "bad_key_block")
    assert device.memory.keys == []


def test_a_document_of_parameters_is_taken_with_its_version(device: Device) -> None:
    done = answers(device, command("configure", Configure("shop", 3, {"currency": "CHF"})))[-1]
    assert (done["state"], done["version"]) == ("succeeded", "3")
    assert (device.memory.parameters_version, device.memory.currency) == (3, "CHF")


def test_an_event_is_repeated_byte_for_byte_until_the_server_acknowledges_it(device: Device) -> None:
    device.sell()
    [event] = device.upload_transactions()
    assert [again.payload for again in device.pending_events()] == [event.payload]
    taken = deliver(event)
    [ids] = taken.events.values()
    device.receive("", services.signed_ack("SN-1", ids))
    assert device.pending_events() == []


def test_what_must_survive_a_restart_survives(device: Device, tmp_path: Any) -> None:
    device.sell()
    device.upload_transactions()
    device.sell()
    memory.save(tmp_path, device.memory)
    assert memory.load(tmp_path, "SN-1") == device.memory
    assert (tmp_path / "SN-1.json").stat().st_mode & 0o777 == 0o600
    assert memory.load(tmp_path, "SN-2") == memory.Memory(serial="SN-2")


def test_nothing_but_known_commands_is_done(device: Device) -> None:
    assert answers(device, command("self_destruct"))[-1]["code"] == "unknown_command"
    assert Command.objects.count() == 1


def test_a_command_whose_time_has_not_come_is_left_alone_and_done_later(device: Device) -> None:
    terminal, now = Terminal.objects.get(serial="SN-1"), device.now()
    target = Target(terminal.pk, terminal.device_id)
    wanted = CommandRequest(target, "lock", Empty(), timedelta(hours=1), not_before=now + timedelta(minutes=5))
    payload = bytes(create_commands([wanted], requested_by="ops")[0].payload)
    assert answers(device, payload) == []
    device.now = lambda: now + timedelta(minutes=6)
    assert [answer["state"] for answer in answers(device, payload)] == ["accepted", "succeeded"]


def test_a_commands_outcome_is_remembered_until_it_expires_however_many_come(device: Device) -> None:
    now = device.now()
    first = command("lock")
    answers(device, first)
    for _ in range(60):
        answers(device, command("ping", valid_for=timedelta(minutes=1)))
    device.memory.locked = False
    answers(device, first)
    assert device.memory.locked is False, "it was done twice"
    device.now = lambda: now + timedelta(minutes=30)
    answers(device, command("ping"))
    assert len(device.memory.outcomes) == 2, "what has expired is forgotten"
