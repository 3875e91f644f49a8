"""A settlement tick over a small and over a large fleet, and very many terminals that are due within a minute.

python -m bench.settlement_scale 10000 1000000

Each fleet is planted in a database of its own. A tick finds 500 terminals due; its CPU is that of this process and of its
PostgreSQL backend. Adds `settle_tick_large_vs_small` to bench/results.json, and prints how long 100,000 that are due take (or
all, where there are fewer).
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import django
import psycopg
from django.core.management import call_command

from tests import services

RESULTS = Path(__file__).parent / "results.json"
DUE, ROUNDS = 500, 8
MOST_DUE = 100_000


def main(small: int, large: int) -> None:
    ticks = [json.loads(in_a_process(terminals)) for terminals in (small, large)]
    ratio = ticks[1]["tick"] / ticks[0]["tick"]
    print(
        f"a tick with {DUE} due: {ticks[0]['tick'] * 1e3:.0f} ms of {small:,}, {ticks[1]['tick'] * 1e3:.0f} ms of {large:,}"
    )
    print(f"an idle tick: {ticks[0]['idle'] * 1e6:.0f} us of {small:,}, {ticks[1]['idle'] * 1e6:.0f} us of {large:,}")
    print(f"{ticks[1]['many']:,} due at once are asked in {ticks[1]['seconds']:.0f} s")
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps(results | {"settle_tick_large_vs_small": round(ratio, 3)}, indent=2) + "\n")


def in_a_process(terminals: int) -> str:
    """Return what a process of its own measures of a fleet, as JSON."""
    command = [sys.executable, "-m", "bench.settlement_scale", "measure", str(terminals)]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()[-1]


def measure(terminals: int) -> None:
    services.start(durable=True)
    with psycopg.connect(services.address("postgres"), autocommit=True) as server:
        server.execute("CREATE DATABASE scale")
    os.environ |= {"DATABASE_URL": services.address("scale"), "DJANGO_SETTINGS_MODULE": "fleet.settings"}
    django.setup()
    call_command("migrate", verbosity=0)
    call_command("seed_estate", terminals=terminals, verbosity=0)
    from django.db import connection
    from django.utils import timezone

    from bench.settlement import cpu, cpu_of
    from terminals.settlement.models import SettlementRun
    from terminals.settlement.tasks import tick

    SettlementRun.objects.all().delete()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    idle = cpu_of(lambda: tick(timezone.now()), 200)
    spent = []
    for _ in range(ROUNDS):
        make_due(DUE)
        began = cpu()
        assert tick(timezone.now()) > 0
        spent.append(cpu() - began)
    many = min(MOST_DUE, terminals)
    make_due(many)
    clock = time.perf_counter()
    tick(timezone.now())
    seconds = time.perf_counter() - clock
    print(json.dumps({"tick": statistics.median(spent), "idle": idle, "many": many, "seconds": seconds}))


def make_due(number: int) -> None:
    """Let the next terminals that have no open run be due."""
    from django.utils import timezone

    from terminals.settlement.models import SettlementRun, SettlementSchedule

    free = SettlementSchedule.objects.exclude(pk__in=SettlementRun.objects.values("terminal"))
    chosen = list(free.order_by("pk").values_list("pk", flat=True)[:number])
    now = timezone.now()
    SettlementSchedule.objects.filter(pk__in=chosen).update(next_due_at=now, cycle_at=now)


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        measure(int(sys.argv[2]))
    else:
        main(*(int(text) for text in (sys.argv[1:] or ["10000", "1000000"])))
