"""paho's client with another way to read and to send: whole packets in bulk, past its queues."""

import logging
import threading
import time
from collections.abc import Callable, Iterator

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from terminals.link.protocol import frames

logger = logging.getLogger(__name__)
READ_BYTES = 128 * 1024


class BulkClient(paho.Client):
    """paho's client with another way to read: one large `recv`, whole packets out of it, PUBLISH and PUBACK in lists."""

    def __init__(
        self,
        client_id: str,
        *,
        clean_session: bool,
        generations: Iterator[int],
        on_publishes: Callable[[int, list[frames.Publish]], None],
        on_acknowledged: Callable[[int, list[int]], None],
    ) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=clean_session, manual_ack=True)
        self.generation = 0
        self._generations = generations
        self._on_publishes = on_publishes
        self._on_acknowledged = on_acknowledged
        self._rest = b""
        self._send_lock = threading.Lock()
        # With it paho leaves all writing to the thread that drives the loop; two threads that write would mix their packets.
        self.on_socket_register_write = lambda *_: None

    def reconnect(self) -> MQTTErrorCode:
        """Begin a new generation: from here on nothing of the old connection is acknowledged, read or sent."""
        with self._send_lock:
            self.generation = next(self._generations)
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
