"""The terminals' list in the admin, with bulk work on what it shows."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext_lazy

from terminals.bulk.verbs import verbs
from terminals.common.errors import Refusal
from terminals.common.scope import holds, reach_of
from terminals.common.words import sentence
from terminals.estate.admin import TerminalAdmin
from terminals.estate.models import Terminal, TerminalModel
from terminals.estate.rules import LINKED_STATES, TerminalState
from terminals.estate.targets.choosing import matching
from terminals.estate.targets.language import quoted


def filter_of_address(asked: Mapping[str, str]) -> str:
    """Return what a list's address lets pass, in the filter language; raise Refusal for what that cannot say."""
    tests = [_test(name, value) for name, value in asked.items() if name not in NO_FILTERS and value]
    return " and ".join(tests) or f"state in ({', '.join(TerminalState)})"


NO_FILTERS = ("o", "p", "all", "_facets", "e")
IN_SERVICE = f"state in ({', '.join(LINKED_STATES)})"
SAID = {
    ("link", "online"): "online",
    ("link", "offline"): f"{IN_SERVICE} and not online",
    ("locked", "locked"): "locked",
    ("tamper_alarm__active", "1"): "tamper",
    ("tamper_alarm__active", "True"): "tamper",
}
HEALTH = ("health__", "tamper_alarm__")


def _test(name: str, value: str) -> str:
    plain = name.removesuffix("__exact").removesuffix("__id")
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
    if plain == "model" and value.isdecimal() and (model := TerminalModel.objects.filter(pk=int(value[:18])).first()):
        return f"model = {quoted(str(model))}"
    if plain.startswith("health__") and value.isidentifier():
        return f"{plain.removeprefix('health__')} = {value}"
    raise Refusal(
        "bad_filter", "the list's filter %(name)s cannot be said as a filter; choose terminals one by one", name=name
    )


admin.site.unregister(Terminal)


@admin.register(Terminal)
class TerminalList(TerminalAdmin):
    """What the list shows can be worked on together: what is chosen, or all that its filters let pass."""

    actions = ["do_to_many"]

    @admin.action(description=gettext_lazy("Bulk work on the chosen terminals ..."), permissions=["bulk"])
    def do_to_many(self, request: HttpRequest, queryset: QuerySet[Terminal]) -> HttpResponse:
        """Lead to the page on which something is done to many: the chosen ones, or all that the list's filters let pass."""
        try:
            text = self._filter_of(request, queryset)
        except Refusal as refusal:
            messages.error(request, sentence(refusal))
            return redirect(request.get_full_path())
        return redirect(f"{reverse('bulk')}?{urlencode({'filter': text})}")

    def _filter_of(self, request: HttpRequest, queryset: QuerySet[Terminal]) -> str:
        """Return the filter that finds just what was chosen; raise Refusal where it would find others."""
        if request.POST.get("select_across") != "1":
            serials = queryset.order_by("serial").values_list("serial", flat=True)
            return f"serial in ({', '.join(serials)})"
        text = filter_of_address(request.GET)
        visible = self.get_queryset(request).order_by()
        if matching(visible, text, request.user).count() != queryset.order_by().count():
            raise Refusal("bad_filter", "the list's filters cannot be said as one filter; choose terminals one by one")
        return text

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """What an address asks of health needs to see health, wherever the list reaches."""
        if lookup.startswith(HEALTH) and request is not None:
            health = reach_of(request.user, "health.view_healthstate")
            if not all(health.covers(path) for path in reach_of(request.user, "terminals.view_terminal").paths):
                return False
        return super().lookup_allowed(lookup, value, request)

    def has_bulk_permission(self, request: HttpRequest) -> bool:
        """Whether there is anything that the operator could do to many."""
        return any(holds(request.user, verb.permission) for verb in verbs.all())
