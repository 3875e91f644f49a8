"""Working out terminals' parameters: for many at once, each kind of terminal (same place, same groups) only once. Reads only.

Later wins: the template's defaults, the whole installation, organisations from the top down, the merchant, the store, groups of
named terminals by their names, the terminal itself.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from django.db.models import F, Q, QuerySet, Value
from django.db.models.functions import Coalesce, Concat

from terminals.estate.levels import INSTALLATION, Level, path_levels
from terminals.estate.models import Terminal, TerminalGroup
from terminals.parameters import rules
from terminals.parameters.models import LEVELS, ParameterSet, ParameterTemplate
from terminals.parameters.rules import Layer


class Effective(NamedTuple):
    """A terminal's document: the template, the values, and for each the id of the set that it comes from (0: the template)."""

    template: ParameterTemplate
    values: dict[str, Any]
    origins: dict[str, int]


class Trial(NamedTuple):
    """Values that are not set yet, as if they were."""

    template_id: int
    level: Level
    values: Mapping[str, Any]


TRIED = -1  # where a trial's values come from


def level_of(one: ParameterSet) -> Level:
    kind = one.level
    return (kind, 0) if kind == "installation" else (kind, getattr(one, f"{kind}_id"))


def effective(terminals: QuerySet[Terminal], trial: Trial | None = None) -> dict[int, Effective]:
    """Return the documents of terminals whose model has a template: a fixed number of statements."""
    rows = list(
        terminals.filter(model__parameter_template__isnull=False)
        .order_by("pk")
        .values_list("pk", "path", "model__parameter_template__template")
    )
    templates = ParameterTemplate.objects.select_related("current").in_bulk({template for _, _, template in rows})
    groups = _groups_of([pk for pk, _, _ in rows], templates, trial)
    sets = _sets(rows, templates, groups)
    if trial is not None:
        sets[trial.level, trial.template_id] = Layer(TRIED, trial.values)
    found: dict[int, Effective] = {}
    known: dict[Any, Effective] = {}
    for pk, path, template_id in rows:
        own = ("terminal", pk)
        mine = tuple(groups.get(pk, ()))
        kind = (template_id, path, mine, pk if (own, template_id) in sets else None)
        if kind not in known:
            levels = [INSTALLATION, *path_levels(path), *(("group", group) for group in mine), own]
            layers = [sets[level, template_id] for level in levels if (level, template_id) in sets]
            template = templates[template_id]
            known[kind] = Effective(
                template, *rules.merged(template.current.schema if template.current else {}, layers)
            )
        found[pk] = known[kind]
    return found


def _groups_of(ids: Collection[int], templates: Iterable[int], trial: Trial | None) -> dict[int, list[int]]:
    """Return terminal -> the groups of named terminals in which it is and at which something is set, by their names."""
    at_groups = ParameterSet.objects.filter(is_current=True, template__in=templates, group__isnull=False)
    concerned = set(at_groups.values_list("group_id", flat=True))
    if trial is not None and trial.level[0] == "group":
        concerned.add(trial.level[1])
    members = TerminalGroup.members.through.objects.filter(terminalgroup__in=concerned, terminal__in=ids)
    nodes = [Coalesce(f"terminalgroup__{node}__path", Value("")) for node in ("organisation", "merchant", "store")]
    # A group reaches no further than its node, wherever its terminals have moved since.
    within_reach = members.annotate(reach=Concat(*nodes)).filter(terminal__path__startswith=F("reach"))
    found: dict[int, list[int]] = defaultdict(list)
    ordered = within_reach.order_by("terminalgroup__name", "terminalgroup")
    for terminal_id, group_id in ordered.values_list("terminal_id", "terminalgroup_id") if concerned else ():
        found[terminal_id].append(group_id)
    return found


def _sets(
    rows: list[tuple[int, str, int]], templates: Iterable[int], groups: Mapping[int, list[int]]
) -> dict[tuple[Level, int], Layer]:
    """Return what is set at the levels of some terminals, by level and template."""
    keys: dict[str, set[int]] = defaultdict(set)
    for path in {path for _, path, _ in rows}:
        for kind, key in path_levels(path):
            keys[kind].add(key)
    keys["group"] = {group for mine in groups.values() for group in mine}
    keys["terminal"] = {pk for pk, _, _ in rows}
    at_levels = Q(**dict.fromkeys(LEVELS, None))
    for kind, ids in keys.items():
        at_levels |= Q(**{f"{kind}__in": ids})
    current = ParameterSet.objects.filter(at_levels, is_current=True, template__in=templates)
    return {(level_of(one), one.template_id): Layer(one.pk, one.values) for one in current}


def inherited(template: ParameterTemplate, level: Level, path: str) -> tuple[dict[str, Any], dict[str, int]]:
    """Return what holds at a level without what is set there itself, and where it comes from; `path` is where the level's node
    stands. A group's terminals stand in many places: of it only the whole installation's values are told."""
    if level[0] == "terminal":
        found = effective(Terminal.objects.filter(pk=level[1]), Trial(template.pk, level, {})).get(level[1])
        return (found.values, found.origins) if found else ({}, {})
    above = [INSTALLATION, *([] if level[0] == "group" else path_levels(path))]
    known = _sets([(0, path, template.pk)], [template.pk], {})
    layers = [known[one, template.pk] for one in above if one != level and (one, template.pk) in known]
    schema = template.current.schema if template.current else {}
    return rules.merged(schema, [] if level == INSTALLATION else layers)
