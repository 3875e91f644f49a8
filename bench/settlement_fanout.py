"""Very many terminals that are due at once: from the tick to the broker, beside paho publishing the same commands.

python -m bench.settlement_fanout 20000

Adds to bench/results.json `settle_fanout_vs_bare_paho` (commands of a tick, from the outbox to their PUBACKs) and
`settle_due_to_puback_vs_bare_paho` (the making and signing of each command too, by a second process at the same time).
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import django
import psycopg
from django.core.management import call_command

from tests import services

RESULTS = Path(__file__).parent / "results.json"
ROUNDS = 3


def main(terminals: int) -> None:
    services.start(durable=True)
    with psycopg.connect(services.address("postgres"), autocommit=True) as server:
        server.execute("CREATE DATABASE fanout")
    os.environ |= {"DATABASE_URL": services.address("fanout"), "DJANGO_SETTINGS_MODULE": "fleet.settings"}
    django.setup()
    call_command("migrate", verbosity=0)
    call_command("seed_estate", terminals=terminals, verbosity=0)
    from bench import stage
    from bench.relay import bare

    fanout, whole, paho, made = [], [], [], []
    for _ in range(ROUNDS):
        everybody_is_due()
        made.append(rate(ask))
        paho.append(bare(queued()))
        let_them_go_at("now() + interval '1 hour'")
        with stage.link_process():
            let_them_go_at("now()")
            fanout.append(rate(wake_and_wait))
        everybody_is_due()
        with stage.link_process():
            whole.append(rate(lambda: ask() and all_sent()))
    measures = [
        stage.compare("settle_fanout_vs_bare_paho", fanout, paho),
        stage.compare("settle_due_to_puback_vs_bare_paho", whole, paho),
    ]
    print(f"{stage.compare('', made, paho).ours:,.0f} commands a second made, signed and queued")
    for one in measures:
        print(f"{one.name}: {one.ours:,.0f} a second beside {one.theirs:,.0f}: {one.ratio:.2f}")
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results |= {one.name: round(one.ratio, 3) for one in measures}
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")


def rate(work: Callable[[], int]) -> float:
    """Return how many settle commands a second some work takes on; it says their number."""
    began = time.perf_counter()
    number = work()
    return number / (time.perf_counter() - began)


def everybody_is_due() -> None:
    from django.utils import timezone

    from terminals.link.models import Command
    from terminals.settlement.models import SettlementRun, SettlementSchedule

    SettlementRun.objects.all().delete()
    Command.objects.all().delete()
    now = timezone.now()
    SettlementSchedule.objects.update(next_due_at=now, cycle_at=now)


def ask() -> int:
    from django.utils import timezone

    from terminals.settlement.tasks import tick

    return tick(timezone.now())


def queued() -> list[tuple[str, bytes]]:
    from terminals.link.models import Command
    from terminals.link.protocol import topics

    rows = Command.objects.order_by("pk").values_list("terminal__device_id", "payload")
    return [(topics.command(device_id), bytes(payload)) for device_id, payload in rows]


def let_them_go_at(instant: str) -> None:
    """Hold commands back until the link is there."""
    from bench import stage

    stage.run_sql(f"UPDATE link_command SET next_attempt_at = {instant}")  # noqa: S608 - one of two texts above


def wake_and_wait() -> int:
    from terminals.link.outbox import wake_relay

    wake_relay()
    return all_sent()


def all_sent() -> int:
    """Wait until the broker has acknowledged every command; return their number."""
    from bench import stage
    from terminals.link.models import Command

    stage.wait_until(lambda: not Command.objects.filter(state="queued").exists(), every_seconds=0.05)
    assert stage.scalar("SELECT max(attempts) FROM link_command") == 1, "a command was published twice"
    return Command.objects.count()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
