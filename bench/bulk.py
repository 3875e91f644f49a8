"""Bulk work: commands for many terminals into the outbox, beside a plain INSERT of as many rows.

python -m bench.bulk 20000
"""

import os
import sys
import time
import uuid
from typing import Any

import django
import psycopg
from django.core.management import call_command

from tests import services


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
    for verb, arguments in (("lock", {}), ("tag", {"tag": "x"})):
        measure_verb(verb, arguments, root)
    print(f"COPY of as many commands as they are: {copy_commands():,.0f} a second")


def measure_verb(verb: str, arguments: dict[str, str], root: Any) -> None:
    """Do a verb to all active terminals, and say how fast and with how many statements a chunk."""
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


def copy_commands() -> float:
    """Insert the same commands once more under new ids, with nothing made or signed; return how many a second."""
    from django.db import connection

    from terminals.link.models import Command
    from terminals.link.services import COPY

    rows = [
        (
            uuid.uuid4(),
            c.terminal_id,
            "ping",
            c.state,
            c.payload,
            "bench",
            c.created_at,
            c.expires_at,
            c.expires_at,
            0,
            "",
            "",
        )
        for c in Command.objects.filter(type="lock")
    ]
    began = time.monotonic()
    with connection.cursor() as cursor, cursor.copy(COPY) as copy:
        for row in rows:
            copy.write_row(row)
    return len(rows) / (time.monotonic() - began)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
