"""A terminal's condition: its readings, alarms that it raises with signed events, and the end of it.

Readings travel as an array a column, which PostgreSQL expands into the history and merges into the latest of each terminal. A
reading replaces the current one only if it is newer: a higher `seq` of the same boot, or of the boot that the terminal's
last hello named. Its clock is not asked: after a flat battery it tells anything. As readings are not signed, none rules for
long: after two minutes the next one of the boot counts, whatever its `seq`.
"""

from collections.abc import Sequence
from typing import NamedTuple, cast

import msgspec
from django.db import connection

from terminals.common.facts.services import record_facts
from terminals.common.sql import array, texts
from terminals.health.facts import TamperChanged
from terminals.health.models import HealthState, TamperAlarm
from terminals.link.protocol.messages.health import Health, Tamper
from terminals.link.routes import Received

# Messages of one boot between two readings that count: a month of one in three seconds, never heard.
SEQ_LEAP = 1_000_000


class NoBattery(NamedTuple):
    """What a terminal without a battery says of it."""

    percent: None = None
    charging: None = None


NO_BATTERY = NoBattery()


# Raw: half of all that a fleet says goes through this statement (bench/link.py).
MERGE = """
WITH reading AS MATERIALIZED (
    SELECT r.*, s.boot_id IS NOT DISTINCT FROM r.boot_id AS present,
           -- A reading is not signed: one that leaps ahead must not mute the true ones that follow it.
           r.seq <= CASE WHEN h.boot_id = r.boot_id THEN h.seq ELSE 0 END + %(leap)s AS plausible
      FROM unnest(%(terminal_id)s::bigint[], %(message_id)s::uuid[], %(boot_id)s::text[], %(seq)s::bigint[],
                  %(sent_at)s::timestamptz[], %(received_at)s::timestamptz[], %(network_kind)s::text[], %(rssi_dbm)s::smallint[],
                  %(latency_ms)s::integer[], %(printer)s::text[], %(screen)s::text[], %(keypad)s::text[],
                  %(card_reader)s::text[], %(battery_percent)s::smallint[], %(battery_charging)s::boolean[],
                  %(storage_free_mb)s::bigint[], %(tamper)s::boolean[], %(unsettled_minor)s::bigint[],
                  %(unsettled_currency)s::text[], %(unsettled_count)s::integer[], %(software)s::jsonb[]) AS r(
           terminal_id, message_id, boot_id, seq, sent_at, received_at, network_kind, rssi_dbm, latency_ms, printer, screen,
           keypad, card_reader, battery_percent, battery_charging, storage_free_mb, tamper, unsettled_minor,
           unsettled_currency, unsettled_count, software)
      LEFT JOIN link_devicesession s USING (terminal_id) LEFT JOIN health_healthstate h USING (terminal_id)
), history AS (
    INSERT INTO health_healthsample (
           terminal_id,
           message_id, boot_id, seq, sent_at, received_at, network_kind, rssi_dbm, latency_ms, printer, screen,
           keypad, card_reader, battery_percent, battery_charging, storage_free_mb, tamper, unsettled_minor,
           unsettled_currency, unsettled_count)
    SELECT terminal_id,
           message_id, boot_id, seq, sent_at, received_at, network_kind, rssi_dbm, latency_ms, printer, screen,
           keypad, card_reader, battery_percent, battery_charging, storage_free_mb, tamper, unsettled_minor,
           unsettled_currency, unsettled_count
      FROM reading
    ON CONFLICT DO NOTHING  -- a reading whose clock is far off is not remembered: it may come twice
)
INSERT INTO health_healthstate AS h (
       terminal_id, software,
       message_id, boot_id, seq, sent_at, received_at, network_kind, rssi_dbm, latency_ms, printer, screen, keypad,
       card_reader, battery_percent, battery_charging, storage_free_mb, tamper, unsettled_minor, unsettled_currency,
       unsettled_count)
SELECT DISTINCT ON (terminal_id)
       terminal_id, software,
       message_id, boot_id, seq, sent_at, received_at, network_kind, rssi_dbm, latency_ms, printer, screen, keypad,
       card_reader, battery_percent, battery_charging, storage_free_mb, tamper, unsettled_minor, unsettled_currency,
       unsettled_count
  FROM reading WHERE plausible ORDER BY terminal_id, present DESC, seq DESC
ON CONFLICT (terminal_id) DO UPDATE
   SET software = excluded.software,
       message_id = excluded.message_id, boot_id = excluded.boot_id, seq = excluded.seq, sent_at = excluded.sent_at,
       received_at = excluded.received_at, network_kind = excluded.network_kind, rssi_dbm = excluded.rssi_dbm,
       latency_ms = excluded.latency_ms, printer = excluded.printer, screen = excluded.screen,
       keypad = excluded.keypad, card_reader = excluded.card_reader, battery_percent = excluded.battery_percent,
       battery_charging = excluded.battery_charging, storage_free_mb = excluded.storage_free_mb,
       tamper = excluded.tamper, unsettled_minor = excluded.unsettled_minor,
       unsettled_currency = excluded.unsettled_currency, unsettled_count = excluded.unsettled_count
 WHERE (h.boot_id = excluded.boot_id
        AND (h.seq < excluded.seq OR h.received_at < excluded.received_at - interval '2 minutes'))
    OR (h.boot_id <> excluded.boot_id
        AND excluded.boot_id = (SELECT s.boot_id FROM link_devicesession s WHERE s.terminal_id = excluded.terminal_id))
"""


