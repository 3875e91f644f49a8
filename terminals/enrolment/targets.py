"""What a filter may ask of terminals' certificates."""

from django.db.models import Q
from django.utils import timezone

from terminals.enrolment.certificates import REMIND_BEFORE
from terminals.enrolment.models import Certificate
from terminals.estate.targets.fields import FLAG, Field, having


def late() -> Q:
    """Certificates that should have been renewed by now, and those that ran out."""
    return Q(current=True, revoked_at=None, not_after__lt=timezone.now() + REMIND_BEFORE)


def _late(operator: str, value: object) -> Q:
    return having(Certificate.objects.filter(late()))


FIELDS = (
    Field(
        "certificate_late", FLAG, "its certificate ends soon and was not renewed", build=_late, index="partial, by end"
    ),
)
