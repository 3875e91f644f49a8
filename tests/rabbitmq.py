"""RabbitMQ as deploy/rabbitmq configures it: a cluster of three nodes, or one, in one folder and on loopback, to be killed.

It needs Debian's rabbitmq-server (3.10) and Erlang's `erl_call`; no system service is used and nothing outside the folder is
written. Terminals and links come by mutual TLS alone, Celery in clear.
"""

import contextlib
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from fleet.local import shipped
from tests import services

# The real start scripts: Debian's wrapper would change user and folder.
SCRIPTS = sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin/rabbitmq-server"))
needs_rabbitmq = pytest.mark.skipif(not SCRIPTS or not shutil.which("epmd"), reason="rabbitmq-server is not installed")
ERL_CALL = "/usr/lib/erlang/bin/erl_call"
NODES = (1, 2, 3)
START_SECONDS = 120.0
# A restart takes 6 to 8 s; after two nodes were down at once, each waits for the other's Raft server before it starts its own.
NUDGE_AFTER_SECONDS = 15.0

SHIPPED = shipped.DEPLOY / "rabbitmq"
INSTALLED = "/etc/rabbitmq/tillwarden/"
# How the nodes of a test find each other, which is an operator's own.
CLUSTER = """
cluster_formation.peer_discovery_backend = classic_config
cluster_formation.discovery_retry_limit = 300
cluster_formation.discovery_retry_interval = 200
raft.wal_max_size_bytes = 67108864
"""


# What docs/operations.md does by rabbitmqctl: no guest, Celery in a virtual host of its own, the links by certificate alone.
USERS = (
    'delete_user(<<"guest">>',
    'add_user(<<"celery">>, <<"{password}">>',
    'set_permissions(<<"celery">>, <<"celery">>, <<".*">>, <<".*">>, <<".*">>',
    'add_user(<<"tillwarden-link">>, <<"{password}">>',
    'clear_password(<<"tillwarden-link">>',
    'set_permissions(<<"tillwarden-link">>, <<"/">>, <<"^mqtt-subscription-">>, <<"{used}">>, <<"{used}">>',
    'set_topic_permissions(<<"tillwarden-link">>, <<"/">>, <<"amq.topic">>, <<"{topics}">>, <<"{topics}">>',
)
USED, TOPICS = r"^(mqtt-subscription-.*|amq\\.topic)$", r"^tw\\.v1\\."


class ClusterError(RuntimeError):
    """A node did not do what was asked; the text ends with its log."""


def holds(done: Callable[[], bool], seconds: float) -> bool:
    """Poll until something is true; return False when the time is over."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def nothing_revoked(ca_pem: str, key_pem: bytes) -> str:
    """Return a CA's list of revoked certificates, with none on it."""
    now, issuer = datetime.now(UTC), x509.load_pem_x509_certificate(ca_pem.encode()).subject
    empty = x509.CertificateRevocationListBuilder().issuer_name(issuer).last_update(now - timedelta(minutes=1))
    key = load_pem_private_key(key_pem, None)
    signed = empty.next_update(now + timedelta(days=1)).sign(key, hashes.SHA256())  # type: ignore[arg-type]
    return signed.public_bytes(Encoding.PEM).decode()


