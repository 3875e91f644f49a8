"""One connection to the broker that speaks for any number of terminals and hears what the server acknowledges to them."""

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from queue import Empty
from types import TracebackType

from django.conf import settings

from terminals.link.mqtt import BrokerConnection, NotConnected, Wires
from terminals.simulator.device import Outgoing

MOST_UNACKNOWLEDGED = 2000
TOGETHER = 100
ACKS = "tw/v1/+/+/dn/ack"


class Wire:
    """`with Wire() as wire`: connected at the start."""

    def __init__(self) -> None:
        wires = Wires()
        self._queue = wires.queues[0]
        self._speaking = BrokerConnection(f"{settings.MQTT_CLIENT_PREFIX}-load-up", wires)
        self._listening = BrokerConnection(f"{settings.MQTT_CLIENT_PREFIX}-load-down", wires, filters=[ACKS])
        self._unacknowledged, self._generation = 0, 0

    def __enter__(self) -> "Wire":
        for connection in (self._speaking, self._listening):
            connection.start()
            if not connection.connected.wait(20):
                raise TimeoutError("the broker does not answer")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for connection in (self._speaking, self._listening):
            connection.stop()
            connection.join()

    def publish(self, messages: Sequence[Outgoing]) -> None:
        """Publish at QoS 1, no faster than the broker acknowledges; what a lost connection took with it comes again."""
        at = 0
        while at < len(messages):
            together = messages[at : at + TOGETHER]
            try:
                sent = self._speaking.publish([(m.topic, m.payload) for m in together])
                if (
                    sent.generation != self._generation
                ):  # what was on its way on the last connection nobody acknowledges
                    self._unacknowledged, self._generation = 0, sent.generation
                self._unacknowledged += len(sent.packet_ids)
                at += TOGETHER
            except NotConnected:
                self._unacknowledged = 0
                time.sleep(0.1)
            self._count(0 if self._unacknowledged < MOST_UNACKNOWLEDGED else 30)

    def _count(self, seconds: float) -> None:
        with suppress(Empty):
            while True:
                sent = (
                    self._speaking.published.get(timeout=seconds) if seconds else self._speaking.published.get_nowait()
                )
                if sent.generation == self._generation:
                    self._unacknowledged -= len(sent.packet_ids)
                seconds = seconds if self._unacknowledged >= MOST_UNACKNOWLEDGED else 0

    def received(self) -> Iterator[bytes]:
        """Return the payloads that came down since the last time."""
        with suppress(Empty):
            while True:
                messages = self._queue.get_nowait()
                self._listening.acknowledge(messages[0].generation, [m.packet_id for m in messages if m.packet_id])
                yield from (message.payload for message in messages)
