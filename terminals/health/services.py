"""A terminal's condition: its readings, alarms that it raises with signed events, and the end of it.

Readings travel as one JSON array that PostgreSQL expands, into the history and merged into the latest of each terminal. A
reading replaces the current one only if it is newer: a higher `seq` of the same boot, or of the boot that the terminal's
last hello named. Its clock is not asked: after a flat battery it tells anything. As readings are not signed, none rules for
long: after two minutes the next one of the boot counts, whatever its `seq`.
"""

from collections.abc import Sequence

import msgspec
from django.db import connection

from terminals.common.facts.services import record_facts
from terminals.health.facts import TamperChanged
from terminals.health.models import HealthState, TamperAlarm
from terminals.link.protocol.messages.health import Tamper

# Messages of one boot between two readings that count: a month of one in three seconds, never heard.
SEQ_LEAP = 1_000_000


# Raw: half of all that a fleet says goes through this statement (bench/link.py).
MERGE = """
WITH reading AS MATERIALIZED (
    SELECT r.*, s.boot_id IS NOT DISTINCT FROM r.boot_id AS present,
           -- A reading is not signed: one that leaps ahead must not mute the true ones that follow it.
           r.seq <= CASE WHEN h.boot_id = r.boot_id THEN h.seq ELSE 0 END + %(leap)s AS plausible
      FROM json_to_recordset(%(rows)s) AS r(
           terminal_id bigint,
           message_id uuid, boot_id text, seq bigint, sent_at timestamptz, received_at timestamptz, network_kind text,
           rssi_dbm smallint, latency_ms integer, printer text, screen text, keypad text, card_reader text,
           battery_percent smallint, battery_charging boolean, storage_free_mb bigint, tamper boolean,
           unsettled_minor bigint, unsettled_currency text, unsettled_count integer, software jsonb)
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


def store_readings(rows: Sequence[dict[str, object]]) -> None:
    """Put readings, as the columns of HealthSample with the terminal's id and `software`, into history and present."""
    with connection.cursor() as cursor:
        cursor.execute(MERGE, {"rows": msgspec.json.encode(rows).decode(), "leap": SEQ_LEAP})


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
