"""The settlement tick, triggers, and settlement events, on one planted estate.

python -m bench.settlement 10000

Prints triggers and events a second and an idle tick's CPU beside django-celery-beat's with an entry a terminal (of the Python
process; PostgreSQL's is not counted), and adds `settle_idle_tick_vs_beat` to bench/results.json.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import django
import msgspec
import psycopg
import uuid_utils.compat
from cryptography.hazmat.primitives.asymmetric import ec
from django.core.management import call_command

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
    theirs = cpu_of(beat_with_an_entry_a_terminal(terminals), 20)
    print(f"idle tick: {ours * 1e6:,.0f} us beside {theirs * 1e6:,.0f} us of django-celery-beat")
    print(f"triggers: {triggers():,.0f} a second")
    uploads, settlements = messages_of_a_day()
    print(f"uploads of {SALES}: {take(uploads):,.0f} a second; settlement events: {take(settlements):,.0f} a second")
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results["settle_idle_tick_vs_beat"] = round(ours / theirs, 5)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")


def cpu_of(work: Callable[[], Any], times: int) -> float:
    """Return the CPU seconds of this process for one call."""
    work()
    began = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - began) / times


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


def triggers() -> float:
    """Let everybody be due at once; return how many runs are opened a second, commands signed and queued."""
    from django.utils import timezone

    from terminals.settlement.models import SettlementSchedule
    from terminals.settlement.runs.opening import run_due_settlements

    now = timezone.now()
    SettlementSchedule.objects.update(next_due_at=now, cycle_at=now)
    began = time.perf_counter()
    return run_due_settlements(now) / (time.perf_counter() - began)


def messages_of_a_day() -> tuple[list[Message], list[Message]]:
    """Return an upload and a settlement of each active terminal, signed by one key that all of them have."""
    from terminals.estate.models import Terminal
    from terminals.link.protocol import signing
    from terminals.link.protocol.messages.settlement import Settlement, Transactions
    from terminals.settlement.models import Batch, SettlementRun
    from terminals.simulator.books import batch_totals

    key = ec.generate_private_key(ec.SECP256R1())
    Terminal.objects.update(public_key_pem=signing.public_pem(key))
    SettlementRun.objects.all().delete()
    Batch.objects.all().delete()
    uploads, settlements = [], []
    for device_id in Terminal.objects.filter(state="active").values_list("device_id", flat=True):
        now, records = datetime.now(UTC), sales()
        report = Settlement(1, now, "EUR", batch_totals(records), transaction_count=SALES)
        uploads.append(signed(device_id, "transactions", Transactions(1, records), key))
        settlements.append(signed(device_id, "settlement", report, key))
    return uploads, settlements


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
    return f"tw/v1/{device_id}/up/event", messages.encode(signing.sign_envelope(envelope, key))


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
