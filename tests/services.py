"""A pytest plugin that starts the real PostgreSQL and the real broker, once for a run, before Django reads settings."""

import atexit
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

from fleet import embedded, local

STATE_DIR = Path(tempfile.mkdtemp(prefix="tillwarden-test-"))
STATE_DIR.chmod(0o755)  # PostgreSQL's own user must get to its folder when the tests run as root


def _free_port_pair() -> int:
    """Return a port that is free together with the next one."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            try:
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


def _run(child: embedded.Child) -> "subprocess.Popen[bytes]":
    log = (STATE_DIR / "services.log").open("ab")
    process = subprocess.Popen(
        child.argv,
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        user=child.user,
        group=child.user,
        extra_groups=[] if child.user else None,
        env={**os.environ, **child.environment},
    )
    atexit.register(process.wait, 10)
    atexit.register(process.terminate)
    return process


def _start() -> None:
    for name in ("DATABASE_URL", "MQTT_URL", "CELERY_BROKER_URL", "PUBLIC_URL"):
        os.environ.pop(name, None)
    os.environ |= {"PORT": str(_free_port_pair()), "MQTT_PORT": str(_free_port_pair())}
    atexit.register(shutil.rmtree, STATE_DIR, ignore_errors=True)
    local.prepare(STATE_DIR)
    _run(embedded.broker(STATE_DIR / "broker.toml", int(os.environ["MQTT_PORT"])))
    _run(embedded.postgres(STATE_DIR / "database", local.socket_dir(STATE_DIR), durable=False))
    address = f"postgresql://postgres@/postgres?host={local.socket_dir(STATE_DIR)}"
    for _ in range(150):
        try:
            psycopg.connect(address, connect_timeout=2).close()
            return
        except psycopg.OperationalError:
            time.sleep(0.2)
    raise RuntimeError((STATE_DIR / "services.log").read_text())


_start()
