"""Releases that can be sent: built by one, approved by another, listed in a repository whose custodians the tests play."""

import io
from typing import Any

from django.core.files import File
from django.utils import timezone

from firmware.models import Package, Release
from firmware.releases import approve_release, publish_release
from fleet.local.custody import hold_ceremony
from terminals.estate.models import TerminalModel

BUILDER, APPROVER = "builder", "approver"


def draft(version: str = "1.0.0", content: bytes = b"", *, platform: str = "linux-arm64", **told: Any) -> Release:
    """Return a release of the package `pay` that nobody approved yet."""
    package = told.pop("package", None) or Package.objects.get_or_create(name="pay")[0]
    if not TerminalModel.objects.filter(platform=platform).exists():
        TerminalModel.objects.create(vendor="Acme", name=f"For {platform}", platform=platform)
    return publish_release(
        package=package,
        version=version,
        platform=platform,
        artifact=File(io.BytesIO(content or f"software {version}".encode())),
        actor=told.pop("actor", BUILDER),
        **told,
    )


def ready(version: str = "1.0.0", content: bytes = b"", *, platform: str = "linux-arm64", **told: Any) -> Release:
    """Return a release that terminals can be sent."""
    release = draft(version, content, platform=platform, **told)
    hold_ceremony([platform])
    return approve_release(release=release, actor=APPROVER, sha256=release.sha256)


def row(package: Package, version: str = "2.0.0", platform: str = "linux-arm64") -> Release:
    """Return a release that looks as if it could be sent, without a file: for what does not fetch it."""
    told = {"state": "approved", "created_by": BUILDER, "approved_by": APPROVER, "listed_at": timezone.now()}
    wanted = {"package": package, "version": version, "platform": platform}
    return Release.objects.get_or_create(**wanted, defaults={"size_bytes": 1, "sha256": "0" * 64, **told})[0]
