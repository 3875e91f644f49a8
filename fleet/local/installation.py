"""A local installation under STATE_DIR: its folders, its generated secrets and the environment file that names them.

Runs before Django does, so that settings find what they require. Never overwrites a secret that is already there: the
terminals that trusted it yesterday must trust it today.
"""

import fcntl
import hashlib
import os
import secrets
import socket
import stat
from pathlib import Path

from fleet import env
from fleet.local import mosquitto, pki

BROKERS = ("embedded", "mosquitto")


class CannotStart(Exception):
    """Something on this machine is in the way; the message says what and what to do about it."""


def prepare(state_dir: Path) -> None:
    """Make STATE_DIR ready: secrets, folders, free ports, and os.environ filled for the processes to come."""
    _make_folder(state_dir)
    secrets_dir = state_dir / "secrets"
    _make_folder(secrets_dir, mode=0o700)
    _lock(state_dir)
    os.environ["STATE_DIR"] = str(state_dir)
    web_port = env.number("PORT", 8000)
    env.number("TERMINALS", 0)  # read much later; a mistake in it shall show before anything is started
    # What the caller names, they run; what they leave out, `up` starts beside the rest.
    embedded = [
        part for part, name in (("database", "DATABASE_URL"), ("broker", "MQTT_URL")) if not os.environ.get(name)
    ]
    _refuse_busy_ports(web_port, with_broker="broker" in embedded)
    pki.make_services(secrets_dir)
    settings = _secret_settings(secrets_dir)
    settings |= {
        "PORT": str(web_port),
        "EMBEDDED_PARTS": ",".join(embedded),
        "PUBLIC_URL": f"http://127.0.0.1:{web_port}",
        "DATABASE_URL": _database_url(state_dir),
        "MQTT_URL": f"mqtt://127.0.0.1:{env.number('MQTT_PORT', 1883)}",
        "CELERY_BROKER_URL": "filesystem://",
    }
    for folder in ("queue/in", "queue/processed", "queue/control", "artifacts", "simulator", "static"):
        _make_folder(state_dir / folder, mode=0o700)
    settings["BROKER"] = _chosen_broker(state_dir)
    if "broker" in embedded and settings["BROKER"] == "mosquitto":
        settings |= mosquitto.settings(secrets_dir, env.number("MQTT_PORT", 1883))
    # What the caller set explicitly (a real DATABASE_URL, say) must win now and in later commands of this state folder.
    settings = {
        name: value if name == "EMBEDDED_PARTS" else os.environ.get(name) or value for name, value in settings.items()
    }
    write_private(state_dir / env.ENVIRONMENT_FILE, "".join(f"{name}={value}\n" for name, value in settings.items()))
    os.environ.update(settings)


def _chosen_broker(state_dir: Path) -> str:
    """Return which broker `up` shall start; raise CannotStart where it is not there, or not the one that the terminals know."""
    wanted = os.environ.get("BROKER") or env.kept(state_dir).get("BROKER", "embedded")
    if wanted not in BROKERS:
        raise CannotStart(f"BROKER is {wanted!r}; write one of {', '.join(BROKERS)}")
    if wanted == "mosquitto" and mosquitto.program() is None:
        raise CannotStart("BROKER=mosquitto needs Mosquitto; install it (Debian: apt-get install mosquitto)")
    if (before := env.kept(state_dir).get("BROKER", wanted)) != wanted:
        raise CannotStart(
            f"the terminals of {state_dir} enrolled with BROKER={before}; choose another STATE_DIR for BROKER={wanted}"
        )
    return wanted


def socket_dir(state_dir: Path) -> Path:
    """Return the folder of PostgreSQL's socket: inside STATE_DIR unless its path is too long for a unix socket."""
    inside = state_dir / "socket"
    if len(str(inside)) <= 80:  # sun_path holds 107 bytes, and PostgreSQL appends its own file name
        return inside
    digest = hashlib.sha256(str(state_dir).encode()).hexdigest()[:12]
    return Path("/tmp") / f"tillwarden-{digest}"  # noqa: S108 - refuse_foreign_folder looks who made it


