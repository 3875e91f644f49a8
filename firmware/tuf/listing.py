"""What a platform's document says of its releases."""

from collections.abc import Iterable
from typing import Any

from django.utils import timezone
from tuf.api.metadata import TargetFile, Targets

from firmware.models import Release
from firmware.rules import OFFERED
from terminals.common.errors import Refusal

MINE = "x-tillwarden"  # our members of the documents; TUF lets a client ignore what it does not know


def name_platform(document: Targets, platform: str) -> None:
    """Write into a platform's document whose it is: a targets document does not say its own name."""
    document.unrecognized_fields[MINE] = {"platform": platform}


def platform_named(document: Targets) -> str:
    """Return whose document this is; raise Refusal where it does not say so."""
    said = document.unrecognized_fields.get(MINE)
    platform = said.get("platform") if isinstance(said, dict) else None
    if not isinstance(platform, str):
        raise Refusal(
            "bad_document",
            "this document does not say of which platform it is; draft it with `manage.py tuf draft-platform`",
        )
    return platform


def _offered(platform: str) -> Iterable[Release]:
    return Release.objects.filter(platform=platform, state__in=OFFERED).select_related("package").order_by("pk")


def wanted(platform: str) -> dict[str, TargetFile]:
    """Return what a platform's document must list: its approved releases. One statement."""
    return {release.target: _target(release) for release in _offered(platform)}


def _target(release: Release) -> TargetFile:
    said: dict[str, Any] = {
        "package": release.package.name,
        "component": release.package.component,
        "kind": release.package.kind,
        "version": release.version,
        "requires": release.requires,
        "conflicts": release.conflicts,
    }
    return TargetFile(release.size_bytes, {"sha256": release.sha256}, release.target, {"custom": said})


def check_listed(platform: str, document: Targets) -> None:
    """Raise Refusal where a document lists what nobody approved here, or other bytes."""
    approved = wanted(platform)
    for path, target in document.targets.items():
        if approved.get(path) != target:
            raise Refusal(
                "not_approved", "%(path)s is not an approved release of %(platform)s", path=path, platform=platform
            )


def note_listed(platform: str, document: Targets) -> None:
    """Note which releases the platform's present document lists: what it does not list cannot be sent."""
    listed = {release.pk for release in _offered(platform) if release.target in document.targets}
    mine = Release.objects.filter(platform=platform)  # only rows that change: others may hold the rest
    mine.filter(pk__in=listed, listed_at=None).update(listed_at=timezone.now())
    mine.exclude(pk__in=listed).filter(listed_at__isnull=False).update(listed_at=None)
