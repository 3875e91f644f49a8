"""The addresses of the terminals' list, in the filter language and in words."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from fleet.pages.selectors import PARTS, VIEW
from terminals.common.errors import Refusal
from terminals.common.scope import reach_of
from terminals.common.words import word
from terminals.estate.models import TerminalModel
from terminals.estate.rules import LINKED_STATES, TerminalState
from terminals.estate.targets.language import quoted

NO_FILTERS = ("o", "p", "all", "_facets", "e")
HEALTH = ("health__", "tamper_alarm__")
IN_SERVICE = f"state in ({', '.join(LINKED_STATES)})"
SAID = {
    ("link", "online"): "online",
    ("link", "offline"): f"{IN_SERVICE} and not online",
    ("locked", "locked"): "locked",
    ("tamper_alarm__active", "1"): "tamper",
    ("tamper_alarm__active", "True"): "tamper",
}


def sees_all(user: Any, part: str) -> bool:
    """Whether somebody may see a part of what is known of terminals wherever they see terminals."""
    return all(map(reach_of(user, PARTS[part]).covers, reach_of(user, VIEW).paths))


def filter_of_address(asked: Mapping[str, str]) -> str:
    """Return what a list's address lets pass, in the filter language; raise Refusal for what that cannot say."""
    tests = [_test(name, value) for name, value in asked.items() if name not in NO_FILTERS and value]
    return " and ".join(tests) or f"state in ({', '.join(TerminalState)})"


def _plain(name: str) -> str:
    """Return what a parameter filters by, without Django's ways to say it."""
    return name.removesuffix("__exact").removesuffix("__id")


def _test(name: str, value: str) -> str:
    plain = _plain(name)
    if said := SAID.get((plain, value)):
        return said
    if plain == "filter":
        return f"({value})"
    if plain == "q":
        return f"search = {quoted(value.strip())}"
    if plain in ("pk", "id") and value.isdecimal():
        return f"id = {value}"
    if plain == "state" and value in list(TerminalState):
        return f"state = {value}"
    if plain == "model" and (model := _model(value)):
        return f"model = {quoted(str(model))}"
    if plain.startswith("health__") and value.isidentifier():
        return f"{plain.removeprefix('health__')} = {value}"
    raise Refusal(
        "bad_filter", "the list's filter %(name)s cannot be said as a filter; choose terminals one by one", name=name
    )


def _model(value: str) -> TerminalModel | None:
    return TerminalModel.objects.filter(pk=int(value[:18])).first() if value.isdecimal() else None


def label_of(name: str, value: str) -> str:
    """Return what a parameter of the list's address asks, in words."""
    plain = _plain(name)
    if plain == "q":
        return _("search: %(text)s") % {"text": value}
    if plain == "model":
        return str(_model(value) or value)
    if plain in ("link", "state", "locked"):
        return word(value)
    if plain == "tamper_alarm__active":
        return _("tamper") if value in ("1", "True") else f"{_('tamper')}: {value}"
    return f"{word(plain.removeprefix('health__'))}: {word(value)}"
