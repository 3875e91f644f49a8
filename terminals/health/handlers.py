"""Telemetry in bulk: one statement puts the messages into the history and merges the latest of each terminal.

They travel as one JSON array that PostgreSQL expands. A reading replaces the current one only if it is newer: a
higher `seq` of the same boot, or of the boot that the terminal's last hello named. Its clock is not asked: after a flat
battery it tells anything.
"""

from typing import cast

import msgspec
from django.db import connection

from terminals.health import services
from terminals.link.protocol.messages.health import Health, Tamper
from terminals.link.routes import Received

_COLUMNS = """message_id uuid, boot_id text, seq bigint, sent_at timestamptz, received_at timestamptz,
network_kind text, rssi_dbm smallint, latency_ms integer, printer text, screen text, keypad text, card_reader text,
battery_percent smallint, battery_charging boolean, storage_free_mb bigint, tamper boolean, unsettled_minor bigint,
unsettled_currency text, unsettled_count integer"""
_NAMES = ", ".join(column.split()[0] for column in _COLUMNS.split(","))
_ASSIGN = ", ".join(f"{name} = excluded.{name}" for name in _NAMES.split(", "))
# Messages of one boot between two readings that count: a month of one in three seconds, never heard.
SEQ_LEAP = 1_000_000
# Raw: half of all that a fleet says goes through this statement (bench/link.py). Put together from constants, so that the
# columns stand once.
MERGE = f"""
WITH reading AS MATERIALIZED (
    SELECT r.*, s.boot_id IS NOT DISTINCT FROM r.boot_id AS present,
           -- A reading is not signed: one that leaps ahead must not mute the true ones that follow it.
           r.seq <= CASE WHEN h.boot_id = r.boot_id THEN h.seq ELSE 0 END + {SEQ_LEAP} AS plausible
      FROM json_to_recordset(%s) AS r(terminal_id bigint, {_COLUMNS}, software jsonb)
      LEFT JOIN link_devicesession s USING (terminal_id) LEFT JOIN health_healthstate h USING (terminal_id)
), history AS (
    INSERT INTO health_healthsample (terminal_id, {_NAMES}) SELECT terminal_id, {_NAMES} FROM reading
)
INSERT INTO health_healthstate AS h (terminal_id, {_NAMES}, software)
SELECT DISTINCT ON (terminal_id) terminal_id, {_NAMES}, software FROM reading
 WHERE plausible ORDER BY terminal_id, present DESC, seq DESC
ON CONFLICT (terminal_id) DO UPDATE SET {_ASSIGN}, software = excluded.software
 WHERE (h.boot_id = excluded.boot_id AND h.seq < excluded.seq)
    OR (h.boot_id <> excluded.boot_id
        AND excluded.boot_id = (SELECT s.boot_id FROM link_devicesession s WHERE s.terminal_id = excluded.terminal_id))
"""  # noqa: S608 - the parts are constants of this file


def on_health(messages: list[Received]) -> None:
    """Store readings."""
    rows = [_row(received, cast(Health, received.body)) for received in messages]
    with connection.cursor() as cursor:
        cursor.execute(MERGE, [msgspec.json.encode(rows).decode()])


def _row(received: Received, health: Health) -> dict[str, object]:
    envelope, battery = received.envelope, health.battery
    return {
        "terminal_id": received.terminal_id,
        "message_id": envelope.id,
        "boot_id": envelope.boot_id,
        "seq": envelope.seq,
        "sent_at": envelope.sent_at,
        "received_at": received.received_at,
        "network_kind": health.network.kind,
        "rssi_dbm": health.network.rssi_dbm,
        "latency_ms": health.network.latency_ms,
        "printer": health.printer,
        "screen": health.screen,
        "keypad": health.keypad,
        "card_reader": health.card_reader,
        "battery_percent": battery.percent if battery else None,
        "battery_charging": battery.charging if battery else None,
        "storage_free_mb": health.storage_free_mb,
        "tamper": health.tamper,
        "unsettled_minor": health.unsettled.amount_minor,
        "unsettled_currency": health.unsettled.currency,
        "unsettled_count": health.unsettled.count,
        "software": health.software,
    }


def on_tamper(messages: list[Received]) -> None:
    """Note signed tamper events; an alarm shows until the terminal says, signed, that it is cleared."""
    services.note_tamper([(received.terminal_id, cast(Tamper, received.body)) for received in messages])
