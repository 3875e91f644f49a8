"""A fleet that comes back after its broker was killed: how long until each terminal is heard again, and do commands wait?

python -m bench.storm --terminals 10000 --broker mosquitto

Each terminal is a connection of its own (bench/sockets.py), on Mosquitto by mutual TLS with a certificate of its own. The broker
is killed, which makes it forget all sessions, and comes back after --away seconds. While they return, one that is back already is
asked something (`ping`) twice a second. A hello that comes before the links subscribed again is lost; such a terminal is heard by
its next reading, a minute later. A command or an answer that is lost with a connection is sent again after ten seconds. It exits
with 1 where not all are back within three minutes or a command was not done half a minute after, and speaks to loopback only.
"""

import argparse
import random
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding

from bench.parts import Parts, with_terminals
from tests import services

if TYPE_CHECKING:
    from bench.sockets import Broker
    from terminals.simulator.device import Device

BACK_WITHIN_SECONDS = 180.0
DONE_WITHIN_SECONDS = 30.0  # of the last question
READING_SECONDS = 60
SINCE = "SELECT count(*) FROM link_devicesession WHERE last_seen_at > %s"
AT_WORK = "SELECT count(*) FROM link_heartbeat WHERE part = 'broker' AND healthy"


def with_certificates(devices: "Sequence[Device]") -> None:
    from terminals.enrolment import authority
    from terminals.simulator.identity import private_key

    issuer = authority.issuer()
    for device in devices:
        public = private_key(device.memory.private_key_pem).public_key()
        issued = issuer.issue(public, device_id=device.memory.device_id, now=datetime.now(UTC))
        pem = issued.public_bytes(Encoding.PEM).decode()
        device.memory.certificate_pem = authority.chain(pem, issuer.row)


def broker_of(folder: Path) -> "Broker":
    """Return where the settings send terminals."""
    from django.conf import settings

    from bench.sockets import Broker
    from terminals.link.protocol import brokers
    from terminals.simulator import memory

    folder.mkdir()
    told = brokers.parse(settings.MQTT_PUBLIC_URL)
    [(host, port)] = told.nodes
    return Broker(host, port, (lambda device: memory.tls_context(folder, device.memory)) if told.tls else None)


def wait_for(count: int, since: datetime, seconds: float, *, ask: bool = False) -> float:
    """Wait until so many terminals were heard since then; return how long it took, or infinity. `ask` some meanwhile."""
    began = time.monotonic()
    while (back := heard_since(since)) < count:
        if time.monotonic() - began > seconds:
            print(f"only {back:,} of {count:,}")
            return float("inf")
        if ask and back:
            ask_one(since)
        time.sleep(0.5)
    return time.monotonic() - began


def heard_since(since: datetime) -> int:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(SINCE, [since])
        return int(cursor.fetchone()[0])


def ask_one(since: datetime) -> None:
    """Send `ping` to one of those that are back for a second or more."""
    from terminals.link import services as link
    from terminals.link.models import DeviceSession

    before = datetime.now(UTC) - timedelta(seconds=1)
    settled = DeviceSession.objects.filter(last_seen_at__gt=since, last_seen_at__lt=before)
    names = list(settled.values_list("terminal_id", "terminal__device_id")[:2000])
    if names:
        target = link.Target(*random.choice(names))
        link.send_plain_commands(targets=[target], command_type="ping", requested_by="storm")


def answers() -> list[float]:
    """Return how many seconds each of those asked took to do it, from the command's making; of the unanswered infinity."""
    from terminals.link.models import Command

    times = Command.objects.filter(requested_by="storm").values_list("created_at", "finished_at")
    return sorted((done - made).total_seconds() if done else float("inf") for made, done in times)


def storm(parts: Parts, devices: "Sequence[Device]", away: float) -> bool:
    """Let them connect, kill the broker, and let them come back; return whether all did in time and every command was done."""
    from bench import sockets, stage

    parts.start_broker()
    parts.add_links(1)
    stage.wait_until(lambda: stage.scalar(AT_WORK) == 1)
    began = datetime.now(UTC)
    sockets.live(devices, broker_of(services.STATE_DIR / "terminals"), READING_SECONDS)
    first = wait_for(len(devices), began, BACK_WITHIN_SECONDS * 2)
    print(f"{len(devices):,} terminals connected for the first time in {first:.0f} s", flush=True)
    time.sleep(10)
    parts.kill("broker")
    time.sleep(away)
    restarted = datetime.now(UTC)
    parts.start("broker")
    back = wait_for(len(devices), restarted, BACK_WITHIN_SECONDS, ask=True)
    print(f"all were back {back:.0f} s after the broker", flush=True)
    until = time.monotonic() + DONE_WITHIN_SECONDS
    while float("inf") in (took := answers()) and time.monotonic() < until:
        time.sleep(0.5)
    if took:
        middle, last = took[len(took) // 2], took[-1]
        print(
            f"{len(took)} commands meanwhile: done after {middle:.2f} s in the middle, {last:.2f} s at most", flush=True
        )
    return back < BACK_WITHIN_SECONDS and float("inf") not in took


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.storm", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--terminals", type=int, default=10_000)
    parser.add_argument("--away", type=float, default=5, help="seconds for which the broker is away")
    parser.add_argument("--broker", choices=("embedded", "mosquitto"), default="embedded")
    options = parser.parse_args(argv)
    with with_terminals(options.broker, options.terminals) as (parts, devices):
        if options.broker == "mosquitto":
            with_certificates(devices)
        good = storm(parts, devices, options.away)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
