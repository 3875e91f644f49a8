"""Signs of life of the running parts, for /readyz."""

from datetime import datetime, timedelta

from terminals.link.models import Heartbeat

FRESH_FOR = timedelta(seconds=15)
PARTS = ("broker", "link", "worker")


def beat(*, name: str, part: str, healthy: bool, at: datetime) -> None:
    """Note that a part lives and whether it can do its work."""
    Heartbeat.objects.bulk_create(
        [Heartbeat(name=name, part=part, healthy=healthy, at=at)],
        update_conflicts=True,
        unique_fields=["name"],
        update_fields=["part", "healthy", "at"],
    )


def silent_parts(now: datetime) -> list[str]:
    """Return which of PARTS no process has shown to be healthy a moment ago."""
    alive = set(Heartbeat.objects.filter(healthy=True, at__gte=now - FRESH_FOR).values_list("part", flat=True))
    return [part for part in PARTS if part not in alive]


def parts_to_look_after(now: datetime) -> list[str]:
    """Return the silent parts that an operator should start. Of the broker only the link tells: without it nobody knows."""
    silent = silent_parts(now)
    return [part for part in silent if part != "broker" or "link" not in silent]
