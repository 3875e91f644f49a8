"""Who is online, and how commands live and end."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from terminals.common.errors import Refusal
from terminals.estate.models import Terminal
from terminals.link import services
from terminals.link.inbox import LETTERS_A_MINUTE, Inbox
from terminals.link.models import Command, DeadLetter, DeviceSession
from terminals.link.mqtt import Incoming
from terminals.link.outcomes import expire_commands
from terminals.link.protocol.messages.link import Result
from terminals.link.relay import claim, mark_sent
from terminals.link.routes import routes
from terminals.link.services import send_plain_command
from terminals.link.sessions import WILL_GRACE, sweep_silent_sessions
from terminals.settlement.models import Transaction
from terminals.simulator.device import Device, Outgoing
from tests.conftest import deliver, enrolled_device, working_device

Register = Callable[[str], Terminal]


@pytest.fixture
def terminal(register: Register) -> Terminal:
    return register("SN-1")


@pytest.fixture
def device(terminal: Terminal) -> Device:
    made = working_device(terminal)
    terminal.refresh_from_db()
    return made


def ping(terminal: Terminal) -> Command:
    return send_plain_command(terminal=terminal, command_type="ping", actor="ops")


def answer(device: Device, command: Command, state: str, **more: Any) -> None:
    deliver(device.answer(Result(command.pk, state, **more)))  # type: ignore[arg-type]
    command.refresh_from_db()


def test_a_last_will_counts_after_a_grace_and_only_for_its_own_boot(device: Device) -> None:
    will = device.presence("offline")
    device.boot()
    deliver(device.hello())
    deliver(will)  # of the boot before
    assert sweep_silent_sessions(timezone.now() + WILL_GRACE + timedelta(seconds=5)) == 0
    deliver(device.presence("offline"))
    assert sweep_silent_sessions(timezone.now()) == 0
    assert sweep_silent_sessions(timezone.now() + WILL_GRACE + timedelta(seconds=1)) == 1
    assert DeviceSession.objects.get().online is False
    deliver(device.health())
    assert DeviceSession.objects.get().online is True


def test_a_silent_terminal_is_offline_in_time(device: Device) -> None:
    assert sweep_silent_sessions(timezone.now() + timedelta(seconds=59)) == 0
    assert sweep_silent_sessions(timezone.now() + timedelta(seconds=61)) == 1


def test_a_hello_with_another_serial_is_refused(device: Device) -> None:
    device.memory.serial = "SN-9"
    deliver(device.hello())
    assert DeadLetter.objects.get().reason == "wrong_serial"


def test_the_same_message_twice_changes_nothing(device: Device) -> None:
    report = device.health()
    assert [deliver(report).fresh, deliver(report).fresh] == [1, 0]
    assert deliver(report, report).fresh == 0
    device.sell()
    [event] = device.upload_transactions()
    first, second = deliver(event), deliver(event)
    assert (first.fresh, second.fresh) == (1, 0)
    assert first.events == second.events  # and its ack is repeated: the first may have been lost


def test_one_message_that_breaks_a_handler_does_not_take_the_others_with_it(device: Device, monkeypatch: Any) -> None:
    def fragile(messages: list[Any]) -> None:
        if any(received.envelope.seq == poison_seq for received in messages):
            raise ValueError("boom")

    reports = [device.health() for _ in range(9)]
    poison_seq = device.seq - 4
    monkeypatch.setitem(routes.messages, "health", [fragile, *routes.messages["health"]])
    taken = deliver(*reports)
    assert (taken.fresh, taken.dead) == (8, 1)
    letter = DeadLetter.objects.get()
    assert (letter.reason, letter.detail) == ("handler_error", "ValueError: boom")


def test_a_batch_costs_the_same_number_of_statements_whatever_its_size(register: Register) -> None:
    devices = [enrolled_device(register(f"SN-{n:02d}")) for n in range(10)]
    deliver(*(device.hello() for device in devices))

    def cost(count: int) -> int:
        messages = [device.health() for device in devices[:count]]
        with CaptureQueriesContext(connection) as captured:
            deliver(*messages)
        return len(captured)

    assert cost(10) == cost(2)


def test_a_dead_letter_that_comes_again_only_counts_up(device: Device) -> None:
    now = datetime.now(UTC)
    for _ in range(3):
        Inbox(routes).take([Incoming(1, 1, "tw/v1/13/SN-1/up/health", b"\x00\xff", now)])
    letter = DeadLetter.objects.get()
    assert (letter.count, letter.payload_bytes, letter.reason) == (3, 2, "malformed")


def test_a_suspended_terminal_is_heard_and_a_retired_one_is_not(device: Device, terminal: Terminal) -> None:
    Terminal.objects.update(state="suspended")
    assert deliver(device.health()).fresh == 1
    Terminal.objects.update(state="retired")
    assert deliver(device.health()).dead == 1
    assert DeadLetter.objects.get().reason == "not_in_service"


def test_a_command_reaches_one_final_state_and_stays_there(device: Device, terminal: Terminal) -> None:
    command = ping(terminal)
    answer(device, command, "accepted")
    answer(device, command, "running", percent=40)
    answer(device, command, "accepted")  # late: it does not move backwards
    assert (command.state, command.percent) == ("running", 40)
    answer(device, command, "succeeded")
    finished_at = command.finished_at
    assert (command.state, command.next_attempt_at) == ("succeeded", None)
    answer(device, command, "failed", code="late")
    assert (command.state, command.code, command.finished_at) == ("succeeded", "", finished_at)
    Command.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert expire_commands() == 0


def test_a_terminal_cannot_speak_of_anothers_command(device: Device, terminal: Terminal, register: Register) -> None:
    other = working_device(register("SN-2"))
    command = ping(terminal)
    answer(other, command, "succeeded")
    assert command.state == "queued"
    assert DeadLetter.objects.get().reason == "unknown_command"


def test_a_claim_is_a_lease_and_the_pause_grows(device: Device, terminal: Terminal) -> None:
    command, now = ping(terminal), timezone.now()
    pauses = []
    for _ in range(3):
        assert [claimed.command_id for claimed in claim(10, now)] == [command.pk]
        assert claim(10, now) == []
        command.refresh_from_db()
        assert command.next_attempt_at is not None
        pauses.append((command.next_attempt_at - now).total_seconds())
        now = command.next_attempt_at
    assert pauses == [10, 20, 40]
    mark_sent([command.pk], now)
    command.refresh_from_db()
    assert command.state == "sent"


def test_an_expired_command_is_never_claimed(device: Device, terminal: Terminal) -> None:
    command = ping(terminal)
    assert claim(10, command.expires_at + timedelta(seconds=1)) == []


def test_only_known_commands_for_terminals_in_service_are_made(device: Device, terminal: Terminal) -> None:
    with pytest.raises(Refusal, match="cannot be sent as it is"):
        send_plain_command(terminal=terminal, command_type="deliver_key", actor="ops")
    Terminal.objects.update(state="suspended")
    terminal.refresh_from_db()
    with pytest.raises(Refusal, match="is suspended; only enrolled, active ones take commands"):
        ping(terminal)
    assert Command.objects.count() == 0


def test_an_unsigned_message_cannot_use_up_the_id_of_an_event(device: Device) -> None:
    device.sell()
    [event] = device.upload_transactions()
    forged = json.loads(device.health().payload) | {"id": json.loads(event.payload)["id"]}
    deliver(Outgoing("tw/v1/13/SN-1/up/health", json.dumps(forged).encode()))
    assert deliver(event).fresh == 1
    assert Transaction.objects.count() == 1


def test_a_terminal_that_says_hello_without_end_does_not_get_its_commands_without_end(
    device: Device, terminal: Terminal
) -> None:
    command = ping(terminal)
    assert len(claim(10, timezone.now())) == 1
    DeviceSession.objects.update(connected_at=timezone.now() - timedelta(minutes=1))
    deliver(device.hello())
    assert len(claim(10, timezone.now())) == 1
    deliver(device.hello())
    assert claim(10, timezone.now()) == []
    Command.objects.update(attempts=32_767, next_attempt_at=timezone.now())
    assert len(claim(10, timezone.now())) == 1
    command.refresh_from_db()
    assert command.attempts == 32_767


def test_a_suspended_terminal_is_sent_nothing_until_it_is_resumed(device: Device, terminal: Terminal) -> None:
    ping(terminal)
    Terminal.objects.update(state="suspended")
    assert claim(10, timezone.now()) == []
    Terminal.objects.update(state="active")
    assert len(claim(10, timezone.now())) == 1


def test_a_newer_lock_or_unlock_takes_the_place_of_the_older(device: Device, terminal: Terminal) -> None:
    for kind in ("lock", "unlock"):
        send_plain_command(terminal=terminal, command_type=kind, actor="ops")
    assert dict(Command.objects.values_list("type", "state")) == {"lock": "cancelled", "unlock": "queued"}


@pytest.mark.parametrize("sent_at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2101-01-01T00:00:00Z"])
def test_an_instant_that_no_page_could_show_is_refused(device: Device, sent_at: str) -> None:
    report = json.loads(device.health().payload) | {"sent_at": sent_at}
    deliver(Outgoing("tw/v1/13/SN-1/up/health", json.dumps(report).encode()))
    assert "is not one from 1970 to 2100" in DeadLetter.objects.get().detail


def test_a_message_that_met_an_operator_doing_the_same_is_taken_at_the_second_try(
    device: Device, monkeypatch: Any
) -> None:
    calls = []

    def collide(received: list[Any]) -> None:
        calls.append(received)
        if len(calls) == 1:
            raise IntegrityError("duplicate key")

    monkeypatch.setitem(routes.messages, "health", [collide, *routes.messages["health"]])
    assert deliver(device.health()).fresh == 1
    assert DeadLetter.objects.count() == 0


HOSTILE = {
    "infinite": b'{"x": 1e400}',
    "digits": b'{"x": ' + b"9" * 5_000 + b"}",
    "no utf-8": b'{"x": "\xff\xfe"}',
    "depth": b"[" * 20_000 + b"]" * 20_000,
    "surrogate": b'{"x": "\\ud800"}',
}


@pytest.mark.parametrize("channel", ["hello", "health", "event", "result"])
@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_hostile_json_is_refused_in_the_first_pass_and_costs_its_neighbours_nothing(
    device: Device, caplog: Any, channel: str, body: bytes
) -> None:
    kind = {"event": "transactions"}.get(channel, channel)
    head = {"id": str(services.new_id()), "type": kind, "sent_at": "2026-01-01T00:00:00Z", "boot_id": "b", "seq": 1}
    for sig in ({}, {"sig": "eyJhbGciOiJFUzI1NiJ9..AAAA"}, {"sig": "\u00e9..\u00e9"}):
        payload = json.dumps(head | sig).encode()[:-1] + b', "body": ' + body + b"}"
        good = [device.health() for _ in range(3)]
        with CaptureQueriesContext(connection) as clean:
            assert deliver(*good).fresh == 3
        good = [device.health() for _ in range(3)]
        with CaptureQueriesContext(connection) as mixed:
            taken = deliver(Outgoing(f"tw/v1/13/SN-1/up/{channel}", payload), *good)
        assert (taken.fresh, taken.dead) == (3, 1)
        assert len(mixed) == len(clean) + 1, "one statement for the letters, no halving"
    assert not [record for record in caplog.records if record.exc_info], "no traceback"


def test_what_a_handler_refuses_takes_nobody_with_it(device: Device, terminal: Terminal) -> None:
    strangers = [device.answer(Result(services.new_id(), "succeeded")) for _ in range(5)]
    command = ping(terminal)
    mine = device.answer(Result(command.pk, "succeeded"))
    taken = deliver(*strangers, mine)
    command.refresh_from_db()
    assert (taken.dead, command.state) == (5, "succeeded")
    assert set(DeadLetter.objects.values_list("reason", flat=True)) == {"unknown_command"}


def test_a_terminal_that_sends_rubbish_without_end_fills_no_table(device: Device) -> None:
    now, link = datetime.now(UTC), Inbox(routes)
    for n in range(4):
        rubbish = [Incoming(1, 1, "tw/v1/13/SN-1/up/health", b"{%d" % (n * 50 + i), now) for i in range(50)]
        assert link.take(rubbish).dead == 50
    assert DeadLetter.objects.filter(reason="malformed").count() == LETTERS_A_MINUTE
    assert DeadLetter.objects.get(reason="too_many").count == 1
    link.take([Incoming(1, 1, "tw/v1/13/SN-1/up/health", b"{x", now + timedelta(seconds=61))])
    assert DeadLetter.objects.filter(reason="malformed").count() == LETTERS_A_MINUTE + 1


def test_a_session_is_remembered_as_written_only_after_its_commit(device: Device, monkeypatch: Any) -> None:
    DeviceSession.objects.update(online=False)
    link, failing = Inbox(routes), [True]

    def away(received: list[Any]) -> None:
        if failing.pop():
            raise OperationalError("the database is away")

    monkeypatch.setitem(routes.messages, "health", [away])
    report = device.health()
    message = Incoming(1, 1, report.topic, report.payload, datetime.now(UTC))
    with pytest.raises(OperationalError):
        link.take([message])
    failing.append(False)
    link.take([message])
    assert DeviceSession.objects.get().online is True


def test_letters_count_only_once_they_are_committed(device: Device, monkeypatch: Any) -> None:
    """What is taken again after the database was away, or halved, must not use up its sender's letters."""
    now, link, failing = datetime.now(UTC), Inbox(routes), [True] * 5

    def away(received: list[Any]) -> None:
        if failing and failing.pop():
            raise OperationalError("the database is away")

    monkeypatch.setitem(routes.messages, "health", [away])
    report = device.health()
    received = [Incoming(1, 1, report.topic, b"{%d" % n, now) for n in range(10)]
    received.append(Incoming(1, 1, report.topic, report.payload, now))
    for _ in range(5):
        with pytest.raises(OperationalError):
            link.take(received)
    assert link.take(received).dead == 10
    assert DeadLetter.objects.count() == 10
