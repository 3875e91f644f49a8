"""Debian's Mosquitto as deploy/mosquitto configures it."""

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from django.conf import settings
from django.utils import timezone

from fleet.local import mosquitto, pki
from terminals.enrolment.certificates import revocation_lists
from tests import services
from tests.mqtt import Client, Identity, Refused, link_identity

needs_mosquitto = pytest.mark.skipif(mosquitto.program() is None, reason="mosquitto is not installed")


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

    def list_revoked(self) -> None:
        """Do what follow_revocations.py does; the broker reads the list soon after."""
        (self.folder / mosquitto.CRL).write_text(revocation_lists(timezone.now()))
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)

    @property
    def link_identity(self) -> Identity:
        return link_identity(self.secrets)


@pytest.fixture
def mosquitto_broker(db: None, tmp_path: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path)
    broker.start()
    yield broker
    broker.stop()
    shutil.rmtree(broker.folder)
