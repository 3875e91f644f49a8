"""What a filter may ask of terminals' software."""

from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet

from firmware.models import Installation, InstalledSoftware, ReleaseComponent, Weakness
from firmware.rules import OPEN
from terminals.estate.targets.fields import FLAG, LOOKUPS, TEXT, VERSION, Field, having, version_numbers

SEE = "firmware.view_installation"
ANY = "any"


def _payment_version(operator: str, numbers: list[int]) -> Q:
    versions = InstalledSoftware.objects.filter(component="payment").alias(numbers=version_numbers("version"))
    return having(versions, **{f"numbers{LOOKUPS[operator]}": numbers})


def _component(operator: str, text: str) -> Q:
    name, _space, version = text.partition(" ")
    if operator == "~":
        return having(InstalledSoftware.objects.all(), component__icontains=text)
    wanted: dict[str, Any] = {"component": name} | ({"version": version} if version else {})
    return having(InstalledSoftware.objects.all(), **wanted)


def _installing(operator: str, value: object) -> Q:
    return having(Installation.objects.filter(state__in=OPEN))


def _of_what_runs(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Return those rows that belong to the release of what a terminal says it runs, on its platform."""
    return rows.filter(
        release__package__component=OuterRef("component"),
        release__version=OuterRef("version"),
        release__platform=OuterRef("terminal__model__platform"),
    )


def _library(operator: str, text: str) -> Q:
    name, _space, version = text.rpartition(" ")
    parts = _of_what_runs(ReleaseComponent.objects.all())
    if operator == "~":
        parts = parts.filter(name__icontains=text)
    else:
        parts = parts.filter(Q(name__iexact=text) | Q(name__iexact=name, version=version))
    return having(InstalledSoftware.objects.filter(Exists(parts.order_by())))


def _weakness(operator: str, text: str) -> Q:
    weak = _of_what_runs(Weakness.objects.all())
    if operator == "~":
        weak = weak.filter(identifier__icontains=text)
    elif text.lower() != ANY:
        weak = weak.filter(Q(identifier__iexact=text) | Q(severity=text.lower()))
    return having(InstalledSoftware.objects.filter(Exists(weak.order_by())))


FIELDS = (
    Field("software", VERSION, "version of the payment software", build=_payment_version, needs=SEE),
    Field("component", TEXT, 'runs a component, with or without its version: "os 12.4"', build=_component, needs=SEE),
    Field(
        "library",
        TEXT,
        'runs a release whose bill of materials names a library: "openssl 3.0.7"',
        build=_library,
        needs=SEE,
        index="component by name",
    ),
    Field(
        "weakness",
        TEXT,
        'runs a release with a known weakness: "CVE-2026-1234", critical, high, medium, low, or any',
        build=_weakness,
        needs=SEE,
        index="weakness by name",
    ),
    Field(
        "installing", FLAG, "an installation is under way", build=_installing, needs=SEE, index="partial, where open"
    ),
)
