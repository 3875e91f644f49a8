"""Debian's Mosquitto as deploy/mosquitto configures it, and clients that come to it with a certificate or without."""

import shutil
import signal
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

import paho.mqtt.client as paho
import pytest
from django.conf import settings
from django.utils import timezone
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from fleet.local import mosquitto, pki
from terminals.enrolment.certificates import revocation_lists
from terminals.simulator.device import Device
from tests import services

needs_mosquitto = pytest.mark.skipif(mosquitto.program() is None, reason="mosquitto is not installed")


class Identity(NamedTuple):
    """A certificate with its chain, and its key, in PEM."""

    certificate_pem: str
    key_pem: str


def identity_of(device: Device) -> Identity:
    return Identity(device.memory.certificate_pem, device.memory.private_key_pem)


class Mosquitto:
    """A broker for one test, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.secrets, self.port = folder / "mosquitto", folder / "secrets", services.free_port_pair()
        self.secrets.mkdir()
        pki.make_services(self.secrets)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def link_settings(self) -> dict[str, str]:
        return mosquitto.settings(self.secrets, self.port)

    def start(self) -> None:
        crl_pem = revocation_lists(timezone.now())
        roots = settings.DEVICE_CA_CERTIFICATE_FILE
        mosquitto.prepare(self.folder, self.secrets, self.port, roots=roots, crl_pem=crl_pem)
        log = (self.folder / "log").open("ab")
        self._process = subprocess.Popen(mosquitto.command(self.folder), stdout=log, stderr=log)
        for _ in range(100):
            with suppress(OSError, Refused), Client(self, self.link_identity, "probe", port=self.port + 1):
                return
            time.sleep(0.1)
        raise AssertionError((self.folder / "log").read_text())

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def list_revoked_anew(self) -> None:
        """Do what follow_revocations.py does."""
        (self.folder / mosquitto.CRL).write_text(revocation_lists(timezone.now()))
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)
        time.sleep(0.3)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)

    @property
    def link_identity(self) -> Identity:
        return Identity((self.secrets / "link.crt.pem").read_text(), (self.secrets / "link.key.pem").read_text())


class Refused(Exception):
    """The broker did not let this client in."""


class Client:
    """One connection by TLS; `received` gets (topic, payload). Raises Refused or OSError where the broker does not let it in."""

    def __init__(
        self,
        broker: Mosquitto,
        identity: Identity | None,
        client_id: str,
        *,
        port: int | None = None,
        will: tuple[str, bytes] | None = None,
    ) -> None:
        self.received: SimpleQueue[tuple[str, bytes]] = SimpleQueue()
        self.ended = threading.Event()
        self._answered = threading.Event()
        self._codes: list[object] = []
        self._port = port or broker.port
        context = ssl.create_default_context(cafile=str(broker.secrets / "services_ca.crt.pem"))
        if identity is not None:
            file = broker.folder / f"{client_id}.{time.monotonic_ns()}.pem"
            file.write_text(identity.key_pem + identity.certificate_pem)
            context.load_cert_chain(file)
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, reconnect_on_failure=False)
        self._client.tls_set_context(context)
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
        if not self._answered.wait(10) or not self._codes or self.ended.is_set():
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

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish at QoS 1 and wait for the broker's PUBACK, which it sends for what it throws away, too."""
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(10)

    def vanish(self) -> None:
        """Break the connection without a goodbye: the broker publishes the last will."""
        self._client.socket().shutdown(2)  # type: ignore[union-attr]

    def heard(self, seconds: float = 1.0) -> list[tuple[str, bytes]]:
        """Return all that came down within a while."""
        time.sleep(seconds)
        return [self.received.get() for _ in range(self.received.qsize())]


@pytest.fixture
def mosquitto_broker(db: None, tmp_path: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path)
    broker.start()
    yield broker
    broker.stop()
    shutil.rmtree(broker.folder)
