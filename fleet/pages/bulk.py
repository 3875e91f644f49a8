"""Bulk work in the browser: choose what to do to which terminals, see what would happen, start it, watch it, stop it."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_POST

from firmware.selectors import sendable
from fleet.bulk_verbs import CHANGE_GROUP, CHANGE_TERMINAL
from fleet.pages.campaign_form import KINDS, ValuesField
from fleet.pages.guards import staff_with
from fleet.pages.selectors import VIEW
from terminals.bulk import services
from terminals.bulk.models import BulkJob
from terminals.bulk.rules import ItemState, JobState
from terminals.bulk.verbs import verbs
from terminals.common.errors import Refusal
from terminals.common.fresh import require_fresh_login
from terminals.common.scope import holds, within
from terminals.common.words import sentence, word
from terminals.estate.models import Store, TerminalGroup
from terminals.keys.models import USAGES
from terminals.link.services import PLAIN_COMMANDS
from terminals.settlement.models import SettlementPlan

MOST_CHOICES = 500
# What a verb needs to be told besides the terminals: verb -> the form's field.
ASKS = {
    "install": "release",
    "deliver_key": "usage",
    "configure": "values",
    "set_plan": "plan",
    "tag": "tag",
    "untag": "tag",
    "move": "store",
    "join_group": "group",
    "leave_group": "group",
    "suspend": "reason",
    "resume": "reason",
    "retire": "reason",
}
CHOSEN_BY_ID: dict[str, tuple[Callable[[], QuerySet[Any]], str]] = {
    "release": (sendable, "firmware.view_release"),
    "plan": (lambda: SettlementPlan.objects.order_by("name"), "settlement.view_settlementplan"),
    "store": (lambda: Store.objects.select_related("merchant"), CHANGE_TERMINAL),
    "group": (lambda: TerminalGroup.objects.filter(filter=""), CHANGE_GROUP),
}


class BulkForm(forms.Form):
    """What to do, to which terminals; of the other fields only the one that the verb asks for counts."""

    filter = forms.CharField(max_length=2000, label=gettext_lazy("Terminals"), widget=forms.Textarea({"rows": 2}))
    verb = forms.ChoiceField(label=gettext_lazy("What to do"))
    release = forms.TypedChoiceField(coerce=int, empty_value=None, required=False, label=gettext_lazy("Release"))
    downgrade = forms.BooleanField(required=False, label=gettext_lazy("It may replace a newer version"))
    usage = forms.ChoiceField(choices=USAGES, required=False, label=gettext_lazy("Key usage"))
    values = ValuesField(
        required=False,
        label=gettext_lazy("Parameters to set at each terminal (JSON)"),
        widget=forms.Textarea({"rows": 3, "placeholder": '{"tip_enabled": true}'}),
    )
    plan = forms.TypedChoiceField(coerce=int, empty_value=None, required=False, label=gettext_lazy("Settlement plan"))
    store = forms.TypedChoiceField(coerce=int, empty_value=None, required=False, label=gettext_lazy("Store"))
    group = forms.TypedChoiceField(coerce=int, empty_value=None, required=False, label=gettext_lazy("Group"))
    tag = forms.CharField(max_length=40, required=False, label=gettext_lazy("Tag"))
    reason = forms.CharField(max_length=200, required=False, label=gettext_lazy("Reason"))
    expected = forms.IntegerField(required=False, widget=forms.HiddenInput)
    sure = forms.BooleanField(required=False, widget=forms.HiddenInput)

    def __init__(self, user: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields: Any = self.fields
        offered = [verb.name for verb in verbs.all() if holds(user, verb.permission)]
        fields["verb"].choices = [("", _("choose ...")), *((name, word(name)) for name in offered)]
        for name, (rows, needs) in CHOSEN_BY_ID.items():
            fields[name].choices = [(row.pk, str(row)) for row in within(rows(), user, needs)[:MOST_CHOICES]]

    def confirm(self) -> None:
        """Raise Refusal where what cannot be taken back was not confirmed."""
        if verbs.named(self.cleaned_data["verb"]).final and not self.cleaned_data["sure"]:
            raise Refusal("not_confirmed", "tick that you are sure: this cannot be taken back")

    @property
    def wanted(self) -> dict[str, Any]:
        """What the services are asked for."""
        said = self.cleaned_data
        asked = ASKS.get(said["verb"], "")
        arguments = {asked: said[asked]} if asked else {}
        if asked == "release":
            arguments["downgrade"] = said["downgrade"]
        return {"verb": said["verb"], "text": said["filter"], "arguments": arguments}


def _as_campaign(wanted: dict[str, Any]) -> str:
    """Return what the campaign's form is filled with, for a verb that can go in waves. Raises Refusal for another one."""
    verb, arguments = wanted["verb"], wanted["arguments"]
    field = "command" if verb in PLAIN_COMMANDS else dict(KINDS).get(verb)
    if field is None:
        raise Refusal("not_in_waves", "%(verb)s is done at once, it does not go in waves", verb=verb)
    value = verb if field == "command" else arguments[field]
    said = json.dumps(value) if isinstance(value, dict) else value
    downgrade = {"downgrade": "on"} if arguments.get("downgrade") else {}
    return urlencode({"filter": wanted["text"], field: said, **downgrade})


