"""Signs of life of the running parts, for /readyz."""

from datetime import datetime, timedelta
from typing import NamedTuple

from django.db.models import QuerySet

from terminals.link.models import Heartbeat

FRESH_FOR = timedelta(seconds=15)
PARTS = ("broker", "link", "worker")


class Work(NamedTuple):
    """What a link has done since its start, and for how long it has had its oldest message in hand."""

    lag_seconds: float = 0.0
    taken: int = 0
    refused: int = 0


NONE = Work()


def beat(*, name: str, part: str, healthy: bool, at: datetime, work: Work = NONE) -> None:
    """Note that a part lives, whether it can do its work, and how it gets on."""
    Heartbeat.objects.bulk_create(
        [Heartbeat(name=name, part=part, healthy=healthy, at=at, **work._asdict())],
        update_conflicts=True,
        unique_fields=["name"],
        update_fields=["part", "healthy", "at", *Work._fields],
    )


def links_alive(now: datetime, part: str = "link") -> QuerySet[Heartbeat]:
    """Return the last words of the link processes that run, on themselves or on their broker."""
    return Heartbeat.objects.filter(part=part, at__gte=now - FRESH_FOR)


def silent_parts(now: datetime) -> list[str]:
    """Return which of PARTS no process has shown to be healthy a moment ago."""
    alive = set(Heartbeat.objects.filter(healthy=True, at__gte=now - FRESH_FOR).values_list("part", flat=True))
    return [part for part in PARTS if part not in alive]


def parts_to_look_after(now: datetime) -> list[str]:
    """Return the silent parts that an operator should start. Of the broker only the link tells: without it nobody knows."""
    silent = silent_parts(now)
    return [part for part in silent if part != "broker" or "link" not in silent]
