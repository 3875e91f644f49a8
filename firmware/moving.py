"""Software as campaigns move it: how a release is sent, what was there before, and what an outcome means.

A release counts as moved when the terminal runs it: after the installation succeeded, its hello must report the version.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db.models import OuterRef, Subquery

from firmware import services
from firmware.facts import NotReported
from firmware.models import Installation, InstalledSoftware, Release
from firmware.rules import OFFERED, OPEN, InstallationState
from terminals.campaigns.kinds import Order
from terminals.campaigns.outcomes import answered, came_of
from terminals.campaigns.services import FAILED, TRIED, Came, Waited, brought, lose, ordered, report
from terminals.common.sql import id_set
from terminals.estate.models import Terminal
from terminals.link.protocol.messages.software import Conditions
from terminals.link.routes import Outcome
from terminals.link.services import Target, take_back_commands

PREFIX = "software:"


def thing_of(release: Release) -> str:
    """What no two campaigns move at once: a component of a terminal's software."""
    return f"{PREFIX}{release.package.component}"


def _release(arguments: Mapping[str, Any]) -> Release:
    return Release.objects.select_related("package").get(pk=arguments["release"])


def thing(arguments: Mapping[str, Any]) -> str:
    return thing_of(_release(arguments))


def order(targets: Sequence[Target], wanted: Order) -> None:
    """Send a release to terminals that are held and fit."""
    release = _release(wanted.arguments)
    services.install(
        [(target, release) for target in targets],
        requested_by=wanted.requested_by,
        valid_for=wanted.valid_for,
        conditions=Conditions(**wanted.conditions) if wanted.conditions else None,
        activate_at=wanted.activate_at,
    )


def before(ids: Sequence[int], arguments: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """Return the release that each terminal runs now, of those that can still be sent: two statements."""
    release = _release(arguments)
    mine = InstalledSoftware.objects.filter(terminal=OuterRef("pk"), component=release.package.component)
    running = Terminal.objects.filter(pk__in=ids).annotate(version=Subquery(mine.values("version")[:1]))
    versions = dict(running.exclude(version=None).values_list("pk", "version"))
    known = dict(
        Release.objects.filter(
            package=release.package_id,
            platform=release.platform,
            version__in=set(versions.values()),
            state__in=OFFERED,
            listed_at__isnull=False,
        ).values_list("version", "pk")
    )
    return {pk: {"release": known[version], "downgrade": True} for pk, version in versions.items() if version in known}


def take_back(ids: Sequence[int], order: Order) -> set[int]:
    """End a campaign's installations that no terminal can have seen; return their terminals."""
    return take_back_commands(ids, "install", order.requested_by)


def under_way(release: Release) -> list[int]:
    """Return the terminals that a release is on its way to."""
    return list(Installation.objects.filter(release=release, state__in=OPEN).values_list("terminal_id", flat=True))


def take_back_withdrawn(release: Release) -> None:
    """End the orders of a withdrawn release that no terminal can have seen; whoever waits for them is told."""
    open_ones = Installation.objects.filter(release=release, state__in=OPEN)
    by_requester: dict[str, list[int]] = defaultdict(list)
    for terminal_id, requested_by in open_ones.values_list("terminal_id", "assigned_by"):
        by_requester[requested_by].append(terminal_id)
    for requested_by, ids in by_requester.items():
        take_back_commands(ids, "install", requested_by)


# --- what came of it -------------------------------------------------------------------------------------------------
def report_ended(installations: Sequence[Installation], outcomes: Mapping[UUID, Outcome]) -> None:
    """Tell campaigns what became of installations that ended; one that succeeded counts when it runs."""
    ended = [one for one in installations if one.finished_at and one.state != InstallationState.INSTALLED]
    seen = answered(one.command_id for one in ended) if ended else set()
    came: dict[str, dict[int, Came]] = defaultdict(dict)
    for one in ended:
        if one.command_id is not None:
            said = came_of(outcomes[one.command_id], seen=one.command_id in seen)
            came[thing_of(one.release)][one.terminal_id] = said
    for about, some in came.items():
        report(about, some)
    report_running(one.terminal_id for one in installations if one.state == InstallationState.INSTALLED)


def report_lost(lost: Iterable[tuple[int, str, str]]) -> None:
    """Tell campaigns of terminals that do not run what they installed (terminal, version, component): of those that it had
    brought it to, too."""
    gone = {(terminal_id, f"{PREFIX}{component}"): version for terminal_id, version, component in lost}
    why = Came(False, "not_running", (NotReported().stored(),))
    by_thing: dict[str, dict[int, Came]] = defaultdict(dict)
    for terminal_id, about in gone:
        by_thing[about][terminal_id] = why
    for about, came in by_thing.items():
        report(about, came)
    had = brought((pk for pk, _thing in gone), PREFIX) if gone else []
    versions = _versions(had)
    lose(
        {
            (one.terminal_id, one.campaign_id): why
            for one in had
            if gone.get((one.terminal_id, one.thing)) == versions[one.arguments["release"]]
        }
    )


def report_running(terminal_ids: Iterable[int]) -> None:
    """Tell campaigns of terminals that run what they were sent, whatever they said of its installation: whoever was too slow for
    an answer has it all the same. One statement where no campaign waits for them."""
    waited = ordered(terminal_ids, PREFIX, TRIED | FAILED)
    if not waited:
        return
    running = {
        (pk, f"{PREFIX}{component}"): version
        for pk, component, version in InstalledSoftware.objects.filter(
            terminal__in=id_set(one.terminal_id for one in waited)
        ).values_list("terminal_id", "component", "version")
    }
    versions = _versions(waited)
    came: dict[str, dict[int, Came]] = defaultdict(dict)
    for one in waited:
        if running.get((one.terminal_id, one.thing)) == versions[one.arguments["release"]]:
            came[one.thing][one.terminal_id] = Came(True)
    for about, some in came.items():
        report(about, some)


def _versions(waited: Sequence[Waited]) -> dict[int, str]:
    """Return release -> its version."""
    wanted = {one.arguments["release"] for one in waited}
    return dict(Release.objects.filter(pk__in=wanted).values_list("pk", "version")) if wanted else {}
