"""Ending the connections of devices that may no longer be there.

A broker holds a certificate against the list of revoked ones when somebody connects, and never again. So a link connects under
the device's client id and leaves: by MQTT's rules the broker ends the other connection. It does so again a few seconds
later, when every broker has read the new list, and the device cannot come back.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from terminals.link.models import Eviction

AGAIN_AFTER = timedelta(seconds=5)
TIMES_AGAIN = 1
AT_ONCE = 50
GIVEN_UP_AFTER = timedelta(minutes=10)


def evict(device_ids: Sequence[str]) -> None:
    """Have the links end the connections of devices, from the commit of this transaction on."""
    now = timezone.now()
    Eviction.objects.bulk_create(
        [
            Eviction(device_id=device_id, due_at=now, again=TIMES_AGAIN, until=now + GIVEN_UP_AFTER)
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
    done = [row for row in claimed if take_over(row.device_id)]
    _settle(done)
    return len(claimed)


@transaction.atomic
def _claim() -> list[Eviction]:
    """Lease what is due: should this process die, it comes due again by itself."""
    now = timezone.now()
    Eviction.objects.filter(until__lte=now).delete()
    due = Eviction.objects.filter(due_at__lte=now).order_by("due_at").select_for_update(skip_locked=True)
    rows = list(due[:AT_ONCE])
    for row in rows:
        row.due_at = now + AGAIN_AFTER
    Eviction.objects.filter(pk__in=[row.pk for row in rows]).update(due_at=now + AGAIN_AFTER)
    return rows


@transaction.atomic
def _settle(done: Sequence[Eviction]) -> None:
    """Count what was done; what somebody asked for anew meanwhile (`due_at`) is left as it is."""
    for due_at in {row.due_at for row in done}:
        ours = Eviction.objects.filter(pk__in=[row.pk for row in done], due_at=due_at)
        ours.filter(again=0).delete()
        ours.update(again=F("again") - 1)
