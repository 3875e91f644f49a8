"""Mosquitto and the links together: a revoked terminal's connection is ended, and a broker that dies loses nothing."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest

from fleet.local import mosquitto
from terminals.estate.models import Terminal
from terminals.estate.rules import TerminalTransition
from terminals.estate.services import change_state
from terminals.link.models import DeadLetter, SeenMessage
from terminals.settlement.models import Transaction
from tests.conftest import Links, enrolled_device, wait_until
from tests.mosquitto import Mosquitto, mosquitto_broker, needs_mosquitto
from tests.mqtt import Client, Refused, identity_of

__all__ = ["mosquitto_broker"]
pytestmark = needs_mosquitto
Register = Callable[[str], Terminal]
DEVICES, SALES = 10, 100


@pytest.fixture
def secured(links: Links, mosquitto_broker: Mosquitto) -> Links:
    """Links that speak to Mosquitto by mutual TLS."""
    links.environment |= mosquitto_broker.link_settings
    return links


@pytest.fixture
def followed(mosquitto_broker: Mosquitto, live_server: Any) -> Iterator[None]:
    """The list of revoked certificates kept new, by what an operator runs beside the broker."""
    with subprocess.Popen(mosquitto.follow_command(mosquitto_broker.folder, live_server.url)) as process:
        yield
        process.terminate()


def test_a_revoked_terminal_is_put_out_within_ten_seconds_and_does_not_come_back(
    secured: Links, followed: None, mosquitto_broker: Mosquitto, register: Register
) -> None:
    gone, stays = (enrolled_device(register(serial)) for serial in ("SN-1", "SN-2"))
    secured.start("one")
    with (
        Client(mosquitto_broker, identity_of(gone), "SN-1") as thief,
        Client(mosquitto_broker, identity_of(stays), "SN-2") as other,
    ):
        change_state(terminal=Terminal.objects.get(serial="SN-1"), transition=TerminalTransition.retire, actor="ops")
        began = time.monotonic()
        assert thief.ended.wait(10), "its connection is ended"
        took = time.monotonic() - began

        def refused() -> bool:
            try:
                with Client(mosquitto_broker, identity_of(gone), "SN-1") as again:
                    return again.ended.wait(8)  # one that came back at once is disconnected once more, and for good
            except (OSError, Refused):
                return True

        wait_until(refused, "it does not come back", timeout_seconds=10)
        assert time.monotonic() - began < 20
        with pytest.raises((OSError, Refused)), Client(mosquitto_broker, identity_of(gone), "SN-1"):
            pass
        assert not other.ended.is_set()
    assert took < 10


def test_no_event_is_lost_or_taken_twice_though_the_broker_is_killed(
    secured: Links, mosquitto_broker: Mosquitto, register: Register
) -> None:
    devices = [enrolled_device(register(f"SN-{n}")) for n in range(DEVICES)]
    events = []
    for _ in range(SALES):
        for device in devices:
            device.memory.paper = 100
            device.sell()
            events += device.upload_transactions()
    secured.start("one")
    secured.start("two")
    link = mosquitto_broker.link_identity
    for part in (events[:500], events[500:]):
        with Client(mosquitto_broker, link, "sender", port=mosquitto_broker.port + 1) as sender:
            for event in part:
                sender.publish(event.topic, event.payload)
        mosquitto_broker.kill()
        mosquitto_broker.start()

    def all_in() -> bool:
        """Send what the server did not acknowledge end to end once more, as terminals do: a broker that forgot its subscriptions
        takes messages and throws them away."""
        taken = set(SeenMessage.objects.values_list("message_id", flat=True))
        with Client(mosquitto_broker, link, "again", port=mosquitto_broker.port + 1) as sender:
            for event in events:
                if UUID(json.loads(event.payload)["id"]) not in taken:
                    sender.publish(event.topic, event.payload)
        time.sleep(2)
        return Transaction.objects.count() == DEVICES * SALES

    wait_until(all_in, "all in the database", timeout_seconds=60)
    assert DeadLetter.objects.count() == 0
