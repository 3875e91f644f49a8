"""The link's share of the background work: what is over, who fell silent, what may be forgotten."""

import time
from datetime import UTC, datetime, timedelta

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from terminals.common.partitions import keep_partitions, month_after
from terminals.link import outcomes, seen, sessions
from terminals.link.heartbeat import beat
from terminals.link.models import DeadLetter

DEAD_LETTER_DAYS = 30
FORGET_SECONDS = 30  # at most, each time: the worker has other things to do


@shared_task
def tick() -> None:
    """Every few seconds: prove that beat and worker live, close expired commands, mark the silent offline."""
    now = timezone.now()
    beat(name="worker", part="worker", healthy=True, at=now)
    sessions.sweep_silent_sessions(now)
    while outcomes.expire_commands() == 1000:
        pass


@shared_task
def prune_link() -> None:
    """Make the coming partitions of message ids and drop those that are over; forget dead letters and commands that are."""
    now = timezone.now()
    for parted in (seen.SIGNED, seen.UNSIGNED):
        keep_partitions(parted, now.date())
    DeadLetter.objects.filter(last_at__lt=now - timedelta(days=DEAD_LETTER_DAYS)).delete()
    first = month_after(now.date(), -settings.KEEP_COMMANDS_MONTHS)
    before, enough = datetime(first.year, first.month, 1, tzinfo=UTC), time.monotonic() + FORGET_SECONDS
    while outcomes.forget_commands(before) == outcomes.FORGOTTEN_AT_ONCE and time.monotonic() < enough:
        pass
