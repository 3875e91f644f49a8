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
from terminals.link.limits import LIMITS, Excess, Meter
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


def test_each_sender_and_channel_has_a_limit_of_its_own() -> None:
    meter = Meter(lambda: 0.0)
    for channel in ("hello", "health", "result", "event"):
        assert meter.measure([message("SN-1", channel) for _ in range(LIMITS[channel].at_once)]) == limits.NONE
        beyond, other = [message("SN-1", channel) for _ in range(3)], message("SN-2", channel)
        excess = meter.measure([*beyond, other])
        assert excess.messages == {id(one) for one in beyond}
        assert excess.told == {id(beyond[0])}
        assert not meter.measure([message("SN-1", channel)]).told


def test_the_limit_grows_again_and_what_waited_while_links_were_away_is_taken() -> None:
    seconds, (a_minute, at_once) = [0.0], LIMITS["health"]
    meter = Meter(lambda: seconds[0])
    assert meter.measure([message("SN-1", "health") for _ in range(8 * 60 * 4)]) == limits.NONE, "a night's readings"
    meter.measure([message("SN-1", "health") for _ in range(at_once)])
    seconds[0] = 60
    assert len(meter.measure([message("SN-1", "health") for _ in range(a_minute + 5)]).messages) == 5
    told = []
    for minute in range(2, 32):
        seconds[0] = 60 * minute
        told.append(len(meter.measure([message("SN-1", "health") for _ in range(2 * a_minute)]).told))
    assert sum(told) == 3, "three times in half an hour, however much it shouts"


@pytest.mark.django_db
def test_the_terminal_and_its_operator_are_told_once_and_its_event_waits(
    device: Device, register: Callable[[str], Terminal]
) -> None:
    device.sell()
    [event] = device.upload_transactions()
    quiet = enrolled_device(register("SN-2"))
    [first, second, reading] = came(event, event, quiet.health())
    excess = Excess(frozenset({id(first), id(second)}), frozenset({id(first)}))
    result = Inbox(routes).take([first, second, reading], excess)
    assert (result.fresh, result.events, HealthSample.objects.count()) == (1, {}, 1)
    assert result.not_taken == {device.memory.device_id: [NotTaken("too_much", "event", retry_after_seconds=60)]}
    fact = Fact.objects.get(kind="link.too_much_said")
    assert fact.body == {"channel": "event", "limit": LIMITS["event"].a_minute}
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