@staff_with(VIEW)
def bulk_page(request: HttpRequest) -> HttpResponse:
    """Choose; see what would happen; press once more to do it."""
    first = {"filter": request.GET.get("filter", ""), "verb": request.GET.get("verb", "")}
    form = BulkForm(request.user, request.POST or None, initial=first)
    shown: services.Preview | None = None
    if request.method == "POST" and form.is_valid():
        try:
            if "start" in request.POST:
                form.confirm()
                require_fresh_login(request, verbs.named(form.cleaned_data["verb"]).permission)
                job = services.start(user=request.user, expected=form.cleaned_data["expected"], **form.wanted)
                return redirect("bulk-job", pk=job.pk)
            if "waves" in request.POST:
                return redirect(f"{reverse('campaign-new')}?{_as_campaign(form.wanted)}")
            shown = services.preview(user=request.user, **form.wanted)
        except Refusal as refusal:
            form.add_error(None, sentence(refusal))
    context = admin.site.each_context(request) | {
        "title": _("Bulk work"),
        "form": form,
        "preview": shown,
        "left_out": [(sentence(one.refusal), one.number, one.serials) for one in shown.left_out] if shown else [],
        "expected": sum((shown.ready, *(one.number for one in shown.left_out if one.refusal.reason != "not_allowed")))
        if shown
        else 0,
        "asks": ASKS,
        "in_waves": urlencode({"filter": form.cleaned_data["filter"], "release": form.cleaned_data["release"]})
        if shown and form.cleaned_data["verb"] == "install"
        else "",
        "verb_word": word(form.cleaned_data["verb"]) if shown else "",
    }
    return render(request, "pages/bulk_page.html", context)


def _job(request: HttpRequest, pk: int) -> BulkJob:
    found: BulkJob = get_object_or_404(
        within(BulkJob.objects.select_related("requested_by"), request.user, services.VIEW), pk=pk
    )
    return found


def _job_context(request: HttpRequest, job: BulkJob) -> dict[str, Any]:
    counts = services.progress(job)
    left_out = job.items.filter(state=ItemState.LEFT_OUT).select_related("terminal").order_by("id")[:50]
    handled = counts[ItemState.DONE] + counts[ItemState.LEFT_OUT]
    return {
        "job": job,
        "told": verbs.named(job.verb).told(job.arguments),
        "counts": counts,
        "percent": handled * 100 // job.total,
        "left_out": left_out,
        "may_cancel": job.state == JobState.RUNNING and services.may_cancel(job, request.user),
        "refreshed_at": timezone.now(),
    }


@staff_with(VIEW)
@require_GET
def job_page(request: HttpRequest, pk: int) -> HttpResponse:
    job = _job(request, pk)
    context = admin.site.each_context(request) | _job_context(request, job) | {"title": str(job)}
    return render(request, "pages/bulk_job_page.html", context)


@staff_with(VIEW)
@require_GET
def job_panel(request: HttpRequest, pk: int) -> HttpResponse:
    return render(request, "pages/bulk_job_panel.html", _job_context(request, _job(request, pk)))


@staff_with(VIEW)
@require_POST
def job_cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """Stop a job, and say how many terminals that spares."""
    job = _job(request, pk)
    try:
        cancelled = services.cancel(job=job, user=request.user)
        messages.success(request, _("Stopped; %(number)s terminals were spared.") % {"number": cancelled})
    except Refusal as refusal:
        messages.error(request, sentence(refusal))
    return redirect("bulk-job", pk=pk)
