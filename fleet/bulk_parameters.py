"""Setting parameters at many terminals, as a bulk verb."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db.models import Q

from terminals.bulk.verbs import Arguments, BulkVerb, Unfit
from terminals.common.errors import Refusal
from terminals.parameters.models import ParameterTemplate, TemplateVersion
from terminals.parameters.rules import check_values, secrets_of
from terminals.parameters.services import SET_VALUES, set_at_terminals


def _check_values(arguments: Arguments, user: Any) -> dict[str, Any]:
    values = arguments.get("values")
    if not isinstance(values, dict) or not values:
        raise Refusal("bad_arguments", 'values: write an object, for example {"tip_enabled": true}')
    in_force = TemplateVersion.objects.filter(pk__in=ParameterTemplate.objects.values("current"))
    schemas = list(in_force.values_list("schema", flat=True))
    secrets = {name for schema in schemas for name in secrets_of(schema)}
    if named := sorted(secrets & values.keys()):  # a job keeps its arguments, and the audit tells them
        raise Refusal("bad_arguments", "%(name)s is a secret: set it at a level, on its page", name=named[0])
    refusals = [refusal for schema in schemas if (refusal := _refusal_of(schema, values))]
    if refusals and len(refusals) == len(schemas):  # they fit no template
        raise refusals[0]
    return {"values": values}


def _refusal_of(schema: Mapping[str, Any], values: Mapping[str, Any]) -> Refusal | None:
    try:
        check_values(schema, values)
    except Refusal as refusal:
        return refusal
    return None


def _unfit_for_values(arguments: Arguments) -> list[Unfit]:
    return [Unfit("no_template", "its model has no parameter template", Q(model__parameter_template__isnull=True))]


def _configure(ids: Sequence[int], arguments: Arguments, actor: str) -> Mapping[int, Refusal]:
    return set_at_terminals(terminal_ids=ids, values=arguments["values"], actor=actor)


CONFIGURE = BulkVerb(
    "configure",
    SET_VALUES,
    _configure,
    _unfit_for_values,
    _check_values,
    told=lambda arguments: ", ".join(f"{name}: {value}" for name, value in arguments["values"].items()),
)
