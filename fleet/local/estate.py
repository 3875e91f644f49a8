"""A large estate planted by SQL, to try pages, searches and reports at the size of a real fleet.

The terminals are on the books and look alive, but no device stands behind them: they hold no certificate and can say nothing.
Twenty-five terminals to a store, ten stores to a merchant, ten merchants to a reseller, ten resellers to an acquirer; every
value follows from a terminal's number, so the same numbers make the same estate.
"""

import json
from collections.abc import Iterator
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from fleet.pages import tallies
from terminals.common.audit import services as audit
from terminals.common.errors import Refusal
from terminals.estate.models import Terminal
from terminals.settlement.plans.rules import complete

ACTOR = "manage.py seed_estate"
PREFIX = "SEED-"
LARGEST = 9_999_999
CHUNK = 50_000

# Raw, all of them: a million rows a table are a matter of INSERT ... SELECT; through the ORM they would take an hour. Each takes
# the numbers of a chunk's first and last terminal.
ACQUIRERS = """
INSERT INTO terminals_organisation (name, kind, path)
SELECT 'Seed acquirer ' || a, 'acquirer', '' FROM generate_series(%(first)s / 25000, %(last)s / 25000) AS a
ON CONFLICT DO NOTHING
"""
RESELLERS = """
INSERT INTO terminals_organisation (name, kind, parent_id, path)
SELECT 'Seed reseller ' || r, 'reseller', acquirer.id, ''
  FROM generate_series(%(first)s / 2500, %(last)s / 2500) AS r
  JOIN terminals_organisation acquirer ON acquirer.name = 'Seed acquirer ' || r / 10
ON CONFLICT DO NOTHING
"""
MERCHANTS = """
INSERT INTO terminals_merchant (name, mid, organisation_id, path)
SELECT 'Seed merchant ' || m, 'SEED' || lpad(m::text, 8, '0'), reseller.id, ''
  FROM generate_series(%(first)s / 250, %(last)s / 250) AS m
  JOIN terminals_organisation reseller ON reseller.name = 'Seed reseller ' || m / 10
ON CONFLICT DO NOTHING
"""
STORES = """
INSERT INTO terminals_store (path, merchant_id, name, city, time_zone)
SELECT '', merchant.id, 'Store ' || s, (ARRAY['Hamburg', 'Madrid', 'Porto', 'Dublin', 'Athens', 'Oslo', 'Gdansk'])[s %% 7 + 1],
       (ARRAY['Europe/Berlin', 'Europe/Madrid', 'Europe/Lisbon', 'Europe/Dublin', 'Europe/Athens', 'Europe/Oslo',
              'Europe/Warsaw'])[s %% 7 + 1]
  FROM generate_series(%(first)s / 25, %(last)s / 25) AS s
  JOIN terminals_merchant merchant ON merchant.mid = 'SEED' || lpad((s / 10)::text, 8, '0')
ON CONFLICT DO NOTHING
"""
MODELS = """
INSERT INTO terminals_terminalmodel (vendor, name, platform, capabilities)
SELECT 'Seed', 'Model ' || m, 'linux-arm64', '{printer,keypad,contactless}' FROM generate_series(1, 4) AS m
ON CONFLICT DO NOTHING
"""
PLAN = """
INSERT INTO settlement_settlementplan (name, settings, is_default)
VALUES ('Seed: every night', '{"cycle": "30 22 * * *", "amount_limits": {"EUR": 50000}, "jitter_seconds": 3600}', false)
ON CONFLICT DO NOTHING
"""
TERMINALS = """
INSERT INTO terminals_terminal (path, serial, device_id, model_id, store_id, tid, mid, state, tags, public_key_pem,
                                registered_at, updated_at)
SELECT '', 'SEED-' || lpad(n::text, 7, '0'), 'SEED-' || lpad(n::text, 7, '0'), model.id, store.id, lpad(n::text, 8, '0'), '',
       CASE WHEN n %% 200 = 199 THEN 'suspended' WHEN n %% 100 = 98 THEN 'registered' ELSE 'active' END,
       CASE WHEN n %% 500 = 0 THEN '{pilot}'::varchar[] ELSE '{}' END, '', now() - n * interval '1 second', now()
  FROM generate_series(%(first)s, %(last)s) AS n
  JOIN terminals_merchant merchant ON merchant.mid = 'SEED' || lpad((n / 250)::text, 8, '0')
  JOIN terminals_store store ON store.merchant_id = merchant.id AND store.name = 'Store ' || n / 25
  JOIN terminals_terminalmodel model ON model.vendor = 'Seed' AND model.name = 'Model ' || n %% 4 + 1
"""
# Of the terminals of this chunk that went to work: id and number.
SESSIONS = """
INSERT INTO link_devicesession (terminal_id, boot_id, connected_at, last_seen_at, online, locked, offline_at)
SELECT id, gen_random_uuid()::text, now() - n %% 86400 * interval '1 second', now() - n %% 15 * interval '1 second',
       n %% 20 <> 0, n %% 1000 = 7, now() + interval '1 day'  -- none of them will be heard: let them look alive for a day
  FROM seeded
"""
HEALTH = """
INSERT INTO health_healthstate (message_id, boot_id, seq, sent_at, received_at, network_kind, rssi_dbm, latency_ms, printer,
    screen, keypad, card_reader, battery_percent, battery_charging, storage_free_mb, tamper, unsettled_minor,
    unsettled_currency, unsettled_count, terminal_id, software)
SELECT gen_random_uuid(), 'seed', n, now(), now(), (ARRAY['cellular', 'wifi', 'ethernet'])[n %% 3 + 1], -50 - n %% 60,
       20 + n %% 300, CASE WHEN n %% 300 = 0 THEN 'out_of_paper' WHEN n %% 60 = 0 THEN 'paper_low' ELSE 'ok' END,
       CASE WHEN n %% 900 = 1 THEN 'fault' ELSE 'ok' END, CASE WHEN n %% 1100 = 2 THEN 'fault' ELSE 'ok' END, 'ok',
       n %% 101, n %% 2 = 0, 500 + n %% 4000, false, 0, 'EUR', 0, id, '{}'::jsonb
  FROM seeded
"""
SOFTWARE = """
INSERT INTO firmware_installedsoftware (terminal_id, component, version, reported_at)
SELECT id, component, version, now()
  FROM seeded CROSS JOIN LATERAL (VALUES ('payment', '2.' || n %% 5 || '.0'), ('os', '12.' || n %% 3)) AS v(component, version)
"""
KEYS = """
INSERT INTO keys_terminalkey (id, terminal_id, usage, algorithm, sealed_key, kcv, state, answered_kcv, answered_at)
SELECT gen_random_uuid(), id, 'P0', 'A', '', kcv, CASE WHEN n %% 2000 = 3 THEN 'mismatch' ELSE 'confirmed' END, kcv, now()
  FROM seeded CROSS JOIN LATERAL (SELECT upper(lpad(to_hex(n %% 16777216), 6, '0')) AS kcv) AS k
"""
SCHEDULES = """
INSERT INTO settlement_settlementschedule (terminal_id, effective_id, jitter_share, next_due_at, cycle_at, due_reason, problems,
                                           is_blocked, is_stale)
SELECT seeded.id, effective.id, n %% 1000 / 1000.0, now() + interval '12 hours' + n %% 43200 * interval '1 second',
       now() + interval '12 hours', 'cycle', '[]', false, false
  FROM seeded JOIN settlement_effectiveplan effective ON effective.digest = 'seed'
"""
BATCHES = """
INSERT INTO settlement_batch (terminal_id, batch_number, currency, net_minor, transaction_count, closed, opened_at)
SELECT id, number, 'EUR', 1000 + n * 37 %% 40000, 1 + n %% 20, number = 1, now() - (2 - number) * interval '1 day'
  FROM seeded CROSS JOIN generate_series(1, 2) AS number
"""
RUNS = """
INSERT INTO settlement_settlementrun (terminal_id, trigger, attempt, problems, host_fields, upload_complete, state, requested_at,
    finished_at, closed_at, batch_number, currency, host_response, reported_minor, difference_minor, reasons)
SELECT id, 'cycle', 1, '[]', '{}', true, CASE WHEN n %% 1000 = 5 THEN 'unbalanced' ELSE 'balanced' END, at,
       at + interval '9 seconds', at, 1, 'EUR',
       '00', 1000 + n * 37 %% 40000, CASE WHEN n %% 1000 = 5 THEN 1234 ELSE 0 END, '[]'
  FROM seeded CROSS JOIN LATERAL (SELECT now() - interval '26 hours' + n %% 7200 * interval '1 second' AS at) AS time
"""
SEEDED = """
CREATE TEMPORARY TABLE seeded AS
SELECT id, right(serial, 7)::bigint AS n FROM terminals_terminal
 WHERE serial BETWEEN %(low)s AND %(high)s AND state <> 'registered'
"""
EFFECTIVE = """
INSERT INTO settlement_effectiveplan (digest, plan_id, settings)
SELECT 'seed', id, %(defaults)s::jsonb || settings FROM settlement_settlementplan WHERE name = 'Seed: every night'
ON CONFLICT DO NOTHING
"""
STATEMENTS = (
    ACQUIRERS,
    RESELLERS,
    MERCHANTS,
    STORES,
    MODELS,
    PLAN,
    EFFECTIVE,
    TERMINALS,
    SEEDED,
    SESSIONS,
    HEALTH,
    SOFTWARE,
    KEYS,
    SCHEDULES,
    BATCHES,
    RUNS,
    "DROP TABLE seeded",
)


