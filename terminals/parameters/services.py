"""Templates and values: written here, checked where they are written, and marked for whom they change something.

What terminals get of it is `sending`'s business, in the background.
"""

import base64
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models import Max, QuerySet

from terminals.common import vault
from terminals.common.audit import services as audit
from terminals.common.audit.services import subject_of
from terminals.common.errors import Refusal
from terminals.estate.levels import INSTALLATION, Level
from terminals.estate.models import Merchant, Organisation, Store, Terminal, TerminalGroup
from terminals.estate.rules import TerminalState
from terminals.parameters import rules
from terminals.parameters.effective import Effective, Trial, effective
from terminals.parameters.models import LEVELS, ParameterSet, ParameterTemplate, TemplateVersion, TerminalParameters
from terminals.parameters.rules import SEALED, SECRET_ID
from terminals.parameters.sending import mark_due

SET_VALUES = "parameters.add_parameterset"  # what setting values at a level needs
SEE = "parameters.view_terminalparameters"
KEPT = {SECRET_ID: "set"}  # how a secret is shown, and how one says that it stays
SHOWN = 5  # terminals that a preview names
NODES: dict[str, Any] = {
    "organisation": Organisation,
    "merchant": Merchant,
    "store": Store,
    "group": TerminalGroup,
    "terminal": Terminal,
}


def _take_turns(name: str) -> None:
    """Two who write the same template, or values under it, take turns."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"parameters:{name}"])


@transaction.atomic
def publish_template(*, name: str, schema: Any, actor: str) -> TemplateVersion:
    """Write the next version of a named template; its terminals' parameters are worked out anew.

    Raises Refusal for what is no template, and where a value that is set somewhere would not fit it any more.
    """
    schema = rules.check_template(schema)
    _take_turns(name)
    template, _made = ParameterTemplate.objects.get_or_create(name=name)
    for one in ParameterSet.objects.filter(template=template, is_current=True):
        _refuse_unfit(one, schema)
    latest = template.versions.aggregate(latest=Max("version"))["latest"] or 0
    version = TemplateVersion.objects.create(template=template, version=latest + 1, schema=schema, created_by=actor)
    template.current = version
    template.save(update_fields=["current"])
    audit.record(
        actor=actor, action="parametertemplate.publish", subject=subject_of(template), detail={"name": str(version)}
    )
    mark_due(Terminal.objects.filter(model__parameter_template__template=template))
    return version


def _refuse_unfit(one: ParameterSet, schema: Mapping[str, Any]) -> None:
    plain = {name: value for name, value in one.values.items() if not rules.is_sealed(value)}
    secrets = rules.secrets_of(schema)
    turned = [name for name in one.values if name in schema["properties"] and (name in secrets) == (name in plain)]
    if turned:
        raise Refusal(
            "bad_template",
            "%(name)s is set at %(level)s: whether it is a secret changes only where nothing is set",
            name=turned[0],
            level=one.level_name,
        )
    try:
        rules.check_values(schema, {name: value for name, value in plain.items() if name in schema["properties"]})
    except Refusal as refusal:
        raise Refusal(
            "bad_template", "what is set at %(level)s would not fit: %(why)s", level=one.level_name, why=refusal
        ) from None


def schema_of(template: ParameterTemplate) -> dict[str, Any]:
    """Return the schema in force; raise Refusal where the template has none yet."""
    if template.current is None:
        raise Refusal("bad_template", "the template %(name)s has no version yet", name=template)
    schema: dict[str, Any] = template.current.schema
    return schema


def follow_model(model_id: int) -> None:
    """Terminals of a model that got another template, or none, are worked out anew."""
    mine = Terminal.objects.filter(model=model_id)
    TerminalParameters.objects.filter(terminal__in=mine.filter(model__parameter_template=None)).delete()
    mark_due(mine.filter(model__parameter_template__isnull=False))


# --- levels ----------------------------------------------------------------------------------------------------------
def columns_of(level: Level) -> dict[str, int | None]:
    """Return a level as a ParameterSet's columns."""
    kind, key = level
    return {f"{name}_id": key if name == kind else None for name in LEVELS}


def terminals_at(level: Level) -> QuerySet[Terminal]:
    """Return the terminals below a level, out-of-service ones left out; raise Refusal for a group that has a filter."""
    kind, key = level
    rows = Terminal.objects.exclude(state=TerminalState.RETIRED)
    if kind == "terminal":
        return rows.filter(pk=key)
    if kind == "group":
        group = TerminalGroup.objects.select_related("organisation", "merchant", "store").get(pk=key)
        if group.filter:
            raise Refusal("bad_level", "a group with a filter changes by itself; set values at one of named terminals")
        return rows.filter(groups=key, path__startswith=group.node.path if group.node else "")
    return rows if level == INSTALLATION else rows.filter(path__startswith=NODES[kind].objects.get(pk=key).path)


