"""Debian's Mosquitto in place of the embedded broker (`make run BROKER=mosquitto`): mutual TLS and topic permissions.

It runs on deploy/mosquitto as it is shipped, with the paths and ports of this installation.
"""

import getpass
import os
import shlex
import shutil
from pathlib import Path

from fleet.local import shipped

SHIPPED = shipped.DEPLOY / "mosquitto"
INSTALLED = "/etc/mosquitto/tillwarden/"
CRL = "device_ca.crl.pem"
FILES = ("broker.crt.pem", "broker.key.pem", "services_ca.crt.pem")


def program() -> str | None:
    """Return where Mosquitto is, if it is installed; Debian puts it where only root looks."""
    return shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def prepare(folder: Path, secrets_dir: Path, port: int, *, roots: str, crl_pem: str) -> None:
    """Write the broker's folder: terminals come in on `port`, links on the next."""
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / "kept").mkdir(exist_ok=True)
    for name in FILES:
        shutil.copy(secrets_dir / name, folder / name)
    shutil.copy(roots, folder / "device_roots.crt.pem")
    (folder / CRL).write_text(crl_pem)
    for acl in SHIPPED.glob("*.acl"):
        shutil.copy(acl, folder / acl.name)
        (folder / acl.name).chmod(0o600)
    text = (SHIPPED / "mosquitto.conf").read_text()
    text = text.replace(INSTALLED, f"{folder}/").replace("/var/lib/mosquitto/", f"{folder}/kept/")
    text = text.replace("listener 8883", f"listener {port} 127.0.0.1")
    text = text.replace("listener 8884", f"listener {port + 1} 127.0.0.1")
    here = f"user {getpass.getuser()}\npid_file {folder}/mosquitto.pid\n"
    (folder / "mosquitto.conf").write_text(here + text)


def settings(secrets_dir: Path, port: int) -> dict[str, str]:
    """Return what links and terminals must know of it."""
    return {
        "MQTT_URL": f"mqtts://127.0.0.1:{port + 1}",
        "MQTT_PUBLIC_URL": f"mqtts://127.0.0.1:{port}",
        "MQTT_CA_FILE": str(secrets_dir / "services_ca.crt.pem"),
        "MQTT_PUBLIC_CA_FILE": str(secrets_dir / "services_ca.crt.pem"),
        "MQTT_CERTIFICATE_FILE": str(secrets_dir / "link.crt.pem"),
        "MQTT_KEY_FILE": str(secrets_dir / "link.key.pem"),
    }


def follow_command(folder: Path, web_url: str) -> list[str]:
    """Return the command line of what keeps the list of revoked certificates new."""
    reload = f'kill -HUP "$(cat {shlex.quote(str(folder / "mosquitto.pid"))})"'
    return shipped.follow_revocations(web_url, folder / CRL, "sh", "-c", reload)


def command(folder: Path) -> list[str]:
    """Return the command line of a broker whose folder was prepared."""
    return [program() or "mosquitto", "-c", str(folder / "mosquitto.conf")]
