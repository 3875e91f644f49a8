"""Ending the connections of devices that may no longer be there.

A broker holds a certificate against the list of revoked ones when somebody connects, and never again. So a link connects under
the device's client id and leaves: by MQTT's rules the broker ends the other connection. It does so again after a few seconds
and after a minute, when every broker has read the new list, and the device cannot come back.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from terminals.link.models import Eviction

PAUSES = (timedelta(minutes=1), timedelta(seconds=5))  # before the last time, and before the one before it
AT_ONCE = 50
LEASE = timedelta(minutes=2)
GIVEN_UP_AFTER = timedelta(days=1)


def evict(device_ids: Sequence[str]) -> None:
    """Have the links end the connections of devices, from the commit of this transaction on."""
    now = timezone.now()
    Eviction.objects.bulk_create(
        [
            Eviction(device_id=device_id, due_at=now, again=len(PAUSES), until=now + GIVEN_UP_AFTER)
            for device_id in sorted(set(device_ids))
        ],
        update_conflicts=True,
        unique_fields=["device_id"],
        update_fields=["due_at", "again", "until"],
    )


def run_due(take_over: Callable[[str], bool]) -> int:
    """End the connections that are due by `take_over`; return how many were tried. One that no broker took is tried again, as is
    one whose process died meanwhile."""
    claimed = _claim()
    for row in claimed:
        _settle(row, done=take_over(row.device_id))
    return len(claimed)


@transaction.atomic
def _claim() -> list[Eviction]:
    """Lease what is due: should this process die, it comes due again by itself."""
    now = timezone.now()
    due = Eviction.objects.filter(due_at__lte=now).order_by("due_at").select_for_update(skip_locked=True)
    rows = list(due[:AT_ONCE])
    Eviction.objects.filter(pk__in=[row.pk for row in rows]).update(due_at=now + LEASE)
    for row in rows:
        row.due_at = now + LEASE
    return rows


@transaction.atomic
def _settle(row: Eviction, *, done: bool) -> None:
    """Note what became of one; what somebody asked for anew meanwhile (another `due_at`) is left as it is."""
    ours, now = Eviction.objects.filter(pk=row.pk, due_at=row.due_at), timezone.now()
    if (done and not row.again) or (not done and row.until <= now):
        ours.delete()
    elif done:
        ours.update(again=row.again - 1, due_at=now + PAUSES[row.again - 1])
    else:
        ours.update(due_at=now + PAUSES[-1])
