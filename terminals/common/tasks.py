"""Background work of the bedrock."""

from datetime import timedelta

from celery import shared_task
from django.utils import timezone

from terminals.common.api.models import IdempotentResponse
from terminals.common.audit import anchors, chain
from terminals.common.facts.services import PARTITIONED
from terminals.common.partitions import keep_partitions

KEEP = timedelta(hours=24)


@shared_task
def forget_idempotent_responses() -> None:
    """After a day a repeat is a new request."""
    IdempotentResponse.objects.filter(created_at__lt=timezone.now() - KEEP).delete()


@shared_task
def seal_audit() -> None:
    """Every second: link what operators did into the chain."""
    while chain.seal() == chain.CHUNK:
        pass


@shared_task
def anchor_audit() -> None:
    """Now and then: note the chain's end where the database cannot change it."""
    anchors.write_anchor()


@shared_task
def keep_fact_partitions() -> None:
    """Every day: next months' partitions of the facts, and no older ones than needed."""
    keep_partitions(PARTITIONED, timezone.now().date())
