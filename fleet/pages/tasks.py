"""The pages' share of the background work."""

from datetime import UTC

from celery import shared_task
from django.utils import timezone

from fleet.pages import tallies


@shared_task
def fold_tallies() -> None:
    """Every few seconds: fold what changed into the overview's numbers."""
    tallies.fold(timezone.now())


@shared_task
def note_software() -> None:
    """Every hour: which versions run today (UTC); the last note of a day stays."""
    tallies.note_software(timezone.localdate(timezone=UTC))
