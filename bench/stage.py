"""What the benchmarks share: a fleet on the books, processes to measure, messages to send, and how to compare."""

import json
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import uuid_utils.compat
from django.conf import settings
from django.db import connection

from terminals.link.protocol import topics
from tests import services

FLEET = 1000


class Measure(NamedTuple):
    """Two rates of one thing (median over the rounds, per second) and the median of their ratio within a round."""

    name: str
    ours: float
    theirs: float
    ratio: float


def compare(name: str, ours: list[float], theirs: list[float]) -> Measure:
    """Compare the rates of rounds that were run in pairs."""
    ratio = statistics.median(one / other for one, other in zip(ours, theirs, strict=True))
    return Measure(name, statistics.median(ours), statistics.median(theirs), ratio)


def device_id(number: int) -> str:
    return f"BENCH-{number:05d}"


def plant_fleet() -> None:
    """Put FLEET active terminals on the books."""
    from terminals.estate.models import Merchant, Store, Terminal, TerminalModel

    store = Store.objects.create(merchant=Merchant.objects.create(name="Bench", mid="1"), name="Bench")
    model = TerminalModel.objects.create(vendor="Acme", name="Bench", platform="linux-arm64")
    Terminal.objects.bulk_create(
        Terminal(
            serial=device_id(n), device_id=device_id(n), store=store, model=model, state="active", public_key_pem=""
        )
        for n in range(FLEET)
    )
    run_sql("ANALYZE")


def health_messages(count: int) -> list[tuple[str, bytes]]:
    """Return (topic, payload) of health reports, about 450 bytes each, spread evenly over the fleet."""
    boot_id, sent_at = str(uuid.uuid4()), datetime.now(UTC).isoformat(timespec="milliseconds")
    return [
        (
            topics.up(device_id(n % FLEET), "health"),
            json.dumps(
                {
                    "id": str(uuid_utils.compat.uuid7()),
                    "type": "health",
                    "sent_at": sent_at,
                    "boot_id": boot_id,
                    "seq": n,
                    "body": {
                        "network": {"kind": "cellular", "rssi_dbm": -71, "latency_ms": 48},
                        "printer": "ok",
                        "screen": "ok",
                        "keypad": "ok",
                        "card_reader": "ok",
                        "storage_free_mb": 1811,
                        "tamper": False,
                        "software": {"payment": "2.1.0", "os": "12.4"},
                        "unsettled": {"currency": "EUR", "amount_minor": 12345, "count": 17},
                    },
                },
                separators=(",", ":"),
            ).encode(),
        )
        for n in range(count)
    ]


@contextmanager
def link_process(count: int = 1) -> Iterator[None]:
    """Run `run_device_link` for the length of a block, connected at its start; its sessions are forgotten at its end."""
    from terminals.link.lanes import client_id
    from terminals.link.mqtt import take_over

    run_sql("TRUNCATE link_heartbeat, link_lane, link_linkprocess")
    try:
        with ExitStack() as links:
            for number in range(count):
                links.enter_context(process("manage.py", "run_device_link", "--name", f"bench-{number}"))
            wait_until(lambda: scalar("SELECT count(*) FROM link_heartbeat WHERE part = 'broker' AND healthy") == count)
            yield
    finally:
        # Otherwise the broker would keep for its lanes what the other rounds publish.
        for number in range(settings.LINK_LANES):
            take_over(client_id(settings.LINK_LANES, number))


@contextmanager
def process(*argv: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a Python process of this checkout for the length of a block."""
    root = Path(__file__).parent.parent
    log = (services.STATE_DIR / "bench.log").open("ab")
    with subprocess.Popen([sys.executable, *argv], cwd=root, stdout=subprocess.PIPE, stderr=log, text=True) as child:
        try:
            yield child
        finally:
            child.terminate()


def wait_for_line(child: "subprocess.Popen[str]", word: str) -> None:
    """Read a child's output up to the line that is `word`."""
    assert child.stdout
    for line in child.stdout:
        if line.strip() == word:
            return
    raise RuntimeError(f"the process ended; see {services.STATE_DIR / 'bench.log'}")


def wait_until(done: Callable[[], bool], *, timeout_seconds: float = 120, every_seconds: float = 0.02) -> None:
    """Poll until something is true; raise TimeoutError where it never is."""
    deadline = time.monotonic() + timeout_seconds
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError("the thing to be measured does not come to its end")
        time.sleep(every_seconds)


def scalar(sql: str) -> int:
    """Return the single number of a query."""
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return int(cursor.fetchone()[0])


def run_sql(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)
