"""Importing a file, and a change of parameters at the top of the tree, each beside a plain INSERT of as many rows.

python -m bench.field 10000 100000

Prints seconds and statements, and adds to bench/results.json `import_vs_bare_insert` and `parameters_vs_bare_insert`.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import django
import psycopg
from django.core.management import call_command

from tests import services

RESULTS = Path(__file__).parent / "results.json"


def main(rows: int, terminals: int) -> None:
    services.start(durable=True)
    with psycopg.connect(services.address("postgres"), autocommit=True) as server:
        server.execute("CREATE DATABASE field")
    os.environ |= {"DATABASE_URL": services.address("field"), "DJANGO_SETTINGS_MODULE": "fleet.settings"}
    django.setup()
    call_command("migrate", verbosity=0)
    call_command("seed_estate", terminals=terminals)
    from django.contrib.auth.models import User

    from bench.bulk import insert_terminals

    root = User.objects.create_superuser("root")
    imported = import_rows(root, rows)
    configured = change_at_the_top(terminals)
    bare = insert_terminals(rows)
    print(f"INSERT of as many terminals: {bare:,.0f} a second")
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    ratios = {"import_vs_bare_insert": imported / bare, "parameters_vs_bare_insert": configured / bare}
    results |= {name: round(ratio, 3) for name, ratio in ratios.items()}
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")


def import_rows(root: Any, rows: int) -> float:
    """Import a file of terminals, ten to a store and ten stores to a merchant; return how many rows a second."""
    from django.core.files.base import ContentFile

    from terminals.estate.models import TerminalModel
    from terminals.importing.services import bring, progress, run_imports, start

    model = TerminalModel.objects.first()
    lines = ["merchant,mid,store,city,time_zone,serial,model,tid"]
    for n in range(rows):
        shop = f"Chain {n // 100},C{n // 100},Store {n // 10},Porto,Europe/Lisbon"
        lines.append(f"{shop},IMP-{n:06},{model},{n % 10:08}")
    began = time.monotonic()
    job = bring(file=ContentFile("\n".join(lines).encode(), name="estate.csv"), user=root)
    judged = time.monotonic() - began
    start(job=job, user=root)
    run_imports(time.monotonic() + 600)
    took = time.monotonic() - began
    print(f"import: {rows:,} rows judged in {judged:.1f} s, all in {took:.1f} s, {progress(job)}")
    return rows / took


def change_at_the_top(terminals: int) -> float:
    """Set a value for the whole installation, and let it be sent to every active terminal; return how many a second."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from terminals.estate.levels import INSTALLATION
    from terminals.estate.models import Terminal, TerminalModel
    from terminals.parameters.models import ModelTemplate, ParametersDue, ParameterSet
    from terminals.parameters.sending import run_due, send_due
    from terminals.parameters.services import preview, publish_template, set_values

    schema = {"properties": {"tip_enabled": {"type": "boolean"}, "interval": {"type": "integer"}}}
    template = publish_template(name="bench", schema=schema, actor="bench").template
    ModelTemplate.objects.bulk_create(ModelTemplate(model=m, template=template) for m in TerminalModel.objects.all())
    stores = Terminal.objects.order_by("store").values_list("store", flat=True).distinct()[:1000]
    ParameterSet.objects.bulk_create(
        ParameterSet(template=template, store_id=pk, revision=1, values={"interval": pk % 60}, set_by="bench")
        for pk in stores
    )
    began = time.monotonic()
    found = preview(template=template, level=INSTALLATION, values={"tip_enabled": True})
    print(f"parameters: dry run over {found.below:,} terminals in {time.monotonic() - began:.1f} s")
    began = time.monotonic()
    with CaptureQueriesContext(connection) as captured:
        set_values(template=template, level=INSTALLATION, values={"tip_enabled": True}, actor="bench")
    print(
        f"set in {time.monotonic() - began:.1f} s and {len(captured)} statements, {ParametersDue.objects.count():,} due"
    )
    with CaptureQueriesContext(connection) as chunk:
        send_due()
    began = time.monotonic()
    done = run_due(time.monotonic() + 900)
    took = time.monotonic() - began
    print(f"worked out and sent: {done / took:,.0f} a second, {len(chunk)} statements a thousand")
    return done / took


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3])) if len(sys.argv) > 2 else main(10_000, 100_000)
