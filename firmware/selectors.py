"""What can be asked of releases."""

from django.db.models import Q, QuerySet
from django.utils import timezone

from firmware.models import Release
from firmware.rules import ReleaseState


def sendable() -> QuerySet[Release]:
    """Return the releases to choose from: approved, listed in the repository, not expired, not deprecated."""
    fresh = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
    return Release.objects.filter(fresh, state=ReleaseState.APPROVED, listed_at__isnull=False).select_related("package")