class Cluster:
    """Nodes numbered from 1. `roots` are those of terminals' certificates; `certificates` (pki.make_services) holds the nodes'
    own and the links'."""

    def __init__(self, folder: Path, certificates: Path, roots: Path, nodes: Sequence[int] = NODES) -> None:
        ports = services.free_ports(3 * len(nodes) + 2)
        self.folder, self.secrets, self.nodes, self._roots = folder, certificates, nodes, roots
        self.amqp, self.mqtt, self._dist = (
            dict(zip(nodes, ports[at : at + len(nodes)], strict=True)) for at in range(0, 3 * len(nodes), len(nodes))
        )
        self._epmd_port, self._permissions_port = ports[-2:]
        self.celery_password = secrets.token_hex(16)
        self._beside: list[subprocess.Popen[bytes]] = []
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def port(self) -> int:
        """Where clients come to the first node."""
        return self.mqtt[1]

    @property
    def settings(self) -> dict[str, str]:
        """Return what an installation must know of it, Celery too."""
        nodes = ",".join(f"127.0.0.1:{port}" for port in self.mqtt.values())
        return {
            "MQTT_URL": f"mqtts://{nodes}",
            "MQTT_CA_FILE": str(self.secrets / "services_ca.crt.pem"),
            "MQTT_CERTIFICATE_FILE": str(self.secrets / "link.crt.pem"),
            "MQTT_KEY_FILE": str(self.secrets / "link.key.pem"),
            "CELERY_BROKER_URL": ";".join(
                f"amqp://celery:{self.celery_password}@127.0.0.1:{port}/celery" for port in self.amqp.values()
            ),
        }

    def __enter__(self) -> "Cluster":
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Return when all nodes are members; leave nothing behind where that fails."""
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def kill(self, node: int) -> None:
        """End a node as a power failure would."""
        process = self._running.pop(node)
        process.kill()
        process.wait()

    def restart(self, node: int) -> None:
        """Start a killed node on its files; return when it is a full member."""
        self._spawn(node)
        self._wait_until_member(node)

    def stop(self) -> None:
        """End everything at once; the folder is thrown away."""
        for node in list(self._running):
            self.kill(node)
        for process in self._beside:
            process.kill()
            process.wait()
        self._beside.clear()

    def follow_command(self, web_url: str) -> list[str]:
        """Return the command line of what keeps the lists of revoked certificates new."""
        lists, script = self.folder / "device_ca.crl.pem", str(SHIPPED / "hash_revocations.sh")
        return shipped.follow_revocations(web_url, lists, script, str(lists), str(self.folder / "revoked"))

    def list_revoked(self, lists_pem: str) -> None:
        """Do once what the process of `follow_command` does."""
        (self.folder / "lists.pem").write_text(lists_pem)
        script = str(SHIPPED / "hash_revocations.sh")
        subprocess.run([script, str(self.folder / "lists.pem"), str(self.folder / "revoked")], check=True)

    def _start(self) -> None:
        """Start node 1, then the others: asked all at once they would wait for each other's lock."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(self.folder / ".erlang.cookie", os.O_CREAT | os.O_WRONLY, 0o400), "w") as cookie:
            cookie.write(secrets.token_hex(20))  # Erlang finds it by HOME, and insists that nobody else can read it
        self._write_certificates()
        self._start_beside(["epmd", "-port", str(self._epmd_port), "-address", "127.0.0.1"], self._epmd_port)
        script = str(SHIPPED / "permissions.py")
        self._start_beside([sys.executable, script, str(self._permissions_port)], self._permissions_port)
        for node in self.nodes:
            self._write_files(node)
        self._spawn(1)
        self._wait(
            1, lambda: self._answers(1, "lists:member(rabbit_durable_queue, mnesia:system_info(tables))") == "true"
        )
        for node in self.nodes[1:]:
            self._spawn(node)
        for node in self.nodes[1:]:
            # Raft takes one new member at a time, and the plugin does not try again after a refusal.
            self._wait_for_port(node)
            self._answers(node, f"ra:add_member({{mqtt_node, '{self._name(1)}'}}, {{mqtt_node, node()}})")
        for node in self.nodes:
            self._wait_until_member(node)
        self._answers(1, 'rabbit_vhost:add(<<"celery">>, <<"test">>)')
        for user in USERS:
            told = user.format(password=self.celery_password, used=USED, topics=TOPICS)
            assert self._answers(1, f'rabbit_auth_backend_internal:{told}, <<"test">>)'), told

    def _name(self, node: int) -> str:
        return f"r{node}@localhost"

    def _home(self, node: int) -> Path:
        return self.folder / f"node{node}"

    def _answers(self, node: int, expression: str) -> str:
        """Evaluate Erlang on a node; return its answer, or nothing where it gives none. It takes 0.02 s, rabbitmqctl 0.8 s."""
        argv = [ERL_CALL, "-sname", self._name(node), "-timeout", "20", "-e"]
        environment = self._environment(node)
        with contextlib.suppress(subprocess.TimeoutExpired):
            done = subprocess.run(
                argv, input=f"{expression}.\n", env=environment, text=True, capture_output=True, timeout=25, check=False
            )
            if done.stdout.startswith("{ok, "):
                return done.stdout.strip()[len("{ok, ") : -1]
        return ""

    def _is_member(self, node: int) -> bool:
        """Whether it sees the nodes that run, and all three track client ids: the MQTT port opens up to 5 s before that."""
        members = "case ra:members({mqtt_node, node()}, 2000) of {ok, M, _} -> length(M); _ -> 0 end"
        found = self._answers(node, f"{{length(rabbit_nodes:all_running()), {members}}}")
        return [int(number) for number in re.findall(r"\d+", found)] == [len(self._running), len(self.nodes)]

    def _wait_until_member(self, node: int) -> None:
        self._wait_for_port(node)
        self._wait(node, lambda: self._is_member(node))

    def _wait_for_port(self, node: int) -> None:
        nudge_at = time.monotonic() + NUDGE_AFTER_SECONDS

        def open_() -> bool:
            if time.monotonic() > nudge_at:
                self._answers(node, "ra:restart_server(coordination, {mqtt_node, node()})")
            return services.listens(self.mqtt[node])

        self._wait(node, open_)

    def _wait(self, node: int, done: Callable[[], bool]) -> None:
        def over() -> bool:
            return any(process.poll() is not None for process in self._running.values()) or done()

        if not holds(over, START_SECONDS) or self._running[node].poll() is not None:
            log = self._home(node) / "rabbit.log"
            said = log.read_text(errors="replace") if log.exists() else ""
            raise ClusterError(f"node {node} did not start:\n" + "\n".join(said.splitlines()[-40:]))

    def _write_files(self, node: int) -> None:
        home = self._home(node)
        home.mkdir(exist_ok=True)
        text = (SHIPPED / "rabbitmq.conf").read_text() + CLUSTER
        for theirs, here in (
            ("listeners.tcp.default = 5672", f"listeners.tcp.1 = 127.0.0.1:{self.amqp[node]}"),
            ("mqtt.listeners.ssl.default = 8883", f"mqtt.listeners.ssl.1 = 127.0.0.1:{self.mqtt[node]}"),
            ("127.0.0.1:8016", f"127.0.0.1:{self._permissions_port}"),
        ):
            assert theirs in text
            text = text.replace(theirs, here)
        # Node 1 is told of nobody, so that it founds the cluster at once.
        for number, peer in enumerate((1, node) if node > 1 else (), 1):
            text += f"cluster_formation.classic_config.nodes.{number} = {self._name(peer)}\n"
        (home / "rabbitmq.conf").write_text(text)
        (home / "advanced.config").write_text(
            (SHIPPED / "advanced.config").read_text().replace(INSTALLED, f"{self.folder}/")
        )
        shutil.copy(SHIPPED / "enabled_plugins", home / "enabled_plugins")

    def _write_certificates(self) -> None:
        """Put the certificates where the shipped files look for them, and a list that says that no link's is revoked."""
        (self.folder / "revoked").mkdir(exist_ok=True)
        for name in ("broker.crt.pem", "broker.key.pem"):
            shutil.copy(self.secrets / name, self.folder / name)
        ca = (self.secrets / "services_ca.crt.pem").read_text()
        (self.folder / "clients.crt.pem").write_text(self._roots.read_text() + ca)
        self.list_revoked(nothing_revoked(ca, (self.secrets / "services_ca.key.pem").read_bytes()))

    def _environment(self, node: int) -> dict[str, str]:
        home = self._home(node)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))}
        return inherited | {
            "HOME": str(self.folder),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": self._name(node),
            "RABBITMQ_DIST_PORT": str(self._dist[node]),
            "RABBITMQ_CONF_ENV_FILE": str(home / "none"),
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(home / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(home),
            "RABBITMQ_MNESIA_DIR": str(home / "data"),
            "RABBITMQ_LOG_BASE": str(home),
            "RABBITMQ_LOGS": str(home / "rabbit.log"),
            "RABBITMQ_PID_FILE": str(home / "pid"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(home / "generated"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}"  # our own epmd, and loopback alone
            ),
            "RUNNING_UNDER_SYSTEMD": "true",  # the script then becomes the node, which a SIGKILL must meet
        }

    def _start_beside(self, argv: list[str], port: int) -> None:
        """Start epmd, which as a daemon would outlive the test, or permissions.py, and wait until it listens."""
        quiet = subprocess.DEVNULL
        self._beside.append(subprocess.Popen(argv, stdin=quiet, stderr=quiet, start_new_session=True))
        if not holds(lambda: services.listens(port), 10):
            raise ClusterError(f"{argv[0]} does not listen on {port}")

    def _spawn(self, node: int) -> None:
        home = self._home(node)
        with (home / "console.log").open("ab") as log:
            self._running[node] = subprocess.Popen(
                [str(SCRIPTS[-1])],
                env=self._environment(node),
                cwd=home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
