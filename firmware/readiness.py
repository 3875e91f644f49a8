"""Whether a terminal's software lets it settle: up to date, and not being changed. Reads only."""

from collections.abc import Sequence
from datetime import timedelta
from typing import ClassVar

from django.db.models import Exists, F, OuterRef, Q
from django.utils import timezone
from django.utils.translation import gettext as _

from firmware.models import Installation, InstalledSoftware
from firmware.rules import InstallationState
from terminals.campaigns.models import Member
from terminals.campaigns.rules import MemberState
from terminals.common.facts.kinds import Reason
from terminals.common.sql import id_set
from terminals.estate.models import Terminal

TWO_CLOCKS = timedelta(minutes=5)  # an installation is dated by the database, an order by the worker


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
    """Return the terminals that do not run their model's baseline of the payment software: two statements."""
    wanted = F("model__baselines__release__version")
    mine = InstalledSoftware.objects.filter(terminal=OuterRef("pk"), component="payment")
    rows = Terminal.objects.filter(
        Q(model__baselines__release__expires_at=None) | Q(model__baselines__release__expires_at__gt=timezone.now()),
        pk__in=id_set(terminal_ids),
        model__baselines__package__component="payment",
    )
    moved = Member.objects.filter(terminal=OuterRef("pk"), thing="software:payment", state=MemberState.SUCCEEDED)
    installed = Installation.objects.filter(
        terminal=OuterRef("terminal"),
        state=InstallationState.INSTALLED,
        assigned_at__gte=OuterRef("ordered_at") - TWO_CLOCKS,
    )
    moved = moved.filter(Exists(installed), ordered_at__gt=OuterRef("model__baselines__set_at"))
    rows = rows.exclude(Exists(moved))  # a campaign is ahead of the baseline
    behind = dict(
        rows.exclude(Exists(mine.filter(version=OuterRef("model__baselines__release__version")))).values_list(
            "pk", wanted
        )
    )
    if not behind:
        return {}
    running = dict(
        InstalledSoftware.objects.filter(terminal__in=id_set(behind), component="payment").values_list(
            "terminal_id", "version"
        )
    )
    return {pk: SoftwareOutdated(running.get(pk, ""), version) for pk, version in behind.items()}


def updating(terminal_ids: Sequence[int]) -> dict[int, Reason]:
    """Return the terminals that are installing something; one that was only assigned a release has not begun."""
    open_ones = Installation.objects.filter(terminal__in=id_set(terminal_ids), state=InstallationState.INSTALLING)
    rows = open_ones.values_list("terminal_id", "release__package__name", "release__version")
    return {pk: UpdateInProgress(f"{package} {version}") for pk, package, version in rows}
