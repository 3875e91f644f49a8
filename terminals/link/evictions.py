"""Ending the connections of devices that may no longer be there.

A broker holds a certificate against the list of revoked ones when somebody connects, and never again. So a link connects under
the device's client id and leaves: by MQTT's rules the broker ends the other connection. It does so again a few seconds
later, when every broker has read the new list, and the device cannot come back.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from terminals.link.models import Eviction

AGAIN_AFTER = timedelta(seconds=5)
TIMES_AGAIN = 1
AT_ONCE = 50


def evict(device_ids: Sequence[str]) -> None:
    """Have the links end the connections of devices, from the commit of this transaction on."""
    now = timezone.now()
    Eviction.objects.bulk_create(
        [Eviction(device_id=device_id, due_at=now, again=TIMES_AGAIN) for device_id in sorted(set(device_ids))],
        update_conflicts=True,
        unique_fields=["device_id"],
        update_fields=["due_at", "again"],
    )


@transaction.atomic
def _claim() -> list[str]:
    now = timezone.now()
    rows = list(
        Eviction.objects.select_for_update(skip_locked=True).filter(due_at__lte=now).order_by("due_at")[:AT_ONCE]
    )
    names = [row.device_id for row in rows]
    Eviction.objects.filter(pk__in=[row.pk for row in rows if not row.again]).delete()
    again = [row for row in rows if row.again]
    for row in again:
        row.due_at, row.again = now + AGAIN_AFTER, row.again - 1
    Eviction.objects.bulk_update(again, ["due_at", "again"])
    return names


def run_due(take_over: Callable[[str], bool]) -> int:
    """End the connections that are due by `take_over`; return how many. One that the broker did not take is tried once more
    after AGAIN_AFTER."""
    names = _claim()
    failed = [name for name in names if not take_over(name)]
    if failed:
        with transaction.atomic():
            due = timezone.now() + AGAIN_AFTER
            Eviction.objects.bulk_create(
                [Eviction(device_id=name, due_at=due, again=0) for name in failed], ignore_conflicts=True
            )
    return len(names)
