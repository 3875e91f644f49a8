"""The brokers on which the link is measured: the embedded one, and Mosquitto with and without TLS."""

import atexit
import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from fleet.local import mosquitto
from tests import services

KINDS = ("embedded", "mosquitto", "mosquitto-tls")
# Unlike the shipped configuration nothing is thrown away: what is measured falls behind on purpose.
CONFIGURATION = """
user root
listener {port} 127.0.0.1
allow_anonymous true
max_inflight_messages 200
max_queued_messages 0
max_packet_size 262144
log_type error
"""
TLS = """
cafile {secrets}/services_ca.crt.pem
certfile {secrets}/broker.crt.pem
keyfile {secrets}/broker.key.pem
require_certificate true
"""


def start(kind: str) -> None:
    """Start a database and the broker, and point the settings' environment at them; call it before Django reads it."""
    services.start(durable=True)
    if kind == "embedded":
        return
    port, secrets, folder = services.free_port_pair(), services.STATE_DIR / "secrets", services.STATE_DIR / "mosquitto"
    folder.mkdir()
    text = CONFIGURATION.format(port=port) + (TLS.format(secrets=secrets) if kind.endswith("tls") else "")
    (folder / "mosquitto.conf").write_text(text)
    _run(folder)
    if kind.endswith("tls"):
        os.environ |= mosquitto.settings(secrets, port - 1) | {"MQTT_PORT": str(port)}
    else:
        os.environ |= {"MQTT_URL": f"mqtt://127.0.0.1:{port}", "MQTT_PORT": str(port)}


def _run(folder: Path) -> None:
    process = subprocess.Popen(mosquitto.command(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    atexit.register(process.wait, 10)
    atexit.register(process.terminate)
    time.sleep(0.5)
    with suppress(subprocess.TimeoutExpired):
        process.wait(0.1)
        raise RuntimeError("Mosquitto did not start")
