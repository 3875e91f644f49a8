"""One connection to the broker for a link process: it only enqueues, and acknowledges only on request.

paho owns the connection: it connects, subscribes, keeps alive and comes back. The traffic itself goes past its queues
in bulk (`frames`), both ways. A message is named by (generation, packet id), because packet ids are used again after a
reconnect: an ack that was held over one must not acknowledge a stranger. The session is persistent, so what was not
acknowledged comes again; what was published without a PUBACK is forgotten here and comes due again in the outbox.
"""

import logging
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import paho.mqtt.client as paho
from django.conf import settings
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from terminals.link.protocol import frames

logger = logging.getLogger(__name__)
READ_BYTES = 128 * 1024
MAX_WAITING = 1000  # reads whose messages wait for the inbox
KEEPALIVE_SECONDS = 30


class Incoming(NamedTuple):
    """A message as it came: where to acknowledge it, and what it says."""

    generation: int
    packet_id: int
    topic: str
    payload: bytes
    received_at: datetime


class Sent(NamedTuple):
    """What went out or was acknowledged: packet ids, and the connection in which alone they mean something."""

    generation: int
    packet_ids: list[int]


class NotConnected(Exception):
    """There is no broker right now; the caller keeps what it wanted to send."""


class BulkClient(paho.Client):
    """paho's client with another way to read: one large `recv`, whole packets out of it, PUBLISH and PUBACK in lists."""

    def __init__(
        self,
        client_id: str,
        *,
        on_publishes: Callable[[int, list[frames.Publish]], None],
        on_acknowledged: Callable[[int, list[int]], None],
    ) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=False, manual_ack=True)
        self.generation = 0
        self._on_publishes = on_publishes
        self._on_acknowledged = on_acknowledged
        self._rest = b""
        self._send_lock = threading.Lock()

    def reconnect(self) -> MQTTErrorCode:
        """Begin a new generation: from here on nothing of the old connection is acknowledged, read or sent."""
        with self._send_lock:
            self.generation += 1
            self._rest = b""
        return super().reconnect()

    def send(self, generation: int, packets: bytes) -> bool:
        """Send ready packets in the given connection; return False where that connection is no more."""
        with self._send_lock:
            if generation != self.generation:
                return False
            # To paho the joined packets are one, of a kind that needs nothing more once it is out.
            self._packet_queue(frames.PUBACK, packets, 0, 1)
            return True

    def take_packet_ids(self, count: int) -> list[int]:
        """Return fresh packet ids, from the same count as paho's own SUBSCRIBE."""
        return [self._mid_generate() for _ in range(count)]

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:
        """Read what there is and hand it on; paho calls this when the socket has bytes."""
        if self._sock is None:
            return MQTTErrorCode.MQTT_ERR_NO_CONN
        try:
            chunk = self._sock_recv(READ_BYTES)
        except BlockingIOError:
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        except OSError:
            chunk = b""
        if not chunk:
            return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
        with self._msgtime_mutex:
            self._last_bytes_received = time.monotonic()
        try:
            packets = frames.cut(self._rest + chunk)
        except frames.Malformed as error:
            logger.error("the broker does not speak MQTT 3.1.1: %s", error)
            return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_PROTOCOL)
        self._rest = packets.rest
        for command, content in packets.others:
            if (code := self._handle_other(command, content)) > 0:
                return self._loop_rc_handle(code)
        if packets.publishes:
            self._on_publishes(self.generation, packets.publishes)
        if packets.acknowledged:
            self._on_acknowledged(self.generation, packets.acknowledged)
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _handle_other(self, command: int, content: bytes) -> MQTTErrorCode:
        """Let paho handle a packet as if it had read it."""
        self._in_packet = {
            "command": command,
            "have_remaining": 1,
            "remaining_count": [],
            "remaining_mult": 1,
            "remaining_length": len(content),
            "packet": bytearray(content),
            "to_process": 0,
            "pos": 0,
        }
        return self._packet_handle()


def configure(client: paho.Client) -> None:
    """Give a client the credentials and TLS of MQTT_URL and the MQTT_*_FILE settings."""
    url = urlsplit(settings.MQTT_URL)
    if url.username:
        client.username_pw_set(unquote(url.username), unquote(url.password or ""))
    if url.scheme == "mqtts":
        context = ssl.create_default_context(cafile=settings.MQTT_CA_FILE or None)
        if settings.MQTT_CERTIFICATE_FILE:
            context.load_cert_chain(settings.MQTT_CERTIFICATE_FILE, settings.MQTT_KEY_FILE or None)
        client.tls_set_context(context)


