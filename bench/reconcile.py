"""Reconciliation of a day beside one plain aggregate over its transactions, and the import of a bank's file beside bare parsing.

python -m bench.reconcile 100000 50

100,000 batches of 50 transactions, one batch of a hundred wrong; then a camt.053 file with an entry for each batch. Adds
`reconcile_first_vs_sql_aggregate` (states written, differences noted), `reconcile_vs_sql_aggregate` (the same once more) and
`camt_import_vs_bare_parsing` to bench/results.json.
"""

import io
import json
import os
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

import django
import psycopg
from django.core.management import call_command
from lxml import etree

from tests import services
from tests.terminals.settlement.credits.files import Credit, camt

RESULTS = Path(__file__).parent / "results.json"
CHUNK = 2000
OF_A_TERMINAL = 20  # batches
# Transactions, their lines on both sides (of each hundredth batch one sale was counted that never came), batches and runs.
PLANT = """
INSERT INTO settlement_transaction (terminal_id, transaction_id, batch_number, sequence, kind, method, scheme, amount_minor,
    currency, approval_code, card_last4, card_token, stan, rrn, occurred_at, received_at)
SELECT t.id, gen_random_uuid(), b, s, CASE WHEN s %% 25 = 0 THEN 'refund' ELSE 'sale' END,
       CASE WHEN s %% 3 = 0 THEN 'qr' ELSE 'card' END,
       CASE WHEN s %% 3 = 0 THEN 'alipay' WHEN s %% 2 = 0 THEN 'visa' ELSE 'mastercard' END, 100 + s, 'EUR', '', '', '', '', '',
       now(), now()
  FROM bench_terminals t, generate_series(1, %(batches)s) b, generate_series(1, %(size)s) s;
INSERT INTO settlement_batchtotal (terminal_id, batch_number, currency, method, scheme, kind, reported_count, reported_minor,
    recorded_count, recorded_minor)
SELECT terminal_id, batch_number, currency, method, scheme, kind, count(*), sum(amount_minor), count(*), sum(amount_minor)
  FROM settlement_transaction GROUP BY 1, 2, 3, 4, 5, 6;
UPDATE settlement_batchtotal SET reported_count = reported_count + 1, reported_minor = reported_minor + 1234
 WHERE (terminal_id * 31 + batch_number) %% 100 = 0 AND method = 'qr' AND kind = 'sale';
INSERT INTO settlement_batch (terminal_id, batch_number, currency, net_minor, transaction_count, closed)
SELECT terminal_id, batch_number, currency, sum(CASE kind WHEN 'sale' THEN 1 ELSE -1 END * recorded_minor),
       sum(recorded_count), true
  FROM settlement_batchtotal GROUP BY 1, 2, 3;
INSERT INTO settlement_settlementrun (terminal_id, trigger, state, requested_at, attempt, problems, finished_at, batch_number,
    currency, host_response, host_fields, upload_complete, reasons)
SELECT terminal_id, 'cycle', 'unbalanced', now(), 1, '[]', now(), batch_number, currency, '00', '{}', true, '[]'
  FROM settlement_batch;
"""
AGGREGATE = """
SELECT count(*) FROM (SELECT terminal_id, batch_number, currency, method, scheme, kind, count(*), sum(amount_minor)
                        FROM settlement_transaction GROUP BY 1, 2, 3, 4, 5, 6) AS whole
"""


def main(batches: int, size: int) -> None:
    services.start(durable=True)
    with psycopg.connect(services.address("postgres"), autocommit=True) as server:
        server.execute("CREATE DATABASE reconcile")
    os.environ |= {"DATABASE_URL": services.address("reconcile"), "DJANGO_SETTINGS_MODULE": "fleet.settings"}
    django.setup()
    call_command("migrate", verbosity=0)
    terminals = batches // OF_A_TERMINAL
    call_command("seed_estate", terminals=terminals, verbosity=0)
    plant(terminals, size)
    whole = min(seconds(lambda: run(AGGREGATE)) for _ in range(2))
    run("SET max_parallel_workers_per_gather = 0")  # ours runs on one core
    alone = min(seconds(lambda: run(AGGREGATE)) for _ in range(2))
    run("RESET max_parallel_workers_per_gather")
    keys = run("SELECT terminal_id, batch_number FROM settlement_settlementrun ORDER BY 1, 2")
    ours, again = seconds(lambda: reconcile(keys)), seconds(lambda: reconcile(keys))
    print(f"{len(keys):,} batches: reconciled in {ours:.1f} s, again in {again:.1f} s")
    print(f"one aggregate over their transactions: {whole:.1f} s on all cores, {alone:.1f} s on one")
    bare, import_ = credits(keys)
    print(
        f"camt.053: {len(keys) / import_:,.0f} entries a second from file to compared batch, {len(keys) / bare:,.0f} parsed"
    )
    ratios = {
        "reconcile_vs_sql_aggregate": again / whole,
        "reconcile_first_vs_sql_aggregate": ours / whole,
        "camt_import_vs_bare_parsing": bare / import_,
    }
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results |= {name: round(value, 3) for name, value in ratios.items()}
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")


def seconds(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def run(statement: str, parameters: Any = None) -> list[Any]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []


def plant(terminals: int, size: int) -> None:
    """Write a day of transactions straight into the tables, with TIDs that a bank's file can name."""
    for table in ("settlementrun", "batch", "batchtotal", "transaction"):
        run(f"DELETE FROM settlement_{table}")  # noqa: S608 - names of our own
    run("UPDATE terminals_terminal SET tid = 'B' || lpad(id::text, 7, '0')")
    run(f"CREATE TABLE bench_terminals AS SELECT id FROM terminals_terminal ORDER BY id LIMIT {terminals}")  # noqa: S608
    for statement in PLANT.split(";"):
        if statement.strip():
            run(statement, {"batches": OF_A_TERMINAL, "size": size})
    run("ANALYZE")


def reconcile(keys: list[Any]) -> None:
    """Compare every batch, its differences noted as cases."""
    from django.db import transaction

    from terminals.settlement.runs.comparing import compare

    for start in range(0, len(keys), CHUNK):
        with transaction.atomic():
            compare(keys[start : start + CHUNK])


def credits(keys: list[Any]) -> tuple[float, float]:
    """Return the seconds of bare parsing, and of an import from the file to compared batches."""
    from terminals.settlement import tasks
    from terminals.settlement.credits.rules import checked
    from terminals.settlement.credits.services import bring
    from terminals.settlement.models import CreditFile, CreditProfile

    settings = checked("camt", {"reference": "TID {tid} BATCH {batch}"})
    profile = CreditProfile.objects.create(name="Bank", format="camt", settings=settings)
    nets = dict(run("SELECT (terminal_id, batch_number)::text, net_minor FROM settlement_batch"))
    content = camt(
        [
            Credit(f"B{pk:07d}", number, f"{nets[f'({pk},{number})'] / 100:.2f}", entry_id=f"R{pk}-{number}")
            for pk, number in keys
        ]
    )
    bare = seconds(lambda: parse(content))
    bring(profile=profile, file=io.BytesIO(content), name="bank.xml", actor="bench")

    def work() -> None:
        while CreditFile.objects.filter(finished_at=None).exists():
            tasks.work_on_credits()

    spent = seconds(work)
    assert CreditFile.objects.get().state == "done"
    return bare, spent


def parse(content: bytes) -> None:
    for _event, element in etree.iterparse(io.BytesIO(content), tag="{*}Ntry"):
        element.clear()
        list(islice(element, 0))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, int(sys.argv[2]) if len(sys.argv) > 2 else 50)
