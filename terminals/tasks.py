"""Background work of the estate."""

from datetime import timedelta

from celery import shared_task
from django.utils import timezone

from terminals.models import IdempotentResponse

KEEP = timedelta(hours=24)


@shared_task
def forget_idempotent_responses() -> None:
    """After a day a repeat is a new request."""
    IdempotentResponse.objects.filter(created_at__lt=timezone.now() - KEEP).delete()
