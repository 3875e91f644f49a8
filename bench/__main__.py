"""Run every benchmark, print a table, and add the ratios to bench/results.json (name -> ratio).

python -m bench [embedded|mosquitto|mosquitto-tls]     the broker on which link and relay are measured; names end with it
"""

import json
import os
import sys
from pathlib import Path

import django
import psycopg
from django.core.management import call_command

from bench import brokers
from tests import services

RESULTS = Path(__file__).parent / "results.json"


def main() -> None:
    kind = sys.argv[1] if len(sys.argv) > 1 else "embedded"
    if kind not in brokers.KINDS:
        sys.exit(f"{kind!r} is none of {', '.join(brokers.KINDS)}")
    brokers.start(kind)
    with psycopg.connect(services.address("postgres"), autocommit=True) as server:
        server.execute("CREATE DATABASE tillwarden")
    os.environ["DJANGO_SETTINGS_MODULE"] = "fleet.settings"
    django.setup()
    call_command("migrate", verbosity=0)
    from bench import hello, hostile, link, relay, stage
    from fleet.local import device_ca

    device_ca.ensure()
    stage.plant_fleet()
    measures = [*link.measure(), *relay.measure()]
    if kind == "embedded":
        measures += [*hostile.measure(), *hello.measure()]
    else:
        measures = [m._replace(name=f"{m.name}_{kind.replace('-', '_')}") for m in measures]
    print(f"{'':36}{'ours /s':>12}{'theirs /s':>12}{'ratio':>9}")
    for measure in measures:
        print(f"{measure.name:36}{measure.ours:12,.0f}{measure.theirs:12,.0f}{measure.ratio:9.2f}")
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results |= {m.name: round(m.ratio, 3) for m in measures}
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