def broker_address() -> tuple[str, int]:
    """Return host and port of MQTT_URL."""
    url = urlsplit(settings.MQTT_URL)
    return url.hostname or "127.0.0.1", url.port or (8883 if url.scheme == "mqtts" else 1883)


class BrokerConnection:
    """paho's network thread on one side, the inbox and the relay on the other, two queues between them."""

    def __init__(self, client_id: str, filters: Iterable[str]) -> None:
        self.incoming: SimpleQueue[list[Incoming]] = SimpleQueue()
        self.published: SimpleQueue[Sent] = SimpleQueue()
        self.connected = threading.Event()
        self._filters = [(name, 1) for name in filters]
        self._subscribed = False
        self._complained = False
        self._client = BulkClient(client_id, on_publishes=self._on_publishes, on_acknowledged=self._on_acknowledged)
        configure(self._client)
        self._client.reconnect_delay_set(1, 8)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_connect_fail = self._on_connect_fail
        self._client.on_subscribe = self._on_subscribe

    @property
    def generation(self) -> int:
        """The number of the present connection."""
        return self._client.generation

    @property
    def healthy(self) -> bool:
        """Whether the link hears: connected, subscribed, and paho's thread alive."""
        thread = self._client._thread
        return self.connected.is_set() and thread is not None and thread.is_alive()

    def start(self) -> None:
        """Begin to connect in the background, and go on trying for ever."""
        self._client.connect_async(*broker_address(), keepalive=KEEPALIVE_SECONDS)
        self._client.loop_start()

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, messages: Sequence[tuple[str, bytes]]) -> Sent:
        """Send (topic, payload) pairs at QoS 1 in one go; `published` names their packet ids when the broker has them.

        Raise NotConnected, with nothing sent, where there is no broker.
        """
        generation = self.generation
        packet_ids = self._client.take_packet_ids(len(messages))
        packets = frames.publish_frames(
            frames.Publish(packet_id, topic.encode(), payload)
            for packet_id, (topic, payload) in zip(packet_ids, messages, strict=True)
        )
        if not self.connected.is_set() or not self._client.send(generation, packets):
            raise NotConnected
        return Sent(generation, packet_ids)

    def acknowledge(self, messages: Sequence[Incoming]) -> None:
        """Acknowledge in order of arrival; those of an earlier connection are left out, the broker sends them again."""
        generation = self.generation
        ids = [message.packet_id for message in messages if message.generation == generation and message.packet_id]
        if ids:
            self._client.send(generation, frames.puback_frames(ids))

    # paho's thread runs these: an exception here would kill it silently, so they only note and enqueue.
    def _on_publishes(self, generation: int, publishes: list[frames.Publish]) -> None:
        now = datetime.now(UTC)
        if self.incoming.qsize() > MAX_WAITING:  # at QoS 0 no window holds senders back, and nothing was promised
            publishes = [publish for publish in publishes if publish.packet_id]
        self.incoming.put(
            [
                Incoming(generation, packet_id, topic.decode("utf-8", "replace"), payload, now)
                for packet_id, topic, payload in publishes
            ]
        )

    def _on_acknowledged(self, generation: int, packet_ids: list[int]) -> None:
        self.published.put(Sent(generation, packet_ids))

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
        # A session that the broker kept has its subscription; once more would bring every retained message again.
        if flags.session_present and self._subscribed:
            self._on_ready()
        else:
            client.subscribe(self._filters)

    def _on_connect_fail(self, client: paho.Client, userdata: Any) -> None:
        host, port = broker_address()
        if not self._complained:
            logger.warning("no broker answers at %s:%d; trying again for ever", host, port)
        self._complained = True

    def _on_subscribe(
        self, client: paho.Client, userdata: Any, packet_id: int, codes: list[ReasonCode], properties: Properties | None
    ) -> None:
        refused = [str(code) for code in codes if code.is_failure]
        if refused:
            logger.error("the broker does not let the link subscribe: %s", ", ".join(refused))
        else:
            self._subscribed = True
            self._on_ready()

    def _on_ready(self) -> None:
        self._complained = False
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


def broker_answers(timeout_seconds: float = 2.0) -> bool:
    """Whether the broker takes an MQTT connection: a broker whose router has died still accepts TCP."""
    answered = threading.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2, clean_session=True)
    configure(client)
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
