"""Working out which settings hold for terminals: each kind of terminal (same place, nothing of its own) only once. Reads only.

Later wins: the default plan, organisations from the top down, the merchant, the store, the terminal itself. A plan that is set
at a level replaces all that comes from above; single settings beside it go before it.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import rfc8785
from django.db.models import Q

from terminals.estate.levels import INSTALLATION, Level, path_levels
from terminals.settlement.plans import rules
from terminals.settlement.plans.models import LEVELS, PlanLevel, SettlementPlan


class Place(NamedTuple):
    """What decides a terminal's settings: its place in the tree, its store's clock, its id where it has something of its own."""

    path: str
    time_zone: str
    own_id: int | None = None


class Resolved(NamedTuple):
    """Whole settings with their zone, the named plan in force, and for each setting the level that it comes from."""

    settings: dict[str, Any]
    plan_id: int | None
    origins: dict[str, Level | None]

    @property
    def digest(self) -> str:
        return hashlib.sha256(rfc8785.dumps({"plan": self.plan_id, **self.settings})).hexdigest()


class Said(NamedTuple):
    """What a level says: a plan or none, and settings that go before it."""

    plan: SettlementPlan | None
    settings: Mapping[str, Any]


NOTHING = Said(None, {})


def resolve(places: Iterable[Place], *, instead: tuple[Level, Said] | None = None) -> dict[Place, Resolved]:
    """Return what holds at each place: two statements. `instead` is what one level says as if it were set."""
    wanted = set(places)
    known = _levels(wanted)
    if instead is not None:
        known[instead[0]] = instead[1]
    default = SettlementPlan.objects.filter(is_default=True).first()
    return {place: _resolve(place, known, default) for place in wanted}


def _resolve(place: Place, known: Mapping[Level, Said], default: SettlementPlan | None) -> Resolved:
    layers, plan_id = [], None
    if default is not None:
        layers.append(rules.Layer(INSTALLATION, default.settings, {}))
        plan_id = default.pk
    own = [("terminal", place.own_id)] if place.own_id is not None else []
    for level in [*path_levels(place.path), *own]:
        said = known.get(level, NOTHING)
        layers.append(rules.Layer(level, said.plan.settings if said.plan else None, said.settings))
        plan_id = said.plan.pk if said.plan else plan_id
    settings, origins = rules.merged(layers)
    settings["time_zone"] = settings["time_zone"] or place.time_zone
    return Resolved(settings, plan_id, origins)


def _levels(places: Iterable[Place]) -> dict[Level, Said]:
    keys: dict[str, set[int]] = defaultdict(set)
    for place in places:
        for kind, key in path_levels(place.path):
            keys[kind].add(key)
        if place.own_id is not None:
            keys["terminal"].add(place.own_id)
    chosen = Q(pk=None)
    for kind, ids in keys.items():
        chosen |= Q(**{f"{kind}__in": ids})
    found = PlanLevel.objects.filter(chosen).select_related("plan")
    return {level_of(one): Said(one.plan, one.settings) for one in found}


def level_of(one: PlanLevel) -> Level:
    return one.level, getattr(one, f"{one.level}_id")


def columns_of(level: Level) -> dict[str, int | None]:
    """Return a level as a PlanLevel's columns."""
    kind, key = level
    return {f"{name}_id": key if name == kind else None for name in LEVELS}
