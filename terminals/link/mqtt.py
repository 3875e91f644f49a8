"""One connection to the broker for a link process: callbacks that only enqueue, acknowledgements only on request.

A message is named by (generation, packet id), because a broker reuses packet ids after a reconnect: an ack that was
held over one must not acknowledge a stranger. The session is persistent, so what was not acknowledged comes again.
"""

import logging
import ssl
import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import paho.mqtt.client as paho
from django.conf import settings
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

logger = logging.getLogger(__name__)
IN_FLIGHT = 500  # messages sent or received without PUBACK; STANDARDS' measurements favour hundreds over thousands


class Incoming(NamedTuple):
    """A message as it came: where to acknowledge it, and what it says."""

    generation: int
    packet_id: int
    topic: str
    payload: bytes
    received_at: datetime


class NotConnected(Exception):
    """There is no broker right now; the caller keeps what it wanted to send."""


def new_client(client_id: str, *, client_class: type[paho.Client] = paho.Client, clean_session: bool) -> paho.Client:
    """Return a paho client set up from MQTT_URL and the MQTT_*_FILE settings, with manual acknowledgement."""
    url = urlsplit(settings.MQTT_URL)
    client = client_class(
        CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=clean_session, manual_ack=True
    )
    if url.username:
        client.username_pw_set(unquote(url.username), unquote(url.password or ""))
    if url.scheme == "mqtts":
        context = ssl.create_default_context(cafile=settings.MQTT_CA_FILE or None)
        if settings.MQTT_CERTIFICATE_FILE:
            context.load_cert_chain(settings.MQTT_CERTIFICATE_FILE, settings.MQTT_KEY_FILE or None)
        client.tls_set_context(context)
    client.max_inflight_messages_set(IN_FLIGHT)
    client.reconnect_delay_set(1, 8)
    return client


def broker_address() -> tuple[str, int]:
    """Return host and port of MQTT_URL."""
    url = urlsplit(settings.MQTT_URL)
    return url.hostname or "127.0.0.1", url.port or (8883 if url.scheme == "mqtts" else 1883)


class BrokerConnection:
    """paho's network thread on one side, the inbox and the relay on the other, two queues between them."""

    def __init__(self, client_id: str, filters: Iterable[str]) -> None:
        self.incoming: SimpleQueue[Incoming] = SimpleQueue()
        self.published: SimpleQueue[int] = SimpleQueue()
        self.connected = threading.Event()
        self.generation = 0
        self._filters = [(name, 1) for name in filters]
        self._client = new_client(client_id, clean_session=False)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message
        self._client.on_publish = self._on_publish

    def start(self) -> None:
        """Begin to connect in the background, and go on trying for ever."""
        self._client.connect_async(*broker_address(), keepalive=30)
        self._client.loop_start()

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, topic: str, payload: bytes) -> int:
        """Send at QoS 1 and return the packet id that `published` will name; raise NotConnected without a broker."""
        if not self.connected.is_set():
            raise NotConnected
        return self._client.publish(topic, payload, qos=1).mid

    def acknowledge(self, messages: Iterable[Incoming]) -> None:
        """Acknowledge in order of arrival; those of an earlier connection are left out, the broker sends them again."""
        for message in messages:
            if message.generation == self.generation:
                self._client.ack(message.packet_id, 1)

    # paho's thread runs these: an exception here would kill it silently, so they only note and enqueue.
    def _on_connect(
        self,
        client: paho.Client,
        userdata: Any,
        flags: paho.ConnectFlags,
        code: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if code.is_failure:
            logger.warning("the broker refuses the link: %s", code)
            return
        self.generation += 1
        if self._filters:
            client.subscribe(self._filters)
        self.connected.set()
        logger.info("connected to the broker (connection %d)", self.generation)

    def _on_disconnect(
        self,
        client: paho.Client,
        userdata: Any,
        flags: paho.DisconnectFlags,
        code: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if self.connected.is_set():
            logger.warning("lost the broker: %s", code)
        self.connected.clear()

    def _on_message(self, client: paho.Client, userdata: Any, message: paho.MQTTMessage) -> None:
        topic = message._topic.decode("utf-8", "replace")  # `.topic` raises on bytes that are not UTF-8
        self.incoming.put(Incoming(self.generation, message.mid, topic, bytes(message.payload), datetime.now(UTC)))

    def _on_publish(
        self, client: paho.Client, userdata: Any, packet_id: int, code: ReasonCode, properties: Properties | None
    ) -> None:
        self.published.put(packet_id)


def broker_answers(timeout_seconds: float = 2.0) -> bool:
    """Whether the broker takes an MQTT connection: a broker whose router has died still accepts TCP."""
    answered = threading.Event()
    client = new_client("", clean_session=True)
    client.on_connect = lambda _client, _userdata, _flags, code, _properties: (
        None if code.is_failure else answered.set()
    )
    try:
        client.connect(*broker_address(), keepalive=5)
    except OSError:
        return False
    deadline = time.monotonic() + timeout_seconds
    while not answered.is_set() and time.monotonic() < deadline:
        if client.loop(timeout=0.1) != paho.MQTT_ERR_SUCCESS:
            break
    client.disconnect()
    return answered.is_set()
