"""A terminal's side of the real broker: it publishes as told and keeps whatever comes down."""

import os
import threading
from collections.abc import Iterable
from queue import SimpleQueue
from types import TracebackType

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from terminals.link.protocol import topics
from terminals.simulator.device import Outgoing


class TerminalSide:
    """One MQTT connection that may speak and listen for any number of terminals."""

    def __init__(self, *device_ids: str) -> None:
        self.received: SimpleQueue[tuple[str, bytes]] = SimpleQueue()
        self._filters = [(topics.down(device_id), 1) for device_id in device_ids or ("NOBODY",)]
        self._ready = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.max_inflight_messages_set(200)
        self._client.on_connect = lambda client, *_: client.subscribe(self._filters)
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = lambda _client, _userdata, message: self.received.put(
            (message.topic, bytes(message.payload))
        )

    def __enter__(self) -> "TerminalSide":
        self._client.connect("127.0.0.1", int(os.environ["MQTT_PORT"]))
        self._client.loop_start()
        assert self._ready.wait(10), "the broker does not answer"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def send(self, messages: Iterable[Outgoing]) -> None:
        """Publish at QoS 1 and return when the broker has acknowledged everything."""
        for info in [self._client.publish(m.topic, m.payload, qos=1) for m in messages]:
            info.wait_for_publish(30)
