"""One terminal that shouts: it is told, its operator is told, the others do not wait, and nothing is lost."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from terminals.common.facts.models import Fact
from terminals.estate.models import Terminal
from terminals.health.models import HealthSample
from terminals.link import limits
from terminals.link.inbox import Inbox
from terminals.link.limits import A_MINUTE, Excess, Meter
from terminals.link.mqtt import Incoming
from terminals.link.protocol import topics
from terminals.link.protocol.messages.link import NotTaken
from terminals.link.routes import routes
from terminals.link.services import signed_ack
from terminals.simulator.device import Device, Outgoing
from tests.conftest import enrolled_device, working_device

NOW = datetime.now(UTC)


@pytest.fixture
def device(register: Callable[[str], Terminal]) -> Device:
    return working_device(register("SN-1"))


def came(*said: Outgoing) -> list[Incoming]:
    return [Incoming(1, n, one.topic, one.payload, NOW) for n, one in enumerate(said, 1)]


def message(device_id: str, channel: str) -> Incoming:
    return Incoming(1, 1, topics.up(device_id, channel), b"", NOW)


def test_each_sender_and_channel_has_a_limit_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = Meter()
    for channel in ("hello", "health", "result", "event"):
        within = [message("SN-1", channel) for _ in range(A_MINUTE[channel])]
        assert meter.measure(within) == limits.NONE
        beyond, other = [message("SN-1", channel) for _ in range(3)], message("SN-2", channel)
        excess = meter.measure([*beyond, other])
        assert excess.messages == {id(one) for one in beyond}
        assert excess.first == {id(beyond[0])}
        assert 0 < excess.seconds <= 60
        assert meter.measure([one := message("SN-1", channel)]).first == set(), one
    monkeypatch.setattr(limits, "WINDOW_SECONDS", 0.0)
    assert meter.measure([message("SN-1", "hello")]) == limits.NONE


@pytest.mark.django_db
def test_the_terminal_and_its_operator_are_told_once_and_its_event_waits(
    device: Device, register: Callable[[str], Terminal]
) -> None:
    device.sell()
    [event] = device.upload_transactions()
    quiet = enrolled_device(register("SN-2"))
    [first, second, reading] = came(event, event, quiet.health())
    excess = Excess(frozenset({id(first), id(second)}), frozenset({id(first)}), 42)
    result = Inbox(routes).take([first, second, reading], excess)
    assert (result.fresh, result.events, HealthSample.objects.count()) == (1, {}, 1)
    assert result.not_taken == {device.memory.device_id: [NotTaken("too_much", "event", retry_after_seconds=42)]}
    fact = Fact.objects.get(kind="link.too_much_said")
    assert fact.body == {"channel": "event", "limit": A_MINUTE["event"]}
    to = device.memory.device_id
    assert device.receive(topics.ack(to), signed_ack(to, [], result.not_taken[to])) == []
    assert (len(device.memory.pending), device.pending_events()) == (1, [])
    device.quiet_until.clear()
    assert Inbox(routes).take(came(*device.pending_events())).fresh == 1


@pytest.mark.django_db
def test_what_is_beyond_costs_no_statement_of_its_own(device: Device) -> None:
    reading = device.health()
    many = came(*[reading] * 400)
    with CaptureQueriesContext(connection) as few:
        Inbox(routes).take(many[:40], Excess(frozenset(map(id, many[:40]))))
    with CaptureQueriesContext(connection) as more:
        Inbox(routes).take(many, Excess(frozenset(map(id, many))))
    assert len(more) == len(few)
    assert HealthSample.objects.count() == 0
