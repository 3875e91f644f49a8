"""Run every benchmark, print a table, and add the ratios to bench/results.json (name -> ratio)."""

import json
import os
from pathlib import Path

import django
import psycopg
from django.core.management import call_command

from tests import services

RESULTS = Path(__file__).parent / "results.json"


def main() -> None:
    services.start(durable=True)
    with psycopg.connect(services.address("postgres"), autocommit=True) as server:
        server.execute("CREATE DATABASE tillwarden")
    os.environ["DJANGO_SETTINGS_MODULE"] = "fleet.settings"
    django.setup()
    call_command("migrate", verbosity=0)
    from bench import hostile, link, relay, stage

    stage.plant_fleet()
    measures = [*hostile.measure(), *link.measure(), *relay.measure()]
    print(f"{'':24}{'ours /s':>12}{'theirs /s':>12}{'ratio':>9}")
    for measure in measures:
        print(f"{measure.name:24}{measure.ours:12,.0f}{measure.theirs:12,.0f}{measure.ratio:9.2f}")
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results |= {m.name: round(m.ratio, 3) for m in measures}
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
