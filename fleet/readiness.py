"""`/healthz`, `/readyz` and `/metrics`: is it alive, can it work, and how much does it do."""

from collections.abc import Callable
from datetime import UTC, datetime

from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.core import CollectorRegistry, GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from fleet.dashboard import selectors
from terminals.link.heartbeat import is_alive


@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """The process answers; nothing else is looked at."""
    return JsonResponse({"status": "alive"})


def _database() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return True


CHECKS: dict[str, Callable[[], bool]] = {
    "database": _database,
    "broker": lambda: is_alive("broker", datetime.now(UTC)),
    "link": lambda: is_alive("link", datetime.now(UTC)),
    "worker": lambda: is_alive("worker", datetime.now(UTC)),
}


@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """Each part by name; 503 when one is down."""
    parts = {"web": "up"}
    for name, check in CHECKS.items():
        try:
            parts[name] = "up" if check() else "down"
        except (DatabaseError, OSError):
            parts[name] = "down"
            connection.close()
    ready = all(state == "up" for state in parts.values())
    body = {"status": "ready" if ready else "not ready", "parts": parts}
    return JsonResponse(body, status=200 if ready else 503)


class _Fleet(Collector):
    """The overview's numbers as Prometheus gauges."""

    def collect(self) -> list[GaugeMetricFamily]:
        numbers = selectors.overview(datetime.now(UTC))
        families = []
        for name, help_text, values in (
            ("terminals", "Terminals by state", numbers.states),
            ("terminals_online", "Terminals heard within ONLINE_WITHIN", {"true": numbers.online}),
            ("printers", "Printers by state", numbers.printers),
            ("screens", "Screens by state", numbers.screens),
            ("settlements_today", "Settlement runs finished today (UTC) by state", numbers.settlements),
        ):
            family = GaugeMetricFamily(f"tillwarden_{name}", help_text, labels=["label"])
            for label, value in values.items():
                family.add_metric([label], value)
            families.append(family)
        return families


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus text format. Holds counts only; guard it at the proxy where they are nobody's business."""
    registry = CollectorRegistry()
    registry.register(_Fleet())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
