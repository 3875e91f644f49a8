"""The link's share of the background work: what is over, who fell silent, what may be forgotten."""

from datetime import timedelta

from celery import shared_task
from django.utils import timezone

from terminals.common.sql import delete_in_chunks
from terminals.link import services, sessions
from terminals.link.heartbeat import beat
from terminals.link.models import DeadLetter

SEEN_DAYS = 7
DEAD_LETTER_DAYS = 30


@shared_task
def tick() -> None:
    """Every few seconds: prove that beat and worker live, close expired commands, mark the silent offline."""
    now = timezone.now()
    beat(name="worker", part="worker", healthy=True, at=now)
    sessions.sweep_silent_sessions(now)
    while services.expire_commands() == 1000:
        pass


# Raw: the ORM cannot delete so many of the oldest.
FORGET = """
DELETE FROM link_seenmessage
 WHERE ctid = ANY(ARRAY(SELECT ctid FROM link_seenmessage WHERE seen_at < %s LIMIT 50000))
"""


@shared_task
def prune_link() -> None:
    """Forget message ids a week after they came (their events have natural keys besides), dead letters after a month."""
    now = timezone.now()
    delete_in_chunks(FORGET, [now - timedelta(days=SEEN_DAYS)])
    DeadLetter.objects.filter(last_at__lt=now - timedelta(days=DEAD_LETTER_DAYS)).delete()