def refuse_foreign_folder(folder: Path, owners: set[int]) -> None:
    """Raise CannotStart for a socket folder in /tmp that somebody else put there, or that others may enter."""
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in owners or found.st_mode & 0o077:
        raise CannotStart(
            f"{folder} was made by somebody else or is open to others; remove it or choose another STATE_DIR"
        )


def _database_url(state_dir: Path) -> str:
    return f"postgresql://postgres@/tillwarden?host={socket_dir(state_dir)}"


def _lock(state_dir: Path) -> None:
    """Hold the folder for as long as this process lives."""
    descriptor = os.open(state_dir / "up.lock", os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise CannotStart(f"another `make run` is using {state_dir}; stop it or choose another STATE_DIR") from None


def _make_folder(path: Path, mode: int = 0o755) -> None:
    try:
        path.mkdir(mode=mode, parents=True, exist_ok=True)
        probe = path / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise CannotStart(
            f"cannot write to {path} ({error.strerror}); choose another folder with STATE_DIR=..."
        ) from None


def _refuse_busy_ports(web_port: int, *, with_broker: bool) -> None:
    wanted = [("PORT", web_port)]
    if with_broker:
        mqtt_port = env.number("MQTT_PORT", 1883)
        wanted += [("MQTT_PORT", mqtt_port), ("MQTT_PORT", mqtt_port + 1)]  # MQTT 3.1.1, and MQTT 5 on the next
    for name, port in wanted:
        if not 1 <= port <= 65535:
            raise CannotStart(f"{name} needs a port from 1 to {65535 if name == 'PORT' else 65534}; {port} is none")
    if with_broker and web_port in (mqtt_port, mqtt_port + 1):
        raise CannotStart(f"PORT {web_port} is one of the broker's, which uses MQTT_PORT and the next; choose another")
    for name, port in wanted:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise CannotStart(
                    f"port {port} is not free ({error.strerror}); stop what uses it or run with {name}=another"
                    + (" (the broker uses MQTT_PORT and the next one)" if name == "MQTT_PORT" else "")
                ) from None


def _secret_settings(secrets_dir: Path) -> dict[str, str]:
    """Make what is missing of the installation's secrets and return the settings that point to them."""
    _write_once(secrets_dir / "secret_key", secrets.token_urlsafe(48))
    _write_once(secrets_dir / "vault_master_key", secrets.token_hex(32))
    # Installations that began when the root itself issued keep it; see fleet/local/device_ca.py.
    root = "device_ca" if (secrets_dir / "device_ca.crt.pem").exists() else "device_root"
    for name in (root, "command_signing", "release_signing", "audit_signing", "tuf_online", "tuf_platform"):
        if not (secrets_dir / f"{name}.key.pem").exists():
            write_private(secrets_dir / f"{name}.key.pem", pki.new_private_key_pem())
    certificate = secrets_dir / f"{root}.crt.pem"
    if not certificate.exists():
        root_key = (secrets_dir / f"{root}.key.pem").read_bytes()
        certificate.write_text(pki.self_signed_ca_pem(root_key, "Tillwarden device root (local)", path_length=1))
    return {
        "SECRET_KEY": (secrets_dir / "secret_key").read_text(),
        "VAULT_MASTER_KEY_FILE": str(secrets_dir / "vault_master_key"),
        "DEVICE_CA_CERTIFICATE_FILE": str(certificate),
        "COMMAND_SIGNING_KEY_FILE": str(secrets_dir / "command_signing.key.pem"),
        "AUDIT_SIGNING_KEY_FILE": str(secrets_dir / "audit_signing.key.pem"),
        "RELEASE_SIGNING_KEY_FILE": str(secrets_dir / "release_signing.key.pem"),
        "TUF_ONLINE_KEY_FILE": str(secrets_dir / "tuf_online.key.pem"),
        "TUF_PLATFORM_KEY_FILE": str(secrets_dir / "tuf_platform.key.pem"),
    }


def _write_once(path: Path, text: str) -> None:
    if not path.exists():
        write_private(path, text)


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read; whole or not at all."""
    partial = path.with_name(path.name + ".part")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    partial.replace(path)
