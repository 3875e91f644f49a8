"""Credit files in the browser: bring one, watch it being read, see what it came to, take it back."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_POST

from fleet.pages.guards import staff_with
from terminals.common.errors import Refusal
from terminals.common.fresh import require_fresh_login
from terminals.common.scope import holds, within
from terminals.common.words import sentence
from terminals.settlement.cases.words import sentence_of
from terminals.settlement.credits import selectors, services
from terminals.settlement.credits.models import CreditFile, CreditProfile
from terminals.settlement.credits.rules import IN_WORK, FileState

SEE = "settlement.view_creditfile"
SHOWN = 50  # rejects and differences that a page shows


class BringForm(forms.Form):
    profile = forms.ModelChoiceField(CreditProfile.objects.none(), label=gettext_lazy("From"), empty_label=None)
    file = forms.FileField(label=gettext_lazy("File"), widget=forms.FileInput({"required": True}))


@staff_with(services.BRING)
def credits_page(request: HttpRequest) -> HttpResponse:
    """Bring a file; it is read in the background."""
    form = BringForm(request.POST or None, request.FILES or None)
    profiles = within(CreditProfile.objects.all(), request.user, services.BRING)
    form.fields["profile"].queryset = profiles  # type: ignore[attr-defined]
    if request.method == "POST":
        require_fresh_login(request, services.BRING)
        if form.is_valid():
            file, profile = form.cleaned_data["file"], form.cleaned_data["profile"]
            try:
                job = services.bring(profile=profile, file=file, name=file.name, actor=request.user.get_username())
                return redirect("credit-file", pk=job.pk)
            except Refusal as refusal:
                form.add_error("file", sentence(refusal))
    context = admin.site.each_context(request) | {
        "title": _("Bring a credit file"),
        "form": form,
        "profiles": profiles,
        "may_add_profile": holds(request.user, "settlement.add_creditprofile"),
    }
    return render(request, "pages/credits_page.html", context)


def _job(request: HttpRequest, pk: int) -> CreditFile:
    rows = within(CreditFile.objects.select_related("profile"), request.user, SEE)
    found: CreditFile = get_object_or_404(rows, pk=pk)
    return found


def _context(request: HttpRequest, job: CreditFile) -> dict[str, Any]:
    found = within(selectors.differences_about(job), request.user, "settlement.view_difference")
    return {
        "job": job,
        "in_work": job.state in IN_WORK,
        "states": selectors.entries_by_state(job),
        "money": selectors.money_of(job),
        "told": [(one, sentence_of(one)) for one in found[:SHOWN]],
        "differences": found[: SHOWN + 1].count(),
        "rejects": job.rejects.all()[:SHOWN],
        "shown": SHOWN,
        "may_withdraw": job.state == FileState.DONE and holds(request.user, services.WITHDRAW, job),
        "refreshed_at": timezone.now(),
    }


@staff_with(SEE)
@require_GET
def file_page(request: HttpRequest, pk: int) -> HttpResponse:
    job = _job(request, pk)
    context = admin.site.each_context(request) | _context(request, job) | {"title": job.file_name}
    return render(request, "pages/credit_file_page.html", context)


@staff_with(SEE)
@require_GET
def file_panel(request: HttpRequest, pk: int) -> HttpResponse:
    return render(request, "pages/credit_file_panel.html", _context(request, _job(request, pk)))


@staff_with(SEE)
@require_POST
def file_withdraw(request: HttpRequest, pk: int) -> HttpResponse:
    """Take a file back."""
    job = _job(request, pk)
    if not holds(request.user, services.WITHDRAW, job):
        raise PermissionDenied
    require_fresh_login(request, services.WITHDRAW)
    try:
        services.withdraw(job=job, actor=request.user.get_username())
        messages.success(request, _("Its entries are being taken back."))
    except Refusal as refusal:
        messages.error(request, sentence(refusal))
    return redirect("credit-file", pk=pk)
