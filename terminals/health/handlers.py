"""Telemetry and tamper events: parsed here, stored by services."""

from typing import cast

from terminals.health import services
from terminals.link.protocol.messages.health import Health, Tamper
from terminals.link.routes import Received


def on_health(messages: list[Received]) -> None:
    """Store readings."""
    services.store_readings([_row(received, cast(Health, received.body)) for received in messages])


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
