"""What a terminal says of its condition."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from terminals.link.protocol.messages.base import (
    NOW,
    SOFTWARE,
    Count,
    Currency,
    Inbound,
    Instant,
    Percent,
    Text,
    Word,
    plausible,
)

Part = Literal["ok", "warning", "fault", "absent"]
PrinterState = Literal["ok", "paper_low", "out_of_paper", "fault", "absent"]


class Money(Struct):
    """Sales less refunds of the open batch, not yet settled."""

    currency: Currency
    amount_minor: Annotated[int, Meta(ge=-(10**15), le=10**15)]
    count: Count


class Network(Struct):
    kind: Literal["ethernet", "wifi", "cellular"]
    rssi_dbm: Annotated[int, Meta(ge=-150, le=0)] | None = None
    latency_ms: Annotated[int, Meta(ge=0, le=600_000)] | None = None


class Battery(Struct):
    percent: Percent
    charging: bool


class Health(Struct):
    """Telemetry, every `health_interval_seconds`; not signed, not acknowledged by the server."""

    network: Network
    printer: PrinterState
    screen: Part
    keypad: Part
    card_reader: Part
    storage_free_mb: Count
    tamper: bool
    software: Annotated[dict[Word, Word], Meta(max_length=32)]
    unsettled: Money
    battery: Battery | None = None


class Tamper(Struct):
    """Critical event: a tamper switch or sensor fired, or was cleared by the maker's service."""

    active: bool
    occurred_at: Instant
    detail: Text = ""

    def __post_init__(self) -> None:
        plausible(self.occurred_at)


INBOUND = (
    Inbound(
        "health",
        "health",
        False,
        Health(
            network=Network("cellular", rssi_dbm=-71, latency_ms=48),
            printer="paper_low",
            screen="ok",
            keypad="ok",
            card_reader="ok",
            storage_free_mb=1811,
            tamper=False,
            software=SOFTWARE,
            unsettled=Money("EUR", 4390, 3),
            battery=Battery(percent=64, charging=False),
        ),
    ),
    Inbound("tamper", "event", True, Tamper(active=True, occurred_at=NOW, detail="case opened")),
)
