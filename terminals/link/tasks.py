"""The link's share of the background work: what is over, who fell silent, what may be forgotten."""

from datetime import timedelta

import uuid_utils.compat
from celery import shared_task
from django.db import connection
from django.utils import timezone

from terminals.link import handlers, services
from terminals.link.heartbeat import beat
from terminals.link.models import DeadLetter

SEEN_DAYS = 7
DEAD_LETTER_DAYS = 30


@shared_task
def tick() -> None:
    """Every few seconds: prove that beat and worker live, close expired commands, mark the silent offline."""
    now = timezone.now()
    beat(name="worker", part="worker", healthy=True, at=now)
    handlers.sweep_silent_sessions(now)
    while services.expire_commands() == 1000:
        pass


@shared_task
def prune_link() -> None:
    """Forget message ids after a week (their events have natural keys besides) and dead letters after a month."""
    now = timezone.now()
    # A UUIDv7 begins with its milliseconds, so a week's border is a value of the primary key.
    border_ms = int((now - timedelta(days=SEEN_DAYS)).timestamp() * 1000)
    border = uuid_utils.compat.UUID(int=border_ms << 80)
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM link_seenmessage WHERE (message_id, terminal_id) IN"
            " (SELECT message_id, terminal_id FROM link_seenmessage WHERE message_id < %s ORDER BY message_id LIMIT 50000)",
            [border],
        )
    DeadLetter.objects.filter(last_at__lt=now - timedelta(days=DEAD_LETTER_DAYS)).delete()
