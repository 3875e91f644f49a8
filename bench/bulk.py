"""Bulk work: commands for many terminals into the outbox, beside a plain INSERT of as many rows.

python -m bench.bulk 20000
"""

import os
import sys
import time
import uuid
from datetime import UTC, datetime, timedelta

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
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from terminals.bulk.services import run_chunk, run_jobs, start
    from terminals.link.models import Command

    root = User.objects.create_superuser("root")
    for verb, arguments in (("lock", {}), ("tag", {"tag": "x"})):
        began = time.monotonic()
        job = start(verb=verb, arguments=arguments, text="state = active", user=root)
        chosen = time.monotonic() - began
        with CaptureQueriesContext(connection) as captured:
            run_chunk(job)
        began = time.monotonic()
        done = run_jobs(time.monotonic() + 600)
        seconds = time.monotonic() - began
        print(
            f"{verb}: {job.total:,} chosen in {chosen:.2f} s, {len(captured)} statements a chunk, {done / seconds:,.0f} a second"
        )
    command = Command.objects.filter(type="lock").first()
    assert command is not None
    now = datetime.now(UTC)
    rows = [
        Command(
            id=uuid.uuid4(),
            terminal_id=pk,
            type="ping",
            payload=command.payload,
            requested_by="bench",
            created_at=now,
            expires_at=now + timedelta(hours=1),
            next_attempt_at=now,
        )
        for pk in Command.objects.filter(type="lock").values_list("terminal_id", flat=True)
    ]
    columns = "id, terminal_id, type, state, payload, requested_by, created_at, expires_at, next_attempt_at, attempts"
    columns += ", code, detail"
    began = time.monotonic()
    with connection.cursor() as cursor, cursor.copy(f"COPY link_command ({columns}) FROM STDIN") as copy:
        for one in rows:
            copy.write_row(
                (one.id, one.terminal_id, one.type, "queued", one.payload, "bench", now, one.expires_at, now, 0, "", "")
            )
    print(f"COPY of as many rows: {len(rows) / (time.monotonic() - began):,.0f} a second")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