def seed_estate(terminals: int) -> Iterator[int]:
    """Plant terminals until there are so many; yield how many there are after each chunk, committed.

    What stands already is left alone, so a run that was broken off is simply repeated. Raises Refusal for an impossible number.
    """
    if not 0 < terminals <= LARGEST:
        raise Refusal("bad_number", "from 1 to %(largest)s terminals can be planted", largest=LARGEST)
    latest = (
        Terminal.objects.filter(serial__startswith=PREFIX).order_by("-serial").values_list("serial", flat=True).first()
    )
    first = int(latest.removeprefix(PREFIX)) + 1 if latest else 0
    while first < terminals:
        last = min(first + CHUNK, terminals) - 1
        _plant(first, last)
        tallies.fold(timezone.now())
        first = last + 1
        yield first
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


@transaction.atomic
def _plant(first: int, last: int) -> None:
    numbers: dict[str, Any] = {"first": first, "last": last, "low": _serial(first), "high": _serial(last)}
    numbers["defaults"] = json.dumps(complete({"time_zone": "Europe/Berlin"}))
    with connection.cursor() as cursor:
        for statement in STATEMENTS:
            cursor.execute(statement, numbers)
    audit.record(actor=ACTOR, action="estate.seed", subject="estate:seed", detail={"first": first, "last": last})


def _serial(number: int) -> str:
    return f"{PREFIX}{number:07d}"
