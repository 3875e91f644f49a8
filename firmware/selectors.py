"""What can be asked of releases."""

from collections.abc import Mapping
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone

from firmware.models import Release
from firmware.rules import ReleaseState
from terminals.campaigns.models import Campaign
from terminals.campaigns.rules import LIVE

PREFIX = "software:"  # of what a campaign moves: a component of a terminal's software follows


def sendable() -> QuerySet[Release]:
    """Return the releases to choose from: approved, listed in the repository, not expired, not deprecated."""
    fresh = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
    return Release.objects.filter(fresh, state=ReleaseState.APPROVED, listed_at__isnull=False).select_related("package")


def ids_of(arguments: Mapping[str, Any]) -> list[int]:
    """Return the releases that a campaign moves, in their order."""
    return [arguments["release"], *arguments.get("then", ())]


def that_move(release: Release) -> Q:
    """Return what holds for campaigns that move a release, alone or after another."""
    return Q(arguments__release=release.pk) | Q(arguments__then__contains=[release.pk])


def moving_campaigns() -> QuerySet[Campaign]:
    """Return the campaigns that move a release now."""
    return Campaign.objects.filter(state__in=LIVE, thing__startswith=PREFIX)
