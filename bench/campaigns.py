"""Campaigns over very many terminals: planning and the first wave, a tick, and outcomes.

python -m bench.campaigns 100000

Adds to bench/results.json `campaign_plan_vs_bare_insert` (a campaign over all, proposed, started, its first wave begun, beside a
plain INSERT of as many rows into a table of the same shape), `campaign_tick_100k_vs_1k` (CPU of a tick that asks 100 terminals,
very many waiting beside a thousand) and `outcomes_vs_health` (outcomes reported a second beside health messages).
"""

import json
import os
import statistics
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import django
import psycopg
from django.core.management import call_command

from tests import services

RESULTS = Path(__file__).parent / "results.json"
DUE, ROUNDS, FEW = 100, 7, 1000
USUAL = {"waves": [1, 10, 100], "soak_minutes": 0, "per_minute": 100_000, "at_once": 1_000_000}


def main(terminals: int) -> None:
    services.start(durable=True)
    with psycopg.connect(services.address("postgres"), autocommit=True) as server:
        server.execute("CREATE DATABASE campaigns")
    os.environ |= {"DATABASE_URL": services.address("campaigns"), "DJANGO_SETTINGS_MODULE": "fleet.settings"}
    django.setup()
    call_command("migrate", verbosity=0)
    call_command("seed_estate", terminals=terminals, verbosity=0)
    from bench import stage
    from bench.settlement import healthy, take
    from terminals.estate.models import Terminal

    stage.run_sql("ANALYZE")
    plan, bare = planned(), inserted()
    print(f"plan and first wave: {plan:,.0f} terminals a second beside {bare:,.0f} rows")
    many = tick(None)
    few = tick(Terminal.objects.filter(state="active").order_by("pk").values("pk")[:FEW])
    print(f"a tick with {DUE} due: {many * 1e3:.0f} ms with very many waiting, {few * 1e3:.0f} ms with {FEW:,}")
    outcomes = reported()
    ids = list(Terminal.objects.filter(state="active").values_list("device_id", flat=True)[:10_000])
    health = take([healthy(device_id) for device_id in ids])
    print(f"outcomes: {outcomes:,.0f} a second beside {health:,.0f} health messages")
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results["campaign_plan_vs_bare_insert"] = round(plan / bare, 3)
    results["campaign_tick_100k_vs_1k"] = round(many / few, 3)
    results["outcomes_vs_health"] = round(outcomes / health, 3)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")


def start(among: Any = None, **settings: Any) -> Any:
    """Propose a campaign over all active terminals, or among some, let another person agree, and start it."""
    from django.contrib.auth.models import User
    from django.utils import timezone

    from firmware.models import Package, Release
    from terminals.campaigns import planning
    from terminals.campaigns import services as campaigns

    ann, bob = (User.objects.get_or_create(username=name, is_superuser=True)[0] for name in ("ann", "bob"))
    package = Package.objects.get_or_create(name="bench-pay")[0]
    release = Release.objects.create(
        package=package,
        version=f"9.{Release.objects.count()}.0",
        platform="linux-arm64",
        size_bytes=1,
        sha256="0" * 64,
        state="approved",
        approved_by="second",
        listed_at=timezone.now(),
    )
    campaign = planning.propose(
        name="Bench",
        kind="install",
        arguments={"release": release.pk},
        text="state = active",
        among=among,
        settings={**USUAL, **settings},
        user=ann,
    )
    campaigns.approve(campaign=campaign, digest=campaign.digest, user=bob)
    campaigns.start(campaign=campaign, user=ann)
    return campaign


def planned() -> float:
    """Return the terminals a second of a campaign over all, up to its first wave."""
    from django.utils import timezone

    from terminals.campaigns import engine

    rates: list[float] = []
    for _ in range(3):
        began = time.perf_counter()
        campaign = start()
        engine.CHUNK = 0  # it begins; asking is another matter
        engine.step(campaign.pk, timezone.now())
        rates.append(float(campaign.total / (time.perf_counter() - began)))
    engine.CHUNK = 1000
    return float(statistics.median(rates))


def inserted() -> float:
    """Return the rows a second of a plain INSERT into a table of the members' shape, with their indexes and foreign keys."""
    from django.db import connection

    from terminals.campaigns.models import Wave

    wave = Wave.objects.latest("pk").pk

    rates: list[float] = []
    with connection.cursor() as cursor:
        for _ in range(3):
            cursor.execute("CREATE TABLE bare_member (LIKE campaigns_member INCLUDING ALL)")
            for column, table in (("wave_id", "campaigns_wave"), ("terminal_id", "terminals_terminal")):
                cursor.execute(
                    f"ALTER TABLE bare_member ADD FOREIGN KEY ({column}) REFERENCES {table} DEFERRABLE INITIALLY DEFERRED"
                )
            began = time.perf_counter()
            cursor.execute(
                "INSERT INTO bare_member (wave_id, terminal_id, thing, state, attempt, code, reasons)"
                " SELECT %s, id, 'software:payment', 'planned', 0, '', '[]' FROM terminals_terminal WHERE state = 'active'",
                [wave],
            )
            rates.append(float(cursor.rowcount / (time.perf_counter() - began)))
            cursor.execute("DROP TABLE bare_member")
    return float(statistics.median(rates))


def tick(among: Any) -> float:
    """Return the CPU seconds of a step that asks DUE terminals while all others of a campaign wait for later."""
    from django.utils import timezone

    from bench import stage
    from bench.settlement import cpu
    from terminals.campaigns import engine
    from terminals.campaigns.models import Member

    campaign = start(among, waves=[100])
    now = timezone.now() + timedelta(minutes=2)
    engine.CHUNK = 0
    engine.step(campaign.pk, now)
    engine.CHUNK = 1000
    waiting = Member.objects.filter(wave__campaign=campaign, state="waiting")
    waiting.update(due_at=now + timedelta(days=1))
    stage.run_sql("ANALYZE campaigns_member")
    spent: list[float] = []
    for _ in range(ROUNDS):
        chosen = list(waiting.filter(due_at__gt=now).order_by("pk").values_list("pk", flat=True)[:DUE])
        Member.objects.filter(pk__in=chosen).update(due_at=now)
        now += timedelta(minutes=1)
        began = cpu()
        assert engine.step(campaign.pk, now) == DUE
        spent.append(cpu() - began)
    return float(statistics.median(spent))


def reported(number: int = 10_000, at_once: int = 500) -> float:
    """Return the outcomes a second that are noted for terminals that were asked."""
    from django.db import transaction

    from terminals.campaigns.models import Member
    from terminals.campaigns.reports import Came, report

    waiting = Member.objects.filter(state="waiting").order_by("pk")
    asked = list(waiting.values_list("terminal_id", "wave__campaign")[:number])
    Member.objects.filter(state="waiting", terminal__in=[pk for pk, _ in asked]).update(state="ordered")
    began = time.perf_counter()
    for first in range(0, len(asked), at_once):
        with transaction.atomic():
            report(dict.fromkeys(asked[first : first + at_once], Came(True)))
    return len(asked) / (time.perf_counter() - began)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
