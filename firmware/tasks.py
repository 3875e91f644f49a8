"""Software's share of the background work."""

import logging

from celery import shared_task
from django.utils import timezone

from firmware import deltas
from firmware.tuf import services

logger = logging.getLogger(__name__)


@shared_task
def renew_repository() -> None:
    """Keep what the server signs of the release repository fresh, and say what its custodians are late with."""
    now = timezone.now()
    if renewed := services.renew(now):
        logger.info("release repository: made anew: %s", ", ".join(renewed))
    for one in services.documents_standing(now):
        if one.late:
            logger.warning(
                "release repository: %s expires at %s; who signs it must do so now", one.role, one.expires_at
            )


@shared_task
def make_deltas() -> None:
    """Make the deltas that terminals could use of what is being sent."""
    if made := deltas.make_missing():
        logger.info("%d deltas between releases made", made)
