"""Whether a terminal's software lets it settle: up to date, and not being changed. Reads only."""

from collections.abc import Sequence
from typing import ClassVar

from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from firmware.models import Installation, InstalledSoftware, Release
from firmware.rules import InstallationState, is_older
from firmware.selectors import PREFIX, ids_of
from terminals.campaigns.following import following
from terminals.campaigns.models import Member
from terminals.campaigns.rules import MemberState
from terminals.common.facts.kinds import Reason
from terminals.common.sql import id_set

BEHIND = (MemberState.WAITING, MemberState.ORDERED, MemberState.FAILED)


class SoftwareOutdated(Reason, frozen=True):
    kind: ClassVar[str] = "firmware.outdated"
    version: str
    wanted: str

    def text(self) -> str:
        if not self.version:
            return _("the payment software is unknown, it should be %(wanted)s") % {"wanted": self.wanted}
        return _("the payment software is %(version)s, it should be %(wanted)s") % {
            "version": self.version,
            "wanted": self.wanted,
        }


class UpdateInProgress(Reason, frozen=True):
    kind: ClassVar[str] = "firmware.in_progress"
    release: str

    def text(self) -> str:
        return _("%(release)s is being installed") % {"release": self.release}


def outdated(terminal_ids: Sequence[int]) -> dict[int, Reason]:
    """Return the terminals that do not run the payment software at which a campaign keeps them, of those that were asked to; a
    newer version is none of its business. Three statements."""
    rows = Member.objects.filter(
        terminal__in=id_set(terminal_ids),
        thing__startswith=PREFIX,
        state__in=BEHIND,
        ordered_at__isnull=False,
        wave__campaign__in=following(),
    )
    told = list(rows.order_by("wave__campaign").values_list("terminal_id", "wave__campaign__arguments"))
    if not told:
        return {}
    fresh = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
    moved = Release.objects.filter(fresh, pk__in={pk for _, arguments in told for pk in ids_of(arguments)})
    versions = dict(moved.filter(package__component="payment").values_list("pk", "version"))
    # Of several campaigns the newest.
    wanted = {pk: versions[one] for pk, arguments in told for one in ids_of(arguments) if one in versions}
    mine = InstalledSoftware.objects.filter(terminal__in=id_set(wanted), component="payment")
    running = dict(mine.values_list("terminal_id", "version"))
    return {
        pk: SoftwareOutdated(running.get(pk, ""), version)
        for pk, version in wanted.items()
        if running.get(pk) != version and not is_older(version, running.get(pk, ""))
    }


def updating(terminal_ids: Sequence[int]) -> dict[int, Reason]:
    """Return the terminals that are installing something; one that was only assigned a release has not begun."""
    open_ones = Installation.objects.filter(terminal__in=id_set(terminal_ids), state=InstallationState.INSTALLING)
    rows = open_ones.values_list("terminal_id", "release__package__name", "release__version")
    return {pk: UpdateInProgress(f"{package} {version}") for pk, package, version in rows}
