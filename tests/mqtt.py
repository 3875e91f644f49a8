"""A broker's client by TLS, with a certificate or without: a terminal, a link, or who would like to be one."""

import ssl
import threading
import time
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple, Protocol

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from terminals.simulator.device import Device


class Identity(NamedTuple):
    """A certificate with its chain, and its key, in PEM."""

    certificate_pem: str
    key_pem: str


def identity_of(device: Device) -> Identity:
    return Identity(device.memory.certificate_pem, device.memory.private_key_pem)


class Broker(Protocol):
    """Where a client comes to: its port for terminals, a folder for what is written, and the secrets of who runs it."""

    folder: Path
    secrets: Path

    @property
    def port(self) -> int: ...


class Refused(Exception):
    """The broker did not let this client in."""


class Client:
    """One connection by TLS; `received` gets (topic, payload). Raises Refused or OSError where the broker does not let it in."""

    def __init__(
        self,
        broker: Broker,
        identity: Identity | None,
        client_id: str,
        *,
        port: int | None = None,
        will: tuple[str, bytes] | None = None,
        user: tuple[str, str] | None = None,
    ) -> None:
        self.received: SimpleQueue[tuple[str, bytes]] = SimpleQueue()
        self.ended = threading.Event()
        self._answered = threading.Event()
        self._codes: list[ReasonCode] = []
        self._port = port or broker.port
        context = ssl.create_default_context(cafile=str(broker.secrets / "services_ca.crt.pem"))
        if identity is not None:
            file = broker.folder / f"{client_id}.{time.monotonic_ns()}.pem"
            file.write_text(identity.key_pem + identity.certificate_pem)
            context.load_cert_chain(file)
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, reconnect_on_failure=False)
        self._client.tls_set_context(context)
        if user is not None:
            self._client.username_pw_set(*user)
        if will is not None:
            self._client.will_set(*will, qos=1, retain=True)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = lambda _client, _data, m: self.received.put((m.topic, bytes(m.payload)))

    def _on_disconnect(self, *_: object) -> None:
        self.ended.set()
        self._answered.set()

    def _on_connect(self, client: paho.Client, data: object, flags: object, code: ReasonCode, _p: object) -> None:
        self._codes.append(code)
        if not code.is_failure:
            self.ended.clear()
        self._answered.set()

    def __enter__(self) -> "Client":
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        answered = self._answered.wait(10)
        if not answered or not self._codes or self._codes[0].is_failure or self.ended.is_set():
            self._client.loop_stop()
            raise Refused
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def subscribe(self, *filters: str) -> None:
        done = threading.Event()
        self._client.on_subscribe = lambda *_: done.set()
        self._client.subscribe([(name, 1) for name in filters])
        assert done.wait(10)

    def ask_for(self, name: str) -> None:
        """Subscribe, and do not wait for an answer."""
        self._client.subscribe(name, 1)

    def send(self, topic: str, payload: bytes) -> None:
        """Publish at QoS 1, and do not wait for an answer."""
        self._client.publish(topic, payload, qos=1)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish at QoS 1 and wait for the broker's PUBACK, which Mosquitto sends for what it throws away, too; or until it
        disconnects this client for it."""
        sent = self._client.publish(topic, payload, qos=1, retain=retain)
        for _ in range(100):
            with suppress(RuntimeError):  # paho's, where the connection is ending
                if self.ended.is_set() or sent.is_published():
                    return
                sent.wait_for_publish(0.1)
        raise AssertionError(f"no PUBACK on {topic}")

    def vanish(self) -> None:
        """Break the connection without a goodbye: the broker publishes the last will."""
        self._client.socket().shutdown(2)  # type: ignore[union-attr]

    def heard(self, seconds: float = 1.0) -> list[tuple[str, bytes]]:
        """Return all that came down within a while."""
        time.sleep(seconds)
        return [self.received.get() for _ in range(self.received.qsize())]


def lets_in(broker: Broker, identity: Identity | None, client_id: str, *, user: tuple[str, str] | None = None) -> bool:
    try:
        with Client(broker, identity, client_id, user=user):
            return True
    except (OSError, Refused):
        return False


def link_identity(secrets: Path) -> Identity:
    """Return who the links of an installation are."""
    return Identity((secrets / "link.crt.pem").read_text(), (secrets / "link.key.pem").read_text())
