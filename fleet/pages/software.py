"""What terminals run: versions now, a week and a month ago, and how many run one that is still supported."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, date, timedelta
from typing import NamedTuple

from django.contrib import admin
from django.db.models import Count, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from firmware.models import Release, Weakness
from firmware.rules import ReleaseState, Severity
from fleet.pages import tallies
from fleet.pages.guards import staff_with
from fleet.pages.models import DailySoftware
from fleet.pages.selectors import PARTS, day_of
from terminals.common.scope import Reach, reach_of

MEASURE = "software"
BACK = (7, 30)  # days, beside now
UNKNOWN = "unknown"


class Version(NamedTuple):
    """One version of a component: how many terminals run it now and did so some days ago; `standing` is its releases' state,
    `weaknesses` how many are known of them, a severity each."""

    version: str
    number: int
    share: float
    before: list[int | None]
    standing: str
    weaknesses: Mapping[str, int]


class Component(NamedTuple):
    """A component's versions, the commonest first. `supported`, `withdrawn` and `weak` are numbers of terminals."""

    name: str
    total: int
    supported: int
    withdrawn: int
    weak: int
    versions: list[Version]
    ours: bool  # there is a package of it

    @property
    def percent(self) -> float:
        return self.supported * 100 / self.total if self.total else 0.0


@staff_with(PARTS["software"])
@require_GET
def software_page(request: HttpRequest) -> HttpResponse:
    reach = reach_of(request.user, PARTS["software"])
    now = timezone.now()
    present = tallies.read([(MEASURE, reach)], *day_of(now))[MEASURE]
    context = admin.site.each_context(request) | {
        "title": _("Software on terminals"),
        "components": components(present, _before(reach, timezone.localdate(timezone=UTC))),
        "back": BACK,
        "refreshed_at": now,
    }
    return render(request, "pages/software.html", context)


def _before(reach: Reach, today: date) -> list[Mapping[str, int] | None]:
    """Return label -> number for each of the days before; None where nobody noted that day."""
    found: list[Mapping[str, int] | None] = []
    for back in BACK:
        rows = DailySoftware.objects.filter(day=today - timedelta(days=back), place__in=reach.paths)
        numbers = dict(rows.order_by().values_list("label").annotate(n=Sum("amount")))
        found.append(numbers or None)
    return found


def components(present: Mapping[str, int], before: list[Mapping[str, int] | None]) -> list[Component]:
    """Return what is shown of labels like `payment 2.1.0`, with their numbers now and then."""
    standings, weaknesses = _standings(), _weaknesses()
    packaged = {component for component, _version in standings}
    by_component: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for label, number in present.items():
        name, _space, version = label.partition(" ")
        if number > 0:
            by_component[name].append((version, number))
    made = []
    for name, versions in sorted(by_component.items()):
        total = sum(number for _version, number in versions)
        rows = [
            Version(
                version,
                number,
                number * 100 / total,
                [None if day is None else day.get(f"{name} {version}", 0) for day in before],
                standings.get((name, version), UNKNOWN),
                weaknesses.get((name, version), {}),
            )
            for version, number in sorted(versions, key=lambda one: (-one[1], one[0]))
        ]
        supported = sum(row.number for row in rows if row.standing == ReleaseState.APPROVED)
        withdrawn = sum(row.number for row in rows if row.standing == ReleaseState.WITHDRAWN)
        weak = sum(row.number for row in rows if row.weaknesses)
        made.append(Component(name, total, supported, withdrawn, weak, rows, name in packaged))
    return made


ORDER = (ReleaseState.APPROVED, ReleaseState.DEPRECATED, ReleaseState.DRAFT, ReleaseState.WITHDRAWN)


def _standings() -> dict[tuple[str, str], str]:
    """Return (component, version) -> the best state of its releases: a version may be there for several platforms."""
    found: dict[tuple[str, str], str] = {}
    rows = Release.objects.order_by().values_list("package__component", "version", "state").distinct()
    for component, version, state in rows:
        held = found.get((component, version), state)
        found[component, version] = min(held, state, key=lambda one: ORDER.index(ReleaseState(one)))
    return found


def _weaknesses() -> dict[tuple[str, str], dict[str, int]]:
    """Return (component, version) -> severity -> how many weaknesses are known of its releases, on any platform; the worst
    first."""
    rows = Weakness.objects.order_by().values_list("release__package__component", "release__version", "severity")
    numbers = rows.annotate(n=Count("identifier", distinct=True))
    counted = {(component, version, severity): n for component, version, severity, n in numbers}
    found: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for severity in Severity:
        for component, version, rated in counted:
            if rated == severity:
                found[component, version][severity] = counted[component, version, rated]
    return found
