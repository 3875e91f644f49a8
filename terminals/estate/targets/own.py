"""What a filter may ask of the estate itself."""

from typing import Any

from django.db.models import Q

from terminals.estate.models import Organisation
from terminals.estate.rules import TerminalState
from terminals.estate.targets.fields import AGE, TEXT, WORD, Field, Kind


def _tagged(operator: str, tag: str) -> Q:
    return Q(tags__contains=[tag])


def _of_model(operator: str, text: str) -> Q:
    if operator == "~":
        return Q(model__name__icontains=text) | Q(model__vendor__icontains=text)
    vendor, _space, name = text.partition(" ")
    return Q(model__name=text) | Q(model__vendor=vendor, model__name=name)


def _below_organisation(operator: str, text: str) -> Q:
    named: Any = Organisation.objects.filter(**{"name__icontains" if operator == "~" else "name": text})
    below = Q(pk__in=[])
    for path in named.values_list("path", flat=True):
        below |= Q(path__startswith=path)
    return below


def _in_group(operator: str, key: str) -> Q:
    """By id: choosing.py has looked the group up by its name, and where it has a filter put that in its place."""
    return Q(groups=int(key))


FIELDS = (
    Field("group", Kind("group", ("=",), str, '"Pilots"'), "in a group", build=_in_group, index="foreign key"),
    Field("serial", TEXT, "serial", at="serial", index="unique; parts: trigrams"),
    Field("tid", TEXT, "TID", at="tid", index="prefix"),
    Field("state", WORD, "state", at="state", choices=tuple(TerminalState), index="(state, serial)"),
    Field("model", TEXT, "model, with or without its vendor", build=_of_model, index="foreign key"),
    Field("platform", TEXT, "operating platform of the model", at="model__platform", index="foreign key"),
    Field("tag", WORD, "tag", build=_tagged, index="GIN"),
    Field("store", TEXT, "store's name", at="store__name", index="foreign key"),
    Field("city", TEXT, "store's city", at="store__city", index="foreign key"),
    Field("merchant", TEXT, "merchant's name", at="store__merchant__name", index="foreign key"),
    Field("mid", TEXT, "merchant's MID", at="store__merchant__mid", index="foreign key"),
    Field("organisation", TEXT, "an organisation, and those below it", build=_below_organisation, index="path"),
    Field("registered", AGE, "time since it was registered", at="registered_at", index="(registered_at, id)"),
)
