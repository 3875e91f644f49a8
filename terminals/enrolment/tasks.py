"""Background work of enrolment, run by Celery."""

from celery import shared_task
from django.utils import timezone

from terminals.enrolment import certificates


@shared_task
def look_after_certificates() -> None:
    """Every few minutes: tell terminals to renew that have not by themselves, and forget keys whose certificates ran out."""
    now = timezone.now()
    while certificates.remind(now) == certificates.REMINDED_AT_ONCE:
        pass
    while certificates.forget_earlier_keys(now) == certificates.REMINDED_AT_ONCE:
        pass
