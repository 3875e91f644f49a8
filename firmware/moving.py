"""Software as campaigns move it: how a release is sent, what was there before, and what an outcome means.

A release counts as moved when the terminal runs it: after the installation succeeded, its hello must report the version.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models import OuterRef, Subquery
from django.utils import timezone

from firmware import services
from firmware.facts import NotReported
from firmware.models import Installation, InstalledSoftware, Release
from firmware.rules import OFFERED, OPEN, InstallationState
from terminals.campaigns.kinds import Order
from terminals.campaigns.services import Came, ordered, report
from terminals.estate.models import Terminal
from terminals.link.protocol.messages.software import Conditions
from terminals.link.protocol.states import CommandState
from terminals.link.routes import Outcome
from terminals.link.services import Target, take_back_commands

PREFIX = "software:"
LATER = "later"  # a terminal's word for: not now
ASK_AGAIN = timedelta(minutes=30)  # where it does not say when


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


def report_withdrawn(release: Release) -> None:
    """End the orders of a withdrawn release that no terminal can have seen, and tell campaigns of them."""
    open_ones = Installation.objects.filter(release=release, state__in=OPEN)
    by_requester: dict[str, list[int]] = defaultdict(list)
    for terminal_id, requested_by in open_ones.values_list("terminal_id", "assigned_by"):
        by_requester[requested_by].append(terminal_id)
    for requested_by, ids in by_requester.items():
        taken = take_back_commands(ids, "install", requested_by)
        report(thing_of(release), dict.fromkeys(taken, Came(False, "withdrawn", final=True)))


# --- what came of it -------------------------------------------------------------------------------------------------
def report_ended(installations: Sequence[Installation], outcomes: Mapping[UUID, Outcome]) -> None:
    """Tell campaigns what became of installations that ended; one that succeeded counts when it runs."""
    came: dict[str, dict[int, Came]] = defaultdict(dict)
    for one in installations:
        if one.finished_at is None or one.state == InstallationState.INSTALLED or one.command_id is None:
            continue
        outcome = outcomes[one.command_id]
        if outcome.state == CommandState.CANCELLED:
            continue  # whoever cancelled it knows what becomes of the terminal
        result = outcome.result
        code = (result.code if result else None) or outcome.state
        if result is not None and result.code == LATER:
            later = result.later_until or timezone.now() + ASK_AGAIN
            came[thing_of(one.release)][one.terminal_id] = Came(False, LATER, tuple(one.reasons), later=later)
            continue
        final = outcome.state == CommandState.REJECTED or (result is not None and not result.retryable)
        came[thing_of(one.release)][one.terminal_id] = Came(False, code[:40], tuple(one.reasons), final=final)
    for about, some in came.items():
        report(about, some)
    report_running(one.terminal_id for one in installations if one.state == InstallationState.INSTALLED)


def report_lost(lost: Iterable[tuple[int, str]]) -> None:
    """Tell campaigns of terminals that run something else than they installed (terminal, component)."""
    by_component: dict[str, dict[int, Came]] = defaultdict(dict)
    for terminal_id, component in lost:
        by_component[component][terminal_id] = Came(False, "not_running", (NotReported().stored(),))
    for component, came in by_component.items():
        report(f"{PREFIX}{component}", came)


def report_running(terminal_ids: Iterable[int]) -> None:
    """Tell campaigns of terminals that run what they were sent last. One statement where no campaign waits for them."""
    waited_for = ordered(terminal_ids, PREFIX)
    if not waited_for:
        return
    last = Installation.objects.filter(terminal__in={pk for pk, _thing in waited_for}).order_by(
        "terminal_id", "release__package__component", "-pk"
    )
    runs = InstalledSoftware.objects.filter(
        terminal=OuterRef("terminal"), component=OuterRef("release__package__component")
    )
    rows = (
        last.distinct("terminal_id", "release__package__component")
        .annotate(running=Subquery(runs.values("version")[:1]))
        .values_list("terminal_id", "release__package__component", "state", "release__version", "running")
    )
    came: dict[str, dict[int, Came]] = defaultdict(dict)
    for terminal_id, component, state, version, running in rows:
        if state == InstallationState.INSTALLED and running == version:
            came[f"{PREFIX}{component}"][terminal_id] = Came(True)
    for about, some in came.items():
        report(about, some)
