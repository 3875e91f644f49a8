"""Whether a terminal can be reached. Reads only."""

from collections.abc import Sequence
from typing import ClassVar

from django.utils.translation import gettext as _

from terminals.common.facts.kinds import Reason
from terminals.common.sql import id_set
from terminals.link.models import DeviceSession


class Offline(Reason, frozen=True):
    """`last_seen_at` is RFC 3339; empty where it was never heard."""

    kind: ClassVar[str] = "link.offline"
    last_seen_at: str = ""

    def text(self) -> str:
        if not self.last_seen_at:
            return _("it was never heard")
        return _("it is offline, last heard at %(at)s UTC") % {"at": self.last_seen_at[:16].replace("T", " ")}


def offline(terminal_ids: Sequence[int]) -> dict[int, Reason]:
    """Return the terminals that cannot be reached now."""
    rows = DeviceSession.objects.filter(terminal__in=id_set(terminal_ids)).values_list(
        "terminal_id", "online", "last_seen_at"
    )
    heard = {pk: (online, last_seen_at) for pk, online, last_seen_at in rows}
    found: dict[int, Reason] = {}
    for pk in terminal_ids:
        online, last_seen_at = heard.get(pk, (False, None))
        if not online:
            found[pk] = Offline(last_seen_at.isoformat(timespec="seconds") if last_seen_at else "")
    return found
