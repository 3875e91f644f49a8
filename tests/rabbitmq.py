"""A cluster of three RabbitMQ nodes with MQTT in one folder, on loopback, for tests that kill brokers.

It needs Debian's rabbitmq-server (3.10) and Erlang's `erl_call`; no system service is used and nothing outside the folder is
written. Its settings are those that docs/operations.md recommends.
"""

import contextlib
import os
import re
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import pytest

# The real start scripts: Debian's wrapper would change user and folder.
SCRIPTS = sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin/rabbitmq-server"))
needs_rabbitmq = pytest.mark.skipif(not SCRIPTS or not shutil.which("epmd"), reason="rabbitmq-server is not installed")
ERL_CALL = "/usr/lib/erlang/bin/erl_call"
NODES = (1, 2, 3)
START_SECONDS = 120.0
# A restart takes 6 to 8 s; after two nodes were down at once, each waits for the other's Raft server before it starts its own.
NUDGE_AFTER_SECONDS = 15.0

CONFIGURATION = """\
listeners.tcp.1 = 127.0.0.1:{amqp}
mqtt.listeners.tcp.1 = 127.0.0.1:{mqtt}
mqtt.durable_queue_type = quorum
mqtt.prefetch = 500
mqtt.allow_anonymous = true
cluster_partition_handling = pause_minority
cluster_formation.peer_discovery_backend = classic_config
cluster_formation.discovery_retry_limit = 300
cluster_formation.discovery_retry_interval = 200
raft.wal_max_size_bytes = 67108864
"""


class ClusterError(RuntimeError):
    """A node did not do what was asked; the text ends with its log."""


def free_ports(count: int) -> list[int]:
    """Return ports that nobody uses now; all are held until the last one is known, so that none is given out twice."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def holds(done: Callable[[], bool], seconds: float) -> bool:
    """Poll until something is true; return False when the time is over."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


class Cluster:
    """Three nodes, numbered 1 to 3."""

    def __init__(self, folder: Path) -> None:
        ports = free_ports(10)
        self.folder = folder
        self.amqp = dict(zip(NODES, ports[0:3], strict=True))
        self.mqtt = dict(zip(NODES, ports[3:6], strict=True))
        self._dist = dict(zip(NODES, ports[6:9], strict=True))
        self._epmd_port = ports[9]
        self._epmd: subprocess.Popen[bytes] | None = None
        self._nodes: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def mqtt_url(self) -> str:
        return "mqtt://" + ",".join(f"127.0.0.1:{port}" for port in self.mqtt.values())

    @property
    def amqp_url(self) -> str:
        return ";".join(f"amqp://guest:guest@127.0.0.1:{port}//" for port in self.amqp.values())

    def __enter__(self) -> "Cluster":
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def kill(self, node: int) -> None:
        """End a node as a power failure would."""
        process = self._nodes.pop(node)
        process.kill()
        process.wait()

    def restart(self, node: int) -> None:
        """Start a killed node on its files; return when it is a full member."""
        self._spawn(node)
        self._wait_until_member(node)

    def stop(self) -> None:
        """End everything at once; the folder is thrown away."""
        for node in list(self._nodes):
            self.kill(node)
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()
            self._epmd = None

    def _start(self) -> None:
        """Start node 1, then the others: asked all at once they would wait for each other's lock."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(self.folder / ".erlang.cookie", os.O_CREAT | os.O_WRONLY, 0o400), "w") as cookie:
            cookie.write(secrets.token_hex(20))  # Erlang finds it by HOME, and insists that nobody else can read it
        self._start_epmd()
        for node in NODES:
            self._write_files(node)
        self._spawn(1)
        self._wait(
            1, lambda: self._answers(1, "lists:member(rabbit_durable_queue, mnesia:system_info(tables))") == "true"
        )
        for node in (2, 3):
            self._spawn(node)
        for node in (2, 3):
            # Raft takes one new member at a time, and the plugin does not try again after a refusal.
            self._wait_for_port(node)
            self._answers(node, f"ra:add_member({{mqtt_node, '{self._name(1)}'}}, {{mqtt_node, node()}})")
        for node in NODES:
            self._wait_until_member(node)

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
        return [int(number) for number in re.findall(r"\d+", found)] == [len(self._nodes), len(NODES)]

    def _wait_until_member(self, node: int) -> None:
        self._wait_for_port(node)
        self._wait(node, lambda: self._is_member(node))

    def _wait_for_port(self, node: int) -> None:
        nudge_at = time.monotonic() + NUDGE_AFTER_SECONDS

        def open_() -> bool:
            if time.monotonic() > nudge_at:
                self._answers(node, "ra:restart_server(coordination, {mqtt_node, node()})")
            return listens(self.mqtt[node])

        self._wait(node, open_)

    def _wait(self, node: int, done: Callable[[], bool]) -> None:
        def over() -> bool:
            return any(process.poll() is not None for process in self._nodes.values()) or done()

        if not holds(over, START_SECONDS) or self._nodes[node].poll() is not None:
            log = self._home(node) / "rabbit.log"
            said = log.read_text(errors="replace") if log.exists() else ""
            raise ClusterError(f"node {node} did not start:\n" + "\n".join(said.splitlines()[-40:]))

    def _write_files(self, node: int) -> None:
        home = self._home(node)
        home.mkdir(exist_ok=True)
        text = CONFIGURATION.format(amqp=self.amqp[node], mqtt=self.mqtt[node])
        # Node 1 is told of nobody, so that it founds the cluster at once.
        for number, peer in enumerate((1, node) if node > 1 else (), 1):
            text += f"cluster_formation.classic_config.nodes.{number} = {self._name(peer)}\n"
        (home / "rabbitmq.conf").write_text(text)
        (home / "enabled_plugins").write_text("[rabbitmq_mqtt].\n")

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
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(home / "none.config"),
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

    def _start_epmd(self) -> None:
        """Start Erlang's name server in the foreground, on a port of its own: a daemon would outlive the test."""
        argv = ["epmd", "-port", str(self._epmd_port), "-address", "127.0.0.1"]
        self._epmd = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        if not holds(lambda: listens(self._epmd_port), 10):
            raise ClusterError(f"epmd does not listen on {self._epmd_port}")

    def _spawn(self, node: int) -> None:
        home = self._home(node)
        with (home / "console.log").open("ab") as log:
            self._nodes[node] = subprocess.Popen(
                [str(SCRIPTS[-1])],
                env=self._environment(node),
                cwd=home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
