"""What stands above the terminals' list: views to go to, what the list is filtered by, and saving that as a view.

A view is an address. Ready ones are here; each operator saves their own.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

from django import forms
from django.contrib import messages
from django.contrib.auth import get_user_model
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, QueryDict
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from fleet.pages.guards import staff_with
from fleet.pages.list_filters import HEALTH, NO_FILTERS, filter_of_address, label_of, sees_all
from fleet.pages.models import SavedView
from fleet.pages.selectors import VIEW
from terminals.common.audit.services import record_change, record_deletions, values_of
from terminals.common.errors import Refusal
from terminals.common.scope import reach_of, within
from terminals.common.words import sentence
from terminals.estate.models import Terminal
from terminals.estate.targets.choosing import matching
from terminals.estate.targets.fields import fields
from terminals.estate.targets.language import conjuncts, parse, questions_of

MOST_VIEWS = 30  # of an operator
LONGEST_QUERY = SavedView._meta.get_field("query").max_length or 0
READY = (
    (gettext_lazy("Silent for an hour"), "state in (enrolled, active) and last_seen > 1h"),
    (gettext_lazy("Cannot sell"), "tamper or card_reader = fault or keypad = fault or screen = fault or locked"),
    (gettext_lazy("Out of paper"), "printer = out_of_paper"),
    (gettext_lazy("Not settled as it should"), "settlement in (unbalanced, failed)"),
    (gettext_lazy("Never enrolled"), "state = registered"),
)
NOT_KEPT = ("p", "all", "e", "_facets", "_export", "_popup", "_to_field")


class ViewForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = SavedView
        fields = ("name", "query")


class Link(NamedTuple):
    """A view or a chip: what it says and where it leads; `pk` of a view that is somebody's own."""

    text: str
    address: str
    current: bool = False
    pk: int = 0


def kept(asked: Mapping[str, str]) -> str:
    """Return what of a list's address a view keeps, always in one order."""
    pairs = sorted((name, value) for name, value in asked.items() if value and name not in NOT_KEPT)
    return urlencode(pairs)


def _asked(address: QueryDict) -> dict[str, str]:
    """Return an address's parameters, the last of each name."""
    return {name: str(value) for name, value in address.items()}


def bar(request: HttpRequest) -> dict[str, Any]:
    """Return what the list's head shows: one query."""
    asked = _asked(request.GET)
    here = kept(asked)
    ready = [Link(str(name), urlencode({"filter": text})) for name, text in READY if _may_ask(request.user, text)]
    own = [Link(one.name, one.query, pk=one.pk) for one in SavedView.objects.filter(user=request.user.pk)]
    return {
        "views": [link._replace(current=link.address == here) for link in [Link(_("All"), ""), *ready, *own]],
        "chips": chips(asked),
        "here": here,
        "filter_text": asked.get("filter", ""),
        "other_filters": [(n, v) for n, v in asked.items() if v and n not in (*NOT_KEPT, "filter")],
        "filter_fields": [field for field in fields.all() if _may_see(request.user, field.needs)],
    }


def _may_see(user: Any, permission: str) -> bool:
    return not permission or bool(reach_of(user, permission).paths)


def _may_ask(user: Any, text: str) -> bool:
    return all(_may_see(user, fields.named(question.name).needs) for question in questions_of(parse(text)))


def chips(asked: Mapping[str, str]) -> list[Link]:
    """Return what the list is filtered by, a chip each; pressed, it goes."""
    found = []
    for name, value in asked.items():
        if name in (*NO_FILTERS, *NOT_KEPT) or not value:
            continue
        parts = conjuncts(value) if name == "filter" else [value]
        for n, part in enumerate(parts):
            left = {**asked, name: " and ".join(parts[:n] + parts[n + 1 :])}
            found.append(Link(part if name == "filter" else label_of(name, value), kept(left)))
    return found


@transaction.atomic
def save_view(*, user: Any, name: str, query: str) -> SavedView:
    """Keep what a list's address asks, in place of an earlier view of the name; raise Refusal for what no list could show."""
    query = kept(_asked(QueryDict(query)))
    if len(query) > LONGEST_QUERY or "%00" in query:
        raise Refusal(
            "bad_filter", "this list's address cannot be kept: at most %(most)s characters", most=LONGEST_QUERY
        )
    if any(name.startswith(HEALTH) for name in QueryDict(query)) and not sees_all(user, "health"):
        raise Refusal("bad_filter", "you do not see the health of all terminals of this list; write a filter instead")
    # Two that save at once take turns, or both would be the thirtieth, or the first of the name.
    get_user_model().objects.select_for_update(no_key=True).get(pk=user.pk)
    matching(within(Terminal.objects.all(), user, VIEW), filter_of_address(QueryDict(query)), user)
    before = SavedView.objects.select_for_update().filter(user=user.pk, name=name).first()
    if before is None and SavedView.objects.filter(user=user.pk).count() >= MOST_VIEWS:
        raise Refusal("too_many_views", "you have %(most)s views; delete one first", most=MOST_VIEWS)
    view = before or SavedView(user_id=user.pk, name=name)
    old, view.query = values_of(view) if before else {}, query
    view.save()
    action = f"savedview.{'update' if before else 'create'}"
    record_change(actor=user.get_username(), action=action, instance=view, old=old, new=values_of(view))
    return view


@staff_with(VIEW)
def save(request: HttpRequest) -> HttpResponse:
    """Save the list as it is filtered and sorted under a name."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    wanted, back = ViewForm(request.POST), request.POST.get("query", "")
    if not wanted.is_valid():
        for error in wanted.errors.values():
            messages.error(request, str(error[0]))
    else:
        try:
            view = save_view(user=request.user, **wanted.cleaned_data)
            messages.success(request, _("%(name)s stands above the list from now on.") % {"name": view.name})
        except Refusal as refusal:
            messages.error(request, sentence(refusal))
            back = "" if refusal.reason == "bad_filter" else back  # a list of it would be refused, too
    return redirect(_list("" if "\0" in unquote_plus(back) else back))


@transaction.atomic
def delete_view(view: SavedView, *, actor: str) -> None:
    record_deletions(actor=actor, instances=[view])
    view.delete()


@staff_with(VIEW)
def delete(request: HttpRequest, pk: int) -> HttpResponse:
    """Forget one of one's own views."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    view = get_object_or_404(SavedView, pk=pk, user=request.user.pk)
    delete_view(view, actor=request.user.get_username())
    return redirect(_list(request.POST.get("query", "")))


def _list(query: str) -> str:
    return f"{reverse('admin:terminals_terminal_changelist')}?{kept(_asked(QueryDict(query)))}"
