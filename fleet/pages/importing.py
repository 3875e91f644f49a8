"""Import in the browser: bring a file, see what it would add, start it, watch it, take the report."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_POST

from fleet.pages.guards import staff_with
from terminals.common.errors import Refusal
from terminals.common.exports import csv_lines
from terminals.common.scope import reach_of, within
from terminals.common.words import sentence
from terminals.enrolment.codes import ISSUE_CODE
from terminals.estate.models import TerminalModel
from terminals.importing import services
from terminals.importing.models import Import
from terminals.importing.rules import COLUMNS, ImportState, RowState

SHOWN = 50  # rows that a page shows
EXAMPLE = [
    "Demonstration acquirer",
    "Harbour Books",
    "000012345",
    "Pier 4",
    "Hamburg",
    "Europe/Berlin",
    "SN-10001",
    "Acme Counter 500",
    "00000001",
    "",
    "pilot; books",
]


class FileForm(forms.Form):
    file = forms.FileField(
        label=gettext_lazy("CSV or XLSX file"),
        widget=forms.FileInput({"accept": ".csv,.xlsx", "required": True}),
    )


@staff_with(services.IMPORT)
def import_page(request: HttpRequest) -> HttpResponse:
    """Bring a file; what it would add is shown before anything is added."""
    form = FileForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        try:
            job = services.bring(file=form.cleaned_data["file"], user=request.user)
            return redirect("import-job", pk=job.pk)
        except Refusal as refusal:
            form.add_error("file", sentence(refusal))
    context = admin.site.each_context(request) | {
        "title": _("Import"),
        "form": form,
        "columns": COLUMNS,
        "models": TerminalModel.objects.all()[:20],
    }
    return render(request, "pages/import_page.html", context)


@staff_with(services.IMPORT)
@require_GET
def import_example(request: HttpRequest) -> StreamingHttpResponse:
    """A file to begin with: the columns, and a row."""
    return _csv_file("example.csv", [list(COLUMNS), EXAMPLE])


def _csv_file(name: str, rows: Any) -> StreamingHttpResponse:
    rows = iter(rows)
    answer = StreamingHttpResponse(csv_lines(next(rows), rows), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


def _job(request: HttpRequest, pk: int) -> Import:
    found: Import = get_object_or_404(
        within(Import.objects.select_related("requested_by"), request.user, services.IMPORT), pk=pk
    )
    return found


def _context(request: HttpRequest, job: Import) -> dict[str, Any]:
    counts = services.progress(job)
    open_rows = counts[RowState.READY]
    return {
        "job": job,
        "counts": counts,
        "adds": services.additions(job),
        "ready": open_rows,
        "percent": (job.total - open_rows) * 100 // job.total,
        "refused": job.rows.filter(state=RowState.REFUSED)[:SHOWN],
        "shown": SHOWN,
        "may_start": job.state == ImportState.CHECKED and job.requested_by_id == request.user.pk and open_rows > 0,
        "may_cancel": job.state in (ImportState.CHECKED, ImportState.RUNNING)
        and services.may_cancel(job, request.user),
        "may_issue": reach_of(request.user, ISSUE_CODE).paths and job.state == ImportState.DONE,
        "refreshed_at": timezone.now(),
    }


@staff_with(services.IMPORT)
@require_GET
def job_page(request: HttpRequest, pk: int) -> HttpResponse:
    job = _job(request, pk)
    context = admin.site.each_context(request) | _context(request, job) | {"title": _("Import %(job)s") % {"job": job}}
    return render(request, "pages/import_job_page.html", context)


@staff_with(services.IMPORT)
@require_GET
def job_panel(request: HttpRequest, pk: int) -> HttpResponse:
    return render(request, "pages/import_job_panel.html", _context(request, _job(request, pk)))


@staff_with(services.IMPORT)
@require_GET
def job_report(request: HttpRequest, pk: int) -> StreamingHttpResponse:
    """What became of each row, as CSV."""
    job = _job(request, pk)
    return _csv_file(f"import-{job.pk}.csv", services.report(job))


@staff_with(services.IMPORT)
@require_POST
def job_action(request: HttpRequest, pk: int) -> HttpResponse:
    """Start an import, or stop it."""
    job = _job(request, pk)
    try:
        if request.POST.get("action") == "start":
            services.start(job=job, user=request.user)
        else:
            spared = services.cancel(job=job, user=request.user)
            begun = job.state != ImportState.CHECKED
            told = _("Stopped; %(number)s rows were spared.") if begun else _("Discarded; nothing was added.")
            messages.success(request, told % {"number": spared})
    except Refusal as refusal:
        messages.error(request, sentence(refusal))
    return redirect("import-job", pk=pk)
