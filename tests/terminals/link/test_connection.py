"""A connection goes on to the next node of a cluster where one is away, or takes TCP and never answers."""

import os
import socket
import time
from collections.abc import Iterator
from itertools import cycle

import pytest

from terminals.link import mqtt, process
from terminals.link.models import Heartbeat
from terminals.link.mqtt import BrokerConnection, Wires
from tests.services import free_port_pair


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of something that listens and says nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.mark.parametrize("hangs", [True, False], ids=["hangs", "is away"])
def test_the_next_node_is_tried(monkeypatch: pytest.MonkeyPatch, silent: int, hangs: bool) -> None:
    first = silent if hangs else free_port_pair()
    monkeypatch.setattr(mqtt, "ANSWER_SECONDS", 1.0)
    monkeypatch.setattr(
        mqtt, "nodes_in_turn", lambda: cycle([("127.0.0.1", first), ("127.0.0.1", int(os.environ["MQTT_PORT"]))])
    )
    connection = BrokerConnection("next-node", Wires(), filters=["tw/v1/00/+/up/+"])
    began = time.monotonic()
    connection.start()
    try:
        assert connection.connected.wait(15)
        assert connection.healthy
        assert time.monotonic() - began < 12
    finally:
        connection.stop()
        connection.join()


@pytest.mark.django_db
@pytest.mark.parametrize("deaf_seconds", [-1.0, 30.0], ids=["for long", "for a moment"])
def test_a_link_without_a_broker_leaves_its_lanes_to_the_others(
    monkeypatch: pytest.MonkeyPatch, deaf_seconds: float
) -> None:
    monkeypatch.setattr(process, "DEAF_SECONDS", deaf_seconds)
    link, renewed = process.LinkProcess("deaf"), list[bool]()
    monkeypatch.setattr(link.lanes, "renew", lambda: renewed.append(True))
    link._renew()
    assert renewed == ([] if deaf_seconds < 0 else [True])
    assert Heartbeat.objects.get(part="link").healthy, "it lives, and says so"
    assert not Heartbeat.objects.get(part="broker").healthy
