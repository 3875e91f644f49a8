"""The traffic of tens of thousands of terminals from one process, with honest signatures: what does this installation carry?

python -m bench.load --terminals 10000 --seconds 60

Without more it measures a database, a broker and one link process of its own on this machine. With `--installation` it speaks to
the installation of the settings (DATABASE_URL, MQTT_URL, ...): it puts terminals LOAD-000000 and so on on its books, so take one
for tests; its broker must let the links' account publish for terminals.

All terminals connect at once (a storm of hellos); then each sends a reading every --interval seconds and a signed sale every
--sale-every, which the server acknowledges end to end. It prints how long the storm took, the rates, and how long a sale took
from its publishing to the server's signed word (it looks every tenth of a second), and exits with 1 where one was not
acknowledged.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

import django
import msgspec
import psycopg
from django.core.management import call_command

from tests import services

if TYPE_CHECKING:
    from bench.wire import Wire
    from terminals.simulator.device import Device, Outgoing

TURN_SECONDS = 0.1
DRAIN_SECONDS = 120


class Report(NamedTuple):
    """What a load came to; latencies in seconds."""

    terminals: int
    storm_seconds: float
    messages_a_second: float
    sales: int
    unacknowledged: int
    latencies: Sequence[float]
    link_mib: float

    def quantile(self, share: float) -> float:
        ordered = sorted(self.latencies) or [0.0]
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def lines(self) -> Iterator[str]:
        yield f"{self.terminals:,} terminals said hello and were online after {self.storm_seconds:.1f} s"
        yield f"{self.messages_a_second:,.0f} messages a second, {self.sales:,} signed sales among them"
        p50, p99 = self.quantile(0.5) * 1000, self.quantile(0.99) * 1000
        yield f"sale to the server's acknowledgement: p50 {p50:,.0f} ms, p99 {p99:,.0f} ms; {self.unacknowledged} missing"
        yield f"the link process has {self.link_mib:,.0f} MiB"


def run(devices: "Sequence[Device]", wire: "Wire", seconds: float, interval: float, sale_every: float) -> Report:
    """Let devices connect and live for a while, and return what it came to."""
    from bench import stage

    began = time.monotonic()
    wire.publish([message for device in devices for message in (device.presence("online"), device.hello())])
    planted = "SELECT count(*) FROM link_devicesession s JOIN terminals_terminal t ON t.id = s.terminal_id"
    online = f"{planted} WHERE t.serial LIKE 'LOAD-%' AND s.boot_id <> '' AND s.online"
    stage.wait_until(lambda: stage.scalar(online) >= len(devices), timeout_seconds=600, every_seconds=0.2)
    storm = time.monotonic() - began
    sent_at: dict[str, float] = {}
    latencies: list[float] = []
    began, sent = time.monotonic(), 0
    while (now := time.monotonic()) < began + seconds:
        due = int((now - began) * len(devices) / interval) - sent
        batch: list[Outgoing] = []
        for number in range(sent, sent + due):
            device = devices[number % len(devices)]
            batch.append(device.health())
            if number % max(1, round(sale_every / interval)) == 0:
                batch += _sale(device, sent_at)
        wire.publish(batch)
        sent += due
        _take_acks(wire, sent_at, latencies)
        time.sleep(max(0.0, TURN_SECONDS - (time.monotonic() - now)))
    took, sales = time.monotonic() - began, len(sent_at) + len(latencies)
    deadline = time.monotonic() + DRAIN_SECONDS
    while sent_at and time.monotonic() < deadline:
        _take_acks(wire, sent_at, latencies)
        time.sleep(TURN_SECONDS)
    return Report(len(devices), storm, (sent + sales) / took, sales, len(sent_at), latencies, _link_mib())


def _sale(device: "Device", sent_at: dict[str, float]) -> "list[Outgoing]":
    while not device.sell():
        pass
    sales = device.upload_transactions()
    device.memory.pending.clear()  # it is counted here whether the server acknowledges
    for sale in sales:
        sent_at[msgspec.json.decode(sale.payload)["id"]] = time.monotonic()
    return sales


def _take_acks(wire: "Wire", sent_at: dict[str, float], latencies: list[float]) -> None:
    now = time.monotonic()
    for payload in wire.received():
        for message_id in msgspec.json.decode(payload).get("body", {}).get("ids", ()):
            if message_id in sent_at:
                latencies.append(now - sent_at.pop(message_id))


def _link_mib() -> float:
    """Return the memory of the largest link process on this machine, or 0 where there is none."""
    sizes = [0.0]
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{process}/cmdline") as command, open(f"/proc/{process}/statm") as pages:
                if "run_device_link" in command.read():
                    sizes.append(int(pages.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20)
        except OSError:
            continue
    return max(sizes)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.load", description="Load an installation with terminals' traffic."
    )
    parser.add_argument("--terminals", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--interval", type=float, default=15, help="seconds between two readings of a terminal")
    parser.add_argument("--sale-every", type=float, default=150, help="seconds between two sales of a terminal")
    parser.add_argument("--links", type=int, default=1, help="link processes to start")
    parser.add_argument(
        "--installation", action="store_true", help="load that of the settings instead of one of its own"
    )
    options = parser.parse_args(argv)
    os.environ["DJANGO_SETTINGS_MODULE"] = "fleet.settings"
    if not options.installation:
        services.start(durable=True)
        with psycopg.connect(services.address("postgres"), autocommit=True) as server:
            server.execute("CREATE DATABASE tillwarden")
    django.setup()
    from bench import fleet, stage
    from bench.wire import Wire
    from fleet.local import device_ca

    if not options.installation:
        call_command("migrate", verbosity=0)
        device_ca.ensure()
    devices = fleet.plant(options.terminals)
    stage.run_sql("ANALYZE")
    with ExitStack() as stack:
        if not options.installation:
            stack.enter_context(stage.link_process(options.links))
        report = run(devices, stack.enter_context(Wire()), options.seconds, options.interval, options.sale_every)
    print("\n".join(report.lines()))
    return 1 if report.unacknowledged else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