def current_set(template: ParameterTemplate, level: Level) -> ParameterSet | None:
    return ParameterSet.objects.filter(template=template, is_current=True, **columns_of(level)).first()


# --- values ----------------------------------------------------------------------------------------------------------
class Preview(NamedTuple):
    """What setting values would do: how many terminals are below, for how many something changes, some of them, and which would
    get a document that does not fit (serial, why)."""

    below: int
    touched: int
    serials: list[str]
    invalid: list[tuple[str, str]]


def preview(*, template: ParameterTemplate, level: Level, values: Any) -> Preview:
    """Return what setting values at a level would do. Changes nothing; raises Refusal for values that do not fit."""
    return _preview(template, level, _checked(template, level, values))


def _preview(template: ParameterTemplate, level: Level, values: Mapping[str, Any]) -> Preview:
    below = terminals_at(level).filter(model__parameter_template__template=template)
    before, after = effective(below), effective(below, Trial(template.pk, level, values))
    schema, touched, wrong = schema_of(template), list[int](), dict[int, str]()
    judged: dict[tuple[int, int], tuple[bool, str]] = {}
    for pk, new in after.items():
        if pk not in before:  # it was registered at this moment
            continue
        pair = (id(before[pk].values), id(new.values))
        if pair not in judged:
            judged[pair] = _judged(schema, before[pk], new)
        changes, problem = judged[pair]
        if changes:
            touched.append(pk)
        if problem:
            wrong[pk] = problem
    named = dict(Terminal.objects.filter(pk__in=[*touched[:SHOWN], *list(wrong)[:SHOWN]]).values_list("pk", "serial"))
    return Preview(
        below=len(after),
        touched=len(touched),
        serials=[named[pk] for pk in touched[:SHOWN]],
        invalid=[(named.get(pk, ""), problem) for pk, problem in wrong.items()],
    )


def _judged(schema: Mapping[str, Any], before: Effective, after: Effective) -> tuple[bool, str]:
    """Whether the document changes, and why it would not fit any more where it did before."""
    if before.values == after.values:
        return False, ""
    problem = rules.problem_of(schema, after.values)
    return True, "" if rules.problem_of(schema, before.values) else problem


def _checked(template: ParameterTemplate, level: Level, values: Any) -> dict[str, Any]:
    """Return values as they are kept: held against the template, secrets sealed; raise Refusal for what does not fit."""
    schema = schema_of(template)
    secrets = rules.secrets_of(schema)
    if not isinstance(values, dict):
        raise Refusal("bad_parameters", "values are an object: name -> value")
    kept = [name for name in values.keys() & secrets if values[name] == KEPT]
    checked = rules.check_values(schema, {name: value for name, value in values.items() if name not in kept})
    for name in checked.keys() & secrets:
        checked[name] = _sealed(template, name, checked[name])
    if kept:
        present = current_set(template, level)
        for name in kept:
            if present is None or name not in present.values:
                raise Refusal("bad_parameters", "%(name)s: no secret is set here that could stay", name=name)
            checked[name] = present.values[name]
    return checked


def _sealed(template: ParameterTemplate, name: str, clear: Any) -> dict[str, str]:
    if not isinstance(clear, str):
        raise Refusal("bad_parameters", "%(name)s: a secret is a text", name=name)
    sealed = vault.seal(clear.encode(), bound_to=f"parameter:{template.pk}:{name}")
    return {SEALED: base64.b64encode(sealed).decode(), SECRET_ID: uuid.uuid4().hex}


@transaction.atomic
def set_values(
    *, template: ParameterTemplate, level: Level, values: Any, actor: str, seen: int | None = None
) -> ParameterSet:
    """Set what holds at a level, the whole of it; terminals for which something changes get it in the background.

    `seen` is the revision that the one who sets them saw (0: none): where there is another by now, it is refused. Raises
    Refusal, with nothing changed, for a value that does not fit, and where a terminal's whole document would not any more.
    """
    _take_turns(template.name)
    _refuse_unseen(template, level, seen)
    return _write(template, level, _checked(template, level, values), actor, "set")


@transaction.atomic
def restore(*, earlier: ParameterSet, actor: str, seen: int | None = None) -> ParameterSet:
    """Set again what an earlier revision said, as a new one; `seen` as in `set_values`."""
    _take_turns(earlier.template.name)
    level, values = restored(earlier)
    _refuse_unseen(earlier.template, level, seen)
    return _write(earlier.template, level, values, actor, "restore")


def _refuse_unseen(template: ParameterTemplate, level: Level, seen: int | None) -> None:
    """Raise Refusal where the revision in force is another than the one that somebody saw."""
    present = current_set(template, level)
    if seen is not None and seen != (present.revision if present else 0):
        raise Refusal("changed_meanwhile", "somebody else has set values here meanwhile; look at them first")


