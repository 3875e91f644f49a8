"""What a filter may ask of terminals' condition."""

from typing import get_args

from django.db.models import Q

from terminals.estate.targets.fields import FLAG, NUMBER, WORD, Field
from terminals.link.protocol.messages.health import Network, Part, PrinterState

SEE = "health.view_healthstate"
PARTS = tuple(get_args(Part))
RARE = "partial, where not ok"


def _tampered(operator: str, value: object) -> Q:
    return Q(tamper_alarm__active=True)


FIELDS = (
    Field("printer", WORD, "printer", at="health__printer", choices=get_args(PrinterState), needs=SEE, index=RARE),
    *(
        Field(part, WORD, part.replace("_", " "), at=f"health__{part}", choices=PARTS, needs=SEE, index=RARE)
        for part in ("screen", "keypad", "card_reader")
    ),
    Field("battery", NUMBER, "battery, per cent", at="health__battery_percent", needs=SEE),
    Field("signal", NUMBER, "signal, dBm", at="health__rssi_dbm", needs=SEE),
    Field("latency", NUMBER, "latency, ms", at="health__latency_ms", needs=SEE),
    Field("storage", NUMBER, "free storage, MB", at="health__storage_free_mb", needs=SEE),
    Field(
        "network",
        WORD,
        "network",
        at="health__network_kind",
        choices=get_args(Network.__annotations__["kind"]),
        needs=SEE,
    ),
    Field("tamper", FLAG, "an active tamper alarm", build=_tampered, needs=SEE, index="partial, where active"),
)
