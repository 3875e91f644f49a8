"""Software as campaigns move it: how releases are sent, what was there before, and what an outcome means.

A campaign moves a release, and may move others after it in their order (`then`): a terminal is sent the first of them that it
does not run. A release counts as moved when the terminal runs it: after the installation succeeded, its hello must report the
version.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.db.models import Count, Exists, OuterRef, Q

from firmware import services
from firmware.facts import NotReported
from firmware.fitness import unfit_for
from firmware.models import Installation, InstalledSoftware, Release
from firmware.rules import OFFERED, OPEN, InstallationState
from firmware.selectors import PREFIX, ids_of
from terminals.bulk.verbs import Unfit
from terminals.campaigns.kinds import Order, asked_by
from terminals.campaigns.outcomes import answered, came_of
from terminals.campaigns.reports import FAILED, TRIED, Came, Waited, brought, lose, ordered, report
from terminals.common.errors import Refusal
from terminals.common.sql import id_set
from terminals.link.outcomes import take_back_commands
from terminals.link.protocol.messages.software import Conditions
from terminals.link.routes import Outcome
from terminals.link.services import Target

MOST_PARTS, MOST_THING, MOST_ROUNDS = 10, 80, 5
RUNS_IT = "runs_it_already"
MORE = Came(False, "in_part", more=True)  # it runs a part of what is moved, and is sent the next


def parts_of(arguments: Mapping[str, Any]) -> list[Release]:
    """Return the releases that a campaign moves, in their order."""
    found = Release.objects.select_related("package").in_bulk(ids_of(arguments))
    return [found[pk] for pk in ids_of(arguments)]


def check_parts(parts: Sequence[Release]) -> None:
    """Raise Refusal for releases that cannot be moved as one."""
    if len(parts) > MOST_PARTS:
        raise Refusal("bad_arguments", "then: at most %(most)s releases in all", most=MOST_PARTS)
    if len({one.package.component for one in parts}) < len(parts):
        raise Refusal("bad_arguments", "then: each release is of another component")
    if len(PREFIX) + sum(len(one.package.component) + 1 for one in parts) > MOST_THING:
        raise Refusal("bad_arguments", "then: the names of the components are too long together; send fewer at once")
    if len({one.platform for one in parts}) > 1:
        raise Refusal("bad_arguments", "then: all releases are for one platform")


def thing(arguments: Mapping[str, Any]) -> str:
    """What no two campaigns move at once: a component of a terminal's software, or several."""
    return PREFIX + "+".join(sorted(one.package.component for one in parts_of(arguments)))


def unfit_for_parts(parts: Sequence[Release], *, downgrade: bool) -> list[Unfit]:
    """Return whom the part that is next must not be sent to; who runs all is left out at last."""
    found, before = [], Q()
    for part in parts:
        is_next = before & ~_runs(part)
        found += [
            replace(one, q=one.q & is_next) for one in unfit_for(part, downgrade=downgrade) if one.reason != RUNS_IT
        ]
        before &= _runs(part)
    return [*found, Unfit(RUNS_IT, "it runs this version already", before)]


def _runs(release: Release) -> Q:
    component = release.package.component
    return Q(
        Exists(InstalledSoftware.objects.filter(terminal=OuterRef("pk"), component=component, version=release.version))
    )


def _versions_of(ids: Iterable[int]) -> dict[tuple[int, str], str]:
    """Return (terminal, component) -> the version that runs: one statement."""
    running = InstalledSoftware.objects.filter(terminal__in=id_set(ids))
    return {(pk, part): version for pk, part, version in running.values_list("terminal_id", "component", "version")}


def order(targets: Sequence[Target], wanted: Order) -> None:
    """Send terminals that are held and fit the first release that they do not run."""
    parts = parts_of(wanted.arguments)
    running = _versions_of(target.terminal_id for target in targets) if len(parts) > 1 else {}

    def lacks(target: Target, part: Release) -> bool:
        return running.get((target.terminal_id, part.package.component)) != part.version

    services.install(
        [(target, next((part for part in parts if lacks(target, part)), parts[-1])) for target in targets],
        requested_by=wanted.requested_by,
        valid_for=wanted.valid_for,
        conditions=Conditions(**wanted.conditions) if wanted.conditions else None,
        activate_at=wanted.activate_at,
    )


