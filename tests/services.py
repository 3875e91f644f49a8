"""The real PostgreSQL and the real broker on free ports and in a folder of their own, for tests and benchmarks."""

import atexit
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psycopg

from fleet.local import embedded
from fleet.local import installation as local
from tests import migrated

STATE_DIR = Path(tempfile.mkdtemp(prefix="tillwarden-test-"))
STATE_DIR.chmod(0o755)  # PostgreSQL's own user must get to its folder when the tests run as root


# Below those that Linux gives to whoever connects: a port whose server is killed must not be another's when that starts again.
# Each of pytest's workers has its own of them.
PORTS = range(10_000, 32_000, 2)
WORKER, MOST_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]), 8


def free_port_pair() -> int:
    """Return a port that is free together with the next one."""
    while True:
        port = random.choice(PORTS[WORKER % MOST_WORKERS :: MOST_WORKERS])
        with socket.socket() as first, socket.socket() as second, suppress(OSError):
            first.bind(("127.0.0.1", port))
            second.bind(("127.0.0.1", port + 1))
            return port


def free_ports(count: int) -> list[int]:
    """Return different ports that are free."""
    found = set[int]()
    while len(found) < count:
        found.add(free_port_pair())
    return list(found)


def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def spawn(child: embedded.Child, *, cwd: Path | None = None) -> "subprocess.Popen[bytes]":
    """Start a child; what it says goes into services.log."""
    log = (STATE_DIR / "services.log").open("ab")
    return subprocess.Popen(
        child.argv,
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        user=child.user,
        group=child.user,
        extra_groups=[] if child.user else None,
        env=child.full_environment(),
        cwd=cwd,
    )


def _run(child: embedded.Child, stop_signal: signal.Signals) -> None:
    """Start a child that ends with this process."""
    process = spawn(child)
    atexit.register(process.wait, 10)
    atexit.register(process.send_signal, stop_signal)


def address(database: str) -> str:
    """Return the address of a database; `postgres` is the server's own, from which others are made."""
    return f"postgresql://postgres@/{database}?host={local.socket_dir(STATE_DIR)}"


def prepare() -> None:
    """Make the folder ready and point the settings' environment at what will run there; call it before Django reads it."""
    for name in ("DATABASE_URL", "MQTT_URL", "CELERY_BROKER_URL", "PUBLIC_URL"):
        os.environ.pop(name, None)
    os.environ |= {"PORT": str(free_port_pair()), "MQTT_PORT": str(free_port_pair())}
    atexit.register(shutil.rmtree, STATE_DIR, ignore_errors=True)
    local.prepare(STATE_DIR)


def start(*, durable: bool) -> None:
    """Prepare, and start both until this process ends. What is not durable is for tests, whose data nobody mourns; it holds a
    database in which everything is migrated, migrated.NAME."""
    prepare()
    _run(embedded.broker(STATE_DIR / "broker.toml", int(os.environ["MQTT_PORT"])), signal.SIGTERM)
    if not durable:
        migrated.copy_to(STATE_DIR / "database", _migrate)
    _run(_database(durable=durable), signal.SIGINT)  # PostgreSQL then ends at once, whoever is still connected
    wait_for_database()


def _database(*, durable: bool) -> embedded.Child:
    return embedded.postgres(STATE_DIR / "database", local.socket_dir(STATE_DIR), durable=durable)


def _migrate() -> None:
    process = spawn(_database(durable=False))
    try:
        wait_for_database()
        migrated.migrate(address)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def wait_for_database() -> None:
    """Return when it answers; raise RuntimeError with the log where it does not for half a minute."""
    for _ in range(150):
        try:
            psycopg.connect(address("postgres"), connect_timeout=2).close()
            return
        except psycopg.OperationalError:
            time.sleep(0.2)
    raise RuntimeError((STATE_DIR / "services.log").read_text())
