"""The parts of an installation as processes that can be killed and started again: PostgreSQL, a broker or its nodes, links."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import django
import psycopg
from django.core.management import call_command

from fleet.local import embedded, installation, mosquitto
from fleet.local.embedded import Child
from tests import services
from tests.rabbitmq import NODES, Cluster

if TYPE_CHECKING:
    from terminals.simulator.device import Device

ROOT = Path(__file__).parent.parent
BROKERS = ("embedded", "mosquitto", "rabbitmq")


class Parts:
    """`start` brings a part up, `kill` ends it as a power failure would. Parts are `database`, `broker` and `link-N`;
    of a cluster of three each node is one, `broker-N`, and no other is killed before the last one is a member again."""

    def __init__(self, broker: str) -> None:
        self.broker = broker
        self._children: dict[str, Child] = {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._timers: list[threading.Timer] = []
        self._cluster: Cluster | None = None

    def prepare(self) -> None:
        """Make the state folder, start the database, and point the settings' environment at it and at the broker to come; before
        django.setup."""
        services.prepare()
        socket_dir = installation.socket_dir(services.STATE_DIR)
        self._children["database"] = embedded.postgres(services.STATE_DIR / "database", socket_dir)
        port = int(os.environ["MQTT_PORT"])
        secrets = services.STATE_DIR / "secrets"
        if self.broker == "rabbitmq":
            roots = Path(os.environ["DEVICE_CA_CERTIFICATE_FILE"])
            self._cluster = Cluster(services.STATE_DIR / "rabbitmq", secrets, roots)
            os.environ |= self._cluster.settings
        elif self.broker == "mosquitto":
            os.environ |= mosquitto.settings(secrets, port)
        else:
            self._children["broker"] = embedded.broker(services.STATE_DIR / "broker.toml", port)
        self.start("database")
        with psycopg.connect(services.address("postgres"), autocommit=True) as server:
            server.execute("CREATE DATABASE tillwarden")

    def start_broker(self) -> None:
        """Start the broker; Mosquitto begins with the list of revoked certificates, so the database must be there."""
        if self._cluster is not None:
            self._cluster.start()
            return
        if self.broker == "mosquitto":
            from django.conf import settings
            from django.utils import timezone

            from terminals.enrolment.certificates import revocation_lists

            folder, secrets = services.STATE_DIR / "mosquitto", services.STATE_DIR / "secrets"
            roots, crl_pem = settings.DEVICE_CA_CERTIFICATE_FILE, revocation_lists(timezone.now())
            mosquitto.prepare(folder, secrets, int(os.environ["MQTT_PORT"]), roots=roots, crl_pem=crl_pem)
            self._children["broker"] = Child(mosquitto.command(folder), inherits=False)
        self.start("broker")

    def add_links(self, count: int) -> None:
        for number in range(count):
            argv = [sys.executable, "manage.py", "run_device_link", "--name", f"link-{number}"]
            self._children[f"link-{number}"] = Child(argv)
            self.start(f"link-{number}")

    @property
    def names(self) -> list[str]:
        return [*self._children, *(f"broker-{node}" for node in NODES if self._cluster is not None)]

    def start(self, name: str) -> None:
        if self._cluster is not None and name not in self._children:
            self._cluster.restart(node_of(name))
            return
        self._running[name] = services.spawn(self._children[name], cwd=ROOT)
        if name == "database":
            self._wait_for_database()

    def kill(self, name: str) -> None:
        """SIGKILL; of PostgreSQL the postmaster, whose children then leave by themselves."""
        if self._cluster is not None and name not in self._children:
            self.wait_for_all()
            self._cluster.kill(node_of(name))
            return
        process = self._running.pop(name)
        process.kill()
        process.wait()

    def kill_for(self, name: str, seconds: float) -> None:
        """Kill a part and start it again later, in a thread: whoever sends meanwhile may wait for it."""
        self.kill(name)
        timer = threading.Timer(seconds, self.start, [name])
        timer.start()
        self._timers.append(timer)

    def wait_for_all(self) -> None:
        """Return when all that was killed has been started again."""
        for timer in self._timers:
            timer.join()

    def stop(self) -> None:
        """End everything, and start nothing again."""
        for timer in self._timers:
            timer.cancel()
            timer.join()
        if self._cluster is not None:
            self._cluster.stop()
        for name, process in reversed(self._running.items()):
            process.send_signal(signal.SIGINT if name == "database" else signal.SIGTERM)
        for process in self._running.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()

    def _wait_for_database(self) -> None:
        """Return when it answers; the children of one that was killed may hold its files, and it is started once more then."""
        while self._running["database"].poll() is None:
            with suppress(psycopg.OperationalError):
                psycopg.connect(services.address("postgres"), connect_timeout=2).close()
                return
            time.sleep(0.2)
        time.sleep(0.5)
        self.start("database")


@contextmanager
def with_terminals(broker: str, count: int) -> "Iterator[tuple[Parts, list[Device]]]":
    """Parts of an installation with so many terminals on its books; only the database runs yet. All end with the block."""
    parts = Parts(broker)
    try:
        parts.prepare()
        os.environ["DJANGO_SETTINGS_MODULE"] = "fleet.settings"
        django.setup()
        from bench import fleet
        from fleet.local import device_ca

        call_command("migrate", verbosity=0)
        device_ca.ensure()
        yield parts, fleet.plant(count)
    finally:
        with suppress(OSError):
            parts.stop()


def node_of(name: str) -> int:
    """Return the number of a cluster's node by its part's name."""
    return int(name.rpartition("-")[2])
