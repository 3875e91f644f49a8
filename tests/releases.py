"""Releases that can be sent: built by one, approved by another, listed in a repository whose custodians the tests play."""

import io
import time
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.core.files import File
from django.utils import timezone

from firmware.models import Package, Release
from firmware.releases import approve_release, publish_release
from fleet.local.custody import hold_ceremony
from terminals.campaigns import engine
from terminals.campaigns.models import Campaign
from terminals.campaigns.planning import propose
from terminals.campaigns.services import approve, start
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


def keep_at(release: Release, text: str = "state != retired", **settings: Any) -> Campaign:
    """Return a campaign that follows: who passes the filter, now or later, is brought the release."""
    one, other = (User.objects.get_or_create(username=name, is_superuser=True)[0] for name in (BUILDER, APPROVER))
    usual = {"follows": True, "waves": [100], "soak_minutes": 0, "per_minute": 100_000}
    said: dict[str, Any] = {"kind": "install", "arguments": {"release": release.pk}, "settings": usual | settings}
    campaign = propose(name=f"keep {text[:60]} at {release.version}", text=text, user=one, **said)
    approve(campaign=campaign, digest=campaign.digest, user=other)
    start(campaign=campaign, user=one)
    campaigns_go_on()
    return campaign


def campaigns_go_on() -> None:
    """Let newcomers join, and all campaigns do what is due; their rates are used up by nobody."""
    Campaign.objects.update(asked_to=timezone.now() - timedelta(minutes=1))
    engine.run_campaigns(time.monotonic() + 20)
