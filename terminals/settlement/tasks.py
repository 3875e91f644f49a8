"""The settlement tick: one django-celery-beat entry for the whole fleet."""

from celery import shared_task
from django.utils import timezone

from terminals.settlement import services


@shared_task
def settle_due() -> int:
    """Ask every terminal that is due to settle; return how many were asked."""
    now = timezone.now()
    services.fail_silent_runs(now)
    services.ask_again(now)
    return services.run_due_settlements(now)
