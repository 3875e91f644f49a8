"""Bulk work and registering in lists, each beside a plain INSERT of as many rows, on the same database.

python -m bench.bulk 20000

Prints terminals a second, and adds to bench/results.json `bulk_vs_bare_insert` and `register_bulk_vs_bare_insert`.
"""

import json
import os
import sys
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import django
import psycopg
from django.core.management import call_command

from tests import services

RESULTS = Path(__file__).parent / "results.json"
LIST = 100  # terminals that one request registers


def main(terminals: int) -> None:
    services.start(durable=True)
    with psycopg.connect(services.address("postgres"), autocommit=True) as server:
        server.execute("CREATE DATABASE bulk")
    os.environ |= {"DATABASE_URL": services.address("bulk"), "DJANGO_SETTINGS_MODULE": "fleet.settings"}
    django.setup()
    call_command("migrate", verbosity=0)
    call_command("seed_estate", terminals=terminals)
    from django.contrib.auth.models import User

    root = User.objects.create_superuser("root")
    locked, _tagged = (measure_verb(verb, told, root) for verb, told in (("lock", {}), ("tag", {"tag": "x"})))
    bare = insert_commands()
    print(f"INSERT of as many commands as they are: {bare:,.0f} a second")
    registered, bare_terminals = register_in_lists(root, terminals), insert_terminals(terminals)
    print(
        f"registered in lists of {LIST}: {registered:,.0f} a second; INSERT of as many: {bare_terminals:,.0f} a second"
    )
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    ratios = {"bulk_vs_bare_insert": locked / bare, "register_bulk_vs_bare_insert": registered / bare_terminals}
    results |= {name: round(ratio, 3) for name, ratio in ratios.items()}
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")


def measure_verb(verb: str, arguments: dict[str, str], root: Any) -> float:
    """Do a verb to all active terminals, say how fast and with how many statements a chunk, and return how many a second."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from terminals.bulk.services import run_chunk, run_jobs, start

    began = time.monotonic()
    job = start(verb=verb, arguments=arguments, text="state = active", user=root)
    chosen = time.monotonic() - began
    with CaptureQueriesContext(connection) as captured:
        run_chunk(job)
    began = time.monotonic()
    rate = run_jobs(time.monotonic() + 600) / (time.monotonic() - began)
    print(f"{verb}: {job.total:,} chosen in {chosen:.2f} s, {len(captured)} statements a chunk, {rate:,.0f} a second")
    return rate


def insert_commands() -> float:
    """Insert the commands of `lock` once more under new ids, with nothing made or signed; return how many a second."""
    from terminals.link.models import Command

    names = [
        "terminal_id",
        "type",
        "state",
        "payload",
        "requested_by",
        "created_at",
        "expires_at",
        "attempts",
        "code",
        "detail",
    ]
    rows = [(uuid.uuid4(), *row) for row in Command.objects.filter(type="lock").values_list(*names)]
    return _insert("link_command", ["id", *names], rows)


def insert_terminals(number: int) -> float:
    """Insert terminals with no audit, fact or check; return how many a second."""
    from terminals.estate.models import Terminal

    names = ["model_id", "store_id", "path", "state", "updated_at", "tid", "mid", "public_key_pem"]
    one = Terminal.objects.filter(state="active").values_list(*names)[0]
    rows = [(f"BARE-{n}", f"BARE-{n}", *one[:5], "", "", "", []) for n in range(number)]
    return _insert("terminals_terminal", ["serial", "device_id", *names, "tags"], rows)


def _insert(table: str, names: list[str], rows: Iterable[tuple[Any, ...]]) -> float:
    """Insert rows a thousand to a transaction; return how many a second."""
    from django.db import connection, transaction

    text = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join(['%s'] * len(names))})"  # noqa: S608 - names from this file
    waiting, began = list(rows), time.monotonic()
    for start in range(0, len(waiting), 1000):
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.executemany(text, waiting[start : start + 1000])
    return len(waiting) / (time.monotonic() - began)


def register_in_lists(root: Any, number: int) -> float:
    """Register by API, without the network; return how many terminals a second."""
    from rest_framework.test import APIClient

    from terminals.estate.models import Terminal

    model, store = Terminal.objects.values_list("model_id", "store_id")[0]
    client = APIClient()
    client.force_authenticate(root)
    began = time.monotonic()
    for start in range(0, number, LIST):
        rows = [{"serial": f"LIST-{n}", "model": model, "store": store} for n in range(start, start + LIST)]
        answer = client.post("/api/v1/terminals/register/", {"terminals": rows}, format="json", HTTP_HOST="localhost")
        if answer.status_code != 200:
            raise RuntimeError(f"{answer.status_code}: {answer.content[:200]!r}")
    return number / (time.monotonic() - began)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
