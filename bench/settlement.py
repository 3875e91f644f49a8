"""The settlement tick, triggers, and settlement events, on one planted estate.

python -m bench.settlement 10000

CPU is that of this process and of its PostgreSQL backend. Beside ours stands django-celery-beat with an entry a terminal, each of
which asks its terminal to settle by itself. Adds to bench/results.json:
`settle_idle_tick_vs_beat`, `settle_cpu_per_trigger_vs_beat` (from due to the signed command), `settlements_vs_health`.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import django
import msgspec
import psycopg
import uuid_utils.compat
from cryptography.hazmat.primitives.asymmetric import ec
from django.core.management import call_command

from terminals.link.protocol import topics
from tests import services

RESULTS = Path(__file__).parent / "results.json"
BATCH = 500  # messages that the inbox takes at once
SALES = 8  # of a batch
Message = tuple[str, bytes]


def main(terminals: int) -> None:
    services.start(durable=True)
    with psycopg.connect(services.address("postgres"), autocommit=True) as server:
        server.execute("CREATE DATABASE settlement")
    os.environ |= {"DATABASE_URL": services.address("settlement"), "DJANGO_SETTINGS_MODULE": "fleet.settings"}
    django.setup()
    call_command("migrate", verbosity=0)
    call_command("seed_estate", terminals=terminals)
    from django.utils import timezone

    from terminals.settlement.tasks import tick

    ours = cpu_of(lambda: tick(timezone.now()), 500)
    began, memory = time.perf_counter(), rss()
    idle_beat = beat_with_an_entry_a_terminal(terminals)
    theirs = cpu_of(idle_beat, 20)
    started = f"{time.perf_counter() - began:.1f} s and {(rss() - memory) / 1e6:.0f} MB to start"
    print(f"idle tick: {ours * 1e6:,.0f} us beside {theirs * 1e6:,.0f} us of django-celery-beat ({started})")
    trigger, of_beat = cpu_per_trigger(), cpu_per_trigger_of_beat()
    print(
        f"CPU of a trigger: {trigger * 1e6:,.0f} us beside {of_beat * 1e6:,.0f} us of django-celery-beat and its worker"
    )
    uploads, settlements, health = messages_of_a_day()
    rates = {
        name: take(sent) for name, sent in (("health", health), ("uploads", uploads), ("settlements", settlements))
    }
    print(", ".join(f"{name}: {rate:,.0f} a second" for name, rate in rates.items()))
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results["settle_idle_tick_vs_beat"] = round(ours / theirs, 5)
    results["settle_cpu_per_trigger_vs_beat"] = round(trigger / of_beat, 4)
    results["settlements_vs_health"] = round(rates["settlements"] / rates["health"], 3)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")


def cpu_of(work: Callable[[], Any], times: int) -> float:
    """Return the CPU seconds of one call: of this process, and of its PostgreSQL backend."""
    work()
    began = cpu()
    for _ in range(times):
        work()
    return (cpu() - began) / times


def cpu() -> float:
    """Return the CPU seconds that this process and its backend have used."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    user, system = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
    return time.process_time() + (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def rss() -> int:
    """Return this process's memory in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def beat_with_an_entry_a_terminal(terminals: int) -> Callable[[], Any]:
    """Return the tick of a scheduler that has an entry for each terminal, all due within two hours."""
    from django_celery_beat.models import CrontabSchedule, PeriodicTask
    from django_celery_beat.schedulers import DatabaseScheduler

    from fleet.celery import app

    crontab, _made = CrontabSchedule.objects.get_or_create(minute="30", hour=str((datetime.now(UTC).hour + 1) % 24))
    PeriodicTask.objects.bulk_create(
        PeriodicTask(name=f"settle {n}", task="none", crontab=crontab, args=f"[{n}]") for n in range(terminals)
    )
    tick: Callable[[], Any] = DatabaseScheduler(app=app).tick
    return tick


def cpu_per_trigger() -> float:
    """Let everybody be due at once; return the CPU seconds of one run, its command signed and queued."""
    from django.utils import timezone

    from terminals.settlement.models import SettlementSchedule
    from terminals.settlement.runs.opening import run_due_settlements

    now = timezone.now()
    SettlementSchedule.objects.update(next_due_at=now, cycle_at=now)
    began, clock = cpu(), time.perf_counter()
    opened = run_due_settlements(now)
    print(f"triggers: {opened / (time.perf_counter() - clock):,.0f} a second")
    return (cpu() - began) / opened


def cpu_per_trigger_of_beat(entries: int = 300) -> float:
    """Return the CPU seconds of one entry of django-celery-beat that is due: its tick, its message, and the worker that asks the
    terminal to settle."""
    from django.utils import timezone
    from django_celery_beat.models import PeriodicTask
    from django_celery_beat.schedulers import DatabaseScheduler

    from fleet.celery import app
    from terminals.estate.models import Terminal
    from terminals.settlement.models import SettlementRun
    from terminals.settlement.runs.services import request_settlement

    SettlementRun.objects.all().delete()
    PeriodicTask.objects.all().delete()
    every = every_second()
    terminals = list(Terminal.objects.filter(state="active").order_by("pk")[:entries])
    due = timezone.now() - timedelta(minutes=1)
    PeriodicTask.objects.bulk_create(
        PeriodicTask(name=f"due {one.pk}", task="none", interval=every, args=f"[{one.pk}]", last_run_at=due)
        for one in terminals
    )
    scheduler = DatabaseScheduler(app=app)
    began = cpu()
    for entry in list(scheduler.schedule.values())[:entries]:
        scheduler.apply_entry(entry, producer=scheduler.producer)
    scheduler.sync()
    for one in terminals:
        request_settlement(terminal=Terminal.objects.get(pk=one.pk), actor="beat")
    return (cpu() - began) / len(terminals)


def every_second() -> Any:
    from django_celery_beat.models import IntervalSchedule

    return IntervalSchedule.objects.get_or_create(every=1, period="seconds")[0]


def messages_of_a_day() -> tuple[list[Message], list[Message], list[Message]]:
    """Return an upload, a settlement and a health report of each active terminal, signed by one key that all of them have."""
    from terminals.estate.models import Terminal
    from terminals.link.protocol import signing
    from terminals.link.protocol.messages.settlement import Settlement, Transactions
    from terminals.settlement.models import Batch, SettlementRun
    from terminals.simulator.books import batch_totals

    key = ec.generate_private_key(ec.SECP256R1())
    Terminal.objects.update(public_key_pem=signing.public_pem(key))
    SettlementRun.objects.all().delete()
    Batch.objects.all().delete()
    uploads, settlements, health = [], [], []
    for device_id in Terminal.objects.filter(state="active").values_list("device_id", flat=True):
        now, records = datetime.now(UTC), sales()
        report = Settlement(1, now, "EUR", batch_totals(records), transaction_count=SALES)
        uploads.append(signed(device_id, "transactions", Transactions(1, records), key))
        settlements.append(signed(device_id, "settlement", report, key))
        health.append(healthy(device_id))
    return uploads, settlements, health


def healthy(device_id: str) -> Message:
    """Return a health report, which is not signed."""
    from terminals.link.protocol import messages
    from terminals.link.protocol.messages.health import INBOUND

    (declared,) = (one for one in INBOUND if one.name == "health")
    body = {name: value for name, value in msgspec.to_builtins(declared.example).items() if value is not None}
    envelope = {"id": str(uuid_utils.compat.uuid7()), "type": "health", "sent_at": datetime.now(UTC).isoformat()}
    return topics.up(device_id, "health"), messages.encode({**envelope, "boot_id": "bench", "seq": 1, "body": body})


def sales() -> list[Any]:
    from terminals.link.protocol.messages.settlement import TransactionRecord

    now = datetime.now(UTC)
    return [
        TransactionRecord(
            uuid_utils.compat.uuid7(), "sale", "card" if n % 3 else "qr", 100 + n, "EUR", now, sequence=n + 1
        )
        for n in range(SALES)
    ]


def signed(device_id: str, kind: str, body: msgspec.Struct, key: ec.EllipticCurvePrivateKey) -> Message:
    from terminals.link.protocol import messages, signing

    said = {name: value for name, value in msgspec.to_builtins(body).items() if value is not None}
    envelope: dict[str, Any] = {
        "id": str(uuid_utils.compat.uuid7()),
        "type": kind,
        "sent_at": datetime.now(UTC).isoformat(),
    }
    envelope |= {"boot_id": "bench", "seq": 1, "body": said}
    return topics.up(device_id, "event"), messages.encode(signing.sign_envelope(envelope, key))


def take(sent: list[Message]) -> float:
    """Give messages to the inbox, with statistics as a running database has them; return how many it takes a second."""
    from django.db import connection

    from terminals.link.inbox import Inbox
    from terminals.link.mqtt import Incoming
    from terminals.link.routes import routes

    link, spent = Inbox(routes), 0.0
    for start in range(0, len(sent), BATCH):
        some = [Incoming(1, n, *one, datetime.now(UTC)) for n, one in enumerate(sent[start : start + BATCH])]
        began = time.perf_counter()
        link.take(some)
        spent += time.perf_counter() - began
        if start == 0:
            with connection.cursor() as cursor:
                cursor.execute("ANALYZE")
    return len(sent) / spent


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
