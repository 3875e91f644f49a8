"""What a filter may ask of the estate itself."""

from django.db.models import Exists, OuterRef, Q, Value
from django.db.models.functions import Concat

from terminals.estate.models import Terminal, TerminalGroup, TerminalModel
from terminals.estate.rules import TerminalState
from terminals.estate.selectors import find_terminals
from terminals.estate.targets.fields import AGE, NUMBER, TEXT, WORD, Field, Kind


def _tagged(operator: str, tag: str) -> Q:
    return Q(tags__contains=[tag])


def _of_model(operator: str, text: str) -> Q:
    """A model by its name, or by its vendor and name."""
    named = TerminalModel.objects.annotate(full=Concat("vendor", Value(" "), "name"))
    return Q(
        model__in=named.filter(full__icontains=text) if operator == "~" else named.filter(Q(full=text) | Q(name=text))
    )


def _below_organisation(operator: str, path: str) -> Q:
    """By the path: choosing.py has looked up the organisations of the name that the asker may see."""
    return Q(path__startswith=path)


def _found_by(operator: str, text: str) -> Q:
    """What the list's search box finds."""
    return Q(pk__in=find_terminals(Terminal.objects.order_by(), text).values("pk"))


def _in_group(operator: str, key: str) -> Q:
    """By id: choosing.py has looked the group up by its name, and where it has a filter put that in its place."""
    members = TerminalGroup.members.through.objects
    return Q(Exists(members.filter(terminalgroup=int(key), terminal=OuterRef("pk"))))


SEARCH = Kind("text", ("=",), str, "SN-1")
ID = Kind("number", ("=", "in"), NUMBER.read, "5")
FIELDS = (
    Field("group", Kind("group", ("=",), str, '"Pilots"'), "in a group", build=_in_group, index="foreign key"),
    Field(
        "search",
        SEARCH,
        "a part of the serial or the store's name, or the TID's beginning",
        build=_found_by,
        index="trigrams",
    ),
    Field("id", ID, "the API's id", at="pk"),
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