def store_readings(messages: Sequence[Received]) -> None:
    """Put readings (messages whose body is Health) into history and present."""
    told = [cast(Health, message.body) for message in messages]
    with connection.cursor() as cursor:
        cursor.execute(MERGE, {**_envelopes(messages), **_conditions(told), "leap": SEQ_LEAP})


def _envelopes(messages: Sequence[Received]) -> dict[str, str]:
    envelopes = [message.envelope for message in messages]
    return {
        "terminal_id": array([message.terminal_id for message in messages]),
        "message_id": array([f"{envelope.id.int:032x}" for envelope in envelopes]),
        "boot_id": texts([envelope.boot_id for envelope in envelopes]),
        "seq": array([envelope.seq for envelope in envelopes]),
        "sent_at": array([envelope.sent_at.isoformat() for envelope in envelopes]),
        "received_at": array([message.received_at.isoformat() for message in messages]),
    }


def _conditions(told: Sequence[Health]) -> dict[str, str]:
    """Return the readings' own columns; words that the protocol lists need no quotes."""
    networks, sums = [health.network for health in told], [health.unsettled for health in told]
    batteries = [health.battery or NO_BATTERY for health in told]
    return {
        "network_kind": array([network.kind for network in networks]),
        "rssi_dbm": array([network.rssi_dbm for network in networks]),
        "latency_ms": array([network.latency_ms for network in networks]),
        "printer": array([health.printer for health in told]),
        "screen": array([health.screen for health in told]),
        "keypad": array([health.keypad for health in told]),
        "card_reader": array([health.card_reader for health in told]),
        "battery_percent": array([battery.percent for battery in batteries]),
        "battery_charging": array([battery.charging for battery in batteries]),
        "storage_free_mb": array([health.storage_free_mb for health in told]),
        "tamper": array([health.tamper for health in told]),
        "unsettled_minor": array([unsettled.amount_minor for unsettled in sums]),
        "unsettled_currency": array([unsettled.currency for unsettled in sums]),
        "unsettled_count": array([unsettled.count for unsettled in sums]),
        "software": texts([msgspec.json.encode(health.software).decode() for health in told]),
    }


def forget_condition(terminal_ids: Sequence[int]) -> None:
    """Terminals that left service for good have no condition; what it was remains in the history and the facts."""
    HealthState.objects.filter(terminal__in=terminal_ids).delete()
    TamperAlarm.objects.filter(terminal__in=terminal_ids).delete()


def note_tamper(events: Sequence[tuple[int, Tamper]]) -> None:
    """Store each terminal's latest word, and every event as a fact; (terminal id, event) in the order they came."""
    latest = dict(events)
    TamperAlarm.objects.bulk_create(
        [
            TamperAlarm(terminal_id=pk, active=event.active, detail=event.detail, occurred_at=event.occurred_at)
            for pk, event in sorted(latest.items())
        ],
        update_conflicts=True,
        unique_fields=["terminal"],
        update_fields=["active", "detail", "occurred_at"],
    )
    record_facts(
        (pk, TamperChanged(active=event.active, detail=event.detail, occurred_at=event.occurred_at))
        for pk, event in events
    )