def preview_restoring(*, earlier: ParameterSet) -> Preview:
    """Return what setting an earlier revision again would do. Changes nothing; raises Refusal where it does not fit any more."""
    return _preview(earlier.template, *restored(earlier))


def restored(earlier: ParameterSet) -> tuple[Level, dict[str, Any]]:
    """Return where an earlier revision was set, and its values as far as the template knows them still."""
    schema = schema_of(earlier.template)
    _refuse_unfit(earlier, schema)
    level = next(((name, getattr(earlier, f"{name}_id")) for name in LEVELS if name == earlier.level), INSTALLATION)
    return level, {name: value for name, value in earlier.values.items() if name in schema["properties"]}


def _write(template: ParameterTemplate, level: Level, values: Mapping[str, Any], actor: str, verb: str) -> ParameterSet:
    wrong = _preview(template, level, values).invalid
    if wrong:
        raise WouldNotFit(
            "would_be_invalid",
            "%(number)s terminals would get parameters that do not fit, %(serial)s for one: %(why)s",
            number=len(wrong),
            serial=wrong[0][0],
            why=wrong[0][1],
        )
    before = current_set(template, level)
    if before is not None:
        ParameterSet.objects.filter(pk=before.pk).update(is_current=False)
    made = ParameterSet.objects.create(
        template=template,
        revision=before.revision + 1 if before else 1,
        values=dict(values),
        set_by=actor,
        **columns_of(level),
    )
    detail = {
        "template": template.name,
        "level": ":".join(map(str, level)),
        "revision": made.revision,
        "old": rules.shown(before.values) if before else {},
        "new": rules.shown(made.values),
    }
    audit.record(actor=actor, action=f"parameterset.{verb}", subject=subject_of(made), detail=detail)
    mark_due(terminals_at(level).filter(model__parameter_template__template=template))
    return made


class WouldNotFit(Refusal):
    """A terminal's whole document would break the template's rules."""


@transaction.atomic
def set_at_terminals(*, terminal_ids: Sequence[int], values: Mapping[str, Any], actor: str) -> dict[int, Refusal]:
    """Set some values at each of many terminals, besides what is set there already; return whom they do not fit, and why.

    Set-based: whoever calls it audits it, and holds the terminals.
    """
    refused: dict[int, Refusal] = {}
    models = Terminal.objects.filter(pk__in=terminal_ids, model__parameter_template__isnull=False)
    by_template: dict[int, list[int]] = {}
    for pk, template_id in models.order_by("pk").values_list("pk", "model__parameter_template__template"):
        by_template.setdefault(template_id, []).append(pk)
    for template_id, ids in by_template.items():
        template = ParameterTemplate.objects.select_related("current").get(pk=template_id)
        _take_turns(template.name)
        try:
            if KEPT in values.values():
                raise Refusal("bad_parameters", "a secret is set at one level at a time")
            checked = _checked(template, INSTALLATION, dict(values))
        except Refusal as refusal:
            refused |= dict.fromkeys(ids, refusal)
            continue
        refused |= _add_to_own(template, ids, checked, actor)
    return refused


def _add_to_own(
    template: ParameterTemplate, ids: Sequence[int], values: Mapping[str, Any], actor: str
) -> dict[int, Refusal]:
    """Write new revisions of terminals' own values; return those whose whole document would not fit."""
    schema, refused, judged = schema_of(template), dict[int, Refusal](), dict[int, str]()
    for pk, present in effective(Terminal.objects.filter(pk__in=ids)).items():
        key = id(present.values)
        if key not in judged:
            judged[key] = rules.problem_of(schema, {**present.values, **values})
        if judged[key]:
            refused[pk] = Refusal("would_be_invalid", "its parameters would not fit: %(why)s", why=judged[key])
    fit = [pk for pk in ids if pk not in refused]
    current = ParameterSet.objects.filter(template=template, terminal__in=fit, is_current=True)
    before = {one.terminal_id: one for one in current}
    current.update(is_current=False)
    ParameterSet.objects.bulk_create(
        ParameterSet(
            template=template,
            terminal_id=pk,
            revision=before[pk].revision + 1 if pk in before else 1,
            values={**(before[pk].values if pk in before else {}), **values},
            set_by=actor,
        )
        for pk in fit
    )
    mark_due(Terminal.objects.filter(pk__in=fit))
    return refused


def take_over_values(old_id: int, new_id: int, actor: str) -> None:
    """Set at a device that replaces another what was set at the other itself; what stands above holds for it anyway."""
    for one in ParameterSet.objects.select_related("template").filter(terminal=old_id, is_current=True):
        made = ParameterSet.objects.create(
            template=one.template, terminal_id=new_id, revision=1, values=one.values, set_by=actor
        )
        detail = {"template": one.template.name, "from": f"terminal:{old_id}", "new": rules.shown(one.values)}
        audit.record(actor=actor, action="parameterset.take_over", subject=subject_of(made), detail=detail)