def before(ids: Sequence[int], arguments: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """Return the releases that each terminal runs now, last part first, where all of them can still be sent: three statements."""
    parts = parts_of(arguments)[::-1]
    running = _versions_of(ids)
    rows = Release.objects.filter(
        package__in=[part.package_id for part in parts],
        platform=parts[0].platform,
        version__in=set(running.values()),
        state__in=OFFERED,
        listed_at__isnull=False,
    )
    known = {(package, version): pk for package, version, pk in rows.values_list("package_id", "version", "pk")}
    found = {}
    for pk in ids:
        mine = [known.get((part.package_id, running.get((pk, part.package.component), ""))) for part in parts]
        if None not in mine:
            found[pk] = {"release": mine[0], "downgrade": True} | ({"then": mine[1:]} if mine[1:] else {})
    return found


def has_it(arguments: Mapping[str, Any]) -> Q:
    """Return what holds for terminals that run what is moved, or have installed it and nothing else since: what they report of
    that is judged when it comes (`report_lost`)."""
    found = Q()
    for part in parts_of(arguments):
        component = part.package.component
        later = Installation.objects.filter(
            terminal=OuterRef("terminal"), pk__gt=OuterRef("pk"), release__package__component=component
        )
        installed = Installation.objects.filter(
            ~Exists(later), terminal=OuterRef("pk"), release=part, state=InstallationState.INSTALLED
        )
        found &= _runs(part) | Q(Exists(installed))
    return found


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
    ended = {
        one.terminal_id: one for one in installations if one.finished_at and one.state != InstallationState.INSTALLED
    }
    seen = answered(one.command_id for one in ended.values()) if ended else set()
    came: dict[tuple[int, int], Came] = {}
    for waited in ordered(ended, PREFIX) if ended else ():
        one = ended[waited.terminal_id]
        if one.command_id is not None and one.assigned_by == asked_by(waited.campaign_id):
            said = came_of(outcomes[one.command_id], seen=one.command_id in seen)
            came[one.terminal_id, waited.campaign_id] = said
    report(came)
    report_running(one.terminal_id for one in installations if one.state == InstallationState.INSTALLED)


def report_lost(lost: Iterable[tuple[int, str, str]]) -> None:
    """Tell campaigns of terminals that do not run what they installed (terminal, version, component): of those that it had
    brought it to, too."""
    gone = {(terminal_id, component): version for terminal_id, version, component in lost}
    if not gone:
        return
    why = Came(False, "not_running", (NotReported().stored(),))
    ids = {terminal_id for terminal_id, _component in gone}
    waited, had = ordered(ids, PREFIX), brought(ids, PREFIX)
    parts = _parts_of([*waited, *had])

    def is_gone(one: Waited) -> bool:
        mine = (parts[pk] for pk in ids_of(one.arguments))
        return any(gone.get((one.terminal_id, component)) == version for component, version in mine)

    report({(one.terminal_id, one.campaign_id): why for one in filter(is_gone, waited)})
    lose({(one.terminal_id, one.campaign_id): why for one in filter(is_gone, had)})


def report_running(terminal_ids: Iterable[int]) -> None:
    """Tell campaigns of terminals that run what they were sent, whatever they said of its installation: whoever was too slow for
    an answer has it all the same. One statement where no campaign waits for them."""
    waited = ordered(terminal_ids, PREFIX, TRIED | FAILED)
    if not waited:
        return
    running = _versions_of({one.terminal_id for one in waited})
    parts = _parts_of(waited)
    several = {one.terminal_id for one in waited if len(ids_of(one.arguments)) > 1}
    at_work = _at_work(several) if several else set()
    came: dict[tuple[int, int], Came] = {}
    for one in waited:
        mine = [parts[pk] for pk in ids_of(one.arguments)]
        has = [running.get((one.terminal_id, component)) == version for component, version in mine]
        if all(has):
            came[one.terminal_id, one.campaign_id] = Came(True)
        elif has[0] and one.terminal_id not in at_work:
            came[one.terminal_id, one.campaign_id] = MORE
    report(came | _worn_out([one for one in waited if came.get((one.terminal_id, one.campaign_id)) is MORE]))


def _worn_out(waited: Sequence[Waited]) -> dict[tuple[int, int], Came]:
    """Return where a terminal was sent the parts of a campaign so often that it cannot be keeping them: that ends."""
    asked = Installation.objects.filter(
        terminal__in=id_set(one.terminal_id for one in waited),
        assigned_by__in={asked_by(one.campaign_id) for one in waited},
    )
    sent = dict[tuple[int, str], int]()
    for pk, asker, number in asked.order_by().values_list("terminal_id", "assigned_by").annotate(number=Count("pk")):
        sent[pk, asker] = number
    why = Came(False, "not_kept", (NotReported().stored(),), final=True)
    return {
        (one.terminal_id, one.campaign_id): why
        for one in waited
        if sent.get((one.terminal_id, asked_by(one.campaign_id)), 0) >= MOST_ROUNDS * len(ids_of(one.arguments))
    }


def _at_work(terminal_ids: Iterable[int]) -> set[int]:
    """Return the terminals whose last installation has not ended, or does not run yet."""
    last = (
        Installation.objects.filter(terminal__in=id_set(terminal_ids))
        .order_by("terminal_id", "-pk")
        .distinct("terminal_id")
    )
    runs = InstalledSoftware.objects.filter(
        terminal=OuterRef("terminal"),
        component=OuterRef("release__package__component"),
        version=OuterRef("release__version"),
    )
    rows = last.annotate(runs=Exists(runs)).values_list("terminal_id", "state", "runs")
    return {pk for pk, state, runs in rows if state in OPEN or (state == InstallationState.INSTALLED and not runs)}


def _parts_of(waited: Iterable[Waited]) -> dict[int, tuple[str, str]]:
    """Return release -> its component and version, of what campaigns move: one statement."""
    wanted = {pk for one in waited for pk in ids_of(one.arguments)}
    rows = Release.objects.filter(pk__in=wanted).values_list("pk", "package__component", "version") if wanted else ()
    return {pk: (component, version) for pk, component, version in rows}
