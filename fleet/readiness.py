"""`/healthz`, `/readyz` and `/metrics`: is it alive, can it work, and how much does it do."""

from datetime import UTC, datetime

from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.core import CollectorRegistry, CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from fleet.pages import selectors
from terminals.link.heartbeat import PARTS, links_alive, silent_parts
from terminals.link.lag import lag


@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """The process answers; nothing else is looked at."""
    return JsonResponse({"status": "alive"})


@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """Each part by name, and the links' lag; 503 when one is down. What the others are, only the database can tell."""
    now, behind = datetime.now(UTC), None
    try:
        down, behind = silent_parts(now), lag(now)._asdict()
    except (DatabaseError, OSError):
        connection.close()
        down = ["database", *PARTS]
    parts = {name: "down" if name in down else "up" for name in ("web", "database", *PARTS)}
    body = {"status": "not ready" if down else "ready", "parts": parts, "lag": behind}
    return JsonResponse(body, status=503 if down else 200)


class _Link(Collector):
    """How far the links are behind and what they do."""

    def collect(self) -> list[Metric]:
        now = datetime.now(UTC)
        waits = GaugeMetricFamily("tillwarden_lag_seconds", "Age of the oldest that waits", labels=["of"])
        behind = lag(now)
        waits.add_metric(["message"], behind.oldest_message_seconds)
        waits.add_metric(["due_command"], behind.oldest_due_command_seconds)
        up = GaugeMetricFamily("tillwarden_part_up", "Whether a part answers", labels=["part"])
        silent = silent_parts(now)
        for part in PARTS:
            up.add_metric([part], part not in silent)
        messages = CounterMetricFamily("tillwarden_messages", "Messages from terminals", labels=["link", "outcome"])
        for link in links_alive(now):
            messages.add_metric([link.name.removeprefix("link:"), "taken"], link.taken - link.refused)
            messages.add_metric([link.name.removeprefix("link:"), "refused"], link.refused)
        connected = GaugeMetricFamily("tillwarden_link_connected", "Whether a link has its broker", labels=["link"])
        for broker in links_alive(now, "broker"):
            connected.add_metric([broker.name.removeprefix("broker:")], broker.healthy)
        return [waits, up, messages, connected]


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
            ("settlements_today", "Settlement runs finished today (TIME_ZONE) by state", numbers.settlements),
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
    registry.register(_Link())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
