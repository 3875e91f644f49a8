"""Connections to the broker for a link process: they only enqueue, and acknowledge only on request.

paho speaks MQTT: it connects, subscribes and keeps alive; a thread of each connection drives it and comes back after a loss.
The traffic itself goes past paho's queues in bulk (`bulk_client`, `frames`), both ways. A message is named by (generation,
packet id), because packet ids are used again after a reconnect: an ack that was held over one must not acknowledge a
stranger. A connection that subscribes has a persistent session, so what was not acknowledged comes again; what was
published without a PUBACK is forgotten here and comes due again in the outbox.
"""

import itertools
import logging
import random
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import Any, NamedTuple

import paho.mqtt.client as paho
from django.conf import settings
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from terminals.link.bulk_client import BulkClient
from terminals.link.protocol import brokers, frames

logger = logging.getLogger(__name__)
MAX_WAITING = 1000  # reads whose messages wait for the inbox
KEEPALIVE_SECONDS = 30
LONGEST_PAUSE_SECONDS = 2.0  # links are few, and what a broker that lost its sessions gets meanwhile nobody hears
# A cluster gives what a dead node had in hand to the next holder of a lane only once it noticed; who comes sooner gets later
# messages first.
NOTICED_SECONDS = 2.0
CLOSE_SECONDS = 5.0
ANSWER_SECONDS = 10.0  # a node that hangs still takes connections


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


class Wires:
    """What the connections of one process share: the queues into which they put messages, a queue for each inbox, and the count
    by which no two connections ever have the same generation."""

    def __init__(self, inboxes: int = 1) -> None:
        self.queues: list[SimpleQueue[list[Incoming]]] = [SimpleQueue() for _ in range(inboxes)]
        self.generations: Iterator[int] = itertools.count(1)
        self.complained = False  # that no broker answers: once, and not by each connection


def configure(client: paho.Client) -> None:
    """Give a client the credentials and TLS of MQTT_URL and the MQTT_*_FILE settings."""
    where = brokers.parse(settings.MQTT_URL)
    if where.user:
        client.username_pw_set(where.user, where.password)
    if where.tls:
        context = ssl.create_default_context(cafile=settings.MQTT_CA_FILE or None)
        if settings.MQTT_CERTIFICATE_FILE:
            context.load_cert_chain(settings.MQTT_CERTIFICATE_FILE, settings.MQTT_KEY_FILE or None)
        client.tls_set_context(context)


def nodes_in_turn() -> Iterator[tuple[str, int]]:
    """Return the broker's nodes, one after the other for ever, from any of them: a cluster's connections spread by it."""
    nodes = list(brokers.parse(settings.MQTT_URL).nodes)
    random.shuffle(nodes)
    return itertools.cycle(nodes)


