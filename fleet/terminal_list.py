"""The terminals' list in the admin, with bulk work on what it shows."""

from collections.abc import Mapping
from urllib.parse import urlencode

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext_lazy

from terminals.bulk.verbs import verbs
from terminals.common.scope import holds
from terminals.estate.admin import TerminalAdmin
from terminals.estate.models import Terminal, TerminalModel
from terminals.estate.rules import LINKED_STATES, TerminalState


def filter_of_address(asked: Mapping[str, str]) -> str:
    """Return what a list's address lets pass, in the filter language."""
    model = (
        TerminalModel.objects.filter(pk=int(key)).first()
        if (key := asked.get("model__id__exact", "")).isdecimal()
        else None
    )
    search = asked.get("q", "").strip().replace('"', "")
    tests = [
        f"({asked['filter']})" if asked.get("filter") else "",
        f"state = {asked['state__exact']}" if asked.get("state__exact") else "",
        f'model = "{model}"' if model else "",
        "online" if asked.get("link") == "online" else "",
        f"state in ({', '.join(LINKED_STATES)}) and not online" if asked.get("link") == "offline" else "",
        "locked" if asked.get("locked") else "",
        "tamper" if asked.get("tamper_alarm__active__exact") else "",
        f'(serial ~ "{search}" or store ~ "{search}" or tid = "{search}")' if search else "",
    ]
    tests += [
        f"{part} = {asked[f'health__{part}__exact']}"
        for part in ("printer", "screen", "keypad", "card_reader")
        if asked.get(f"health__{part}__exact")
    ]
    return " and ".join(filter(None, tests)) or f"state in ({', '.join(TerminalState)})"


admin.site.unregister(Terminal)


@admin.register(Terminal)
class TerminalList(TerminalAdmin):
    """What the list shows can be worked on together: what is chosen, or all that its filters let pass."""

    actions = ["do_to_many"]

    @admin.action(description=gettext_lazy("Bulk work on the chosen terminals ..."), permissions=["bulk"])
    def do_to_many(self, request: HttpRequest, queryset: QuerySet[Terminal]) -> HttpResponse:
        """Lead to the page on which something is done to many: the chosen ones, or all that the list's filters let pass."""
        if request.POST.get("select_across") == "1":
            text = filter_of_address(request.GET)
        else:
            text = f"serial in ({', '.join(queryset.order_by('serial').values_list('serial', flat=True))})"
        return redirect(f"{reverse('bulk')}?{urlencode({'filter': text})}")

    def has_bulk_permission(self, request: HttpRequest) -> bool:
        """Whether there is anything that the operator could do to many."""
        return any(holds(request.user, verb.permission) for verb in verbs.all())