class BrokerConnection:
    """A thread with paho on one side, the inbox or the relay on the other, queues between them."""

    def __init__(
        self,
        client_id: str,
        wires: Wires,
        *,
        filters: Iterable[str] = (),
        queue: "SimpleQueue[list[Incoming]] | None" = None,
        may_connect: Callable[[], bool] = lambda: True,
    ) -> None:
        self.published: SimpleQueue[Sent] = SimpleQueue()
        self.connected = threading.Event()
        self._wires = wires
        self.queue = wires.queues[0] if queue is None else queue
        self._filters = [(name, 1) for name in filters]
        self._may_connect = may_connect
        several = len(brokers.parse(settings.MQTT_URL).nodes) > 1
        self._shortest_pause = NOTICED_SECONDS if self._filters and several else 0.0
        self._subscribed = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=client_id, daemon=True)
        self._client = BulkClient(
            client_id,
            clean_session=not self._filters,
            generations=wires.generations,
            on_publishes=self._on_publishes,
            on_acknowledged=self._on_acknowledged,
        )
        configure(self._client)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_subscribe = self._on_subscribe

    @property
    def generation(self) -> int:
        """The number of the present connection."""
        return self._client.generation

    @property
    def healthy(self) -> bool:
        """Whether it hears: connected, subscribed, and its thread alive."""
        return self.connected.is_set() and self.alive

    @property
    def alive(self) -> bool:
        """Whether its thread runs, connected or not."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to connect in the background, and go on trying for ever."""
        self._thread.start()

    def stop(self) -> None:
        """Begin to leave; `join` waits until it is done."""
        self._stopping.set()
        self._client.disconnect()

    def join(self, seconds: float = CLOSE_SECONDS) -> None:
        self._thread.join(seconds)

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

    def acknowledge(self, generation: int, packet_ids: Sequence[int]) -> None:
        """Acknowledge in order of arrival; those of an earlier connection are left out, the broker sends them again."""
        self._client.send(generation, frames.puback_frames(packet_ids))

    def _run(self) -> None:
        """Stay connected to one node or the other; come back with full jitter, so that links do not return in step."""
        for host, port in nodes_in_turn():
            if self._may_connect() and self._connect(host, port):
                self._stay()
            self.connected.clear()
            if self._stopping.is_set():
                self._leave()
                return
            jitter = random.uniform(0, LONGEST_PAUSE_SECONDS)  # noqa: S311 - no secret
            if self._stopping.wait(self._shortest_pause + jitter):
                return

    def _stay(self) -> None:
        """Drive the connection until it is lost; a node that takes TCP but does not answer is left for the next one."""
        stood, give_up_at = False, time.monotonic() + ANSWER_SECONDS
        while not self._stopping.is_set() and self._client.loop(timeout=1.0) == paho.MQTT_ERR_SUCCESS:
            stood = stood or self.connected.is_set()
            if not stood and time.monotonic() > give_up_at:
                logger.warning("the broker does not answer; trying the next node")
                self._client.disconnect()
                break

    def _leave(self) -> None:
        """Say goodbye, where it is connected: without one the broker would wait for it."""
        self._client.disconnect()
        for _ in range(10):
            if self._client.loop(timeout=0.1) != paho.MQTT_ERR_SUCCESS:
                return

    def _connect(self, host: str, port: int) -> bool:
        try:
            return self._client.connect(host, port, keepalive=KEEPALIVE_SECONDS) == paho.MQTT_ERR_SUCCESS
        except (OSError, ValueError) as error:
            if not self._wires.complained:
                logger.warning("no broker at %s:%d (%s); trying again for ever", host, port, error)
            self._wires.complained = True
            return False

    # The connection's thread runs these: an exception here would end it, so they only note and enqueue.
    def _on_publishes(self, generation: int, publishes: list[frames.Publish]) -> None:
        now = datetime.now(UTC)
        if self.queue.qsize() > MAX_WAITING:  # at QoS 0 no window holds senders back, and nothing was promised
            publishes = [publish for publish in publishes if publish.packet_id]
        self.queue.put(
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
        if not self._filters or (flags.session_present and self._subscribed):
            self._on_ready()
        else:
            client.subscribe(self._filters)

    def _on_subscribe(
        self, client: paho.Client, userdata: Any, packet_id: int, codes: list[ReasonCode], properties: Properties | None
    ) -> None:
        refused = {str(code) for code in codes if code.is_failure}
        if refused:
            logger.error("the broker does not let the link subscribe: %s", ", ".join(sorted(refused)))
        else:
            self._subscribed = True
            self._on_ready()

    def _on_ready(self) -> None:
        self._wires.complained = False
        self.connected.set()
        logger.debug("connected to the broker (connection %d)", self.generation)

    def _on_disconnect(
        self,
        client: paho.Client,
        userdata: Any,
        flags: paho.DisconnectFlags,
        code: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if self.connected.is_set() and not self._stopping.is_set():
            logger.warning("lost the broker: %s", code)
        self.connected.clear()


def take_over(client_id: str = "", timeout_seconds: float = 2.0) -> bool:
    """Connect as somebody, without a session, and leave: the broker ends their connection and forgets their session.

    Return whether the broker took it; with a client id that nobody has, that is whether it works at all (one whose router has
    died still accepts TCP).
    """
    answered = threading.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=True)
    client.on_connect = lambda _client, _userdata, _flags, code, _properties: (
        None if code.is_failure else answered.set()
    )
    try:
        configure(client)
        client.connect(*next(nodes_in_turn()), keepalive=5)
    except OSError:
        return False
    deadline = time.monotonic() + timeout_seconds
    while not answered.is_set() and time.monotonic() < deadline:
        if client.loop(timeout=0.1) != paho.MQTT_ERR_SUCCESS:
            break
    client.disconnect()
    return answered.is_set()
